"""Detection: pixels of the original image, bad input, training on folders, metrics, explanations and exports."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers.box_folders import draw_scene, write_coco, write_voc
from tests.helpers.commands import run_zoo
from tests.helpers.models import make
from tests.helpers.run_alone import run_alone
from tests.helpers.short_graphs import short_reader, short_runs
from zoo import average_precision
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.preprocessing import boxes
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.outputs.objects import LEAST

ENCODER = {"model": "resnet_cifar20", "overrides": {"classes": 0, "depth": 8, "input_shape": [36, 48, 3]}}
SMALL = {"encoder": ENCODER, "maps": 2, "extra_filters": [], "scales": [0.3, 0.4, 0.5], "ratios": [2.0]}


def detector(**settings):
    """A tiny model for discs and squares in images of 48 x 36."""
    model = make("single_shot_detector", **SMALL, classes=2)
    model.origin.labels = ["disc", "square"]
    model.origin.settings |= {"threshold": 0.4, **settings}
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A detector that a short run on drawn scenes has trained; its folder, and that of the scenes."""
    folder = tmp_path_factory.mktemp("detection")
    scenes = write_voc(folder / "scenes", 60)
    with short_runs():
        zoo.train(
            "single_shot_detector",
            folder / "run",
            data={"folder": str(scenes)},
            model_overrides=SMALL,
            task={"augment": {"flip": True, "upend": True, "crop": 0.7}},
            training={"epochs": 25, "batch_size": 6, "optimizer": {"name": "adam", "learning_rate": 5e-3}},
        )
    return folder / "run", scenes


@pytest.fixture(scope="module")
def pipeline(trained):
    with short_reader():
        return zoo.pipeline(trained[0])


def test_boxes_are_in_pixels_of_the_original_image(pipeline):
    """An image four times as wide and twice as high has boxes four times as wide and twice as high."""
    task, picture = pipeline.task, draw_scene(7)[0]
    large, _ = task.checked(task.collate([task.encode(picture.resize((192, 72)))]))
    inputs, _ = task.checked(task.collate([task.encode(picture)]))
    np.testing.assert_array_equal(inputs["picture_size"], [[36, 48]])
    np.testing.assert_array_equal(large["picture_size"], [[72, 192]])
    found = task.answer(task.outputs(inputs))
    wide = task.answer(task.outputs({**inputs, "picture_size": large["picture_size"]}))
    assert found["object_count"].numpy() > 0
    np.testing.assert_allclose(wide["boxes"], found["boxes"] * [4.0, 2.0, 4.0, 2.0], rtol=1e-6)
    whole = pipeline(picture.resize((192, 72)))["objects"]
    assert len(whole) == found["object_count"].numpy()
    for each in whole:
        x0, y0, x1, y1 = each["box"]
        assert 0 <= x0 < x1 <= 192
        assert 0 <= y0 < y1 <= 72


def test_a_run_learns_to_detect(trained):
    """The objects of scenes that training has not seen."""
    measured = zoo.evaluate(trained[0])
    assert measured["split"] == "test"
    assert [*measured["metrics"]] == [
        "map_50", "map_50_95", "average_precision_50_disc", "average_precision_50_square",
    ]  # fmt: skip
    assert measured["metrics"]["map_50"] > 0.7
    assert measured["metrics"]["map_50_95"] < measured["metrics"]["map_50"]


def test_metrics_are_those_of_the_answers(trained):
    """Metrics do not depend on the threshold: they are those of a pipeline with the threshold of the measurement."""
    labels = ["disc", "square"]
    pipeline = zoo.pipeline(trained[0], threshold=LEAST)
    source = open_source(trained[1], "test", ("image", "objects"), pipeline.task.layout)
    truths, found = [], []
    for example in source.dataset.as_numpy_iterator():
        objects = example["objects"]
        truths.append(np.concatenate([objects["label"][:, np.newaxis], objects["bbox"]], axis=1))
        rows = pipeline(example["file"].decode())["objects"]
        corners = np.array([row["box"] for row in rows])[:, [1, 0, 3, 2]] / [36, 48, 36, 48]
        found.append(np.c_[[labels.index(row["label"]) for row in rows], [row["score"] for row in rows], corners])
    measured = zoo.evaluate(trained[0], threshold=0.9)["metrics"]
    assert average_precision.figures(truths, found, labels) == pytest.approx(measured, abs=1e-6)


def test_answers(pipeline, tmp_path):
    draw_scene(7)[0].save(tmp_path / "a.png")
    row = pipeline(tmp_path / "a.png")
    assert [*row] == ["input", "objects"]
    assert [*row["objects"][0]] == ["label", "score", "box"]
    scores = [each["score"] for each in row["objects"]]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0.5
    counts = pipeline.task.summary(row)
    assert pipeline.task.lines(row)[0] == f"{tmp_path / 'a.png'}: {counts}"
    assert len(pipeline.task.lines(row)) == 1 + len(scores)
    assert pipeline.task.csv_values(row)[0] == len(scores)
    few = zoo.pipeline(pipeline.model, threshold=max(scores) - 1e-4, most=3)(tmp_path / "a.png")
    assert len(few["objects"]) == 1


def test_odd_images(pipeline, tmp_path):
    """One pixel, one very long row, a turned photo, and one that is too large."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1, 1)).save(tmp_path / "pixel.png")
    Image.new("RGB", (4000, 1)).save(tmp_path / "row.png")
    Image.new("L", (10_000, 10_000)).save(tmp_path / "vast.png")
    files = [tmp_path / name for name in ("pixel.png", "row.png", "vast.png")]
    with short_reader():
        whole = zoo.pipeline(pipeline.model, threshold=0.05)
    for row, (width, height) in zip([whole(file) for file in files[:2]], [(1, 1), (4000, 1)], strict=True):
        for each in row["objects"]:
            assert all(0 <= value <= size for value, size in zip(each["box"], (width, height) * 2, strict=True))
    assert zoo.pipeline(pipeline.model, threshold=0.999)(files[0])["objects"] == []
    assert zoo.pipeline(pipeline.model)(files[2], errors="return") == {
        "input": str(files[2]),
        "error": "10000 x 10000 pixels are more than the limit of 50 million",
    }


def test_a_turned_photo_has_boxes_of_the_upright_one(pipeline, tmp_path):
    picture = draw_scene(7)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    picture.save(tmp_path / "upright.jpg", quality=100)
    whole = zoo.pipeline(pipeline.model)
    turned, upright = (whole(tmp_path / f"{name}.jpg")["objects"] for name in ("turned", "upright"))
    assert len(turned) == len(upright) > 0
    for own, other in zip(turned, upright, strict=True):
        np.testing.assert_allclose(own["box"], other["box"], atol=1.5)


@short_reader()
def test_targets_follow_the_order_of_the_labels(tmp_path):
    """A model whose classes are in another order gets its own numbers."""
    folder, model = write_coco(tmp_path / "data", 8), detector()
    plain = next(iter(zoo.dataset(str(folder), "all", model=model, batch_size=8, shuffle=False)))[1]
    other = detector()
    other.origin.labels = other.origin.data_labels = ["square", "disc"]
    swapped = next(iter(zoo.dataset(str(folder), "all", model=other, batch_size=8, shuffle=False)))[1]
    first, second = plain.numpy()[..., 0], swapped.numpy()[..., 0]
    assert {*np.unique(first)} == {0, 1, 2}
    np.testing.assert_array_equal(np.where(first > 0, 3 - first, 0), second)
    other.origin.labels = other.origin.data_labels = ["cat", "dog"]
    with pytest.raises(ZooError, match="classes that the model does not know"):
        zoo.dataset(str(folder), model=other)


@short_reader()
def test_augmented_boxes_fit_the_augmented_pixels(tmp_path):
    """Each box holds a drawn object, of the colour of its class, after every change."""
    folder = write_voc(tmp_path / "data", 30)
    model = detector(augment={"flip": True, "upend": True, "crop": 0.5, "zoom": 0.2, "shift": 3.0})
    task = task_of(model)
    source = open_source(folder, "all", task.fields, task.layout)
    batches = stream(task, source, 30, augment=True, shuffle=False, finish=task.finish)
    [(inputs, y)] = batches.epoch(0)
    images, checked = task.displayed(inputs["image"]), 0
    for image, rows in zip(images, y.numpy(), strict=True):
        for box in rows[rows[:, 0] >= 0, 1:]:
            top, left, bottom, right = (box * [36, 48, 36, 48]).round().astype(int)
            if bottom - top < 5 or right - left < 5:
                continue  # cut by the border
            middle = image[(top + bottom) // 2, (left + right) // 2]
            checked += 1
            assert max(middle[0], middle[2]) > middle[1] + 0.2, "the ground is grey"
    assert checked > 25
    moved = stream(task, source, 30, augment=False, shuffle=False, finish=task.finish)
    [(_, plain)] = moved.epoch(0)
    assert plain.shape != y.shape or np.abs(plain - y).max() > 0.05


def test_augmentations_that_do_not_move_boxes_are_refused():
    with pytest.raises(ZooError, match="unknown augmentation 'rotate'; known: colour, crop, flip, shift, upend, zoom"):
        task_of(detector(augment={"rotate": 5}))
    with pytest.raises(ZooError, match="fraction must be"):
        task_of(detector(fraction=0.8))
    with pytest.raises(ZooError, match="centre must be one of None, got 'ink'"):
        task_of(detector(centre="ink"))


@short_reader()
def test_pictures_without_objects_have_a_loss(tmp_path):
    folder = write_voc(tmp_path / "data", 2)
    for number in range(2, 6):
        Image.new("RGB", (48, 36)).save(folder / "JPEGImages" / f"{number}.png")
        size = "<size><width>48</width><height>36</height></size>"
        (folder / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}</annotation>")
    model = detector()
    task = task_of(model)
    source = open_source(folder, "all", task.fields, task.layout)
    for inputs, y, weights in stream(task, source, 2, augment=False, shuffle=False).epoch(0):
        outputs = model(inputs)
        values = {name: loss(y, outputs[name], sample_weight=weights).numpy() for name, loss in task.loss().items()}
        assert np.isfinite([*values.values()]).all()
        assert values["logits"] > 0
        assert (values["offsets"] == 0) == (not y.numpy()[..., 0].any())


def test_boxes_that_no_default_box_fits(tmp_path):
    folder = write_voc(tmp_path / "data", 10)
    far = task_of(make("single_shot_detector", **{**SMALL, "scales": [0.01, 0.02, 0.03]}, classes=2))
    source = open_source(folder, "all", far.fields, far.layout)
    [remark] = far.remarks(source)
    assert "overlap no default box by more than half: choose model_overrides.scales" in remark
    assert task_of(detector()).remarks(source) == []


def test_keras_fit_on_a_folder(tmp_path):
    folder = write_voc(tmp_path / "data", 12)
    with short_reader():
        model = detector()
        task_of(model).compile(model)
        data = zoo.dataset(str(folder), "all", model=model, batch_size=6, augment={"flip": True})
        history = model.fit(data, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ZooError, match="label_smoothing"):
        task_of(model).loss(0.1)


def test_explanation(trained, tmp_path):
    files = []
    for number in (3, 7):
        files.append(tmp_path / f"{number}.png")
        draw_scene(number)[0].resize((96, 72)).save(files[-1])
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[0].read_bytes()[:90])
    rows = zoo.explain(trained[0], [files[0], bad, files[1]], tmp_path / "boxes.png", errors="return")
    assert [*rows[0]] == ["input", "objects"]
    expected = zoo.pipeline(trained[0])(files[0])["objects"]
    for own, other in zip(rows[0]["objects"], expected, strict=True):
        assert own["label"] == other["label"]
        np.testing.assert_allclose(own["box"], other["box"], atol=1e-3)
    assert rows[1]["error"] == "damaged or truncated PNG"
    assert Image.open(tmp_path / "boxes.png").width > 500


def test_commands(trained, tmp_path):
    draw_scene(7)[0].save(tmp_path / "a.png")
    status, output, _ = run_zoo("predict", trained[0], tmp_path / "a.png", "--json", "--threshold", "0.3")
    assert status == 0
    [row] = json.loads(output)
    assert [*row] == ["input", "objects"]
    assert all(len(each["box"]) == 4 for each in row["objects"])
    _, output, _ = run_zoo("predict", trained[0], tmp_path / "a.png", "--csv")
    assert output.splitlines()[0] == "input,objects,answer,error"
    status, output, errors = run_zoo("explain", trained[0], tmp_path / "a.png", "--out", tmp_path / "boxes.png")
    assert (status, errors) == (0, "")
    assert output.startswith(f"{tmp_path / 'a.png'}: ")
    assert (tmp_path / "boxes.png").exists()


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_files_for_other_runtimes(format, trained, tmp_path):
    """The runner answers as the pipeline does: the same objects, in pixels of the original image."""
    file = tmp_path / "a.png"
    draw_scene(7)[0].resize((120, 70)).save(file)
    with short_reader():
        version = zoo.export(trained[0], tmp_path / "out", format)
        expected = zoo.pipeline(trained[0])(file)["objects"]
    status, [row] = run_alone(version, file)
    assert status == 0
    assert len(row["objects"]) == len(expected) > 0
    for own, other in zip(row["objects"], expected, strict=True):
        assert own["label"] == other["label"]
        tolerance = 1e-4 if format == "onnx" else 0.05
        assert own["score"] == pytest.approx(other["score"], abs=tolerance)
        np.testing.assert_allclose(own["box"], other["box"], atol=0.05 if format == "onnx" else 1.0)


def test_comparable_answers():
    task = task_of(detector())
    first = {"objects": [{"label": "disc", "score": 0.9, "box": [0.0] * 4}]}
    second = {"objects": [*first["objects"], {"label": "square", "score": 0.41, "box": [0.0] * 4}]}
    third = {"objects": [*first["objects"], {"label": "disc", "score": 0.7, "box": [0.0] * 4}]}
    assert task.comparable(first, second) == {"disc": 0.9, "square": 0.4}
    assert task.comparable(second, first) == {"disc": 0.9, "square": 0.41}
    assert task.comparable(third, first) == {"disc": 0.9}
    assert task.comparable({"error": "bad"}, first) == {"error": "bad"}


def test_padding_is_no_object():
    task = task_of(detector())
    objects = np.array([[[1, 0.2, 0.2, 0.5, 0.5], [boxes.PADDING] * 5]], "float32")
    _, alone, _ = task.join({}, tf.constant(objects[:, :1]))
    _, padded, _ = task.join({}, tf.constant(objects))
    np.testing.assert_array_equal(alone, padded)
