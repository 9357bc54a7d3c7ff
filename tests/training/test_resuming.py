"""Runs go on where they were cut, to the bit; another recipe or other data are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.helpers.resumable_runs import TRAINING, assert_same_run, history, settings, train
from zoo import preset
from zoo.errors import ZooError
from zoo.tasks.image_classification import ImageClassification
from zoo.training.recipe import read_recipe


def test_a_run_that_was_cut_in_an_epoch_goes_on(digits_folder, uncut_run, cut_run):
    """Also where the first call that continues it has nothing to do."""
    before = preset.open_preset(cut_run).record
    assert before["provenance"]["steps"] == 6
    again = train(digits_folder, cut_run, steps=6)
    assert again.record["metrics"] == before["metrics"]
    steps = []
    train(digits_folder, cut_run, report=lambda step, *_: steps.append(step))
    assert steps[0] == 7
    assert_same_run(uncut_run, cut_run)


@pytest.mark.slow
def test_a_run_that_was_cut_at_the_end_of_an_epoch_goes_on(digits_folder, uncut_run, tmp_path):
    made = train(digits_folder, tmp_path / "run", steps=4)
    assert made.record["provenance"]["steps"] == 4
    steps = []
    train(digits_folder, tmp_path / "run", report=lambda step, *_: steps.append(step))
    assert steps[0] == 5
    assert_same_run(uncut_run, tmp_path / "run")


def test_a_finished_run_is_left_as_it_is(digits_folder, finished_run):
    before = {path: path.read_bytes() for path in finished_run.iterdir() if path.is_file()}
    warnings = []
    made = train(digits_folder, finished_run, warn=warnings.append)
    assert warnings == [f"the run in {finished_run} is finished already: nothing was trained"]
    assert made.path == finished_run
    assert {path: path.read_bytes() for path in finished_run.iterdir() if path.is_file()} == before
    assert {path.name for path in before} == {
        "README.md", "adapted.json", "curves.png", "history.csv", "model.weights.h5", "preset.json", "recipe.toml",
        "run.json",
    }  # fmt: skip


def test_the_facts_of_a_run_are_written(uncut_run):
    facts = json.loads((uncut_run / "run.json").read_text())
    assert {"command", "git", "hardware", "replicas", "versions"} <= facts.keys()
    in_a_checkout = (Path(zoo.__file__).parents[1] / ".git").exists() and shutil.which("git")
    assert len((facts["git"] or "").rstrip("+")) == (40 if in_a_checkout else 0)


def test_another_recipe_is_refused_with_the_difference(digits_folder, cut_run):
    with pytest.raises(ZooError, match=r"another recipe: training.batch_size was 12 and is 14; choose another folder"):
        train(digits_folder, cut_run, batch_size=14)
    train(digits_folder, cut_run, checkpoint_seconds=5.0, steps=7)  # which changes no weight
    assert read_recipe(cut_run / "recipe.toml")[1].training.checkpoint_seconds == 5.0


@pytest.fixture(scope="module")
def begun(digits_folder, tmp_path_factory):
    """A folder of photos, and a run of one step on it."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(digits_folder, folder / "photos")
    train(folder / "photos", folder / "run", steps=1)
    return folder / "photos", folder / "run"


@pytest.fixture
def photos(begun, digits_folder):
    """The folder of photos as it was when the run began."""
    shutil.rmtree(begun[0])
    return shutil.copytree(digits_folder, begun[0])


def test_other_data_than_before_are_refused(photos, begun):
    first, *others = sorted((photos / "7").iterdir())
    first.rename(first.with_name("zz.png"))  # the names decide on the split of a file
    with pytest.raises(ZooError, match=r"has other examples or file names than it had when the run"):
        train(photos, begun[1])
    for file in others[:5]:
        file.unlink()
    with pytest.raises(ZooError, match=r"has 38 examples, but had 42 when the run"):
        train(photos, begun[1])


def test_other_names_of_classes_are_refused(photos, begun):
    (photos / "0").rename(photos / "8")
    with pytest.raises(ZooError, match=r"photos has other classes \(0, 8\) than it had when the run in .*run started"):
        train(photos, begun[1], steps=2)


def test_the_last_step_may_break_the_weights(digits_folder, tmp_path):
    for optimizer in ({"name": "sgd", "learning_rate": 1e38}, {"name": "sgd", "learning_rate": 1e20}):
        with pytest.raises(ZooError, match=r"not finite after step 1: lower the learning rate"):
            train(digits_folder, tmp_path / "run", optimizer=optimizer, steps=1)
        assert not (tmp_path / "run" / "preset.json").exists()
        shutil.rmtree(tmp_path / "run")


def test_without_validation_is_another_recipe(digits_folder, tmp_path):
    settings_ = settings(digits_folder)
    without = {**settings_, "data": {**settings_["data"], "validation": ""}}
    zoo.train("mlp", tmp_path / "run", steps=2, **without)
    assert "val_loss" not in history(tmp_path / "run")[0]
    with pytest.raises(ZooError, match=r"another recipe: data.validation was None and is 'validation'"):
        train(digits_folder, tmp_path / "run")
    zoo.train(tmp_path / "run" / "recipe.toml", tmp_path / "again", steps=2)
    assert_same_run(tmp_path / "run", tmp_path / "again")


def test_what_the_task_learned_from_the_data_is_learned_once(digits_folder, tmp_path, monkeypatch):
    calls = []

    def adapt(cls, source, settings, assets):
        assert assets == {}
        calls.append(settings["low"])
        return {"top": 2}, {"words.bin": bytes(range(256))}, {"hidden_units": (7, 5), "classes": len(source.labels)}

    monkeypatch.setattr(ImageClassification, "adapt", classmethod(adapt))
    same = {"data": {"folder": str(digits_folder)}, "training": TRAINING, "task": {"low": -0.5}}
    zoo.train("mlp", tmp_path / "run", steps=2, **same)
    zoo.train("mlp", tmp_path / "run", **same)
    assert calls == [-0.5]
    model = zoo.load(tmp_path / "run")
    assert model.origin.assets == {"words.bin": bytes(range(256))}
    assert model.origin.overrides["hidden_units"] == [7, 5]
    assert model.count_params() == 28 * 28 * 7 + 7 + 7 * 5 + 5 + 5 * 3 + 3
    assert len(zoo.pipeline(model)(np.zeros((28, 28, 3), np.uint8))["labels"]) == 2
