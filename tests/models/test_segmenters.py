"""U-Net and the sliding window: their sizes, and the equality of one pass with windows and with larger tiles."""

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.layers.fragments import FragmentPooling, JoinedFragments

RANDOM = np.random.default_rng(0)


def test_unet_has_the_sizes_of_the_paper():
    """Figure 1."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = zoo.create_model("unet")
            sizes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    finally:
        keras.utils.clear_session(free_memory=False)
    assert model.output.shape[1:] == (388, 388, 2)
    assert sizes["down1_relu2"] == (568, 568, 64)
    assert sizes["down4_relu2"] == (64, 64, 512)
    assert sizes["bottom_relu2"] == (28, 28, 1024)
    assert sizes["up4_join"] == (56, 56, 1024)
    assert sizes["up1_relu2"] == (388, 388, 64)


def test_unet_without_padding_sees_only_its_tile():
    """A part of a larger tile has the logits of the tile that ends there."""
    large, small = make("unet", input_shape=(72, 72, 1)), make("unet")
    small.set_weights(large.get_weights())
    images = RANDOM.random((1, 72, 72, 1), "float32")
    whole = np.array(large(images))  # (1, 32, 32, 2)
    for top, left in ((0, 0), (8, 16), (16, 4)):
        part = np.array(small(images[:, top : top + 56, left : left + 56]))
        np.testing.assert_allclose(part, whole[:, top : top + 16, left : left + 16], atol=1e-5)


def test_unet_with_padding_keeps_the_size():
    assert make("unet", padding="same", input_shape=(24, 32, 1)).output.shape[1:] == (24, 32, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (57, 57, 1)}, r"does not fit: at a depth of 2 with padding 'valid', a side may be 60"),
        ({"input_shape": (24, 30, 1), "padding": "same"}, "with padding 'same', a side may be 32"),
        ({"input_shape": (28, 28, 1)}, "is too small for a depth of 2"),
        ({"padding": "zeros"}, "padding must be 'valid' or 'same', got 'zeros'"),
    ],
)
def test_sizes_that_do_not_fit_unet_are_refused(arguments, message):
    with pytest.raises(ZooError, match=message):
        make("unet", **arguments)


def window_net(model: keras.Model) -> keras.Model:
    """Network N4 with the weights of a segmenter, in its plain form: the window of one pixel -> logits (B, 2)."""
    image = keras.Input((95, 95, 1))
    x = image
    for number in range(1, 5):
        like = model.get_layer(f"conv{number}")
        x = layers.MaxPooling2D(2)(layers.Conv2D(like.filters, like.kernel_size, activation="relu")(x))
    x = layers.Flatten()(x)
    hidden, head = (model.get_layer(name).get_weights() for name in ("hidden", "head"))
    dense = layers.Dense(hidden[0].shape[-1], activation="relu")
    answer = layers.Dense(head[0].shape[-1])
    net = keras.Model(image, answer(dense(x)))
    convolutions = [weight for number in range(1, 5) for weight in model.get_layer(f"conv{number}").get_weights()]
    flat = [weight.reshape(-1, weight.shape[-1]) if weight.ndim == 4 else weight for weight in (*hidden, *head)]
    net.set_weights([*convolutions, *flat])
    return net


def test_one_pass_equals_a_window_for_every_pixel():
    model = make("sliding_window_segmenter", input_shape=(110, 126, 1))
    images = RANDOM.random((2, 110, 126, 1), "float32")
    logits = np.array(model(images))  # (2, 16, 32, 2)
    assert logits.shape == (2, 16, 32, 2)
    places = [(row, column) for row in range(16) for column in (0, 1, 2, 3, 7, 13, 22, 31)]
    windows = np.stack([images[:, row : row + 95, column : column + 95] for row, column in places])
    expected = np.array(window_net(model)(windows.reshape(-1, 95, 95, 1))).reshape(len(places), 2, 2)
    assert expected.std(axis=0).min() > 1e-3
    for (row, column), own in zip(places, expected, strict=True):
        np.testing.assert_allclose(logits[:, row, column], own, atol=1e-5)


def test_a_size_without_equal_fragments_is_refused():
    with pytest.raises(ZooError, match=r"the sides of input_shape must be 110, 126, 142, \.\.\., got \(96, 96, 1\)"):
        make("sliding_window_segmenter", input_shape=(96, 96, 1))
    with pytest.raises(ValueError, match="needs an odd height and width, got 4 x 5"):
        FragmentPooling(name="pool")(keras.Input((4, 5, 1)))


def test_fragments_are_joined_in_the_places_of_the_pixels():
    """Pooling of a map that does not fall along its rows and columns takes the lower right pixel of each place."""
    x = np.arange(2 * 9 * 11, dtype="float32").reshape(2, 9, 11, 1)
    once = FragmentPooling()(x)
    np.testing.assert_array_equal(JoinedFragments(1)(once), x[:, 1:9, 1:11])
    x = np.arange(2 * 7 * 11, dtype="float32").reshape(2, 7, 11, 1)
    twice = FragmentPooling()(FragmentPooling()(x))
    np.testing.assert_array_equal(JoinedFragments(2)(twice), x[:, 3:7, 3:11])


def test_models_without_a_head_pool_their_last_maps():
    assert make("unet", classes=0).output.shape == (None, 4)
    assert make("sliding_window_segmenter", classes=0).output.shape == (None, 6)
