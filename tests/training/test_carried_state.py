"""State that each batch hands to the next: truncated backpropagation through time, by a toy that reads texts."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.processes import run_child
from tests.helpers.toy_training import SPAN, install, write_texts
from zoo import preset
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.training import checkpoints, setup
from zoo.training.carried import Carried
from zoo.training.loop import Loop
from zoo.training.recipe import Training, read_recipe

ROWS = 5
TRAINING = {"epochs": 3, "batch_size": ROWS, "weight_averaging": 0.9, "global_clipnorm": 1.0, "checkpoint_seconds": 0.0}


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    return tmp_path / "site"


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every step, whatever it costs."""
    monkeypatch.setattr(checkpoints, "COST", 1e9)


def reader(tmp_path, precision="float32", **training):
    """A loop by plain SGD, and the batches of the training texts."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        model = zoo.create_model("toy_reader")
    finally:
        keras.config.set_dtype_policy("float32")
    task = task_of(model)
    source = open_source(write_texts(tmp_path / "texts.tsv"), "train", task.fields, task.layout)
    batches = stream(task, source, ROWS, augment=False, shuffle=False)
    model.compile(keras.optimizers.SGD(0.5), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    loop = Loop(
        model, Training(epochs=1, batch_size=ROWS, precision=precision, **training), tf.distribute.get_strategy(),
        objective=setup.make_objective(task, 0.0), carried=setup.carried_state(task), rows=ROWS,
    )  # fmt: skip
    return loop, batches


def by_hand(model, batches, learns: bool):
    """Losses and hits, batch after batch: the state is a constant to the gradient and zero where a text begins."""
    state = np.zeros((ROWS, 5), "float32")
    losses, hits, resets = [], [], 0
    for x, y in batches:
        starts = x["starts"].numpy()
        resets += int(starts.sum())
        state = np.where(starts[:, None], np.float32(0), state)
        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = model({"tokens": x["tokens"], "state_in": tf.constant(state)}, training=learns)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs["logits"]))
        if learns:
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(0.5 * tf.convert_to_tensor(gradient))
        state = outputs["a_state"].numpy()
        losses.append(float(loss))
        hits.append(np.mean(np.argmax(outputs["logits"], -1) == y.numpy()))
    assert 0 < resets < len(losses) * ROWS  # so that both a reset and a state that goes on count
    return losses, float(np.mean(hits))


def history(path) -> list[dict]:
    with open(path / "history.csv", newline="") as file:
        timing = ("seconds", "examples_per_second")
        return [{key: row[key] for key in row if key not in timing} for row in csv.DictReader(file)]


def assert_same_run(one, other):
    weights = [preset.load_model(preset.open_preset(path)).get_weights() for path in (one, other)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert history(one) == history(other)


def test_rows_continue_the_rows_before_them(tmp_path):
    _, batches = reader(tmp_path)
    before = None
    for x, y in batches.epoch(0):
        assert x["tokens"].shape == (ROWS, SPAN)
        if before is not None:
            np.testing.assert_array_equal(x["tokens"][:, 0], before)
        before = y[:, -1]
    assert batches.steps == batches.examples / ROWS > 10


@pytest.mark.parametrize("accumulation", [1, 2])
def test_training_is_truncated_backpropagation_through_time(accumulation, tmp_path):
    loop, batches = reader(tmp_path, accumulation=accumulation)
    twin = keras.models.clone_model(loop.model)
    twin.set_weights(loop.model.get_weights())
    for number in range(2):  # each epoch starts from zeros
        expected, _ = by_hand(twin, batches.epoch(number), learns=True)
        loop.losses, loop.norms = [], []
        loop.epoch(batches, number, 1000, lambda *_: None)
        np.testing.assert_allclose(loop.losses, expected, rtol=1e-4)
    for found, wanted in zip(loop.model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_evaluation_carries_a_state_of_its_own(tmp_path):
    loop, batches = reader(tmp_path)
    loop.epoch(batches, 0, 7, lambda *_: None)
    state = loop.carried_state["state_in"].numpy()
    assert np.abs(state).max() > 0
    losses, accuracy = by_hand(loop.model, batches.epoch(0), learns=False)
    for _ in range(2):
        figures = loop.evaluate(batches)
        assert list(figures) == ["accuracy", "loss"]
        assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert figures["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    np.testing.assert_array_equal(loop.carried_state["state_in"], state)


def test_the_state_is_part_of_a_checkpoint(tmp_path):
    whole, batches = reader(tmp_path)
    first, second, forgetful = (reader(tmp_path)[0] for _ in range(3))
    whole.epoch(batches, 0, 1000, lambda *_: None)
    first.epoch(batches, 0, 3, lambda *_: None)
    second.restore(first.state())
    second.epoch(batches, 0, 1000, lambda *_: None)
    assert second.losses == whole.losses
    np.testing.assert_array_equal(second.carried_state["state_in"], whole.carried_state["state_in"])
    forgetful.restore({**first.state(), "carried/state_in": np.zeros((ROWS, 5), "float32")})
    forgetful.epoch(batches, 0, 4, lambda *_: None)
    assert forgetful.losses[3] != whole.losses[3]


def test_a_run_that_was_cut_in_an_epoch_goes_on_to_the_bit(often, tmp_path):
    data = {"folder": str(write_texts(tmp_path / "texts.tsv"))}
    settings = {"data": data, "training": TRAINING, "model_overrides": {"dropout": 0.2}}
    steps = []
    zoo.train("toy_reader", tmp_path / "whole", report=lambda step, *_: steps.append(step), **settings)
    per_epoch = max(steps) // 3
    for end in (per_epoch + 5, None):
        zoo.train("toy_reader", tmp_path / "cut", steps=end, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    losses = [float(row["loss"]) for row in history(tmp_path / "whole")]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_half_precision_keeps_the_state_in_float32(precision, tmp_path):
    loop, batches = reader(tmp_path, precision, weight_averaging=0.9)
    if loop.scale is not None:
        loop.scale.assign(2.0**24)  # so that the first steps overflow
    first = None
    for number in range(6):
        loop.losses, loop.norms = [], []
        loop.epoch(batches, number, 10_000, lambda *_: None)
        first = first or np.mean(loop.losses)
        state = loop.carried_state["state_in"]
        assert state.dtype == tf.float32
        assert np.isfinite(state).all()
        assert np.abs(state).max() > 0
    assert np.mean(loop.losses) < 0.9 * first


def test_a_state_that_is_not_finite_starts_anew(tmp_path):
    loop, _ = reader(tmp_path)
    values = [tf.constant([[np.inf, 1.0, np.nan, 2.0, 3.0]] * ROWS)]
    [whole] = loop.strategy.run(lambda: loop._all_rows(values))
    np.testing.assert_array_equal(whole, [[0.0, 1.0, 0.0, 2.0, 3.0]] * ROWS)


MIRRORED = """
import json, sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 7)
import zoo
name, out, settings = sys.argv[1:]
for strategy in ("one", "mirrored"):
    losses = []
    for end in (7, None):
        zoo.train(name, f"{out}/{strategy}", strategy=strategy, steps=end,
                  report=lambda step, total, row: losses.append(row["loss"]), **json.loads(settings))
    print(json.dumps(losses))
"""


@pytest.mark.slow
def test_replicas_without_rows_give_the_run_of_one(toys, tmp_path, monkeypatch):
    """Rows 5 over 7 replicas in half precision, of which two have none of their own; cut in an epoch."""
    monkeypatch.setenv("PYTHONPATH", str(toys))
    data = {"folder": str(write_texts(tmp_path / "texts.tsv"))}
    settings = json.dumps({"data": data, "training": {**TRAINING, "accumulation": 2, "precision": "mixed_float16"}})
    found = run_child(MIRRORED, "toy_reader", str(tmp_path), settings).splitlines()
    np.testing.assert_allclose(*map(json.loads, found), rtol=5e-3)
    figures = [[float(row["val_loss"]) for row in history(tmp_path / name)] for name in ("one", "mirrored")]
    np.testing.assert_allclose(*figures, rtol=5e-3)


def test_batches_must_be_full_and_in_order(tmp_path, monkeypatch):
    model = zoo.create_model("toy_reader")
    task = task_of(model)
    source = open_source(write_texts(tmp_path / "texts.tsv"), "train", task.fields, task.layout)
    with pytest.raises(ZooError, match="toy_reading carries state from batch to batch: its examples can't be shuffled"):
        stream(task, source, ROWS, augment=False, shuffle=True)
    assert not next(iter(zoo.dataset(tmp_path / "texts.tsv", model=model, batch_size=ROWS)))[1].shape[0] % ROWS
    monkeypatch.setattr(type(task), "examples", lambda self, source, batch_size: source)
    with pytest.raises(ZooError, match=r"has 42 examples in train, which is not a multiple of batch_size 5"):
        stream(task, source, ROWS, augment=False, shuffle=False)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"state": "state_in"}, "must have the output 'state' and the input 'state_in' of carried state"),
        ({"a_state": "state"}, "must have the output 'a_state' and the input 'state' of carried state"),
        ({"logits": "state_in"}, r"must have one fixed shape; logits has \(4, 5\), state_in has \(5,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(pairs, message):
    with pytest.raises(ZooError, match=message):
        Carried(pairs).check(zoo.create_model("toy_reader"))


def test_a_search_counts_the_steps_of_the_examples_that_the_task_makes(tmp_path):
    _, batches = reader(tmp_path)
    _, recipe = read_recipe("toy_reader", {"data.folder": str(tmp_path / "texts.tsv"), "training": TRAINING})
    source = setup.open_sources(recipe)["train"]
    assert setup.steps_per_epoch(recipe, source) == batches.steps != -(-source.examples // ROWS)
