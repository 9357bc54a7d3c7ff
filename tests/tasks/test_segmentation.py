"""Segmentation: seams, masks that follow their pictures, metrics, and what is refused."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers.masks import draw_cells, draw_mask_folder
from tests.helpers.models import make
from tests.helpers.short_graphs import short_reader
from zoo.data.sources import open_source
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of
from zoo.tasks.dataset import stream

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (45, 52)).astype("uint8")
LABELS = ["membrane", "cell"]


@pytest.fixture(scope="module", autouse=True)
def short():
    with short_reader():
        yield


def segmenter(name="unet", labels=LABELS, settings=None, **overrides):
    model = make(name, **overrides)
    model.origin.labels = labels
    model.origin.settings |= settings or {}
    return model


def decoded(row) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["mask"])))


def whole_map(task, picture) -> np.ndarray:
    """The probabilities of a task's model for a picture (H, W) uint8: (H, W, classes)."""
    pixels = tf.repeat(tf.constant(picture)[..., tf.newaxis], 3, axis=-1)
    return task.map_of(task.model, pixels, lambda each: each, (task.classes,), tf.float32).numpy()


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("unet", {"input_shape": (56, 56, 1)}, {"input_shape": (104, 104, 1)}),
        ("sliding_window_segmenter", {"input_shape": (110, 110, 1)}, {"input_shape": (158, 158, 1)}),
    ],
)
def test_seams_are_invisible(name, small, large):
    """Tiles give what one tile for the whole picture gives."""
    model = segmenter(name, **small)
    whole = segmenter(name, **large)
    whole.set_weights(model.get_weights())
    tiled, single = task_of(model), task_of(whole)
    assert len(tiled.tiling.corners(45, 52)) > 4
    assert len(single.tiling.corners(45, 52)) == 1
    expected = whole_map(single, PICTURE)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(whole_map(tiled, PICTURE), expected, atol=1e-5)


@pytest.mark.parametrize("orientations", [1, 8])
def test_context_hides_the_padding_of_a_model(orientations):
    """A model with padding and two poolings sees 22 pixels to each side, and 24 are the next multiple of 4."""
    arguments = {"padding": "same", "settings": {"context": 24, "orientations": orientations}}
    model = segmenter(input_shape=(56, 56, 1), **arguments)
    whole = segmenter(input_shape=(104, 104, 1), **arguments)
    whole.set_weights(model.get_weights())
    expected = whole_map(task_of(whole), PICTURE)
    np.testing.assert_allclose(whole_map(task_of(model), PICTURE), expected, atol=1e-5)
    bare = task_of(segmenter(input_shape=(56, 56, 1), padding="same"))
    bare.model.set_weights(model.get_weights())
    assert np.abs(whole_map(bare, PICTURE) - expected).max() > 1e-3


def test_an_answer_has_the_size_of_the_picture_and_the_fractions_of_its_classes():
    pipeline = zoo.pipeline(segmenter())
    pictures = [PICTURE, PICTURE[:1, :1], np.stack([PICTURE[:9]] * 3, axis=-1)]
    for row, picture in zip(pipeline(pictures), pictures, strict=True):
        mask = decoded(row)
        assert mask.shape == picture.shape[:2]
        assert row["classes"] == [
            {"label": label, "fraction": pytest.approx(np.mean(mask == number))} for number, label in enumerate(LABELS)
        ]
    expected = whole_map(pipeline.task, PICTURE).argmax(axis=-1)
    np.testing.assert_array_equal(decoded(pipeline(PICTURE)), expected)


def test_a_threshold_moves_pixels_to_the_boundary():
    model = segmenter(settings={"boundary": "membrane"})
    task = task_of(model)
    probabilities = whole_map(task, PICTURE)
    threshold = float(np.quantile(probabilities[..., 0], 0.6))
    mask = decoded(zoo.pipeline(model, threshold=threshold)(PICTURE))
    assert 0.35 < np.mean(mask == 0) < 0.45
    np.testing.assert_array_equal(mask == 0, probabilities[..., 0] >= threshold)


def test_a_picture_beyond_the_limit_is_refused():
    with pytest.raises(InputError, match="10000 x 10000 pixels are more than the limit of 50 million"):
        zoo.pipeline(segmenter())(Image.new("1", (10_000, 10_000)))


def test_pages_of_a_stack_are_items(tmp_path):
    first, *others = [Image.fromarray(draw_cells((30, 20), number)[0]) for number in range(11)]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    first.save(tmp_path / "single.tif")
    pipeline = zoo.pipeline(segmenter())
    rows = pipeline(tmp_path / "stack.tif")
    assert [row["input"] for row in rows] == [f"{tmp_path}/stack.tif[{number:02}]" for number in range(11)]
    single = pipeline(tmp_path / "single.tif")
    assert single["mask"] == rows[0]["mask"]
    both = pipeline([tmp_path / "single.tif", tmp_path / "stack.tif"])
    assert len(both) == 12
    assert both[4]["mask"] == rows[3]["mask"] == pipeline(draw_cells((30, 20), 3)[0])["mask"]


# Training data.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_mask_folder(tmp_path_factory.mktemp("cells") / "cells", 10, (40, 44))


def opened(task, folder, split="train"):
    return open_source(folder, split, task.fields, task.layout)


def batches(task, folder, **options):
    return stream(task, opened(task, folder), 4, **{"augment": False, "shuffle": False, **options})


def test_every_pixel_counts_once_without_augmentation(folder):
    task = task_of(segmenter())
    counts, ones = 0.0, 0.0
    for inputs, y, weights in batches(task, folder).epoch(0):
        assert inputs["image"].shape[1:] == (56, 56, 1)
        assert y.shape == weights.shape == (len(y), 16, 16)
        counts += float(tf.reduce_sum(weights))
        ones += float(tf.reduce_sum(weights * tf.cast(y, tf.float32)))
    pairs = [draw_cells((40, 44), int(stub["file"].numpy().decode()[-6:-4])) for stub in opened(task, folder).stubs]
    assert (counts, ones) == (7 * 40 * 44, sum(int(mask.sum()) for _, mask in pairs))


def test_masks_follow_their_pictures(tmp_path):
    """Pictures that are their masks stay so under every random change, up to the blur of an edge."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(10):
        mask = Image.fromarray(draw_cells((64, 64), number)[1])
        mask.save(tmp_path / "masks" / f"{number}.png")
        mask.point(lambda value: 255 * value).save(tmp_path / "images" / f"{number}.png")
    augment = {"elastic": 2.0, "rotate": 40.0, "zoom": 0.2, "flip": True, "turn": True, "pad": 9}
    settings = {"augment": augment, "margin": 12, "low": 0.0, "high": 1.0}
    task = task_of(segmenter(padding="same", input_shape=(32, 32, 1), settings=settings))
    seen = set()
    for epoch in range(2):
        for inputs, y, weights in batches(task, tmp_path, augment=True, seed=1).epoch(epoch):
            image, known = inputs["image"].numpy()[..., 0], weights.numpy() > 0
            is_sure = known & (np.abs(image - 0.5) > 0.49)
            assert known.mean() > 0.8
            assert is_sure.sum() > 0.8 * known.sum()
            np.testing.assert_array_equal((image > 0.5)[is_sure], (y.numpy() == 1)[is_sure])
            seen |= {each.tobytes() for each in image}
    assert len(seen) > 2 * 7 * 3  # of 28 in each epoch, a few are empty


def test_turns_are_the_four_of_them():
    from zoo.preprocessing import augmentation

    images = RANDOM.random((8, 5, 5, 1)).astype("float32")
    draws = tf.constant([[(place + 0.5) / 8] for place in range(8)])
    turned = augmentation.turn(images, draws).numpy()
    for row, quarters in enumerate([0, 1, 2, 3] * 2):
        np.testing.assert_array_equal(turned[row], np.rot90(images[row], quarters))


def test_pixels_without_a_class_do_not_count(folder, tmp_path):
    draw_mask_folder(tmp_path / "cells", 10)
    mask = np.full((40, 40), 255, "uint8")
    mask[:5] = 1
    for number in range(10):
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{number:02}.png")
    task = task_of(segmenter())
    weights = sum(float(tf.reduce_sum(weights)) for _, _, weights in batches(task, tmp_path / "cells").epoch(0))
    assert weights == 7 * 5 * 40


def test_classes_are_matched_by_name(folder):
    """A model whose classes are in another order."""
    first, second = (task_of(segmenter(labels=labels)) for labels in (LABELS, LABELS[::-1]))
    pairs = zip(batches(first, folder).epoch(0), batches(second, folder).epoch(0), strict=True)
    for (_, y, weights), (_, other, _) in pairs:
        np.testing.assert_array_equal(y[weights > 0], 1 - other[weights > 0])
    other = task_of(segmenter(labels=["membrane", "nucleus"]))
    source = opened(other, folder)
    with pytest.raises(ZooError, match="has classes that the model does not know, such as 'cell'"):
        other.check_source(source)


# Evaluation.


def test_evaluation_measures_whole_pictures(folder, monkeypatch):
    """A perfect answer, one without borders, and one that is wrong in a known part of the pixels."""
    task = task_of(segmenter(settings={"boundary": "membrane"}))
    source = opened(task, folder, "all")
    masks = [draw_cells((40, 44), int(stub["file"].numpy().decode()[-6:-4]))[1] for stub in source.stubs]

    def measured(answers):
        pairs = [(np.eye(2)[answer], mask) for answer, mask in zip(answers, masks, strict=True)]
        monkeypatch.setattr(task, "answered", lambda source: iter(pairs))
        return task.measure(source, 1, None)

    perfect = measured(masks)
    assert perfect.metrics["pixel_error"] == 0.0
    assert perfect.metrics["v_rand"] == pytest.approx(1.0, abs=0.01)
    assert perfect.how["v_info"] == "mean of 10 pictures, probability of membrane >= 0.5, thinned"
    without = measured([np.ones_like(mask) for mask in masks]).metrics
    assert without["pixel_error"] == pytest.approx(1 - np.mean(masks))
    assert without["v_rand"] < 0.9
    half = measured([np.where(np.arange(44) < 22, 1 - mask, mask) for mask in masks]).metrics
    assert half["pixel_error"] == pytest.approx(0.5)


def test_evaluation_and_validation_agree(folder, tmp_path):
    model = segmenter()
    task = task_of(model)
    measured = task.measure(opened(task, folder, "validation"), 4, None).metrics
    model.compile("sgd", task.loss(), weighted_metrics=task.metrics())
    values = model.evaluate(zoo.dataset(folder, "validation", model=model), return_dict=True, verbose=0)
    assert values["pixel_error"] == pytest.approx(measured["pixel_error"], abs=1e-5)
    assert set(measured) == {"pixel_error"}


def test_a_network_learns_cells(folder, tmp_path):
    result = zoo.train(
        "unet",
        tmp_path / "run",
        data={"folder": str(folder)},
        model_overrides={"input_shape": [40, 40, 1], "filters": 4, "depth": 1, "normalization": True, "dropout": 0.0},
        task={"augment": {"flip": True, "pad": 4}, "margin": 4},
        training={"epochs": 8, "batch_size": 8, "optimizer": {"name": "adam", "learning_rate": 0.02}},
    )
    metrics = zoo.evaluate(tmp_path / "run")["metrics"]
    assert metrics["pixel_error"] < 0.1
    assert result is not None


# What is refused.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": 8}, "context=8 leaves nothing of a tile of 56 x 56 pixels"),
        ({"boundary": "wall"}, "segmentation: boundary: unknown class 'wall'"),
        ({"threshold": 0.3}, "threshold needs a boundary: the name of a class"),
        ({"augment": {"crop": 0.5}}, "augment: unknown augmentation 'crop'"),
        ({"augment": {"turn": 1}}, "augment: turn must be true or false, got 1"),
        ({"centre": "ink"}, "centre must be one of None, got 'ink'"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ZooError, match=message):
        task_of(segmenter(), **settings)


def test_only_square_tiles_are_turned():
    model = segmenter(padding="same", input_shape=(24, 32, 1))
    with pytest.raises(ZooError, match="a tile must be square to be turned, got 24 x 32 pixels"):
        task_of(model, orientations=8)


def test_embeddings_of_a_model_without_a_head():
    body = segmenter(classes=0, padding="same", input_shape=(32, 32, 1))
    row = zoo.pipeline(body)(PICTURE)
    inputs = zoo.preprocess(body, PICTURE)
    assert inputs.shape == (1, 32, 32, 1)
    np.testing.assert_allclose(inputs[0, ..., 0], PICTURE[6:38, 10:42] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(row["embeddings"], body(inputs)[0], atol=1e-5)


def test_another_head_forgets_the_boundary_class(tmp_path):
    """It names a class of the old head."""
    saved = zoo.save(segmenter(settings={"boundary": "membrane", "threshold": 0.3}), tmp_path / "preset")
    model = zoo.load(saved.path, classes=3)
    assert {*model.origin.settings} & {"boundary", "threshold", "boundary_threshold"} == set()
    assert zoo.load(saved.path).origin.settings["boundary"] == "membrane"
    assert task_of(model).classes == 3
