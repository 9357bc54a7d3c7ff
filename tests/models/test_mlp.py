"""The multilayer network against the equations of the review's Figure 1c and 1d, written in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import zoo

FUNCTIONS = {
    "relu": lambda z: np.maximum(0, z),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}

DERIVATIVES = {
    "relu": lambda z: (z > 0).astype(float),
    "tanh": lambda z: 1 - FUNCTIONS["tanh"](z) ** 2,
    "sigmoid": lambda z: FUNCTIONS["sigmoid"](z) * (1 - FUNCTIONS["sigmoid"](z)),
}


def network(activation: str):
    """4 inputs, 5 and 3 hidden units, 2 outputs, random weights and biases; in float64 for NumPy."""
    model = zoo.create_model("mlp", input_shape=(2, 2, 1), classes=2, hidden_units=(5, 3), activation=activation)
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=weight.shape).astype("float32").astype("float64") for weight in model.weights]
    model.set_weights(weights)
    return model, weights


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_forward_and_backward_equal_the_figure(activation):
    model, (w1, b1, w2, b2, w3, b3) = network(activation)
    f, derivative = FUNCTIONS[activation], DERIVATIVES[activation]
    draw = np.random.default_rng(1)
    x, t = draw.normal(size=(6, 2, 2, 1)).astype("float32"), draw.normal(size=(6, 2)).astype("float32")

    # Figure 1c: z = sum of w y of the layer below, y = f(z).
    y0 = x.reshape(6, 4).astype("float64")
    z1 = y0 @ w1 + b1
    y1 = f(z1)
    z2 = y1 @ w2 + b2
    y2 = f(z2)
    y3 = y2 @ w3 + b3  # the output units pass on z

    # Figure 1d, with the cost E = 1/2 sum (y - t)^2: dE/dy = y - t at the output, dE/dz = dE/dy f'(z),
    # dE/dy below = sum of w dE/dz, dE/dw = y dE/dz.
    dz3 = y3 - t
    dz2 = (dz3 @ w3.T) * derivative(z2)
    dz1 = (dz2 @ w2.T) * derivative(z1)
    want = [y0.T @ dz1, dz1.sum(axis=0), y1.T @ dz2, dz2.sum(axis=0), y2.T @ dz3, dz3.sum(axis=0), dz1 @ w1.T]

    image = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(image)
        logits = model({"image": image})
        cost = 0.5 * tf.reduce_sum((logits - t) ** 2)
    gradients = tape.gradient(cost, [*(weight.value for weight in model.weights), image])
    np.testing.assert_allclose(logits.numpy(), y3, atol=1e-4)
    for got, wanted in zip(gradients, want, strict=True):
        np.testing.assert_allclose(np.reshape(got, wanted.shape), wanted, rtol=1e-4, atol=1e-4)
    assert all(np.abs(wanted).max() > 0.01 for wanted in want)  # nothing above compared zeros


def test_default_size():
    model = zoo.create_model("mlp")
    assert model.count_params() == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10 == 669_706
    assert [layer.name for layer in model.layers] == ["image", "flatten", "hidden1", "hidden2", "head"]


def test_any_number_of_hidden_layers_and_any_shape():
    model = zoo.create_model("mlp", input_shape=(3, 5, 3), hidden_units=(4, 6, 2), classes=7)
    assert [tuple(w.shape) for w in model.weights[::2]] == [(45, 4), (4, 6), (6, 2), (2, 7)]
    embedding = zoo.create_model("mlp", hidden_units=(4, 6), classes=0)
    assert embedding.output.shape == (None, 6)


@pytest.mark.parametrize("activation", ["softmax", "ReLU", "", None])
def test_an_activation_that_the_figure_does_not_name_is_refused(activation):
    with pytest.raises(ValueError, match="must be one of 'relu', 'tanh', 'sigmoid'"):
        zoo.create_model("mlp", activation=activation)


def test_dropout_acts_in_training_alone():
    model = zoo.create_model("mlp", hidden_units=(400, 400), dropout=0.25)
    assert model.count_params() == zoo.create_model("mlp", hidden_units=(400, 400)).count_params()
    x = tf.ones((1, 28, 28, 1))
    still = [model({"image": x}, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    moving = [model({"image": x}, training=True).numpy() for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).max() > 1e-3
    for name in ("dropout1", "dropout2"):
        dropped = model.get_layer(name)(tf.ones((50, 400)), training=True).numpy()
        np.testing.assert_allclose(np.unique(dropped), [0.0, 4 / 3], rtol=1e-6)  # what stays is scaled up
        assert abs((dropped == 0).mean() - 0.25) < 0.02
