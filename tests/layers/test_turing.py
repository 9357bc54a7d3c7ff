"""The memory of a neural Turing machine, compared with an independent NumPy version of the paper's equations."""

import keras
import numpy as np
import pytest

from zoo.layers.turing import CONTROLLERS, FIRST, TuringMachine

UNITS, HEADS, PLACES, WIDTH, SHIFT = 5, 2, 6, 3, 1


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    x = np.exp(x - x.max())
    return x / x.sum()


def attention(memory, before, key, strength, gate, shifts, sharpness) -> np.ndarray:
    """Equations 5 to 9, (N,), in loops over the places."""
    similarity = [np.dot(np.tanh(key), row) / np.linalg.norm(np.tanh(key)) / np.linalg.norm(row) for row in memory]
    content = softmax(np.log1p(np.exp(strength)) * np.array(similarity))
    mixed = sigmoid(gate) * content + (1 - sigmoid(gate)) * before
    chances, count = softmax(shifts), len(memory)
    moved = [
        sum(mixed[(place - move) % count] * chances[move + SHIFT] for move in range(-SHIFT, SHIFT + 1))
        for place in range(count)
    ]
    powers = np.array(moved) ** (1 + np.log1p(np.exp(sharpness)))
    return powers / powers.sum()


def machine(inputs: np.ndarray, controller: str, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The steps of one sequence, inputs (T, G)."""
    kernel, head_kernel, head_bias, first_read, first_weights = (weight.astype("float64") for weight in weights)
    memory, read = np.full((PLACES, WIDTH), FIRST), np.tanh(first_read)
    places = [softmax(row) for row in first_weights]
    h = c = np.zeros(UNITS)
    rows = []
    for x in inputs.astype("float64"):
        if controller == "lstm":
            i, f, g, o = np.split(x + np.concatenate([h, read]) @ kernel, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            h = np.tanh(x + read @ kernel)
        chosen = h @ head_kernel + head_bias
        size = WIDTH + 3 + 2 * SHIFT + 1
        parts = [np.split(part, [WIDTH, WIDTH + 1, WIDTH + 2, size - 1]) for part in np.split(chosen[: 4 * size], 4)]
        places = [
            attention(memory, before, key, strength[0], gate[0], shifts, sharpness[0])
            for before, (key, strength, gate, shifts, sharpness) in zip(places, parts, strict=True)
        ]
        reads = [weights @ memory for weights in places[:HEADS]]
        changes = chosen[4 * size :].reshape(4, WIDTH)
        for weights, erase in zip(places[HEADS:], changes[:HEADS], strict=True):
            memory = memory * (1 - np.outer(weights, sigmoid(erase)))
        for weights, add in zip(places[HEADS:], changes[HEADS:], strict=True):
            memory = memory + np.outer(weights, np.tanh(add))
        read = np.concatenate(reads)
        rows.append({"outputs": np.concatenate([h, read]), "read_weights": places[:HEADS], "reads": reads,
                     "write_weights": places[HEADS:], "adds": np.tanh(changes[HEADS:])})  # fmt: skip
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(params=CONTROLLERS)
def case(request):
    """A layer with large random weights, so that every part has an influence, and inputs (2, 4, G)."""
    layer = TuringMachine(UNITS, request.param, HEADS, PLACES, WIDTH, SHIFT)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2, 4, layer.gates)).astype("float32")
    layer.build(inputs.shape)
    layer.set_weights([random.normal(0, 0.8, weight.shape) for weight in layer.weights])
    return layer, inputs


def test_steps_equal_numpy(case):
    layer, inputs = case
    steps = layer.run(inputs)
    for row, sequence in enumerate(inputs):
        for name, expected in machine(sequence, layer.controller, layer.get_weights()).items():
            np.testing.assert_allclose(steps[name][row], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(layer(inputs), steps["outputs"])


def test_attention_sums_to_one(case):
    layer, inputs = case
    steps = layer.run(100 * inputs)  # gates that are open or shut
    for name in ("read_weights", "write_weights"):
        np.testing.assert_allclose(np.sum(steps[name], axis=-1), 1.0, rtol=1e-5)


def test_mistakes():
    with pytest.raises(ValueError, match="controller must be one of lstm, feed_forward, got 'gru'"):
        TuringMachine(controller="gru")
    with pytest.raises(ValueError, match="the last axis of the input must be 20, got 3"):
        TuringMachine(5).build((None, None, 3))


def test_configuration():
    layer = TuringMachine(UNITS, "feed_forward", HEADS, PLACES, WIDTH, 2)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    assert (again.gates, again.shift) == (UNITS, 2)
