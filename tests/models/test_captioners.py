"""The mathematics of the captioners, computed a second time in NumPy."""

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.contracts import contract_of
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.models.captioning.show_attend_tell import DoublyStochastic
from zoo.registry import tapped


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(weights, x, h, c):
    """Keras's LSTM by its equations; weights are kernel, recurrent kernel and bias."""
    kernel, recurrent, bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def dense(layer, x):
    kernel, *bias = layer.get_weights()
    return x @ kernel + (bias[0] if bias else 0)


@pytest.fixture(scope="module", params=[None, 5])
def attentive(request):
    return make("show_attend_tell", annotation=request.param)


def test_show_attend_tell_computes_its_equations(attentive):
    """Section 3.1 and 4.2 of the paper: attention, gate, LSTM and deep output, step by step."""
    model, inputs = attentive, contract_of(attentive).inputs(attentive, 3)
    annotations = np.array(model.encoder({"image": inputs["image"]})["grid"]).reshape(3, 25, -1)
    if model.arguments["annotation"]:
        annotations = dense(model.annotations, annotations)
    decoder, attention = model.decoder, model.decoder.attention
    key_kernel, query_kernel, bias, energy = attention.get_weights()
    mean = annotations.mean(axis=1)
    h, c = np.tanh(dense(decoder.first_h, mean)), np.tanh(dense(decoder.first_c, mean))
    table, context_kernel = model.target_embedding.get_weights()[0], decoder.context.get_weights()[0]
    logits = np.array(model(inputs)["logits"])
    for step, tokens in enumerate(inputs["target"].T):
        scores = np.tanh((h @ query_kernel)[:, None] + annotations @ key_kernel + bias) @ energy
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        alpha = scores / scores.sum(axis=1, keepdims=True)  # (B, S, 1)
        context = sigmoid(dense(decoder.gate, h)) * (alpha * annotations).sum(axis=1)
        embedded = table[tokens]
        kernel, recurrent, own_bias = decoder.cell.get_weights()
        stacked = np.concatenate([kernel, context_kernel]), recurrent, own_bias
        h, c = lstm_step(stacked, np.concatenate([embedded, context], axis=-1), h, c)
        deep = embedded + dense(model.output_state, h) + dense(model.output_context, context)
        np.testing.assert_allclose(logits[:, step], dense(model.head, deep), rtol=1e-4, atol=1e-5)


def test_show_and_tell_reads_the_image_first():
    model = make("show_and_tell")
    inputs = contract_of(model).inputs(model, 3)
    grid = np.array(model.encoder({"image": inputs["image"]})["grid"])
    weights, table = model.decoder.cell.get_weights(), model.target_embedding.get_weights()[0]
    states = lstm_step(weights, dense(model.image_embedding, grid.mean(axis=(1, 2))), np.zeros((3, 8)), 0)
    logits = np.array(model(inputs)["logits"])
    for step, tokens in enumerate(inputs["target"].T):
        states = lstm_step(weights, table[tokens], *states)
        np.testing.assert_allclose(logits[:, step], dense(model.head, states[0]), rtol=1e-4, atol=1e-5)


def test_the_penalty_of_doubly_stochastic_attention():
    """By hand: two captions of 2 and 1 tokens over two places, and a row of padding alone."""
    layer = DoublyStochastic(0.5)
    attention = np.array([[[0.75, 0.25], [0.5, 0.5]], [[1.0, 0.0], [0.3, 0.7]], [[0.5, 0.5], [0.5, 0.5]]], "float32")
    target = np.array([[1, 5], [1, 2], [0, 0]])  # the end, 2, stands before the padding
    states = np.ones((3, 2, 4), "float32")
    np.testing.assert_array_equal(layer(states, attention, target, training=True), states)
    # sums over tokens: (1.25, 0.75) and (1, 0), so the penalties are 0.125 and 1, for 3 tokens
    assert float(layer.losses[0]) == pytest.approx(0.5 * (0.125 + 1.0) / 3)
    layer(states, attention, target, training=False)
    assert not layer.losses


@pytest.mark.parametrize("name", ["show_and_tell", "show_attend_tell"])
def test_an_encoder_without_feature_maps_is_refused(name):
    with pytest.raises(ZooError, match="no feature maps with an extent"):
        zoo.create_model(name, encoder="mlp", target_vocabulary=30)


def test_the_grid_is_the_last_feature_maps():
    from zoo.layers.grids import grid_model
    from zoo.layers.model import named

    encoder = zoo.create_model("efficientnet_lite0", classes=0)
    grid = grid_model(named(encoder))
    assert grid.output["grid"].shape == (None, 7, 7, 1280)
    maps = grid({"image": np.ones((1, 224, 224, 3))})["grid"]
    pooled = keras.ops.mean(maps, axis=(1, 2))
    np.testing.assert_allclose(pooled, encoder(np.ones((1, 224, 224, 3))), rtol=1e-4, atol=1e-5)


def test_a_tap_may_be_the_encoder():
    """A model inside the model: its output for the image that the captioner gets."""
    model = make("show_and_tell")
    inputs = contract_of(model).inputs(model, 2)
    grid = model.encoder({"image": inputs["image"]})["grid"]
    np.testing.assert_allclose(tapped(model, "encoder")(inputs)["encoder"], grid, rtol=1e-5, atol=1e-6)
