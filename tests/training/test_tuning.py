"""Searches of settings: their trials are runs, they go on where they ended, and mistakes are named."""

import contextlib
import csv
import random
import shutil

import pytest

import zoo
from tests.helpers.resumable_runs import assert_same_run, history
from zoo.errors import Stopped, ZooError
from zoo.registry import entries
from zoo.training import tuning
from zoo.training.recipe import read_recipe

RATE, DROPOUT = "training.optimizer.learning_rate", "model_overrides.dropout"

SPACE = {RATE: {"min": 1e-4, "max": 1e-1, "sampling": "log"}, DROPOUT: {"values": [0.0, 0.2, 0.4]}}

TINY = {"model_overrides": entries()["mlp"].tiny, "training": {"epochs": 2, "batch_size": 12}}


def tune(folder, out, space=SPACE, **options) -> dict:
    return zoo.tune("mlp", space, out, **{**TINY, "data": {"folder": str(folder)}, **options})


# A setting of every kind, and the smallest run.
KINDS = {
    "training.optimizer.nesterov": {"values": [True]},
    DROPOUT: {"values": [0, 0.25]},
    "training.optimizer.name": {"values": ["sgd"]},
}
SHORT = {"trials": 1, "training": {"epochs": 1, "batch_size": 42}}


@pytest.fixture(scope="module")
def searched(digits_folder, tmp_path_factory):
    """The folder of a search of one trial, and the settings that it gave."""
    folder = tmp_path_factory.mktemp("searched") / "search"
    return folder, tune(digits_folder, folder, KINDS, **SHORT)["settings"]


def table(out) -> list[dict]:
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_of_the_trials_becomes_a_recipe(digits_folder, tmp_path):
    told = []
    found = tune(digits_folder, tmp_path / "search", trials=2, report=lambda *row: told.append(row))
    assert [row[:2] for row in told] == [(1, 2), (2, 2)]
    scores = {row[2]["trial"]: row[2]["score"] for row in told}
    for trial, score in scores.items():
        rows = history(tmp_path / "search" / "trials" / trial)
        assert max(float(row["val_accuracy"]) for row in rows) == pytest.approx(score)
    rows = table(tmp_path / "search")
    assert [float(row["score"]) for row in rows] == sorted(scores.values(), reverse=True)
    assert found["trials"] == 2
    assert found["score"] == max(scores.values())
    assert found["settings"] == {RATE: float(rows[0][RATE]), DROPOUT: float(rows[0][DROPOUT])}
    name, recipe = read_recipe(found["recipe"])
    assert name == "best"
    assert recipe.training.optimizer.learning_rate == found["settings"][RATE]
    assert recipe.model_overrides["dropout"] == found["settings"][DROPOUT]
    zoo.train(found["recipe"], tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "search" / "trials" / rows[0]["trial"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bayesian", "hyperband", "random"])
def test_a_search_that_is_ended_goes_on(method, digits_folder, tmp_path, monkeypatch):
    options = {"trials": 5, "method": method, "training": {"epochs": 4, "batch_size": 12}}
    whole = tune(digits_folder, tmp_path / "whole", **options)

    train, calls = tuning.train, []

    def stopped(recipe, out, *, steps=None, **settings):
        calls.append(out)
        if len(calls) in (1, 4):  # in the midst of the first trial, and of the third
            train(recipe, out, steps=3, **settings)
            raise Stopped("stopped by SIGTERM", 15)
        return train(recipe, out, steps=steps, **settings)

    def ends(step, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "train", stopped)
    random.seed(7)  # KerasTuner's own is not the seed of anything
    with pytest.raises(Stopped):
        tune(digits_folder, tmp_path / "broken", **options)
    with pytest.raises(KeyboardInterrupt):  # after the first trial
        tune(digits_folder, tmp_path / "broken", **options, report=ends)
    with pytest.raises(Stopped):
        tune(digits_folder, tmp_path / "broken", **options)
    assert len(calls) == 4
    ended = tune(digits_folder, tmp_path / "broken", **options)
    assert ended["trials"] == whole["trials"]
    if method != "bayesian":  # whose process draws numbers that KerasTuner does not keep
        assert ended == {**whole, "recipe": str(tmp_path / "broken" / "best.toml")}
        assert table(tmp_path / "whole") == table(tmp_path / "broken")


@pytest.mark.slow
def test_hyperband_carries_the_best_on(digits_folder, tmp_path):
    training = {"epochs": 4, "batch_size": 12}
    tune(digits_folder, tmp_path / "search", trials=20, method="hyperband", training=training)
    rows = table(tmp_path / "search")
    assert {row["epochs"] for row in rows} == {"2", "4"}
    carried = [row for row in rows if row["epochs"] == "4"]
    assert all(len(history(tmp_path / "search" / "trials" / row["trial"])) == 4 for row in carried)
    settings = {key: float(carried[0][key]) for key in SPACE}
    data = {"folder": str(digits_folder)}
    zoo.train("mlp", tmp_path / "run", **{**TINY, "data": data, "training": training, **settings})
    assert_same_run(tmp_path / "run", tmp_path / "search" / "trials" / carried[0]["trial"])


def test_a_trial_that_diverges_is_left_out(digits_folder, tmp_path):
    told = []
    space = {RATE: {"values": [1e-2, 1e30]}}
    found = tune(digits_folder, tmp_path / "search", space, trials=2, method="random", warn=told.append)
    assert found["settings"] == {RATE: 1e-2}
    assert len(table(tmp_path / "search")) == 1
    assert len(told) == 1
    assert "not finite" in told[0]


def test_trials_that_all_diverge(digits_folder, tmp_path):
    with pytest.raises(ZooError, match="no trial in .* succeeded: check the ranges"):
        tune(digits_folder, tmp_path / "search", {RATE: {"values": [1e30]}}, trials=1, method="random")


def test_data_that_fail_leave_the_other_trials_what_they_are(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "bad")
    for file in (tmp_path / "bad" / "7").iterdir():
        file.write_bytes(b"no image")
    told, folders = [], [str(digits_folder), str(tmp_path / "bad")]
    space = {"data.folder": {"values": folders}}
    random.seed(0)
    for _ in range(2):  # whichever comes first
        with contextlib.suppress(ZooError):
            found = tune(digits_folder, tmp_path / "search", space, trials=2, method="random", warn=told.append)
            break
        folders.reverse()
    assert found["settings"] == {"data.folder": str(digits_folder)}
    assert len(table(tmp_path / "search")) == 1


def test_a_damaged_search_is_named(searched, digits_folder, tmp_path):
    folder = shutil.copytree(searched[0], tmp_path / "search")
    (folder / "tuner" / "oracle.json").write_text("")
    with pytest.raises(ZooError, match=r"a file in .*tuner can't be read: remove .*search to start again"):
        tune(digits_folder, folder, KINDS, **SHORT)
    (folder / "tuning.json").write_text("")
    with pytest.raises(ZooError, match=r"tuning.json can't be read: remove the folder to start again"):
        tune(digits_folder, folder, KINDS, **SHORT)


def test_values_of_every_kind(searched):
    found = searched[1]
    assert found["training.optimizer.nesterov"] is True
    assert found["training.optimizer.name"] == "sgd"
    assert found[DROPOUT] in (0, 0.25)


def test_a_mistake_that_shows_in_the_first_trial_leaves_the_folder_free(digits_folder, tmp_path):
    with pytest.raises(ZooError, match="unknown argument of mlp 'droput'"):
        tune(digits_folder, tmp_path / "search", {"model_overrides.droput": {"values": [0.1]}}, trials=1)
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({}, {}, "has no setting"),
        ({"training.rate": {"min": 0, "max": 1}}, {}, "unknown key training.rate"),
        ({DROPOUT: {"min": 1, "max": 0}}, {}, "dropout: min must be below max"),
        ({DROPOUT: {"min": 0, "max": 1, "sampling": "log"}}, {}, "min must be above 0 for log sampling"),
        ({DROPOUT: {"min": 0}}, {}, "give either values, or min and max"),
        ({DROPOUT: {"values": [0.1], "step": 1}}, {}, "give either values, or min and max, not both"),
        (
            {DROPOUT: {"min": 0.1, "max": 1, "step": 0.5, "sampling": "log"}},
            {},
            "step must be above 1 for log sampling",
        ),
        ({DROPOUT: {"min": 0.1, "max": 0.2, "step": 5}}, {}, "step must be at most max - min"),
        ({DROPOUT: {"values": []}}, {}, "values List should have at least 1 item"),
        ({DROPOUT: {"between": [0, 1]}}, {}, "between Extra inputs are not permitted; keys of a range: values"),
        ({DROPOUT: 0.5}, {}, "dropout: Input should be a valid dictionary"),
        ({RATE: {"min": -1.0, "max": 1.0}}, {}, "learning_rate = -1.0"),
        (SPACE, {"trials": 0}, "trials must be an integer >= 1, got 0"),
        (SPACE, {"method": "grid"}, "unknown method 'grid'"),
        ("nowhere.toml", {}, "nowhere.toml: No such file"),
    ],
)
def test_mistakes(space, options, message, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        tune(digits_folder, tmp_path / "search", space, **options)
    assert not (tmp_path / "search").exists()


def test_folders_that_hold_something_else(searched, digits_folder, tmp_path):
    folder = tmp_path / "search"
    with pytest.raises(ZooError, match="no validation data to score trials on"):
        tune(digits_folder, folder, data={"folder": str(digits_folder), "validation": None})
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(ZooError, match="holds files that do not belong to a search"):
        tune(digits_folder, folder)
    message = (
        "another search: recipe.training.epochs was 1 and is 2; recipe.training.batch_size was 42 and is 12; method"
    )
    with pytest.raises(ZooError, match=message):
        tune(digits_folder, searched[0], KINDS, method="random")


@pytest.fixture
def told_rows(monkeypatch):
    """Trials do not train, but leave the given rows of history; the list of their settings."""
    calls, rows = [], []

    def train(recipe, out, **settings):
        calls.append(settings)
        out.mkdir(parents=True)
        with open(out / "history.csv", "w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)

    monkeypatch.setattr(tuning, "train", train)
    return rows, calls


def test_a_translator_is_scored_by_the_criterion_that_picks_its_epoch(told_rows, tmp_path):
    """Not by the loss, which is lower in another epoch."""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{word}\t{word.upper()}\n" for word in map("word{}".format, range(40))))
    rows, _ = told_rows
    rows += [
        {"epoch": 1, "loss": 2.0, "val_loss": 1.0, "val_token_accuracy": 0.6},
        {"epoch": 2, "loss": 1.0, "val_loss": 1.5, "val_token_accuracy": 0.7},
        {"epoch": 3, "loss": 0.5, "val_loss": 0.9, "val_token_accuracy": 0.65},
    ]
    found = zoo.tune(
        "lstm_seq2seq", {RATE: {"values": [0.1]}}, tmp_path / "search", trials=1, data={"folder": str(pairs)}
    )
    assert found["score"] == 0.7


def test_values_may_be_lists_and_tables(told_rows, digits_folder, tmp_path):
    rows, calls = told_rows
    rows.append({"epoch": 1, "loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5})
    space = {
        "training.schedule.drops": {"values": [[0.2, 0.4]]},
        "training.optimizer": {"values": [{"name": "sgd", "momentum": 0.9}]},
    }
    found = tune(digits_folder, tmp_path / "search", space, trials=1)
    assert found["settings"] == {key: limits["values"][0] for key, limits in space.items()}
    assert calls[0]["training.schedule.drops"] == [0.2, 0.4]
    _, recipe = read_recipe(found["recipe"])
    assert (recipe.training.schedule.drops, recipe.training.optimizer.momentum) == ([0.2, 0.4], 0.9)
    with pytest.raises(ZooError, match="drops = .*must be increasing fractions"):
        tune(digits_folder, tmp_path / "other", {"training.schedule.drops": {"values": [[0.4, 0.2]]}})
