"""Folding batch normalization into the layer before changes no answer."""

import keras
import numpy as np
import pytest

import zoo
from zoo.layers.folding import fold_batch_normalization
from zoo.layers.normalization import BatchNormalization

RANDOM = np.random.default_rng(0)


def randomised(model: keras.Model) -> keras.Model:
    """Every weight away from what it starts with; variances positive."""
    random = np.random.default_rng(1)
    model.set_weights(
        [random.uniform(0.1, 1.0, value.shape) * value.std() + value * 0.5 + 0.1 for value in model.get_weights()]
    )
    return model


def plan(kind: str) -> keras.Model:
    layers = keras.layers
    x = image = keras.Input((9, 9, 4))
    if kind == "convolution with a bias":
        x = BatchNormalization()(layers.Conv2D(6, 3, strides=2)(x))
    elif kind == "without a bias, twice":
        x = BatchNormalization(epsilon=0.1)(layers.Conv2D(6, 3, use_bias=False, padding="same")(x))
        x = layers.BatchNormalization(scale=False)(layers.Conv2D(5, 1, use_bias=False)(layers.ReLU()(x)))
    elif kind == "depthwise":
        x = BatchNormalization()(layers.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False)(x))
    elif kind == "without a shift":
        x = layers.BatchNormalization(center=False)(layers.Conv2D(6, 3)(x))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize(
    ("kind", "left"),
    [("convolution with a bias", 0), ("without a bias, twice", 0), ("depthwise", 0), ("without a shift", 0)],
)
def test_folding_changes_no_answer(kind, left):
    model = randomised(plan(kind))
    folded = fold_batch_normalization(model)
    norms = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == left
    images = RANDOM.normal(0, 1, (3, 9, 9, 4)).astype("float32")
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-4, atol=1e-5)
    assert np.ptp(model(images)) > 0.01


def test_what_can_not_be_folded_stays():
    """A convolution with two readers, one with an activation, a model's output, and a norm that comes first."""
    layers = keras.layers
    image = keras.Input((9, 9, 4))
    twice = layers.Conv2D(4, 3)(image)
    active = layers.Conv2D(4, 3, activation="relu")(image)
    shown = layers.Conv2D(4, 3, name="shown")(image)
    first = layers.Conv2D(4, 3)(layers.BatchNormalization()(image))
    outputs = [layers.BatchNormalization()(twice), twice, layers.BatchNormalization()(active)]
    outputs += [layers.BatchNormalization()(shown), shown, first]
    model = randomised(keras.Model(image, outputs))
    assert fold_batch_normalization(model) is model


@pytest.mark.parametrize("name", ["resnet_cifar20", "efficientnet_lite0"])
def test_folding_a_network(name):
    from zoo.registry import entries

    model = randomised(zoo.create_model(name, **entries()[name].tiny))
    folded = fold_batch_normalization(model)
    assert folded.origin is model.origin
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    images = RANDOM.normal(0, 1, (3, *model.input.shape[1:])).astype("float32")
    value, expected = folded(images), model(images)
    np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_pipeline_of_a_preset_is_folded_and_of_a_model_is_not(tmp_path, digit_file):
    """A pipeline on a user's model answers with what the model learns later."""
    model = zoo.create_model("resnet_cifar20", depth=8)
    zoo.save(model, tmp_path / "preset")
    folded, live = zoo.pipeline(tmp_path / "preset"), zoo.pipeline(model)
    assert live.model is model
    assert len(folded.model.layers) < len(model.layers)
    before, also = live(digit_file), folded(digit_file)
    assert before["labels"] == also["labels"]
    np.testing.assert_allclose(before["scores"], also["scores"], atol=1e-5)
    head = model.get_layer("head")
    head.bias.assign(np.eye(10)[4] * 100)
    assert live(digit_file)["labels"][0] == "4"
