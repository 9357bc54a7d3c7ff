"""Runs on a Ray cluster of this machine: the result of one device, also where a worker is killed."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray
from click.testing import CliRunner

import zoo
from tests.test_training import TINY, train, weights
from zoo.cli import main
from zoo.errors import ZooError


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all of the module's tests."""
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def workers() -> list[int]:
    """Process numbers of Ray's workers that train, by the titles that Ray gives them; on Linux."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"TrainWorker" in title:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(digits_folder, tmp_path):
    settings = {"training": {**TINY["training"], "epochs": 40, "checkpoint_seconds": 0.0}}
    train(digits_folder, tmp_path / "one", **settings)
    told, killed = [], []

    def report(step, total, figures):
        if not killed and any((tmp_path / "ray" / "checkpoints").glob("*.npz")) and step > 20:
            killed.append(max(workers()))
            os.kill(killed[0], signal.SIGKILL)

    train(digits_folder, tmp_path / "ray", **settings, cluster="ray", workers=2, report=report, warn=told.append)
    assert killed
    assert told == ["a worker failed; all were started anew (restart 1 of 3)"]
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "ray"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "ray" / "checkpoints").exists()
    assert not (tmp_path / "ray" / ".ray").exists()


@pytest.mark.slow
def test_workers_started_by_the_command_give_the_run_of_one(digits_folder, tmp_path):
    train(digits_folder, tmp_path / "one")
    sizes = [f"--set=model_overrides.{key}={json.dumps(value)}" for key, value in TINY["model_overrides"].items()]
    training = [f"--set=training.{key}={value}" for key, value in TINY["training"].items()]
    run = ["train", "mlp", "--out", str(tmp_path / "ray"), f"--set=data.folder={digits_folder}", *sizes, *training]
    told = CliRunner().invoke(main, [*run, "--cluster", "ray", "--workers", "2"])
    assert told.exit_code == 0, told.output
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "ray"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    facts = json.loads((tmp_path / "ray" / "run.json").read_text())
    assert facts["replicas"] == 2


@pytest.mark.slow
def test_a_workers_error_is_told_and_not_tried_again(tmp_path):
    told = []
    with pytest.raises(ZooError, match="there is no folder"):
        train(tmp_path / "nowhere", tmp_path / "ray", cluster="ray", warn=told.append)
    assert len(told) <= 1  # the other workers had to be ended
    assert not (tmp_path / "ray").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "slurm"}, "cluster='slurm'"),
        ({"cluster": "ray", "strategy": "mirrored"}, "give cluster='ray' alone"),
        ({"cluster": "ray", "workers": 0}, "workers=0 is no whole number"),
        ({"cluster": "ray", "gpus_per_worker": 2}, "2 workers with 2 GPUs each; this machine has 0 GPUs"),
    ],
)
def test_mistakes(options, message, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        zoo.train("mlp", tmp_path / "run", data={"folder": str(digits_folder)}, **options)
    assert not (tmp_path / "run").exists()
