"""Runs that end on the way and are continued: killed, told to end, cut short; damaged files; folders in use."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.test_laws import run_child
from tests.test_training import weights
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks.image_classification import ImageClassification
from zoo.training import checkpoints, loop
from zoo.training.recipe import read_recipe

TRAINING = {"epochs": 3, "batch_size": 12, "weight_averaging": 0.9, "checkpoint_seconds": 0.0}
TASK = {"augment": {"rotate": 20.0, "shift": 2.0}}


def settings(folder, name="mlp", **training) -> dict:
    """Of a run in which everything that has a state is switched on: dropout, augmentation, averages, schedule."""
    overrides = {**entries()[name].tiny, **({"dropout": 0.3} if name == "mlp" else {})}
    return {
        "model_overrides": overrides,
        "task": TASK,
        "data": {"folder": str(folder)},
        "training": {**TRAINING, **training},
    }


def train(folder, out, name="mlp", *, steps=None, report=None, warn=None, **training):
    extra = {"warn": warn} if warn else {}
    return zoo.train(name, out, steps=steps, report=report, **extra, **settings(folder, name, **training))


def history(path) -> list[dict]:
    with open(path / "history.csv", newline="") as file:
        timing = ("seconds", "examples_per_second")
        return [{key: row[key] for key in row if key not in timing} for row in csv.DictReader(file)]


def assert_same_run(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history(one) == history(other)


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every step, whatever it costs."""
    monkeypatch.setattr(checkpoints, "COST", 1e9)


# Dies again and again, each time at a random moment: at a step's end, at an epoch's, or inside the writing of a
# checkpoint. A fork a life, so that TensorFlow is imported once.
KILLS = """
import json, os, random, signal, sys
import numpy as np
import zoo
from zoo import training
from zoo.training import checkpoints, loop
out, name, kills, keywords = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
checkpoints.COST = 1e9
loop.LONG = int(sys.argv[5])
random.seed(0)
whole = np.savez

def life(moments):
    def moment(*_):
        nonlocal moments
        moments -= 1
        if moments == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def savez(file, **content):
        if moments == 1:
            file.write(b"half a checkpoint")
            file.flush()
        moment()
        whole(file, **content)

    np.savez = savez
    zoo.train(name, out, report=moment, **keywords)

for number in range(kills + 1):
    moments = random.randint(1, 9) if number < kills else -1
    child = os.fork()
    if not child:
        life(moments)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(number, os.WTERMSIG(status) if os.WIFSIGNALED(status) else status)
"""


def kill_again_and_again(name, kills, folder, tmp_path):
    keywords = settings(folder, name)
    options = (str(kills), json.dumps(keywords), str(loop.LONG))
    told = run_child(KILLS, str(tmp_path / "killed"), name, *options).splitlines()
    assert told.count(f"{kills} 0") == 1
    assert sum(line.endswith(" 9") for line in told) >= min(kills, 5)
    zoo.train(name, tmp_path / "whole", **keywords)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("checkpoints"))


def test_a_run_killed_five_times_ends_as_if_it_had_not_been(digits_folder, tmp_path):
    kill_again_and_again("mlp", 5, digits_folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "long"), [("mlp", 0), ("resnet_cifar20", 0), ("resnet_cifar20", 1000)])
def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(name, long, digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LONG", long)  # a graph for whole batches, and one for the last; or one for all
    kill_again_and_again(name, 20, digits_folder, tmp_path)


@pytest.mark.parametrize("steps", [pytest.param(4, marks=pytest.mark.slow), 6])  # at an epoch's end, within the next
def test_a_run_that_was_cut_short_goes_on(steps, digits_folder, tmp_path):
    made = train(digits_folder, tmp_path / "cut", steps=steps)
    assert made.record["provenance"]["steps"] == steps
    again = train(digits_folder, tmp_path / "cut", steps=steps)
    assert again.record["metrics"] == made.record["metrics"]
    told = []
    train(digits_folder, tmp_path / "cut", report=lambda step, *_: told.append(step))
    assert told[0] == steps + 1
    train(digits_folder, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_finished_run_is_left_as_it_is(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", epochs=1)
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    warnings = []
    made = train(digits_folder, tmp_path / "run", epochs=1, warn=warnings.append)
    assert warnings == [f"the run in {tmp_path / 'run'} was finished before; there is nothing left to do"]
    assert made.path == tmp_path / "run"
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    assert {path.name for path in before} == {
        "README.md", "curves.png", "history.csv", "model.weights.h5", "preset.json", "recipe.toml", "run.json",
    }  # fmt: skip


def test_what_a_run_ran_on_is_kept(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", steps=1)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"command", "git", "hardware", "replicas", "versions"} <= facts.keys()
    in_a_checkout = (Path(zoo.__file__).parents[1] / ".git").exists() and shutil.which("git")
    assert len((facts["git"] or "").rstrip("+")) == (40 if in_a_checkout else 0)


SLOW = [pytest.param(harm, marks=pytest.mark.slow) for harm in ("cut", "empty")]


@pytest.mark.parametrize("harm", ["bit", *SLOW])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(harm, often, digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", steps=6)
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["step_000000004.npz", "step_000000005.npz", "step_000000006.npz"]
    content = bytearray(files[-1].read_bytes())
    content[len(content) // 2] ^= 8
    files[-1].write_bytes({"bit": content, "cut": content[: len(content) // 2], "empty": b""}[harm])
    warnings, told = [], []
    train(digits_folder, tmp_path / "run", warn=warnings.append, report=lambda step, *_: told.append(step))
    assert warnings == [f"{files[-1]} is damaged; looking for the checkpoint before it"]
    assert told[0] == 6
    train(digits_folder, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("kept", [1, 2])
def test_what_is_damaged_or_half_written_takes_no_place(kept, tmp_path):
    made = checkpoints.Checkpoints(tmp_path / "run", 3, 0.0, lambda _: None)
    (tmp_path / "run").mkdir()
    for step in (100, 200, 300):
        made.save(step, {"step": step}, {"a": np.zeros(3)})
    (tmp_path / "run" / "step_000000300.npz").write_bytes(b"PK")
    (tmp_path / "run" / ".half.npz").write_bytes(b"PK")
    again = checkpoints.Checkpoints(tmp_path / "run", kept, 0.0, lambda _: None)
    assert again.newest()[0] == {"step": 200}
    again.save(250, {"step": 250}, {"a": np.ones(3)})
    assert again.newest()[0] == {"step": 250}
    names = {"step_000000200.npz", "step_000000250.npz"}
    assert {file.name for file in (tmp_path / "run").iterdir()} == (names if kept == 2 else {"step_000000250.npz"})


def test_no_whole_checkpoint_is_an_error_and_loses_nothing(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", steps=2)
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.write_bytes(b"PK")
    with pytest.raises(ZooError, match="every checkpoint in .* is damaged"):
        train(digits_folder, tmp_path / "run", warn=lambda _: None)
    assert (tmp_path / "run" / "preset.json").exists()


def test_another_recipe_is_refused_with_the_difference(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", steps=1)
    with pytest.raises(ZooError, match=r"another recipe: training.batch_size was 12 and is 14; choose another folder"):
        train(digits_folder, tmp_path / "run", batch_size=14)
    train(digits_folder, tmp_path / "run", checkpoint_seconds=5.0, steps=2)  # which changes no weight
    assert read_recipe(tmp_path / "run" / "recipe.toml")[1].training.checkpoint_seconds == 5.0


def test_other_data_than_before_are_refused(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    train(tmp_path / "photos", tmp_path / "run", steps=1)
    first, *others = sorted((tmp_path / "photos" / "7").iterdir())
    first.rename(first.with_name("zz.png"))  # by their names the files are shared into splits
    with pytest.raises(ZooError, match=r"has other examples or names of files than when the run"):
        train(tmp_path / "photos", tmp_path / "run")
    for file in others[:5]:
        file.unlink()
    with pytest.raises(ZooError, match=r"has 38 examples now, and had 42 when the run"):
        train(tmp_path / "photos", tmp_path / "run")


def test_a_folder_that_holds_something_else_is_left_alone(digits_folder, tiny_preset, tmp_path):
    shutil.copytree(tiny_preset, tmp_path / "preset")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("my own")
    for name in ("preset", "project"):
        before = sorted((tmp_path / name).iterdir())
        with pytest.raises(ZooError, match=r"holds README.md, which is no run's: choose a new folder"):
            train(digits_folder, tmp_path / name)
        assert sorted((tmp_path / name).iterdir()) == before
    assert (tmp_path / "project" / "README.md").read_text() == "my own"
    (tmp_path / "own" / "tensorboard").mkdir(parents=True)
    (tmp_path / "own" / "recipe.toml").write_text('model = "mlp"  # my own')
    with pytest.raises(ZooError, match=r"holds recipe.toml, which is no run's"):
        train(digits_folder, tmp_path / "own")
    assert (tmp_path / "own" / "recipe.toml").read_text() == 'model = "mlp"  # my own'
    assert (tmp_path / "own" / "tensorboard").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZooError, match=r"can't write into .*file: it is a file, not a folder"):
        train(digits_folder, tmp_path / "file")


@pytest.mark.parametrize("place", ["photos", "photos/0/run"])
def test_a_run_is_not_put_among_its_data(place, digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    with pytest.raises(ZooError, match=r"lies in the data's folder .*photos: choose one outside"):
        train(tmp_path / "photos", tmp_path / place)
    assert len(list((tmp_path / "photos").rglob("*"))) == 63


def test_a_run_that_came_to_nothing_gives_way_to_another(digits_folder, tmp_path):
    with pytest.raises(ZooError, match="not finite"):
        train(digits_folder, tmp_path / "run", optimizer={"name": "sgd", "learning_rate": 1e30}, checkpoint_seconds=1e6)
    with pytest.raises(ZooError, match="there is no folder"):
        train(tmp_path / "nowhere", tmp_path / "run", epochs=1)
    assert (tmp_path / "run" / "not_finite.npz").exists()  # nothing goes before the other can begin
    train(digits_folder, tmp_path / "run", epochs=1)
    assert not (tmp_path / "run" / "not_finite.npz").exists()
    train(digits_folder, tmp_path / "other", epochs=1)
    assert_same_run(tmp_path / "run", tmp_path / "other")


def test_the_last_step_may_break_the_weights(digits_folder, tmp_path):
    for optimizer in ({"name": "sgd", "learning_rate": 1e38}, {"name": "sgd", "learning_rate": 1e20}):
        with pytest.raises(ZooError, match=r"not finite after step 1: lower the learning rate"):
            train(digits_folder, tmp_path / "run", optimizer=optimizer, steps=1)
        assert not (tmp_path / "run" / "preset.json").exists()
        shutil.rmtree(tmp_path / "run")


def test_classes_of_other_names_are_no_run_to_go_on_with(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    train(tmp_path / "photos", tmp_path / "run", steps=1)
    (tmp_path / "photos" / "0").rename(tmp_path / "photos" / "8")
    with pytest.raises(ZooError, match=r"photos has other classes \(0, 8\) than when the run in .*run began"):
        train(tmp_path / "photos", tmp_path / "run", steps=2)


def test_a_cut_run_without_its_checkpoints_is_not_called_finished(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", steps=2)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ZooError, match=r"the checkpoints of the run in .*run are gone: begin again in another folder"):
        train(digits_folder, tmp_path / "run", steps=3)


def test_a_finished_run_whose_weights_are_gone_is_not_called_so(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "run", epochs=1)
    (tmp_path / "run" / "model.weights.h5").unlink()
    with pytest.raises(ZooError, match=r"model.weights.h5"):
        train(digits_folder, tmp_path / "run", epochs=1)


def test_without_validation_is_another_recipe(digits_folder, tmp_path):
    settings_ = settings(digits_folder)
    without = {**settings_, "data": {**settings_["data"], "validation": ""}}
    zoo.train("mlp", tmp_path / "run", steps=2, **without)
    assert "val_loss" not in history(tmp_path / "run")[0]
    with pytest.raises(ZooError, match=r"another recipe: data.validation was None and is 'validation'"):
        train(digits_folder, tmp_path / "run")
    zoo.train(tmp_path / "run" / "recipe.toml", tmp_path / "again", steps=2)
    assert_same_run(tmp_path / "run", tmp_path / "again")


HOLDS = """
import sys
from pathlib import Path
from zoo.training.workdir import Workdir
with Workdir(Path(sys.argv[1])).in_use():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_until_its_run_ends(digits_folder, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "run")], **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ZooError, match="run is in use by another run"):
            train(digits_folder, tmp_path / "run", steps=1)
        holder.kill()
    train(digits_folder, tmp_path / "run", steps=1)
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_full_disk_costs_no_checkpoint(often, digits_folder, tmp_path):
    """The system refuses files above a size: the checkpoint is told of, the ones before stay, and the run goes on."""
    import resource

    train(digits_folder, tmp_path / "run", steps=5)
    kept = {file: file.read_bytes() for file in (tmp_path / "run" / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    warnings = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(len(content) for content in kept.values()) - 100, hard))
    try:
        with pytest.raises(ZooError, match="can't write"):  # in the end the preset finds no place either
            train(digits_folder, tmp_path / "run", warn=warnings.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert warnings[0].startswith("no checkpoint at step 6, ")
    assert "the older ones stand" in warnings[0]
    assert {file: file.read_bytes() for file in (tmp_path / "run" / "checkpoints").iterdir()} == kept
    train(digits_folder, tmp_path / "run")
    train(digits_folder, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_after_a_checkpoint(number, digits_folder, tmp_path):
    command = [sys.executable, "-m", "zoo.cli", "train", "mlp", "--out", str(tmp_path / "run")]
    given = {"data.folder": digits_folder, "training.epochs": 100000, "model_overrides.hidden_units": "[16]"}
    for key, value in given.items():
        command += ["--set", f"{key}={value}"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ) as run:
        until = time.monotonic() + 120
        while not (tmp_path / "run" / "history.csv").exists():
            assert run.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        run.send_signal(number)
        told = run.communicate(timeout=30)[1]
    assert run.returncode == 128 + number
    assert f"zoo: stopped by {number.name} at step " in told
    assert told.splitlines()[-1].startswith("zoo: stopped")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert not (tmp_path / "run" / "preset.json").exists()


def test_early_stopping_ends_a_run_without_progress(digits_folder, tmp_path):
    training = {"epochs": 50, "early_stopping": 3, "optimizer": {"learning_rate": 1e-30}, "weight_averaging": None}
    made = train(digits_folder, tmp_path / "run", **training)
    assert len(history(tmp_path / "run")) == 4
    assert made.record["provenance"]["epochs"] == "4 of 50, kept that of epoch 1"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_early_stopping_looks_at_whole_epochs(digits_folder, tmp_path):
    """Four steps an epoch: the sixth ends none, and the run goes on from there."""
    training = {"epochs": 9, "early_stopping": 1, "optimizer": {"learning_rate": 1e-30}, "weight_averaging": None}
    train(digits_folder, tmp_path / "run", steps=6, **training)
    assert (tmp_path / "run" / "checkpoints").exists()
    made = train(digits_folder, tmp_path / "run", **training)
    assert made.record["provenance"]["steps"] == 8
    assert len(history(tmp_path / "run")) == 2


def test_what_the_task_learned_from_the_data_is_learned_once(digits_folder, tmp_path, monkeypatch):
    calls = []

    def adapt(cls, source, settings, assets):
        assert assets == {}
        calls.append(settings["low"])
        return {"top": 2}, {"words.bin": bytes(range(256))}, {"hidden_units": (7, 5)}

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
