"""Mistakes in calls of the Python verbs: one line that names the item."""

import numpy as np
import pytest

import zoo
from zoo.errors import ZooError


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda preset, model: zoo.load(None), "a preset must be a name or a path, got None"),
        (lambda preset, model: zoo.load("a\0/b"), "preset must be a path"),
        (lambda preset, model: zoo.load(preset, classes="3"), "classes must be an integer >= 1, got '3'"),
        (lambda preset, model: zoo.load(preset, labels=[1, 2, 3]), "list of strings"),
        (lambda preset, model: zoo.pipeline(3), "a preset must be a name or a path, got 3"),
        (lambda preset, model: zoo.pipeline(preset, batch_size=2.5), "batch_size must be an integer >= 1, got 2.5"),
        (lambda preset, model: zoo.pipeline(preset, low=np.nan), "low must be a finite number, got nan"),
        (lambda preset, model: zoo.create_model(["mlp"]), "unknown model"),
        (lambda preset, model: zoo.model_info([]), "a preset must be a name or a path"),
        (lambda preset, model: zoo.dataset("mnist", model="lenet5.mnist"), "'lenet5.mnist' is not a Keras model"),
        (lambda preset, model: zoo.dataset(3, model=model), "3 is not a data set"),
        (
            lambda preset, model: zoo.dataset("mnist", model=model, batch_size=0),
            "batch_size must be an integer >= 1, got 0",
        ),
        (
            lambda preset, model: zoo.evaluate(preset, "mnist", batch_size=0),
            "batch_size must be an integer >= 1, got 0",
        ),
        (lambda preset, model: zoo.evaluate(preset, "mnist", limit="a"), "limit must be an integer >= 1, got 'a'"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", picture="nowhere/x.png"), "can't draw into nowhere/x.png"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", picture="x.zzz"), "can't draw into x.zzz"),
        (lambda preset, model: zoo.save(model, ""), "path must be a path, got ''"),
        (lambda preset, model: zoo.save(model, "x\0y"), "path must be a path"),
        (lambda preset, model: zoo.save(model, None), "path must be a path, got None"),
        (lambda preset, model: zoo.save(model, "x", labels=["a", "a", "b"]), "labels must be distinct and not empty"),
        (lambda preset, model: zoo.save(model, "x", labels=5), "labels must be a list of strings"),
        (lambda preset, model: zoo.save(model, "x", samples=[3]), "sample must be a path, got 3"),
        (lambda preset, model: zoo.export(preset, ""), "out must be a path, got ''"),
        (
            lambda preset, model: zoo.export(model, "x", name="../y"),
            "the name (--name) must have only letters, digits, '_', '-' and '.', got '../y'",
        ),
        (lambda preset, model: zoo.train("mlp", ""), "out must be a path, got ''"),
        (lambda preset, model: zoo.train(None, "x"), "recipe must be a path, got None"),
        (lambda preset, model: zoo.train("mlp", "x", steps=1.5), "steps must be an integer >= 1, got 1.5"),
        (lambda preset, model: zoo.benchmark(preset, inputs=[]), "no inputs to time: give at least one"),
        (lambda preset, model: zoo.explain(model, [], "x.png"), "no inputs to explain: give at least one"),
        (
            lambda preset, model: zoo.benchmark(preset, seconds=float("nan")),
            "seconds must be a number > 0 and <= 3600, got nan",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(call, message, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError) as caught:
        call(tiny_preset, zoo.load(tiny_preset))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_needs_no_separator(tiny_preset, named_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(named_digits)
    assert zoo.evaluate(tiny_preset, "mine")["metrics"] == zoo.evaluate(tiny_preset, named_digits)["metrics"]
    with pytest.raises(ZooError, match=r"^mine is not a preset: the folder has no preset.json$"):
        zoo.load("mine")
    (tmp_path / "copy").symlink_to(tiny_preset)
    assert zoo.load("copy").origin.preset == "mlp.tiny"


def test_a_data_sets_name_is_not_a_folder(tiny_preset, named_digits, tmp_path, monkeypatch):
    """With a separator it is one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").symlink_to(named_digits)
    with pytest.raises(ZooError, match="there is no folder nowhere to look for data sets in"):
        zoo.evaluate(tiny_preset, "mnist", data_dir="nowhere")
    assert zoo.evaluate(tiny_preset, "./mnist", data_dir="nowhere")["examples"] == 12
