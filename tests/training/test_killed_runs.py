"""Runs that are killed or signalled, and end as if they had not been."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import zoo
from tests.helpers.processes import run_child
from tests.helpers.resumable_runs import assert_same_run, settings
from zoo.training import loop

# Is killed again and again: at the end of a step or of an epoch, or while it writes a checkpoint. One fork per life, so
# that TensorFlow is imported once. A life ends after so many of these moments.
KILLS = """
import json, os, signal, sys
import numpy as np
import zoo
from tests.helpers.short_graphs import short_runs
from zoo import training
from zoo.training import checkpoints, loop
short = short_runs()
short.__enter__()
out, name, lives, keywords = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
checkpoints.COST = 1e9
loop.LONG = int(sys.argv[5])
whole = np.savez

def life(moments):
    def moment(*_):
        nonlocal moments
        moments -= 1
        if moments == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def savez(file, **content):
        if moments == 1:
            file.write_bytes(b"half a checkpoint")
        moment()
        whole(file, **content)

    np.savez = savez
    zoo.train(name, out, report=moment, **keywords)

for number, moments in enumerate([*lives, -1]):
    child = os.fork()
    if not child:
        life(moments)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(number, os.WTERMSIG(status) if os.WIFSIGNALED(status) else status)
"""


def kill_again_and_again(name, lives, folder, tmp_path):
    """Kills a run after so many moments of each life, and lets it end."""
    keywords = settings(folder, name)
    options = (json.dumps(lives), json.dumps(keywords), str(loop.LONG))
    lines = run_child(KILLS, str(tmp_path / "killed"), name, *options).splitlines()
    assert lines.count(f"{len(lives)} 0") == 1
    assert sum(line.endswith(" 9") for line in lines) >= min(len(lives), 5)
    assert not list((tmp_path / "killed").glob("checkpoints"))


def test_a_run_killed_twice_ends_as_if_it_had_not_been(digits_folder, uncut_run, tmp_path):
    """After step 3 before its checkpoint, so that step 3 comes again; and in the checkpoint after step 4."""
    kill_again_and_again("mlp", [5, 4], digits_folder, tmp_path)
    assert_same_run(uncut_run, tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "long"), [("mlp", 0), ("resnet_cifar20", 0), ("resnet_cifar20", 1000)])
def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(name, long, digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LONG", long)  # a graph for whole batches, and one for the last; or one for all
    draw = random.Random(0)
    kill_again_and_again(name, [draw.randint(1, 9) for _ in range(20)], digits_folder, tmp_path)
    zoo.train(name, tmp_path / "whole", **settings(digits_folder, name))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


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
        lines = run.communicate(timeout=30)[1].splitlines()
    assert run.returncode == 128 + number
    assert lines[-1].startswith(f"zoo: stopped by {number.name} at step ")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert not (tmp_path / "run" / "preset.json").exists()
