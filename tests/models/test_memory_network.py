"""The memory network against equations 1 to 4 of Sukhbaatar et al. 2015, computed line by line in NumPy."""

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from zoo.errors import ZooError


def encoded(words, table):
    """A line's words, without padding, and a table (V, D) -> its vector (D,)."""
    length, size = len(words), table.shape[1]
    depth = np.arange(1, size + 1) / size
    parts = [2 * ((1 - j / length) - depth * (1 - 2 * j / length)) for j in range(1, length + 1)]  # not once, as there
    return sum((part * table[word] for part, word in zip(parts, words, strict=True)), np.zeros(size))


def answered(weights: dict, story, question, classes: int, softmax: bool):
    """The logits of one item, and the weights of the lines at each hop."""
    names = ["A", "C1", "C2"]
    u, read = encoded(question, weights["A"]), []
    for before, after in zip(names, names[1:], strict=False):
        m = np.stack([encoded(line, weights[before]) + weights[f"T_{before}"][i] for i, line in enumerate(story)])
        c = np.stack([encoded(line, weights[after]) + weights[f"T_{after}"][i] for i, line in enumerate(story)])
        p = m @ u
        p = np.exp(p) / np.exp(p).sum() if softmax else p
        u, _ = u + p @ c, read.append(p)
    return weights["C2"][4 : 4 + classes] @ u, np.stack(read)


@pytest.mark.parametrize("softmax", [True, False])
def test_the_equations(softmax):
    model = make("memory_network", softmax=softmax)
    inputs = CONTRACTS["question_answering"].inputs(model, 3)
    layer = model.get_layer("memory")
    weights = {weight.name: 5 * weight.numpy().astype("float64") for weight in layer.weights}
    assert sorted(weights) == ["A", "C1", "C2", "T_A", "T_C1", "T_C2"]
    for weight in layer.weights:
        weight.assign(weights[weight.name])
    logits = model(inputs)["logits"]
    _, read = layer(inputs["story"], inputs["line_count"], inputs["question"])
    for item, count in enumerate([6, 3, 2]):  # the memory has 6 lines, the first story 7
        story = [[word for word in line if word] for line in inputs["story"][item, :count]]
        question = [word for word in inputs["question"][item] if word]
        expected, lines = answered(weights, story, question, 5, softmax)
        np.testing.assert_allclose(logits[item], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(read[item, :, :count], lines, rtol=1e-4, atol=1e-5)
        assert not np.any(read[item, :, count:])


def test_without_answers():
    """The state after the last hop, of which the logits are products with the answers' rows of the last table."""
    model, short = make("memory_network"), make("memory_network", classes=0)
    short.set_weights(model.get_weights())
    inputs = CONTRACTS["question_answering"].inputs(model, 3)
    rows = model.get_layer("memory").words[-1][4:9]
    state = short(inputs)["embeddings"]
    np.testing.assert_allclose(model(inputs)["logits"], state @ keras.ops.transpose(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"vocabulary": 9, "classes": 6}, "vocabulary must be >= 10 for 6 answers, got 9"),
        ({"hops": 0}, "hops and memory must be integers >= 1, got 0 and 50"),
        ({"memory": 0}, "hops and memory must be integers >= 1, got 3 and 0"),
    ],
)
def test_sizes_that_do_not_fit(overrides, error):
    with pytest.raises(ZooError, match=error):
        zoo.create_model("memory_network", **overrides)
