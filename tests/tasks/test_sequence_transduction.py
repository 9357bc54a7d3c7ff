"""Sequences of bits as the model's steps, their targets and metrics, answers, bad input and explanations."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS
from zoo import inference
from zoo.data.layouts import SequenceLines
from zoo.data.stream import named_errors
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of
from zoo.tasks.losses import BitErrorRate, ItemAccuracy, SequenceErrorRate

WIDTH, BITS = 3, 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    tiny = {"width": WIDTH, "bits": BITS, "units": 8, "places": 6, "memory_width": 4}
    return zoo.create_model("neural_turing_machine", **tiny)


@pytest.fixture(scope="module")
def pipeline(model):
    return zoo.pipeline(model)


VECTORS = np.array([[1, 0, 1], [0, 1, 1]], "float32")


def test_steps_and_targets(model):
    """The input, the end mark, and zeros for the answer; only the answer counts."""
    task = task_of(model)
    example = {"input": tf.constant(VECTORS), "output": tf.constant(1 - VECTORS)}
    prepared, y = task.prepare(task.read(example)), task.targets(example)
    steps = [[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert prepared["sequence"].dtype == tf.uint8
    assert prepared["sequence"].numpy().tolist() == steps
    inputs, targets, weights = task.batch({"sequence": prepared["sequence"][tf.newaxis]}, y[tf.newaxis])
    assert inputs["sequence"].dtype == tf.float32
    assert weights.numpy().tolist() == [[0, 0, 0, 1, 1]]
    assert targets[0, 3:].numpy().tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("settings", "last", "expected"),
    [({}, 0, 2), ({"answer_length": 4}, 0, 4), ({"repeats": True}, 5, 6), ({"reals": 1}, 0.5, 2)],
)
def test_the_length_of_an_answer(model, settings, last, expected):
    """Alone and in a batch, beside a longer input."""
    sequence = np.array([[1, 0, 0], [0, 1, last]], "float32")
    longer = np.concatenate([np.zeros((3, 3), "float32"), sequence])
    pipeline = zoo.pipeline(model, **settings)
    alone, (first, second) = pipeline(sequence), pipeline([sequence, longer])
    assert len(alone["vectors"]) == len(first["vectors"]) == expected
    assert [vector["bits"] for vector in first["vectors"]] == [vector["bits"] for vector in alone["vectors"]]
    assert len(second["vectors"]) == {2: 5, 4: 4, 6: 21}[expected]


def test_an_answer_has_the_signs_of_the_logits(model, pipeline):
    steps = np.zeros((1, 5, 4), "float32")
    steps[0, :2, :3], steps[0, 2, 3] = VECTORS, 1
    logits = model.predict(steps, verbose=0)[0, 3:]
    answer = pipeline(VECTORS)["vectors"]
    assert [vector["bits"] for vector in answer] == (logits > 0).astype(int).tolist()
    probabilities = 1 / (1 + np.exp(-np.abs(logits)))
    np.testing.assert_allclose([vector["score"] for vector in answer], probabilities.prod(axis=1), rtol=1e-5)


def test_a_sequence_may_be_lists_or_json(model, pipeline, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(VECTORS.tolist()))
    np.save(tmp_path / "a.npy", VECTORS.astype(bool))
    forms = [VECTORS.tolist(), "[[1, 0, 1], [0, 1, 1]]", tmp_path / "a.json", str(tmp_path / "a.npy")]
    expected = pipeline(VECTORS)["vectors"]
    for form in forms:
        assert pipeline(form)["vectors"] == expected


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros((4, 2)), "expected an array of shape (any, 3), got (4, 2)"),
        (np.zeros((0, 3)), "expected an array of shape (any, 3), got (0, 3)"),
        (np.full((2, 3), np.nan), "values must be finite, got NaN or infinity"),
        (np.full((2, 3), 2), "values must be 0 or 1"),
        (np.full((2, 3), 0.5), "values must be 0 or 1"),
        (np.zeros((201, 3)), "201 vectors are more than the limit of 200"),
        ("[[1, 0, 1], [0, 1]]", "lists of unequal lengths, or of other things than numbers, are not a tensor"),
        ("[[1, 0, 1", "not a JSON list of numbers"),
    ],
)
def test_bad_input(pipeline, item, message):
    bad, good = pipeline([item, VECTORS], errors="return")
    assert message in bad["error"]
    assert "\n" not in bad["error"]
    assert len(good["vectors"]) == 2


@pytest.mark.parametrize("last", [0, 1.5, -1, 1000])
def test_a_number_of_repetitions_is_an_integer(model, last):
    with pytest.raises(InputError, match="only the last vector has a number of repetitions"):
        zoo.pipeline(model, repeats=True)(np.array([[1, 0, 0], [0, 1, last]], "float32"))


def test_mistakes(model):
    with pytest.raises(ZooError, match="reals=4 must be at most the size of a vector, 3"):
        zoo.pipeline(model, reals=4)
    with pytest.raises(ZooError, match="repeats sets the length of an answer: leave out answer_length"):
        zoo.pipeline(model, repeats=True, answer_length=2)


def test_metrics():
    """Two items of two vectors in each of two sequences; the weights leave out the steps before the answer."""
    y = np.array([[[0, 0], [1, 0], [1, 1], [0, 0], [0, 1]], [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]], "float32")
    logits = np.where(y > 0, 2.0, -2.0)
    logits[:, 0] = 2.0  # wrong, before the answer
    logits[1, 2] *= -1  # both bits of a vector
    weights = np.array([[0, 1, 1, 1, 1]] * 2, "float32")
    expected = [
        (BitErrorRate(), 2 / 16),
        (SequenceErrorRate(), 1 / 2),
        (ItemAccuracy(2), 3 / 4),
        (ItemAccuracy(), 7 / 8),
    ]
    for metric, value in expected:
        metric.update_state(y, logits, weights)
        assert float(metric.result()) == pytest.approx(value)
    marked = np.where(weights[..., None] > 0, y, 2)  # the same without weights
    for metric, value in expected:
        metric.reset_state()
        metric.update_state(marked, logits)
        assert float(metric.result()) == pytest.approx(value)
    assert ItemAccuracy.from_config(ItemAccuracy(3).get_config()).size == 3


def test_the_loss_is_that_of_the_answer(model):
    y, logits = np.array([[[1.0], [1.0], [0.0]]]), np.array([[[9.0], [0.5], [-1.0]]])
    loss = task_of(model).loss()(y, logits, sample_weight=np.array([[0.0, 1.0, 1.0]]))
    assert float(loss) == pytest.approx((np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-1.0))) / 2)


def test_evaluating_a_file(model, pipeline, tmp_path):
    """The figures are those of the answers to the file's test split."""
    data = CONTRACTS["sequence_transduction"].training_data(None, tmp_path / "data")
    zoo.save(model, tmp_path / "saved")
    metrics = zoo.evaluate(tmp_path / "saved", str(data))["metrics"]
    rows = [*SequenceLines().open(data, "test").dataset.as_numpy_iterator()]
    bits = [[vector["bits"] for vector in answer["vectors"]] for answer in pipeline([row["input"] for row in rows])]
    wrong = np.array(bits) != np.array([row["output"] for row in rows])  # (examples, 3, 3)
    expected = {
        "bit_error_rate": wrong.mean(),
        "sequence_error_rate": wrong.any(axis=(1, 2)).mean(),
        "item_accuracy": 1 - wrong.any(axis=2).mean(),
    }
    assert metrics == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"input": [[1, 0]]}'], "line 1: expected"),
        (['{"input": [[1, 0], [1]], "output": [[1]]}'], "line 1: expected"),
        (['{"input": [[1]], "output": [[1]]}', '{"input": [[1, 0]], "output": [[1]]}'], "line 2: the vectors of input"),
    ],
)
def test_bad_files(tmp_path, lines, message):
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(ZooError, match=message):
        SequenceLines().open(tmp_path / "a.jsonl", "train")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([[1, 0, 1]] * 3, "a.jsonl, line [1-9]: an output of 3 vectors, but the answer has 1: set task.answer_length"),
        ([[2, 0, 1]], "a.jsonl, line [1-9]: values of an output must be 0 or 1"),
    ],
)
def test_bad_outputs(model, tmp_path, output, message):
    row = json.dumps({"input": [[1, 0, 1]], "output": output})
    (tmp_path / "a.jsonl").write_text("\n".join([row] * 9))
    with pytest.raises(ZooError, match=message), named_errors():
        next(iter(zoo.dataset(tmp_path / "a.jsonl", model=model)))


def test_a_bad_line_is_named(model, tmp_path):
    good, bad = (json.dumps({"input": [[1, 0, last]], "output": [[1, 0, 1]]}) for last in (1, 3))
    (tmp_path / "a.jsonl").write_text("\n".join([*[good] * 4, bad, *[good] * 5]))
    with pytest.raises(ZooError, match="a.jsonl, line 5: values must be 0 or 1"), named_errors():
        list(zoo.dataset(tmp_path / "a.jsonl", "all", model=model))


def test_a_machine_has_no_embeddings(model, tmp_path):
    zoo.save(model, tmp_path / "preset")
    with pytest.raises(ZooError, match="neural_turing_machine generates sequences: its embeddings and outputs of lay"):
        list(inference.embed(tmp_path / "preset", [VECTORS], layer="controller"))


def test_explanation(model, tmp_path):
    [row] = zoo.explain(model, VECTORS, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").stat().st_size > 10_000
    assert row["write_weights"].shape == row["read_weights"].shape == (5, 1, 6)
    assert row["adds"].shape == row["reads"].shape == (5, 1, 4)
    np.testing.assert_allclose(row["read_weights"].sum(axis=-1), 1.0, rtol=1e-5)
    assert row["vectors"] == zoo.pipeline(model)(VECTORS)["vectors"]
    with pytest.raises(ZooError, match="lstm_transducer has no memory to show"):
        zoo.explain(zoo.create_model("lstm_transducer", width=3, bits=3, units=4), VECTORS, tmp_path / "no.png")
