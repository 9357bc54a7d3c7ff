"""Mistakes in calls of the Python verbs: one line that names the item."""

import numpy as np
import pytest

import zoo
from zoo.errors import ZooError


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda preset, model: zoo.load(None), "None is no preset"),
        (lambda preset, model: zoo.load("a\0/b"), "is no path"),
        (lambda preset, model: zoo.load(preset, classes="3"), "classes='3' is no whole number"),
        (lambda preset, model: zoo.load(preset, labels=[1, 2, 3]), "no list of strings"),
        (lambda preset, model: zoo.pipeline(3), "3 is no preset"),
        (lambda preset, model: zoo.pipeline(preset, batch_size=2.5), "batch_size=2.5 is no whole number"),
        (lambda preset, model: zoo.pipeline(preset, low=np.nan), "low=nan is no number"),
        (lambda preset, model: zoo.create_model(["mlp"]), "unknown model"),
        (lambda preset, model: zoo.model_info([]), "is no preset"),
        (lambda preset, model: zoo.dataset("mnist", model="lenet5.mnist"), "'lenet5.mnist' is no Keras model"),
        (lambda preset, model: zoo.dataset(3, model=model), "3 is no data set"),
        (lambda preset, model: zoo.dataset("mnist", model=model, batch_size=0), "batch_size=0 is no whole number"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", batch_size=0), "batch_size=0 is no whole number"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", limit="a"), "limit='a' is no whole number"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", picture="nowhere/x.png"), "can't draw into nowhere/x.png"),
        (lambda preset, model: zoo.evaluate(preset, "mnist", picture="x.zzz"), "can't draw into x.zzz"),
        (lambda preset, model: zoo.save(model, ""), "path='' is no path"),
        (lambda preset, model: zoo.save(model, "x\0y"), "is no path"),
        (lambda preset, model: zoo.save(model, None), "path=None is no path"),
        (lambda preset, model: zoo.save(model, "x", labels=["a", "a", "b"]), "names a class twice"),
        (lambda preset, model: zoo.save(model, "x", labels=5), "no list of strings"),
        (lambda preset, model: zoo.save(model, "x", samples=[3]), "sample=3 is no path"),
        (lambda preset, model: zoo.export(preset, ""), "out='' is no path"),
        (lambda preset, model: zoo.export(model, "x", name="../y"), "name='../y' can't be a served model's"),
        (lambda preset, model: zoo.train("mlp", ""), "out='' is no path"),
        (lambda preset, model: zoo.train(None, "x"), "recipe=None is no path"),
        (lambda preset, model: zoo.train("mlp", "x", steps=1.5), "steps=1.5 is no whole number"),
        (lambda preset, model: zoo.benchmark(preset, seconds=float("nan")), "seconds=nan is no time"),
    ],
)
def test_a_mistake_is_named_in_one_line(call, message, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError) as caught:
        call(tiny_preset, zoo.load(tiny_preset))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_its_separator_is_pointed_out(tiny_preset, digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(digits_folder)
    with pytest.raises(ZooError, match=r"'mine' is no data set; for the folder give ./mine"):
        zoo.evaluate(tiny_preset, "mine")
    with pytest.raises(ZooError, match=r"unknown preset 'mine'; for the folder give ./mine"):
        zoo.load("mine")
