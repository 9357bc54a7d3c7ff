"""Self-critical sequence training: sampled answers, their rewards, and the gradient."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import ENTRIES, make
from tests.helpers.resumable_runs import assert_same_run, history
from zoo import metrics
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.losses import PolicyGradient
from zoo.training.self_critical import SelfCritical, check

END, SAMPLES = 2, 24
FROZEN = {"keep": "last", "keep_frozen": True, "frozen_versions": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return CONTRACTS["captioning"].training_data(make("show_attend_tell"), tmp_path_factory.mktemp("data"))


def recipe(folder, **training) -> dict:
    return {
        "data": {"folder": str(folder)},
        "task": CONTRACTS["captioning"].training_settings,
        "model_overrides": {k: v for k, v in ENTRIES["show_attend_tell"].tiny.items() if k != "target_vocabulary"},
        "training": {
            "batch_size": 14,
            "optimizer": {"learning_rate": 0.1},
            "self_critical": "cider",
            **FROZEN,
            **training,
        },
    }


def test_the_gradient_is_that_of_reinforce():
    random = np.random.default_rng(0)
    logits = tf.Variable(random.normal(size=(2, 3, 5)), dtype=tf.float32)
    tokens = random.integers(0, 5, (2, 3))
    advantage, reward = np.array([0.5, -2.0]), np.array([0.7, 0.1])
    weights = np.array([[1, 1, 1], [1, 0, 0]], "float32")
    y = np.stack([tokens, *(np.repeat(value[:, None], 3, axis=1) for value in (advantage, reward))], axis=-1)
    with tf.GradientTape() as tape:
        loss = PolicyGradient()(y, logits, sample_weight=weights)
    assert float(loss) == pytest.approx(-(3 * 0.7 + 0.1) / 4)
    probability = tf.nn.softmax(logits).numpy()
    expected = advantage[:, None, None] * (probability - np.eye(5)[tokens]) * weights[..., None] / 4
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-6)


def test_a_batch_of_samples(folder):
    """Samples keep their input, end, and reward; the baseline of a sample is the mean reward of the others."""
    model = make("show_attend_tell")
    task = task_of(model)
    source = open_source(folder, "train", task.fields, task.layout)
    sampled = SelfCritical(task, model, source, "cider", SAMPLES, 7)
    captions = [["a picture of the digit zero", "the zero"], ["the one"]]
    references = np.zeros((2, 2, 8), "int32")
    for image, own in enumerate(captions):
        for row, tokens in enumerate(task.encoded(own).numpy()):
            references[image, row, : len(tokens)] = tokens
    images = np.random.default_rng(0).random((2, *model.input["image"].shape[1:]), "float32")
    inputs, y, weights = sampled.batch({"image": tf.constant(images)}, tf.constant(references), 3)
    np.testing.assert_array_equal(inputs["image"], np.repeat(images, SAMPLES, axis=0))
    tokens, advantage, reward = np.moveaxis(y.numpy(), -1, 0)
    np.testing.assert_array_equal(inputs["target"][:, 1:], tokens[:, :-1])
    np.testing.assert_array_equal(weights, tokens > 0)
    corpus = [
        row["captions"].decode().lower().replace(".", "").split("\n") for row in source.dataset.as_numpy_iterator()
    ]
    scorer = metrics.CiderD([[[*text.split(), "END"] for text in own] for own in corpus])
    expected = []
    for number, row in enumerate(tokens.astype(int).tolist()):
        length = row.index(END) if END in row else len(row)
        assert all(each == 0 for each in row[length + 1 :])
        words = task.target_vocabulary.decode(tf.ragged.constant([row[:length]], tf.int32)).numpy()[0].decode().split()
        own = [[*text.split(), "END"] for text in captions[number // SAMPLES]]
        expected.append(scorer.scores([words + ["END"] * (END in row)], [own])[0])
    np.testing.assert_allclose(reward[:, 0], expected, atol=1e-5)
    assert max(expected) > 0
    groups = reward[:, 0].reshape(2, SAMPLES)
    others = (groups.sum(axis=1, keepdims=True) - groups) / (SAMPLES - 1)
    np.testing.assert_allclose(advantage[:, 0].reshape(2, SAMPLES), groups - others, atol=1e-5)
    again = sampled.batch({"image": tf.constant(images)}, tf.constant(references), 3)[1]
    np.testing.assert_array_equal(y, again)
    assert not np.array_equal(tokens[:, :1], sampled.batch({"image": tf.constant(images)}, references, 4)[1][:, :1, 0])


def test_training_raises_the_reward(folder, tmp_path):
    zoo.train("show_attend_tell", tmp_path, freeze="encoder", **recipe(folder, epochs=6, samples=8))
    rewards = [-float(row["loss"]) for row in history(tmp_path)]
    assert rewards[-1] > 1.5 * rewards[0] > 0


@pytest.mark.slow
def test_a_run_resumes_to_the_bit(folder, tmp_path):
    wanted = recipe(folder, epochs=2)
    zoo.train("show_attend_tell", tmp_path / "whole", freeze="encoder", **wanted)
    zoo.train("show_attend_tell", tmp_path / "parts", freeze="encoder", steps=4, **wanted)
    zoo.train("show_attend_tell", tmp_path / "parts", freeze="encoder", **wanted)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ("mlp", {}, "image_classification has no rewards: leave out training.self_critical"),
        (
            "show_attend_tell",
            {"self_critical": "bleu"},
            "training.self_critical must be cider for captioning, got 'bleu'",
        ),
        ("show_attend_tell", {"label_smoothing": 0.1}, "label_smoothing must be 0 with self_critical"),
        ("show_attend_tell", {"samples": 1}, "training.samples"),
    ],
)
def test_what_can_not_be_rewarded(folder, digits_folder, tmp_path, model, training, message):
    wanted = recipe(folder, epochs=1, **training)
    if model == "mlp":
        wanted |= {"data": {"folder": str(digits_folder)}, "task": {}, "model_overrides": {}}
    with pytest.raises(ZooError, match=message):
        zoo.train(model, tmp_path / "out", **wanted)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.h5"))


def test_several_devices_are_refused():
    with pytest.raises(ZooError, match="training.self_critical needs one device, not 2"):
        check(task_of(make("show_attend_tell")), "cider", 2)
