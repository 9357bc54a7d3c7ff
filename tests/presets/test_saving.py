"""Saving models: which figures, labels and samples a preset keeps."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.presets import METRIC, error_of, kept
from zoo import preset
from zoo.errors import ZooError


def fit(model):
    """One step on one item."""
    shape = model.input.shape[1:]
    model.fit({"image": np.ones((1, *shape), "float32")}, np.array([1]), verbose=0)


def test_what_was_not_fitted_keeps_its_figures(mine, tmp_path):
    before = preset.open_preset(mine)
    model = zoo.load(mine, freeze="all but head")
    saved = zoo.save(model, tmp_path / "copy")
    assert kept(saved) == kept(before)
    assert saved.file("samples/seven.png").read_bytes() == before.file("samples/seven.png").read_bytes()
    assert saved.record["files"]["model.weights.h5"]["size"] == before.record["files"]["model.weights.h5"]["size"]
    assert [layer.trainable for layer in model.layers] == [layer.name == "head" for layer in model.layers]


def test_frozen_parameters_count(mine, tmp_path):
    model = zoo.load(mine)
    model.trainable = False
    count = 16 * 16 * 16 + 16 + 16 * 12 + 12 + 12 * 3 + 3
    assert zoo.save(model, tmp_path / "frozen").record["parameters"] == count
    assert preset.open_preset(mine).record["parameters"] == count
    assert not model.trainable


def test_another_storage_keeps_the_figures_and_answers_the_samples_anew(mine, tmp_path):
    before = preset.open_preset(mine)
    converted = zoo.save(mine, tmp_path / "small", storage="int8")
    assert converted.record["storage"] == "int8"
    assert converted.record["metrics"] == before.record["metrics"]
    # The answers of the samples are those of the rounded weights.
    answer = zoo.pipeline(converted.path)(converted.file("samples/seven.png"))
    np.testing.assert_allclose(converted.record["samples"][0]["answer"]["scores"], answer["scores"], atol=1e-6)
    assert answer["scores"] != before.record["samples"][0]["answer"]["scores"]


def test_saving_in_place_keeps_the_figures(mine):
    before = preset.open_preset(mine)
    saved = zoo.save(zoo.load(mine), mine, storage="float16")
    assert saved.record["metrics"] == before.record["metrics"]
    saved.verify()


def test_what_was_fitted_loses_its_figures(mine, tmp_path):
    model = zoo.load(mine)
    fit(model)
    saved = zoo.save(model, tmp_path / "fitted")
    for key, nothing in {"metrics": [], "samples": [], "terms": {}, "data": None}.items():
        assert saved.record[key] == nothing, key
    assert saved.name == "fitted"
    assert saved.record["task"]["settings"]["labels"] == ["zero", "one", "seven"]
    assert "Nothing was measured" in (saved.path / "README.md").read_text()


def test_what_was_fitted_names_what_it_started_from(mine, tmp_path):
    model = zoo.load(mine)
    fit(model)
    provenance = zoo.save(model, tmp_path / "fitted").record["provenance"]
    assert provenance["started_from"] == preset.open_preset(mine).name
    assert provenance.keys().isdisjoint({"recipe", "seed"})


def test_what_was_fitted_has_other_weights_and_no_optimizer(mine, tmp_path):
    model, before = zoo.load(mine), preset.open_preset(mine)
    fit(model)
    saved = zoo.save(model, tmp_path / "fitted")
    assert saved.record["files"]["model.weights.h5"]["size"] == before.record["files"]["model.weights.h5"]["size"]
    pairs = zip(preset.load_model(before).get_weights(), zoo.load(saved.path).get_weights(), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 0


def test_a_fresh_head_has_no_figures(mine, tmp_path):
    """Another number of classes makes another model, though nothing was fitted."""
    saved = zoo.save(zoo.load(mine, classes=5), tmp_path / "five")
    assert saved.record["metrics"] == []
    assert saved.record["samples"] == []
    assert "labels" not in saved.record["task"]["settings"]
    assert saved.record["provenance"]["started_from"] == preset.open_preset(mine).name
    assert zoo.load(saved.path).output.shape == (None, 5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["one", "zero", "seven"], "another order than the model's classes: zero, one, seven"),
        (["one", "zero"], "has 3 classes, got 2 labels"),
        ([0, 1, 2], "labels must be a list of strings"),
        ("abc", "labels must be a list of strings"),
    ],
)
def test_labels_that_are_refused_are_not_remembered(mine, tmp_path, labels, message):
    model = zoo.load(mine)
    assert message in error_of(zoo.save, model, tmp_path / "x", labels=labels)
    assert not (tmp_path / "x").exists()
    assert model.origin.labels == ["zero", "one", "seven"]
    assert zoo.save(model, tmp_path / "x").record["task"]["settings"]["labels"] == ["zero", "one", "seven"]


def test_labels_of_other_names_rename_the_samples_answers(mine, tmp_path):
    saved = zoo.save(zoo.load(mine), tmp_path / "x", labels=["null", "eins", "sieben"])
    assert saved.record["task"]["settings"]["labels"] == ["null", "eins", "sieben"]
    assert saved.record["metrics"] == [METRIC]
    old, new = preset.open_preset(mine).record["samples"][0], saved.record["samples"][0]
    names = {"zero": "null", "one": "eins", "seven": "sieben"}
    assert new["answer"]["labels"] == [names[label] for label in old["answer"]["labels"]]
    np.testing.assert_allclose(new["answer"]["scores"], old["answer"]["scores"], atol=1e-5)


def test_samples(tiny_preset, tmp_path, digit_file):
    """The answers are those that the pipeline gives, and go with the preset."""
    record = preset.open_preset(tiny_preset).record
    answer = zoo.pipeline(tiny_preset)(tiny_preset / "samples" / "seven.png")
    assert record["samples"] == [
        {"input": "samples/seven.png", "answer": {"labels": answer["labels"], "scores": answer["scores"]}}
    ]
    draw_digit("1").save(tmp_path / "one.png")
    saved = zoo.save(tiny_preset, tmp_path / "x", samples=[tmp_path / "one.png"])
    assert [row["input"] for row in saved.record["samples"]] == ["samples/one.png"]
    assert not (saved.path / "samples" / "seven.png").exists()
    saved.verify()
    (tmp_path / "sub").mkdir()
    draw_digit("0").save(tmp_path / "sub" / "one.png")
    both = [tmp_path / "one.png", tmp_path / "sub" / "one.png"]
    assert "two samples are named one.png" in error_of(zoo.save, tiny_preset, tmp_path / "y", samples=both)
    (tmp_path / "bad.png").write_bytes(digit_file.read_bytes()[:40])
    for sample in ("bad.png", "none.png"):
        with pytest.raises(ZooError, match=sample):
            zoo.save(tiny_preset, tmp_path / "y", samples=[tmp_path / sample])
    assert not (tmp_path / "y").exists()


def test_operations_of_tensorflow_text_are_recorded(tiny_preset, tmp_path, monkeypatch):
    assert "op_libraries" not in preset.open_preset(tiny_preset).record
    monkeypatch.setattr("zoo.tasks.task.Task.op_libraries", lambda self: ["_some_ops.so"])
    saved = zoo.save(tiny_preset, tmp_path / "x")
    assert saved.record["op_libraries"] == ["_some_ops.so"]
    assert "- Needs: tensorflow-text" in (saved.path / "README.md").read_text()
    assert "Needs" not in (tiny_preset / "README.md").read_text()


def test_like_gives_back_a_lost_origin(mine, tmp_path):
    import keras

    model = zoo.load(mine)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert "has no origin" in error_of(zoo.save, clone, tmp_path / "x")
    saved = zoo.save(clone, tmp_path / "x", like=str(mine))
    assert kept(saved) == kept(preset.open_preset(mine))
    clone.set_weights([weight + 1 for weight in clone.get_weights()])
    saved = zoo.save(clone, tmp_path / "y", like=str(mine))
    assert saved.record["metrics"] == []
    for a, b in zip(clone.get_weights(), zoo.load(saved.path).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = zoo.create_model("mlp", hidden_units=(3,), input_shape=(16, 16, 1))
    del other.origin
    assert "do not fit the architecture of" in error_of(zoo.save, other, tmp_path / "z", like=str(mine))
    assert not (tmp_path / "z").exists()


def test_saving_into_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    model = zoo.create_model("mlp", hidden_units=(2,), input_shape=(4, 4, 1))
    assert zoo.save(model, ".").name == "run"
    assert zoo.load(tmp_path / "run").origin.preset == "run"
    assert sorted(os.listdir(".")) == ["README.md", "model.weights.h5", "preset.json"]


@pytest.mark.parametrize("name", ["README.md", "model.weights.h5", "samples/mine.png"])
def test_files_of_others_are_not_overwritten(name, mine, tmp_path):
    (tmp_path / "folder" / name).parent.mkdir(parents=True)
    (tmp_path / "folder" / name).write_text("mine")
    message = error_of(zoo.save, str(mine), tmp_path / "folder")
    assert f"has {name.partition('/')[0]}, but is not a preset: choose another folder" in message
    assert (tmp_path / "folder" / name).read_text() == "mine"


def test_a_quantized_model_is_refused(tmp_path):
    model = zoo.create_model("mlp", classes=3, hidden_units=(4,))
    model.quantize("int8")
    assert 'is quantized, layer hidden1: save it before, with storage="int8"' in error_of(
        zoo.save, model, tmp_path / "preset"
    )
    assert not (tmp_path / "preset").exists()


def test_a_full_disk_is_noticed_before_anything_is_written(mine, tmp_path, monkeypatch):
    """h5py can't close a file that it could not write, and would end the process."""
    monkeypatch.setattr(preset.weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    model = zoo.create_model("mlp", classes=3, hidden_units=(4,))
    message = error_of(zoo.save, model, tmp_path / "preset")
    assert message == f"can't write the preset {tmp_path / 'preset'}: No space left on device"
    # The answers of samples are those of weights that were written to a temporary file.
    assert "can't write a temporary file in " in error_of(zoo.save, str(mine), tmp_path / "preset")
    assert not (tmp_path / "preset").exists()


def test_a_model_without_a_head_is_loaded_uncompiled(tmp_path):
    model = zoo.create_model("mlp", classes=0, hidden_units=(4,))
    zoo.save(model, tmp_path / "body")
    image = np.ones((1, 28, 28, 1), "float32")
    np.testing.assert_array_equal(zoo.load(tmp_path / "body")(image), model(image))
