"""The sides of frames are the same numbers in a pipeline, a list, a signature and run.py, for every size."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers.image_samples import encode
from zoo.exporting import runner
from zoo.preprocessing import image as image_ops

SIDES, OTHERS = np.arange(1, 2001), np.array([1, 160, 172, 320, 448, 540, 961, 1053, 1920, 2000])
FRAMES = [((224, 224), 0.875), ((12, 16), 0.8), ((300, 260), 260 / 292), ((32, 32), 1.0), ((28, 28), 1e-9)]


def by_fractions(height: int, width: int, size: tuple[int, int], fraction: float) -> tuple[int, int]:
    """The definition; Python rounds a half to the even integer."""
    unit = min(Fraction(height, size[0]), Fraction(width, size[1])) * Fraction(fraction).limit_denominator(1_000_000)
    return tuple(min(max(round(unit * side), 1), of) for side, of in zip(size, (height, width), strict=True))


@pytest.mark.parametrize(("size", "fraction"), FRAMES)
def test_the_crop_of_every_size(size, fraction):
    height, width = np.meshgrid(SIDES, OTHERS)
    in_runner = runner.crop_size(height, width, size, fraction)
    in_graph = tf.function(lambda *sides: image_ops.crop_size(*sides, size, fraction))(height, width)
    np.testing.assert_array_equal(in_graph, in_runner)
    expected = [by_fractions(*map(int, sides), size, fraction) for sides in zip(height.flat, width.flat, strict=True)]
    np.testing.assert_array_equal(np.stack(in_runner).reshape(2, -1).T, expected)


def test_the_reduced_size_of_every_size():
    height, width = np.meshgrid(SIDES, OTHERS)
    in_runner = runner.reduced_size(height, width)
    np.testing.assert_array_equal(tf.function(image_ops.reduced_size)(height, width), in_runner)
    expected = [
        [max(round(Fraction(160 * int(side), int(max(sides)))), 1) for side in sides]
        for sides in zip(height.flat, width.flat, strict=True)
    ]
    np.testing.assert_array_equal(np.stack(in_runner).reshape(2, -1).T, expected)


def test_the_largest_pictures_have_no_overflow():
    for height, width in ((50_000_000, 1), (1, 50_000_000), (7_000, 7_001)):
        for size, fraction in FRAMES:
            expected = by_fractions(height, width, size, fraction)
            sides = tf.constant(height, tf.int64), tf.constant(width, tf.int64)
            assert tuple(map(int, image_ops.crop_size(*sides, size, fraction))) == expected
            assert tuple(map(int, runner.crop_size(height, width, size, fraction))) == expected


@pytest.fixture(scope="module")
def asked():
    """A function of a picture -> its scores by the pipeline alone, in a list, by the signature, and behind run.py."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(3,), input_shape=(224, 224, 3))
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(0, 0.2, weight.shape))
    pipeline = zoo.pipeline(model, colour="rgb", polarity=None, centre=None, fraction=0.875, low=-1.0)
    task = pipeline.task
    serve, specs = task.signatures()["serving_default"]
    serve = tf.function(serve, input_signature=list(specs.values()), autograph=False)
    settings, wanted = task.settings.model_dump(), {"shape": (224, 224, 3), "dtype": "float32"}

    def ask(pixels: np.ndarray) -> list[np.ndarray]:
        content = encode(Image.fromarray(pixels), "PNG")
        served = {name: value.numpy()[0] for name, value in serve(image_bytes=tf.constant([content])).items()}
        framed = runner.image(pixels, settings, wanted)
        scores = task.portable(False)[0](tf.constant(framed[np.newaxis]))["scores"].numpy()[0]
        answers = [pipeline(content), pipeline([content])[0], task.to_python(served)]
        by_name = [dict(zip(answer["labels"], answer["scores"], strict=True)) for answer in answers]
        return [np.array([answer[name] for name in task.names()]) for answer in by_name] + [scores]

    return ask


@pytest.mark.parametrize("size", [(448, 172), (540, 960), (60, 60), (124, 300), (428, 1000), (716, 812)])
def test_one_picture_has_one_answer(asked, size):
    """The crop's side is half an integer; noise, so that a crop of another side has other scores."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    first, *others = asked(pixels)
    assert first.std() > 0.005
    for other in others:
        np.testing.assert_allclose(other, first, atol=2e-5)
