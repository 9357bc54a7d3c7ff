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
from tests.helpers.runs import TINY, train, weights
from zoo.cli import main
from zoo.errors import ZooError
from zoo.training.workdir import Workdir


@pytest.fixture(scope="module")
def cluster():
    """One for all of the module's tests that train."""
    ray.init(num_cpus=8, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def workers() -> list[int]:
    """Process numbers of this test's workers, by the titles that Ray gives them and by their descent; on Linux."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            ancestors = [int(folder.name)]
            while ancestors[-1] > 1:
                stat = Path("/proc", str(ancestors[-1]), "stat").read_text()
                ancestors.append(int(stat.rpartition(")")[2].split()[1]))
        except OSError:
            continue
        if os.getpid() in ancestors and title.startswith(b"ray::") and b"TrainWorker" in title:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(cluster, digits_folder, tmp_path):
    settings = {"training": {**TINY["training"], "epochs": 40, "checkpoint_seconds": 0.0}}
    train(digits_folder, tmp_path / "one", **settings)
    told, killed = [], []

    def report(step, total, figures):
        if not killed and any((tmp_path / "ray" / "checkpoints").glob("*.npz")) and step > 20:
            killed.append(max(workers()))
            os.kill(killed[0], signal.SIGKILL)

    train(digits_folder, tmp_path / "ray", **settings, cluster="ray", workers=2, report=report, warn=told.append)
    assert killed
    assert told == ["a worker failed; all workers were restarted (restart 1 of 3)"]
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "ray"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "ray" / "checkpoints").exists()
    assert not (tmp_path / "ray" / ".ray").exists()


@pytest.mark.slow
def test_workers_started_by_the_command_give_the_run_of_one(cluster, digits_folder, tmp_path, monkeypatch):
    train(digits_folder, tmp_path / "one")
    sizes = [f"--set=model_overrides.{key}={json.dumps(value)}" for key, value in TINY["model_overrides"].items()]
    training = [f"--set=training.{key}={value}" for key, value in TINY["training"].items()]
    (tmp_path / "digits").symlink_to(digits_folder)
    monkeypatch.chdir(tmp_path)  # the workers find what the recipe names from here
    run = ["train", "mlp", "--out", "ray", "--set=data.folder=digits", *sizes, *training]
    told = CliRunner().invoke(main, [*run, "--cluster", "ray", "--workers", "2"])
    assert told.exit_code == 0, told.output
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "ray"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    facts = json.loads((tmp_path / "ray" / "run.json").read_text())
    assert facts["replicas"] == 2


@pytest.mark.slow
def test_what_report_raises_is_raised_at_the_end(cluster, digits_folder, tmp_path):
    def fails(*_):
        raise ArithmeticError("of the caller")

    with pytest.raises(ArithmeticError, match="of the caller"):
        train(digits_folder, tmp_path / "ray", cluster="ray", report=fails)


@pytest.mark.slow
def test_a_workers_error_is_told_and_not_tried_again(cluster, tmp_path):
    told = []
    with pytest.raises(ZooError, match="there is no folder"):
        train(tmp_path / "nowhere", tmp_path / "ray", cluster="ray", warn=told.append)
    assert told == []
    assert not (tmp_path / "ray").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "slurm"}, 'cluster must be "ray", got'),
        ({"cluster": "ray", "strategy": "mirrored"}, 'cluster="ray" chooses the strategy'),
        ({"cluster": "ray", "workers": 0}, "workers must be an integer >= 1, got 0"),
        ({"workers": 2}, "workers and gpus_per_worker need a cluster"),
    ],
)
def test_mistakes(options, message, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        zoo.train("mlp", tmp_path / "run", data={"folder": str(digits_folder)}, **options)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_used_is_told_before_ray_is_asked(digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZooError, match="file: it is a file, not a folder"):
        train(digits_folder, tmp_path / "file", cluster="ray")
    with Workdir(tmp_path / "run").in_use(lock=".ray.lock"):
        (tmp_path / "run" / ".ray").mkdir()
        with pytest.raises(ZooError, match="run is in use by another run"):
            train(digits_folder, tmp_path / "run", cluster="ray")
        assert (tmp_path / "run" / ".ray").exists()  # it is the other's


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 9}, "9 workers need 9 CPUs, but the cluster has 8"),
        ({"gpus_per_worker": 2}, "2 workers need 4 GPUs, but the cluster has 0"),
    ],
)
def test_what_the_cluster_has_not(cluster, options, message, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        train(digits_folder, tmp_path / "run", cluster="ray", **options)
    assert not (tmp_path / "run").exists()
