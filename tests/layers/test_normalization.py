"""Normalization layers against Keras's own and NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers.normalization import BatchNormalization, LocalResponseNormalization

RANDOM = np.random.default_rng(0)

IMAGES = RANDOM.normal(1.0, 2.0, (5, 6, 7, 4)).astype("float32")


def pair(shape=IMAGES.shape, **arguments) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Ours and Keras's, with the same weights, none of which is what a layer starts with."""
    layers = BatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)
    values = [RANDOM.uniform(0.5, 2.0, 4).astype("float32") for _ in range(4)]
    for layer in layers:
        layer.build(shape)
        layer.set_weights(values[: len(layer.weights)])
    return layers


def results(layer, images, training) -> list[np.ndarray]:
    """Outputs, gradients to images and weights, and what the layer keeps."""
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training)
        loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)))
    gradients = tape.gradient(loss, [images, *(weight.value for weight in layer.trainable_weights)])
    return [np.array(value, "float32") for value in (outputs, *gradients, *layer.get_weights())]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"momentum": 0.9, "epsilon": 1e-5}, {"center": False}, {"scale": False}, {"axis": 3}, {"trainable": False}],
    ids=str,
)
def test_batch_normalization_is_keras_own(arguments, training):
    ours, keras_own = pair(**arguments)
    for value, expected in zip(results(ours, IMAGES, training), results(keras_own, IMAGES, training), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_batch_normalization_takes_the_fused_operation_in_a_graph():
    layer, plain = pair()
    for each, expected in ((layer, True), (plain, False)):
        graph = (
            tf.function(lambda x, each=each: each(x, training=True)).get_concrete_function(tf.constant(IMAGES)).graph
        )
        assert any("FusedBatchNorm" in operation.type for operation in graph.get_operations()) == expected


def test_batch_normalization_has_keras_weights_and_configuration():
    ours, keras_own = pair(momentum=0.8)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in keras_own.weights]
    different = {key for key in ours.get_config() if ours.get_config()[key] != keras_own.get_config()[key]}
    assert different <= {"name"}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_batch_normalization_in_mixed_precision(policy):
    ours, keras_own = pair(dtype=policy)
    for value, expected in zip(results(ours, IMAGES, True), results(keras_own, IMAGES, True), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0.02, atol=0.05)
    assert ours(IMAGES).dtype == keras_own(IMAGES).dtype


def test_batch_normalization_of_flat_and_masked_inputs_goes_keras_way():
    flat = IMAGES.reshape(-1, 4)
    ours, keras_own = pair(flat.shape)
    np.testing.assert_allclose(ours(flat, training=True), keras_own(flat, training=True), rtol=1e-5, atol=1e-6)
    mask = RANDOM.random((5, 6, 7)) < 0.5
    ours, keras_own = pair()
    for layer in (ours, keras_own):
        layer(IMAGES, training=True, mask=mask)
    np.testing.assert_allclose(ours.moving_mean, keras_own.moving_mean, rtol=1e-5)
    without = pair()[0]
    without.set_weights(keras_own.get_weights())
    assert np.abs(ours(IMAGES, training=True, mask=mask) - without(IMAGES, training=True)).max() > 0.01


@pytest.mark.parametrize(
    ("size", "bias", "alpha", "beta"), [(5, 2.0, 1e-4, 0.75), (9, 1.0, 0.1, 0.5), (3, 1.0, 1.0, 2.0)]
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_local_response_normalization(size, bias, alpha, beta, dtype):
    """Krizhevsky et al. 2012, section 3.3, written out."""
    images = RANDOM.normal(0, 3, (2, 3, 3, 11)).astype("float32")
    expected = np.empty_like(images)
    for i in range(11):
        around = images[..., max(0, i - size // 2) : min(11, i + size // 2 + 1)]
        expected[..., i] = images[..., i] / (bias + alpha * (around**2).sum(-1)) ** beta
    layer = LocalResponseNormalization(size, bias, alpha, beta, dtype=dtype)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(np.array(layer(images), "float32"), expected, rtol=tolerance, atol=tolerance)
    again = LocalResponseNormalization.from_config(layer.get_config())
    np.testing.assert_array_equal(np.array(again(images), "float32"), np.array(layer(images), "float32"))


def test_local_response_normalization_of_an_even_number_of_maps():
    with pytest.raises(ValueError, match="size must be an odd integer >= 1, got 4"):
        LocalResponseNormalization(4)
