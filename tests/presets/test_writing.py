"""Presets are written whole or not at all, also where the process is killed or the disk is full."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.presets import METRIC, Fake, error_of, tree, write_preset
from zoo import preset
from zoo.preset import preset_json, weights

WRITING = """
import errno, json, os, sys
from pathlib import Path
import h5py
import numpy as np
from tests.helpers.presets import Fake, write_preset
from zoo import preset
from zoo.errors import ZooError

folder, what = Path(sys.argv[1]), sys.argv[2]

def setup(path):
    write_preset(path, 1.0, {"assets/old.txt": b"old", "assets/words.txt": b"old words"}, name="old")
    (path / "history.csv").write_text("epoch,loss")
    (path / "assets" / "mine.txt").write_text("mine")

def act(path):
    if what == "update":
        preset.update(preset.open_preset(path), name="new")
    else:
        write_preset(path, 2.0, {"samples/new.txt": b"new", "assets/words.txt": b"new words"}, name="new")

def look(path):
    assert (path / "history.csv").read_text() == "epoch,loss"
    assert (path / "assets" / "mine.txt").read_text() == "mine"
    try:
        found = preset.open_preset(path)
    except ZooError as error:
        assert str(error).endswith("is not a preset: it has no preset.json"), error
        return "none"
    found.verify()
    with h5py.File(found.file("model.weights.h5")) as file:
        value = float(file["layers/dense/vars/0"][0, 0])
    assert found.assets()["words.txt"].decode() == ("new words" if value == 2 else "old words")
    if what != "update":
        assert value == {"old": 1, "new": 2}[found.name]
    return found.name

def at(number, path, end):
    # Acts at the number-th change of a file in this folder, before the system makes it.
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        if not str(arguments[0]).startswith(str(path.parent)):
            return
        writes = event == "os.mkdir" or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if what == "full" and not writes or event == "open" and not writes:
            return
        count += 1
        if count == number:
            end()
    sys.addaudithook(hook)
    return lambda: count >= number

def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

seen = []
for number in range(1, 200):
    path = folder / str(number) / "x"
    setup(path)
    child = os.fork()
    if not child:
        try:
            reached = at(number, path, full if what in ("full", "fail") else lambda: os._exit(9))
            act(path)
        except ZooError as error:
            (folder / "error").write_text(str(error))
            os._exit(8)
        except BaseException as error:
            (folder / "error").write_text(repr(error))
            os._exit(7)
        os._exit(6 if reached() else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    state = look(path)
    error = (folder / "error").read_text().replace(str(path), "PATH") if code in (7, 8) else ""
    hidden = [name for name in os.listdir(path.parent) if name != "x"]
    act(path)  # the next one clears up, and is whole
    assert look(path) == "new"
    left = [name for name in os.listdir(path.parent) if name != "x"]
    seen.append([code, state, error, len(hidden), left])
    if code == 0:
        assert what == "update" or not (path / "assets" / "old.txt").exists()
        break
print(json.dumps(seen))
"""


def attempts(folder, what):
    """[exit status, preset found, error, hidden folders left, those left after the next write] of each attempt."""
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", WRITING, str(folder), what],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_kill_leaves_the_old_preset_none_or_the_new(tmp_path):
    seen = attempts(tmp_path, "kill")
    *killed, last = seen
    assert last[:2] == [0, "new"]
    assert {code for code, *_ in killed} == {9}
    states = [state for _, state, *_ in killed]
    assert len(states) > 15
    assert states == sorted(states, key=["old", "none", "new"].index)  # in this order, none of them skipped
    assert set(states) == {"old", "none", "new"}
    assert max(hidden for *_, hidden, _ in killed) == 1
    assert [left for *_, left in seen if left] == []


def test_a_kill_while_figures_are_recorded_leaves_a_preset(tmp_path):
    *killed, last = attempts(tmp_path, "update")
    assert last[:2] == [0, "new"]
    assert len(killed) >= 4
    assert {(code, state) for code, state, *_ in killed} == {(9, "old")} or {state for _, state, *_ in killed} == {
        "old",
        "new",
    }


def test_a_full_disk_leaves_the_old_preset(tmp_path):
    """Each file and folder can't be made once; a folder that is there need not be."""
    *failed, last = attempts(tmp_path, "full")
    assert last[:2] == [0, "new"]
    reason = "can't write the preset PATH: No space left on device"
    assert {tuple(row[:4]) for row in failed} == {(8, "old", reason, 0), (6, "new", "", 0)}
    assert sum(row[0] == 8 for row in failed) >= 5


def test_an_error_at_any_change_leaves_the_old_preset_or_the_new(tmp_path):
    """Each file and folder can't be written, moved or removed once."""
    *failed, last = attempts(tmp_path, "fail")
    assert last[:2] == [0, "new"]
    assert {tuple(row[:2]) for row in failed} == {(8, "old"), (6, "new")}
    assert sum(row[0] == 8 for row in failed) > sum(row[0] == 8 for row in attempts(tmp_path / "full", "full")) + 5


@pytest.mark.parametrize("storage", weights.STORAGES)
def test_a_disk_that_fills_up_in_hdf5_leaves_the_old_preset(tmp_path, monkeypatch, storage):
    """HDF5 tells of it in many lines, and as another kind of error when it closes the file."""
    path = write_preset(tmp_path / "x").path
    before = tree(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = Fake(np.random.default_rng(0).random((300, 400)))
    facts = {key: preset.open_preset(path).record[key] for key in ("name", "model", "task", "parameters")}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        message = error_of(preset.write, path, facts, model, storage, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message == f"can't write the preset {path}: File too large"

    def close(_):
        raise RuntimeError(
            "Can't decrement id ref count (unable to extend file properly, errno = 28, error message = .."
        )

    monkeypatch.setattr(model, "save_weights", close)
    message = error_of(preset.write, path, facts, model, storage, {})
    assert message == f"can't write the preset {path}: No space left on device"
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["x"]


def test_stale_hidden_folders_are_removed(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for name in (f".x[1].{done.pid}.tmp", f".x[1].{os.getpid()}.tmp", f".x[1].{10**30}.tmp"):
            (tmp_path / name / "assets").mkdir(parents=True)
        kept = {f".x[1].{sleeping.pid}.tmp", f".x[1].other.{done.pid}.tmp", f".x1.{done.pid}.tmp", ".x[1].mine.tmp"}
        for name in kept:
            (tmp_path / name).mkdir()
        write_preset(tmp_path / "x[1]").verify()
        assert set(os.listdir(tmp_path)) == {"x[1]", *kept}
    finally:
        sleeping.kill()
        sleeping.wait()


def test_what_is_in_the_way_leaves_the_old_preset(tmp_path):
    path = write_preset(tmp_path / "x").path
    shutil.rmtree(path / "assets")
    (path / "assets").write_text("a file")
    (path / "samples" / "folder").mkdir()
    before = tree(tmp_path)
    assert f"can't write the preset {path}: " in error_of(write_preset, path, 2.0)
    assert "is a folder" in error_of(write_preset, path, 2.0, {"samples/folder": b""})
    assert "No such" not in error_of(write_preset, path / "model.weights.h5")
    assert "not JSON serializable" not in error_of(write_preset, path, 2.0, {}, provenance={"by": object()})
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["x"]


def test_a_damaged_preset_is_overwritten(tmp_path):
    path = write_preset(tmp_path / "x").path
    (path / "preset.json").write_text("{")
    write_preset(path, 2.0).verify()


def test_numbers_of_numpy_are_recorded(tmp_path):
    saved = write_preset(tmp_path / "x", parameters=np.int64(4), metrics=[{**METRIC, "value": np.float32(0.5)}])
    assert saved.record["parameters"] == 4
    assert saved.record["metrics"] == [METRIC]
    assert json.loads(preset_json.record_text({"a": np.arange(3)})) == {"a": [0, 1, 2]}
