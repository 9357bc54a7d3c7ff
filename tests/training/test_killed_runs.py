"""Runs that are killed or signalled, and end as if they had not been."""

import json
import random
import signal

import pytest

import zoo
from tests.helpers.processes import run_child
from tests.helpers.resumable_runs import assert_same_run, settings
from zoo.training import loop

# Is killed again and again: at the end of a step or of an epoch, or while it writes a checkpoint. One fork per life, so
# that TensorFlow is imported once. A life ends after so many of these moments.
KILLS = """
import json, os, signal, sys, time
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

# Commands that get a signal after their first epoch; what they print on standard error is in a file.
for number, (signal_number, folder, command) in enumerate(json.loads(sys.argv[6])):
    child = os.fork()
    if not child:
        from zoo.cli import main
        os.dup2(os.open(folder + ".err", os.O_CREAT | os.O_WRONLY), 2)
        try:
            main(command)
        except SystemExit as stopped:
            os._exit(stopped.code)
        os._exit(0)
    until = time.monotonic() + 120
    while not os.path.exists(folder + "/history.csv"):
        assert os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < until
        time.sleep(0.1)
    os.kill(child, signal_number)
    print("signal", signal_number, end(child), flush=True)
"""


def kill_again_and_again(name, lives, folder, tmp_path, signals=()):
    """Kills a run after so many moments of each life, and lets it end; then sends signals to other runs.

    Args:
        signals: (number, folder of the run, arguments of the command line) each.

    Returns:
        The exit status of the run that got a signal, by the signal's number.
    """
    keywords = settings(folder, name)
    options = (json.dumps(lives), json.dumps(keywords), str(loop.LONG), json.dumps(signals))
    lines = run_child(KILLS, str(tmp_path / "killed"), name, *options).splitlines()
    assert lines.count(f"{len(lives)} 0") == 1
    assert sum(line.endswith(" -9") for line in lines) >= min(len(lives), 5)
    assert not list((tmp_path / "killed").glob("checkpoints"))
    return {int(line.split()[1]): int(line.split()[2]) for line in lines if line.startswith("signal ")}


def test_a_run_killed_twice_ends_as_if_it_had_not_been(digits_folder, uncut_run, tmp_path):
    """After step 3 before its checkpoint, so that step 3 comes again; and in the checkpoint after step 4.

    The same process starts the commands that get a signal: they end after a checkpoint.
    """
    given = {"data.folder": digits_folder, "training.epochs": 100000, "model_overrides.hidden_units": "[16]"}
    runs = {number: tmp_path / number.name for number in (signal.SIGTERM, signal.SIGINT)}
    signals = []
    for number, run in runs.items():
        command = ["train", "mlp", "--out", str(run)]
        for key, value in given.items():
            command += ["--set", f"{key}={value}"]
        signals.append((number, str(run), command))
    statuses = kill_again_and_again("mlp", [5, 4], digits_folder, tmp_path, signals)
    assert_same_run(uncut_run, tmp_path / "killed")
    assert statuses == {number: 128 + number for number in runs}
    for number, run in runs.items():
        lines = run.with_suffix(".err").read_text().splitlines()
        assert lines[-1].startswith(f"zoo: stopped by {number.name} at step ")
        assert len(list((run / "checkpoints").iterdir())) == 1
        assert not (run / "preset.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "long"), [("mlp", 0), ("resnet_cifar20", 0), ("resnet_cifar20", 1000)])
def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(name, long, digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LONG", long)  # a graph for whole batches, and one for the last; or one for all
    draw = random.Random(0)
    kill_again_and_again(name, [draw.randint(1, 9) for _ in range(20)], digits_folder, tmp_path)
    zoo.train(name, tmp_path / "whole", **settings(digits_folder, name))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
