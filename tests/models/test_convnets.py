"""ConvNets against other implementations: Keras's own, the original network's answers, NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import preset
from zoo.errors import ZooError
from zoo.models.vision.alexnet import GroupedConvolution
from zoo.models.vision.cifar_convnet import LocallyConnected
from zoo.models.vision.resnet_cifar import PaddedShortcut
from zoo.registry import entries

RANDOM = np.random.default_rng(0)


def shape(model: keras.Model, layer: str) -> tuple:
    return model.get_layer(layer).output.shape[1:]


def test_vgg16_answers_as_keras_own():
    """With the same weights, at 32x32: at 224x224 the two differ in nothing but the first dense layer's size."""
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=7, classifier_activation=None)
    ours = zoo.create_model("vgg16", input_shape=(32, 32, 3), classes=7)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    ours.set_weights(theirs.get_weights())
    images = RANDOM.normal(0, 60, (2, 32, 32, 3)).astype("float32")
    expected = theirs(images).numpy()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours({"image": images}), expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))


def test_alexnet_has_the_maps_of_figure_2():
    model = zoo.create_model("alexnet")
    sizes = {"conv1": (55, 55, 96), "conv2": (27, 27, 256), "conv3": (13, 13, 384), "conv4": (13, 13, 384)}
    for layer, expected in {**sizes, "conv5": (13, 13, 256), "conv5_pool": (6, 6, 256), "fc7": (4096,)}.items():
        assert shape(model, layer) == expected
    neurons = sum(np.prod(shape(model, layer)) for layer in (*sizes, "conv5", "fc6", "fc7", "head"))
    assert neurons == 659_272  # "650,000 neurons"
    assert np.all(model.get_layer("conv2").bias.numpy() == 1)
    assert np.all(model.get_layer("conv3").bias.numpy() == 0)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_convolution_is_keras_own(groups):
    layer = GroupedConvolution(8, 3, groups, bias_initializer="ones")
    images = RANDOM.normal(0, 1, (2, 5, 5, 4)).astype("float32")
    value = layer(images)
    theirs = keras.layers.Conv2D(8, 3, groups=groups, padding="same")
    theirs.build(images.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(value, theirs(images), rtol=1e-4, atol=1e-5)


def test_grouped_convolution_of_numbers_that_do_not_divide():
    with pytest.raises(ValueError, match="3 groups do not divide 4 and 9 maps"):
        GroupedConvolution(9, 3, 3).build((None, 5, 5, 4))


def test_no_compiler_is_asked_for_in_alexnets_graph():
    """Keras's grouped convolution would put its mark for XLA into a SavedModel."""
    model = zoo.create_model("alexnet", **entries()["alexnet"].tiny)
    function = tf.function(lambda image: model({"image": image}))
    graph = function.get_concrete_function(tf.TensorSpec((None, 67, 67, 3))).graph.as_graph_def()
    assert b"_XlaMustCompile" not in graph.SerializeToString()


def test_locally_connected_is_a_convolution_of_its_own_at_each_place():
    layer = LocallyConnected(5, 3)
    images = RANDOM.normal(0, 1, (2, 4, 6, 3)).astype("float32")
    layer.build(images.shape)
    layer.set_weights([RANDOM.normal(0, 1, weight.shape) for weight in layer.weights])
    kernel, bias = layer.kernel.numpy().reshape(4, 6, 3, 3, 3, 5), layer.bias.numpy()
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.empty((2, 4, 6, 5), "float32")
    for row in range(4):
        for column in range(6):
            patch = padded[:, row : row + 3, column : column + 3]
            expected[:, row, column] = np.einsum("brci,rcio->bo", patch, kernel[row, column]) + bias[row, column]
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-4)


def test_padded_shortcut_is_option_a():
    images = RANDOM.normal(0, 1, (2, 5, 6, 3)).astype("float32")
    value = PaddedShortcut(8)(images).numpy()
    np.testing.assert_array_equal(value[..., :3], images[:, ::2, ::2])
    assert value.shape == (2, 3, 3, 8)
    assert not value[..., 3:].any()


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_resnet_has_its_layers(depth):
    model = zoo.create_model(f"resnet_cifar{depth}")
    weighted = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert len(weighted) == depth
    groups = [shape(model, f"group{group}_block{(depth - 2) // 6}_relu2") for group in (1, 2, 3)]
    assert groups == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


def test_resnet_of_another_depth():
    with pytest.raises(ZooError, match="depth must be 6 n .*, got 21"):
        zoo.create_model("resnet_cifar20", depth=21)


def test_embeddings_and_taps():
    name, tiny = "efficientnet_lite0", entries()["efficientnet_lite0"].tiny
    pooled = zoo.create_model(name, classes=0, **tiny)
    assert pooled.output.shape == (None, tiny["top"])
    model = zoo.create_model(name, taps=["stage2_block1_project_norm", "top_relu"], **tiny)
    outputs = model({"image": np.zeros((2, 32, 32, 3))})
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "stage2_block1_project_norm": (2, 8, 8, 8),
        "top_relu": (2, 1, 1, tiny["top"]),
    }
    for wrong, message in (("top_rely", "did you mean top_relu"), ([], "must name at least one layer")):
        with pytest.raises(ZooError, match=message):
            zoo.create_model(name, taps=wrong, **tiny)


def test_freezing_up_to_a_layer():
    tiny = entries()["resnet_cifar20"].tiny
    model = zoo.create_model("resnet_cifar20", freeze="up to group2_block1_add", **tiny)
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert "group2_block1_conv2_norm" in frozen
    assert {layer.name for layer in model.layers if layer.trainable and layer.weights} == {
        "group3_block1_conv1", "group3_block1_conv1_norm", "group3_block1_conv2", "group3_block1_conv2_norm", "head"
    }  # fmt: skip


def test_a_class_count_that_does_not_fit_the_labels():
    with pytest.raises(ZooError, match="classes must be the number of labels, 2, got 3"):
        zoo.load("efficientnet_lite0.imagenet", classes=3, labels=["a", "b"])


def test_weights_of_another_model(tmp_path):
    import shutil

    shutil.copytree(preset.BUNDLED / "efficientnet_lite0.imagenet", tmp_path / "mine")
    found = preset.open_preset(tmp_path / "mine")
    found = preset.update(found, model={"name": "resnet_cifar20", "overrides": {"classes": 1000}})
    with pytest.raises(ZooError, match="do not fit the model resnet_cifar20: it holds 247 arrays, the model has 97"):
        zoo.load(found.path)
