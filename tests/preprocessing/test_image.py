"""Pixels to a model's input: the digits' way, and the same numbers eagerly, in a data set and in a graph."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.helpers.drawings import draw_digit
from tests.helpers.image_samples import GOOD, scene
from zoo.preprocessing import augmentation, image_files
from zoo.preprocessing import image as image_ops

SEED = (3, 4)

COLOURS = scene().astype("float32") / 255

GREY = COLOURS[..., :1]


def distorted(image, seed, **settings):
    """One image through training's distortion."""
    draws = augmentation.draw(seed, settings.get("elastic", 0.0))
    return augmentation.distort(image[tf.newaxis], draws[tf.newaxis], **settings)[0]


CASES = {
    "to_float rgb": (lambda x: image_ops.to_float(x, "rgb"), scene()),
    "to_float grey": (lambda x: image_ops.to_float(x, "grey"), scene()),
    "reduce": (lambda x: image_ops.reduce(x, 20), COLOURS),
    "reduce nothing": (image_ops.reduce, COLOURS),
    "ink": (lambda x: image_ops.ink(x, None), GREY),
    "ink, light on dark": (lambda x: image_ops.ink(x, "light_on_dark"), GREY),
    "centre_ink": (lambda x: image_ops.centre_ink(x, (28, 24), 0.7), GREY),
    "crop_and_resize": (lambda x: image_ops.crop_and_resize(x, (12, 16), 0.8), COLOURS),
    "distort": (lambda x: distorted(x, SEED, rotate=10.0, zoom=0.2, shear=0.1, shift=2.0, elastic=1.5), COLOURS),
    **{f"read {name}": (image_files.read, raw) for name, raw in GOOD.items() if "scene" in name},
    "header of a good file": (image_files.header_error, GOOD["scene.gif"]),
    "header of a bad file": (image_files.header_error, b"GIF89a"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_eagerly_in_a_data_set_and_in_a_graph(name):
    function, value = CASES[name]
    value = tf.constant(value)
    eager = np.asarray(function(value).numpy())
    in_graph = tf.function(function)(value).numpy()
    (in_data,) = tf.data.Dataset.from_tensors(value).map(function).as_numpy_iterator()
    if eager.dtype == np.float32:
        np.testing.assert_allclose(in_graph, eager, atol=1e-5)
        np.testing.assert_allclose(in_data, eager, atol=1e-5)
        assert np.ptp(eager) > 0.1
    else:
        assert np.array_equal(in_graph, eager)
        assert np.array_equal(in_data, eager)


def prepared(picture: Image.Image, size: int = 28) -> np.ndarray:
    """The digits' way: grey, ink, centred."""
    pixels = tf.constant(np.asarray(picture.convert("RGB")))
    strength = image_ops.ink(image_ops.reduce(image_ops.to_float(pixels, "grey")), "light_on_dark")
    return image_ops.centre_ink(strength, (size, size), 0.714).numpy()


def test_luma():
    colours = np.eye(3, dtype="uint8")[None] * 255
    np.testing.assert_allclose(image_ops.to_float(colours, "grey")[0, :, 0], [0.299, 0.587, 0.114], atol=1e-6)
    np.testing.assert_allclose(image_ops.to_float(colours, "rgb")[0], np.eye(3), atol=1e-6)


@pytest.mark.parametrize("digit", "012347")
def test_a_digit_and_its_negative_are_one(digit):
    picture = draw_digit(digit, 40, ink=230, ground=20)
    light, dark = prepared(picture), prepared(ImageOps.invert(picture))
    assert light.max() > 0.9
    np.testing.assert_allclose(light, dark, atol=1e-4)


def test_without_polarity_a_dark_drawing_is_ground():
    dark = np.asarray(draw_digit("7", ink=0, ground=255), "float32")[..., None] / 255
    assert image_ops.ink(tf.constant(dark), None).numpy().max() == 0.0
    light = 1 - dark
    np.testing.assert_allclose(image_ops.ink(tf.constant(light), None), image_ops.ink(light, "light_on_dark"))


@pytest.mark.parametrize("digit", "0247")
def test_shifted_pictures_are_prepared_alike(digit):
    """Whole pixels of shift change nothing but rounding."""
    first = prepared(draw_digit(digit, 56))
    for shift in (-9, 4, 11):
        moved = np.roll(np.asarray(draw_digit(digit, 56)), (shift // 2, shift), axis=(0, 1))
        np.testing.assert_allclose(prepared(Image.fromarray(moved)), first, atol=2e-3)


@pytest.mark.parametrize("digit", "0247")
def test_scaled_pictures_are_prepared_nearly_alike(digit):
    """Half, double and four times the size: 0.03 a pixel on average, by the width of the drawn lines."""
    first = prepared(draw_digit(digit, 80))
    for size in (40, 160, 320):
        assert np.abs(prepared(draw_digit(digit, size)) - first).mean() < 0.03
    other = prepared(draw_digit("1", 80))
    assert np.abs(other - first).mean() > 0.06  # what a different digit makes


@pytest.mark.parametrize("digit", "0247")
def test_the_drawing_fills_its_share_and_hangs_at_its_centre_of_mass(digit):
    image = prepared(draw_digit(digit, 100, shift=12))[..., 0]
    inked = image > 0.2
    box = [np.ptp(np.flatnonzero(inked.any(axis=axis))) + 1 for axis in (0, 1)]
    assert abs(max(box) - 0.714 * 28) <= 1.5
    mass = [(image.sum(axis=1 - axis) * (np.arange(28) + 0.5)).sum() / image.sum() for axis in (0, 1)]
    np.testing.assert_allclose(mass, [14, 14], atol=0.15)


@pytest.mark.parametrize("value", [0, 17, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (200, 3), (300, 300)])
def test_an_even_picture_has_no_ink(value, size):
    np.testing.assert_array_equal(prepared(Image.new("L", size, value)), np.zeros((28, 28, 1)))


def test_noise_of_a_camera_is_no_ink():
    noise = 128 + np.random.default_rng(0).integers(-1, 2, (40, 40))
    assert prepared(Image.fromarray(noise.astype("uint8"))).max() == 0.0


def test_a_speck_stays_a_speck():
    picture = Image.new("L", (60, 60))
    picture.putpixel((30, 30), 255)
    assert 0 < (prepared(picture) > 0.2).sum() <= 144  # eight pixels wide, and the kernel's skirt


def test_reduce_keeps_the_shape_of_the_picture():
    assert image_ops.reduce(tf.zeros((400, 100, 3))).shape == (160, 40, 3)
    assert image_ops.reduce(tf.zeros((1, 4000, 1))).shape == (1, 160, 1)
    small = np.random.default_rng(0).random((160, 90, 1), "float32")
    np.testing.assert_array_equal(image_ops.reduce(tf.constant(small)), small)


def test_crop_takes_the_middle():
    image = np.zeros((20, 40, 1), "float32")
    image[:, 10:30] = 1.0  # the middle square
    np.testing.assert_allclose(image_ops.crop_and_resize(image, (10, 10)), np.ones((10, 10, 1)), atol=1e-6)
    image = np.random.default_rng(0).random((12, 12, 3), "float32")
    np.testing.assert_allclose(image_ops.crop_and_resize(image, (12, 12)), image, atol=1e-6)
    np.testing.assert_allclose(image_ops.crop_and_resize(image, (6, 6), 0.5), image[3:9, 3:9], atol=1e-6)
    with_edge = np.pad(np.ones((4, 4, 1), "float32"), ((2, 2), (2, 2), (0, 0)))
    assert image_ops.crop_and_resize(with_edge, (8, 8)).numpy().min() >= 0.0


def test_distortion_of_nothing_is_the_identity():
    for image in (COLOURS, GREY, COLOURS[:1, :1]):
        np.testing.assert_allclose(distorted(tf.constant(image), SEED), image, atol=1e-6)


@pytest.mark.parametrize("kind", ["rotate", "zoom", "shear", "shift", "elastic"])
def test_each_distortion_follows_its_seed(kind):
    setting = {kind: 0.3 if kind in ("zoom", "shear") else 3.0}
    image = tf.constant(COLOURS)
    first = distorted(image, SEED, **setting).numpy()
    tf.random.set_seed(99)
    np.testing.assert_array_equal(distorted(image, list(SEED), **setting), first)
    assert np.abs(distorted(image, (3, 5), **setting) - first).max() > 0.02
    assert np.abs(first - COLOURS).max() > 0.02


def test_outside_of_a_distorted_picture_is_nothing():
    """All ones: what is not one is a mixture with the outside, and what lies beyond is 0, on every side."""
    image = tf.ones((20, 30, 1))
    sides = set()
    for number in range(40):
        moved = distorted(image, (0, number), shift=8.0).numpy()[..., 0]
        assert moved.min() >= 0.0
        assert moved.max() <= 1.0 + 1e-6
        for side, row in (("top", moved[0]), ("bottom", moved[-1]), ("left", moved[:, 0]), ("right", moved[:, -1])):
            if row.max() < 0.5:
                sides.add(side)
        rows, columns = moved.max(axis=1), moved.max(axis=0)
        for line in (rows, columns):  # one mixed line at most between the picture and nothing
            assert ((line > 0) & (line < 1 - 1e-5)).sum() <= 1
            assert (line > 1 - 1e-5).sum() + (line == 0).sum() + 1 >= line.size
    assert sides == {"top", "bottom", "left", "right"}


def test_shift_moves_by_at_most_so_many_pixels():
    image = np.zeros((31, 31, 1), "float32")
    image[15, 15] = 1.0
    places = []
    for number in range(30):
        moved = distorted(tf.constant(image), (1, number), shift=4.0).numpy()[..., 0]
        assert abs(moved.sum() - 1) < 1e-4
        places.append([(moved.sum(axis=1 - axis) * np.arange(31)).sum() - 15 for axis in (0, 1)])
    assert 2.5 < np.abs(places).max() <= 4.001


def test_a_batch_is_distorted_as_its_images_are_alone():
    images = tf.constant(np.stack([COLOURS, COLOURS[::-1], COLOURS[:, ::-1]]))
    settings = {"rotate": 20.0, "zoom": 0.2, "shear": 0.2, "shift": 2.0, "elastic": 1.0}
    draws = tf.stack([augmentation.draw((5, number), 1.0) for number in range(3)])
    together = augmentation.distort(images, draws, **settings)
    for number in range(3):
        np.testing.assert_allclose(together[number], distorted(images[number], (5, number), **settings), atol=1e-5)
