"""Fine-tuning: frozen features that are kept, and what the recipes promise for a folder of photographs."""

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers.paths import PHOTOS
from zoo import preset
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.training import frozen

TINY = entries()["efficientnet_lite0"].tiny

RECIPE = {
    "freeze": "all but head",
    "training": {"epochs": 3, "batch_size": 12, "keep_frozen": True, "weight_averaging": 0.9, "label_smoothing": 0.1},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A preset of a tiny network whose normalisations have statistics of their own."""
    keras.utils.set_random_seed(3)
    model = zoo.create_model("efficientnet_lite0", **TINY)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return zoo.save(model, tmp_path_factory.mktemp("start") / "lite.tiny").path


def tuned(start, digits_folder, out, training=None, **overrides) -> preset.Preset:
    """A run that starts from the tiny preset."""
    recipe = out.parent / "mine.toml"
    recipe.write_text(f'start_from = "{start}"\n[data]\nfolder = "{digits_folder}"\n')
    return zoo.train(recipe, out, **{**RECIPE, "training": {**RECIPE["training"], **(training or {})}, **overrides})


@pytest.mark.slow
def test_frozen_outputs_give_the_weights_of_plain_training(start, digits_folder, tmp_path):
    kept = preset.load_model(tuned(start, digits_folder, tmp_path / "kept"))
    plain = preset.load_model(tuned(start, digits_folder, tmp_path / "plain", {"keep_frozen": False}))
    for a, b in zip(kept.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    before = preset.load_model(preset.open_preset(start))
    assert np.abs(kept.get_layer("head").kernel - plain.get_layer("head").kernel).max() < 1e-5
    for layer in before.layers:
        if layer.name != "head":
            for old, new in zip(layer.get_weights(), kept.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(old, new)


@pytest.mark.slow  # test_frozen.py has the same of a toy
def test_frozen_outputs_lie_in_the_run_folder(start, digits_folder, tmp_path):
    rows = []
    made = tuned(start, digits_folder, tmp_path / "run", report=lambda step, total, row: rows.append(row))
    outputs = np.load(tmp_path / "run" / "frozen_train.npy")
    assert outputs.shape == (42, TINY["top"])
    assert outputs.dtype == np.float32  # as they are flat
    assert np.load(tmp_path / "run" / "frozen_validation.npy").shape == (6, TINY["top"])
    pooled = preset.load_model(preset.open_preset(start), classes=0)
    task = task_of(zoo.load(made.path))
    source = open_source(digits_folder, "train", task.fields, task.layout)  # in the order of training's examples
    data = stream(task, source, 32, augment=False, shuffle=False).epoch(0)
    expected = np.concatenate([pooled(inputs) for inputs, *_ in data])
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    assert [row["frozen"] for row in rows if "frozen" in row][-1] == 48
    assert not list((tmp_path / "run").glob(".frozen*"))
    assert zoo.pipeline(made.path)(digits_folder / "7" / "03.png")["labels"]


def test_dropout_before_the_head_belongs_to_the_head():
    model = zoo.create_model("efficientnet_lite0", freeze="all but head", **{**TINY, "dropout": 0.9})
    body, head = frozen.split(model)
    assert [layer.name for layer in head.layers][1:] == ["dropout", "head"]
    assert head.get_layer("head") is model.get_layer("head")
    assert not any(layer.name == "dropout" for layer in body.layers)
    images = np.random.default_rng(0).random((4, 32, 32, 3), "float32")
    pooled = body({"image": images})
    np.testing.assert_allclose(head({"frozen": pooled})["logits"], model(images), rtol=1e-5)
    assert np.abs(head({"frozen": pooled}, training=True)["logits"] - model(images)).max() > 0


def test_a_head_of_several_layers():
    model = zoo.create_model("lenet5", freeze="all but head")
    body, head = frozen.split(model)
    images = np.random.default_rng(0).random((3, 32, 32, 1), "float32")
    value = head({"frozen": body({"image": images})})["logits"]
    np.testing.assert_allclose(value, model(images), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": "up to stem"}, 'needs the rest of the model frozen: set freeze = "all but head"'),
        (
            {"task": {"augment": {"flip": True}}},
            "keep_frozen needs inputs that are not augmented: set training.augment = false",
        ),
    ],
)
def test_what_can_not_be_kept_is_refused_before_anything_is_written(settings, message, start, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        tuned(start, digits_folder, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_damaged_photo_is_named_and_no_outputs_stay(start, digits_folder, tmp_path):
    import shutil

    shutil.copytree(digits_folder, tmp_path / "photos")
    for file in (tmp_path / "photos" / "7").iterdir():
        file.write_bytes(file.read_bytes()[:70])
    with pytest.raises(ZooError, match=r"photos/7/\d\d.png: .*repair or remove it"):
        tuned(start, tmp_path / "photos", tmp_path / "run")
    assert not list((tmp_path / "run").glob("*frozen*"))
    assert not (tmp_path / "run" / "preset.json").exists()


@pytest.mark.slow  # the network is whole, as are its photos
def test_cats_are_told_from_coffee_after_seconds_of_fine_tuning(tmp_path):
    """The bundled classifier, a new head, a folder of a user's own: cuts it has never seen get their names."""
    random = np.random.default_rng(0)
    for label, photo in (("cat", "chelsea.jpg"), ("coffee", "coffee.jpg")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        with Image.open(PHOTOS / photo) as picture:
            for number in range(12):
                left, top = random.integers(60, 160), random.integers(0, 80)
                cut = picture.crop((left, top, left + 200, top + 200))
                cut.save(tmp_path / "photos" / label / f"{number}.jpg")
    made = zoo.train(
        "efficientnet_lite0.flowers_frozen",
        tmp_path / "run",
        data={"folder": str(tmp_path / "photos")},
        training={"epochs": 10, "batch_size": 8},
    )
    assert made.record["task"]["settings"]["labels"] == ["cat", "coffee"]
    assert made.assets() == {}  # WordNet's names are of the classes that are gone
    seen = "the folder's own; efficientnet_lite0.imagenet, which it started from: ImageNet: non-commercial research"
    assert made.record["terms"]["data"].startswith(seen)
    assert zoo.evaluate(made.path)["metrics"]["accuracy"] == 1.0
