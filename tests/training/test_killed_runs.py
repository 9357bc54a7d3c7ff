"""Runs that are killed or signalled, and end as if they had not been."""

import json
import os
import random
import signal
import threading

import pytest

import zoo
from tests.helpers.commands import run_zoo
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

def end(child):
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

for number, moments in enumerate([*lives, -1]):
    child = os.fork()
    if not child:
        life(moments)
        os._exit(0)
    print(number, end(child), flush=True)
"""


def kill_again_and_again(name, lives, folder, tmp_path):
    """Kills a run after so many moments of each life, and lets it end."""
    options = (json.dumps(lives), json.dumps(settings(folder, name)), str(loop.LONG))
    lines = run_child(KILLS, str(tmp_path / "killed"), name, *options).splitlines()
    assert lines.count(f"{len(lives)} 0") == 1
    assert sum(line.endswith(" -9") for line in lines) >= min(len(lives), 5)
    assert not list((tmp_path / "killed").glob("checkpoints"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_a_checkpoint(number, digits_folder, tmp_path):
    """The command gets it after its first epoch."""
    run = tmp_path / "run"

    def send():
        while not (run / "history.csv").exists():
            if is_over.wait(0.05):
                return
        os.kill(os.getpid(), number)

    is_over = threading.Event()
    sender = threading.Thread(target=send)
    given = {"data.folder": digits_folder, "training.epochs": 1000, "model_overrides.hidden_units": "[16]"}
    options = sum((["--set", f"{key}={value}"] for key, value in given.items()), [])
    before = signal.signal(number, lambda *_: None)  # so that a command that ignores it does not end all tests
    sender.start()
    try:
        status, _, error = run_zoo("train", "mlp", "--out", run, *options)
    finally:
        is_over.set()
        sender.join()
        signal.signal(number, before)
    assert status == 128 + number
    assert error.splitlines()[-1].startswith(f"zoo: stopped by {number.name} at step ")
    assert len(list((run / "checkpoints").iterdir())) == 1
    assert not (run / "preset.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "long"), [("mlp", 0), ("resnet_cifar20", 1000)])
def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(name, long, digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LONG", long)  # a graph for whole batches, and one for the last; or one for all
    draw = random.Random(0)
    kill_again_and_again(name, [draw.randint(1, 9) for _ in range(20)], digits_folder, tmp_path)
    zoo.train(name, tmp_path / "whole", **settings(digits_folder, name))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
