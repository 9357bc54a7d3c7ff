"""Files and folders appear whole or not at all."""

import os
import subprocess
import sys

import pytest

from zoo.files import hidden_folder, whole_file, whole_folder


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_appears_when_it_is_whole(sync, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with whole_file(path, sync) as hidden:
        assert (hidden.parent, hidden.suffix, hidden.name[0]) == (tmp_path, ".txt", ".")
        hidden.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["notes.txt"]


def fail_within(block, name: str) -> None:
    """Writes half of a file, or of a file in a folder, and raises KeyError."""
    with block as hidden:
        (hidden / name).write_text("half")
        raise KeyError


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(KeyError):
        fail_within(whole_file(path), "")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "above" / "folder"
    for content in ("first", "second"):
        with whole_folder(path) as hidden:
            (hidden / content).write_text(content)
        assert os.listdir(path) == [content]
    with pytest.raises(KeyError):
        fail_within(whole_folder(path), "third")
    assert os.listdir(path) == ["second"]
    assert os.listdir(path.parent) == ["folder"]


def test_what_killed_processes_left_is_removed(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (tmp_path / f".a.{done.pid}.tmp.txt").write_text("half")
    (tmp_path / f".a.{os.getppid()}.tmp.txt").write_text("of a process that runs")
    (tmp_path / f".b.{done.pid}.tmp.txt").write_text("of another file")
    (tmp_path / f".c.{done.pid}.tmp").mkdir()
    with whole_file(tmp_path / "a.txt") as hidden:
        hidden.write_text("whole")
    with hidden_folder(tmp_path / "c"):
        pass
    kept = {"a.txt", f".a.{os.getppid()}.tmp.txt", f".b.{done.pid}.tmp.txt"}
    assert set(os.listdir(tmp_path)) == kept
