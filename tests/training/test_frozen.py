"""Frozen outputs of any shape as prepared data: what they are, what they change, and when they are computed again."""

import csv
import json
import shutil
import types

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.contracts import contract_of
from tests.helpers.toy_training import install, write_captions
from zoo import preset
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.layers.slicing import cut, output_of
from zoo.tasks import task_of
from zoo.tasks.dataset import frozen_stream
from zoo.training import frozen
from zoo.training.recipe import read_recipe

TRAINING = {"epochs": 3, "batch_size": 8, "keep_frozen": True, "weight_averaging": 0.9, "label_smoothing": 0.1}
RECIPE = {"freeze": "up to body", "task": {"rotate": True}}
# float16 rounds to 1 in 2,048; a mean over a grid, a layer and 12 steps of Adam make of it less than this.
HALF = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    return tmp_path / "site"


@pytest.fixture
def captions(tmp_path):
    return write_captions(tmp_path / "captions.tsv")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that ended, one that was cut after two steps, their data, and what the first reported."""
    folder, rows = tmp_path_factory.mktemp("done"), []
    captions = write_captions(folder / "captions.tsv")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(install(folder / "site")))
        train(captions, folder / "whole", report=lambda step, total, row: rows.append(row))
        train(captions, folder / "cut", steps=2)
    return types.SimpleNamespace(captions=captions, whole=folder / "whole", cut=folder / "cut", rows=rows)


@pytest.fixture
def cut_run(done, tmp_path):
    return shutil.copytree(done.cut, tmp_path / "run")


def train(captions, out, training=None, **overrides):
    options = {**RECIPE, "data": {"folder": str(captions)}, "training": {**TRAINING, **(training or {})}, **overrides}
    return zoo.train("toy_captioner", out, **options)


def weights(path):
    return preset.load_model(preset.open_preset(path)).get_weights()


def history(path) -> list[dict]:
    with open(path / "history.csv", newline="") as file:
        timing = ("seconds", "examples_per_second")
        return [{key: row[key] for key in row if key not in timing} for row in csv.DictReader(file)]


def test_grids_and_texts_of_unequal_length_give_the_run_of_plain_training(done, tmp_path):
    """Also where targets are augmented, and batches made by their length."""
    train(done.captions, tmp_path / "plain", {"keep_frozen": False})
    for a, b in zip(weights(done.whole), weights(tmp_path / "plain"), strict=True):
        np.testing.assert_allclose(a, b, **HALF)
    for kept, plain in zip(history(done.whole), history(tmp_path / "plain"), strict=True):
        assert float(kept["loss"]) == pytest.approx(float(plain["loss"]), rel=1e-3)
        assert float(kept["val_loss"]) == pytest.approx(float(plain["val_loss"]), rel=1e-3)


def test_the_outputs_lie_in_half_precision_in_the_run_folder(done):
    outputs = np.load(done.whole / "frozen_train.npy", mmap_mode="r")
    assert (outputs.dtype, outputs.shape) == (np.float16, (28, 4, 4, 3))
    model = zoo.load(done.whole)
    body, _ = frozen.split(zoo.create_model("toy_captioner", freeze="up to body"))
    body.set_weights(model.get_layer("body").get_weights())
    data = zoo.dataset(done.captions, model=model, shuffle=False)
    expected = np.concatenate([body({"grid": inputs["grid"]}) for inputs, *_ in data])
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    assert [row["frozen"] for row in done.rows if "frozen" in row][-1] == 28 + 4
    assert {file.name for file in done.whole.glob("*frozen*")} == {
        "frozen.json", "frozen_train.npy", "frozen_validation.npy",
    }  # fmt: skip


def test_they_are_read_from_a_memory_map_batch_by_batch(done, cut_run, monkeypatch):
    read, rows = [], []
    monkeypatch.setattr(frozen.FrozenOutputs, "_rows", _watched(frozen.FrozenOutputs._rows, read))
    train(done.captions, cut_run, steps=2, report=lambda step, total, row: rows.append(row))
    assert read == [np.memmap, np.memmap]
    assert not [row for row in rows if "frozen" in row]  # they are not computed again


def _watched(rows, read):
    def watched(self, array):
        read.append(type(array))
        return rows(self, array)

    return watched


NOISY = {"task": {"noise": True, "rotate": True}, "model_overrides": {"dropout": 0.3}}


def test_versions_of_an_example_are_augmented_and_drawn(captions, tmp_path):
    """Version 0 is the example itself; a run that was cut goes on to the bit and computes nothing again."""
    train(captions, tmp_path / "whole", {"frozen_versions": 3}, **NOISY)
    outputs = np.load(tmp_path / "whole" / "frozen_train.npy", mmap_mode="r").reshape(3, 28, 4, 4, 3)
    assert np.load(tmp_path / "whole" / "frozen_validation.npy", mmap_mode="r").shape == (4, 4, 4, 3)
    train(captions, tmp_path / "plain", steps=1)
    plain = np.load(tmp_path / "plain" / "frozen_train.npy", mmap_mode="r")
    np.testing.assert_array_equal(outputs[0], plain)
    differences = [np.abs(outputs[a] - outputs[b]).mean(axis=(1, 2, 3)) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert np.min(differences) > 0.01
    train(captions, tmp_path / "cut", {"frozen_versions": 3}, steps=6, **NOISY)
    again = []
    train(
        captions, tmp_path / "cut", {"frozen_versions": 3}, report=lambda step, total, row: again.append(row), **NOISY
    )
    assert not [row for row in again if "frozen" in row]
    for a, b in zip(weights(tmp_path / "whole"), weights(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history(tmp_path / "whole") == history(tmp_path / "cut")


def test_an_epoch_draws_one_version_of_each_example(captions):
    model = zoo.create_model("toy_captioner")
    task = task_of(model)
    source = open_source(captions, "train", task.fields, task.layout)
    stream = frozen_stream(
        task, source, 8, 0, lambda numbers: {"frozen": numbers}, augment=True, shuffle=True, versions=3
    )
    epochs = [np.concatenate([inputs["frozen"] for inputs, *_ in stream.epoch(number)]) for number in range(2)]
    for numbers in epochs:
        assert sorted(numbers % 28) == list(range(28))
        assert {*(numbers // 28)} == {0, 1, 2}
    versions = [dict(zip(numbers % 28, numbers // 28, strict=True)) for numbers in epochs]
    assert versions[0] != versions[1]


@pytest.mark.parametrize("without", ["keep_frozen", "augment"])
def test_versions_need_frozen_outputs_and_augmentation(without, captions, tmp_path):
    with pytest.raises(ZooError, match="frozen_versions = 2 needs keep_frozen = true and augment = true"):
        train(captions, tmp_path / "run", {"frozen_versions": 2, without: False})


@pytest.mark.parametrize("harm", ["bit", "cut", "missing", "json", "fingerprint", "body"])
def test_what_is_damaged_or_of_other_data_is_computed_again(harm, done, cut_run):
    file, facts = cut_run / "frozen_train.npy", cut_run / "frozen.json"
    good, known = file.read_bytes(), json.loads(facts.read_text())
    content, other = bytearray(good), json.loads(facts.read_text())
    if harm == "bit":
        content[len(content) // 2] ^= 8
        file.write_bytes(content)
    elif harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "missing":
        file.unlink()
    elif harm == "json":
        facts.write_text("{")
    else:
        other["train"][harm] = "another"
        facts.write_text(json.dumps(other))
    rows = []
    end = None if harm == "bit" else 2  # a call that has no steps to do computes them, too
    train(done.captions, cut_run, steps=end, report=lambda step, total, row: rows.append(row))
    assert [row["frozen"] for row in rows if "frozen" in row][-1] == 32
    assert file.read_bytes() == good
    assert json.loads(facts.read_text()) == known
    if harm == "bit":
        for a, b in zip(weights(done.whole), weights(cut_run), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"task": {"noise": True}},
            "keep_frozen needs inputs that are not augmented: set training.augment = false, or frozen_versions > 1",
        ),
        ({"freeze": None}, 'needs the rest of the model frozen: set freeze = "up to body"'),
    ],
)
def test_what_can_not_be_kept_is_refused_before_anything_is_written(overrides, message, captions, tmp_path):
    with pytest.raises(ZooError, match=message):
        train(captions, tmp_path / "run", **overrides)
    assert not (tmp_path / "run").exists()


def test_noise_that_is_switched_off_is_no_augmentation(captions, tmp_path):
    made = train(captions, tmp_path / "run", {"epochs": 1, "augment": False}, task={"noise": True})
    assert made.record["provenance"]["steps"] == 4


def test_inputs_that_only_the_raw_input_gives_are_refused(captions, tmp_path, monkeypatch):
    from tests.helpers.toy_training import Captioning

    monkeypatch.setattr(Captioning, "join", lambda self, inputs, y: (inputs, y))
    with pytest.raises(ZooError, match="keep_frozen: after its frozen part toy_captioner must not read target"):
        train(captions, tmp_path / "run")


def test_the_key_of_earlier_versions_is_read(captions, tmp_path):
    old = tmp_path / "old.toml"
    old.write_text(
        f'model = "toy_captioner"\nfreeze = "up to body"\n[data]\nfolder = "{captions}"\n'
        "[training]\nepochs = 2\nbatch_size = 8\nkeep_features = true\n"
    )
    assert read_recipe(old)[1].training.keep_frozen
    assert not read_recipe(old, {"training.keep_features": False})[1].training.keep_frozen
    assert not read_recipe(old, {"training": {"keep_frozen": False}})[1].training.keep_frozen
    zoo.train(old, tmp_path / "run", steps=2)
    text = (tmp_path / "run" / "recipe.toml").read_text()
    assert "keep_frozen = true" in text
    (tmp_path / "run" / "recipe.toml").write_text(text.replace("keep_frozen", "keep_features"))
    assert zoo.train(old, tmp_path / "run").record["provenance"]["steps"] == 8


def test_a_cut_model_gives_what_the_whole_gives():
    """Of a subclass with a functional graph: before its head, two inputs go into the body and one into both."""
    model = zoo.create_model("attention_seq2seq", **zoo.registry.entries()["attention_seq2seq"].tiny)
    inputs = {name: keras.ops.convert_to_tensor(value) for name, value in contract_of(model).inputs(model, 3).items()}
    place = output_of(model, "annotations")
    body, rest = cut(model, place, "annotations")
    assert set(body.input) == {"source", "source_length"}
    assert "target" in rest.input
    given = {name: inputs[name] for name in rest.input if name in inputs}
    given["annotations"] = body({name: inputs[name] for name in body.input})
    np.testing.assert_allclose(rest(given)["logits"], model(inputs)["logits"], rtol=1e-5, atol=1e-6)
    assert rest.get_layer("head") is model.get_layer("head")


def test_a_nested_model_is_cut_at_its_call_and_not_inside():
    image = keras.Input((8, 8, 3), name="image")
    inner = keras.Model({"image": image}, {"maps": keras.layers.Conv2D(4, 3)(image)}, name="encoder")
    picture, scale = keras.Input((8, 8, 3), name="image"), keras.Input((1,), name="scale")
    pooled = keras.layers.GlobalAveragePooling2D()(inner({"image": 2.0 * picture})["maps"])
    logits = keras.layers.Dense(5, name="head")(pooled * scale)
    model = keras.Model({"image": picture, "scale": scale}, {"logits": logits}, name="outer")
    body, rest = cut(model, output_of(model, "encoder"), "maps")
    assert (set(body.input), set(rest.input)) == ({"image"}, {"maps", "scale"})
    random = np.random.default_rng(0)
    inputs = {"image": random.random((2, 8, 8, 3), "float32"), "scale": random.random((2, 1), "float32")}
    maps = body({"image": inputs["image"]}).numpy()
    np.testing.assert_allclose(rest({"maps": maps, "scale": inputs["scale"]})["logits"], model(inputs)["logits"],
                               rtol=1e-5)  # fmt: skip
    with pytest.raises(ZooError, match="unknown layer of outer 'encodr'; did you mean encoder"):
        output_of(model, "encodr")


def test_other_data_than_before_are_refused(done, cut_run, tmp_path):
    kept = done.captions.read_bytes()
    shutil.copy(write_captions(tmp_path / "others.tsv", seed=1), done.captions)
    try:
        with pytest.raises(ZooError, match="has other examples or file names than it had when the run"):
            train(done.captions, cut_run)
    finally:
        done.captions.write_bytes(kept)
