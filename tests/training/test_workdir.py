"""What a run's folder may hold, and which folders are left alone."""

import shutil
import subprocess
import sys

import pytest

from tests.helpers.resumable_runs import assert_same_run, train
from zoo.errors import ZooError
from zoo.training.workdir import LOCK, Workdir


def test_a_folder_that_holds_something_else_is_left_alone(digits_folder, tiny_preset, tmp_path):
    shutil.copytree(tiny_preset, tmp_path / "preset")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("my own")
    for name in ("preset", "project"):
        before = sorted((tmp_path / name).iterdir())
        with pytest.raises(
            ZooError, match=r"holds README.md, which is not part of a run: choose a new or empty folder"
        ):
            train(digits_folder, tmp_path / name)
        assert sorted((tmp_path / name).iterdir()) == before
    assert (tmp_path / "project" / "README.md").read_text() == "my own"
    (tmp_path / "own" / "tensorboard").mkdir(parents=True)
    (tmp_path / "own" / "recipe.toml").write_text('model = "mlp"  # my own')
    with pytest.raises(ZooError, match=r"holds recipe.toml, which is not part of a run"):
        train(digits_folder, tmp_path / "own")
    assert (tmp_path / "own" / "recipe.toml").read_text() == 'model = "mlp"  # my own'
    assert (tmp_path / "own" / "tensorboard").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZooError, match=r"can't write into .*file: it is a file, not a folder"):
        train(digits_folder, tmp_path / "file")


@pytest.mark.parametrize("place", ["photos", "photos/0/run"])
def test_a_run_is_not_put_among_its_data(place, digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    with pytest.raises(ZooError, match=r"lies inside the data's folder .*photos: choose a folder outside"):
        train(tmp_path / "photos", tmp_path / place)
    assert len(list((tmp_path / "photos").rglob("*"))) == 63


def test_a_run_that_failed_at_once_is_replaced(digits_folder, uncut_run, tmp_path):
    with pytest.raises(ZooError, match="not finite"):
        train(digits_folder, tmp_path / "run", optimizer={"name": "sgd", "learning_rate": 1e30}, checkpoint_seconds=1e6)
    with pytest.raises(ZooError, match="there is no folder"):
        train(tmp_path / "nowhere", tmp_path / "run")
    assert (tmp_path / "run" / "not_finite.npz").exists()  # the old files stay until the new run can begin
    train(digits_folder, tmp_path / "run")
    assert not (tmp_path / "run" / "not_finite.npz").exists()
    assert_same_run(uncut_run, tmp_path / "run")


def test_a_cut_run_without_its_checkpoints_is_not_called_finished(digits_folder, cut_run):
    shutil.rmtree(cut_run / "checkpoints")
    with pytest.raises(ZooError, match=r"the run in .*cut has lost its checkpoints: start again in another folder"):
        train(digits_folder, cut_run, steps=7)


def test_a_finished_run_without_its_weights_is_an_error(digits_folder, finished_run):
    (finished_run / "model.weights.h5").unlink()
    with pytest.raises(ZooError, match=r"model.weights.h5"):
        train(digits_folder, finished_run)


# Locks a run's folder as Workdir does, without importing TensorFlow.
HOLDS = """
import sys
import filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_until_its_run_ends(digits_folder, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    (tmp_path / "run").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "run" / LOCK)], **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ZooError, match="run is in use by another run"):
            train(digits_folder, tmp_path / "run", steps=1)
        holder.kill()
    with Workdir(tmp_path / "run").in_use():
        assert (tmp_path / "run" / ".lock").exists()
    assert not (tmp_path / "run" / ".lock").exists()
