"""A disk that fills up during a run: the preset is what counts."""

import errno
import os

import pytest
import tensorflow as tf

from tests.helpers.runs import train
from zoo.training import workdir

FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def fill(monkeypatch):
    """Lets the files of the given names in the folder of a run meet a full disk."""

    def meet(*names):
        whole = workdir.whole_file

        def full(path, **options):
            if path.name in names:
                raise OSError(errno.ENOSPC, FULL)
            return whole(path, **options)

        monkeypatch.setattr(workdir, "whole_file", full)

    return meet


def short(digits_folder, out, warn):
    return train(digits_folder, out, training={"epochs": 1, "batch_size": 42}, warn=warn, domain="digits")


def test_a_full_disk_costs_the_small_files_only(digits_folder, tmp_path, monkeypatch, fill):
    def scalar(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, f"events.v2; {FULL}\n\tFailed to flush 2 events")

    monkeypatch.setattr(tf.summary, "scalar", scalar)
    fill("history.csv", "curves.png")
    lines, run = [], tmp_path / "run"
    made = short(digits_folder, run, lines.append)
    assert [line.removeprefix("can't write ") for line in lines] == [
        f"{run / name}: {FULL}" for name in ("history.csv", "tensorboard", "curves.png")
    ]
    made.verify()
    assert made.record["domain"] == "digits"
    assert not (run / "checkpoints").exists()


def test_a_run_whose_end_can_not_be_recorded_is_ended_by_the_next_call(digits_folder, tmp_path, monkeypatch, fill):
    run, end = tmp_path / "run", workdir.Workdir.end

    def full(self):
        fill("run.json")
        end(self)

    lines = []
    with monkeypatch.context() as patch:
        patch.setattr(workdir.Workdir, "end", full)
        short(digits_folder, run, lines.append).verify()
    assert lines == [f"can't write {run / 'run.json'}: {FULL}"]
    assert list((run / "checkpoints").iterdir())
    monkeypatch.undo()
    short(digits_folder, run, lines.append)
    assert not (run / "checkpoints").exists()
    assert not workdir.Workdir(run).was_cut()
