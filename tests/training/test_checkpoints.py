"""Damaged and half-written checkpoints, and disks that are full."""

import numpy as np
import pytest

from tests.helpers.resumable_runs import assert_same_run, train
from zoo.errors import ZooError
from zoo.training import checkpoints


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every step, whatever it costs."""
    monkeypatch.setattr(checkpoints, "COST", 1e9)


SLOW = [pytest.param(harm, marks=pytest.mark.slow) for harm in ("cut", "empty")]


@pytest.mark.parametrize("harm", ["bit", *SLOW])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(harm, digits_folder, uncut_run, cut_run):
    files = sorted((cut_run / "checkpoints").iterdir())
    assert [file.name for file in files] == ["step_000000004.npz", "step_000000005.npz", "step_000000006.npz"]
    content = bytearray(files[-1].read_bytes())
    content[len(content) // 2] ^= 8
    files[-1].write_bytes({"bit": content, "cut": content[: len(content) // 2], "empty": b""}[harm])
    warnings, steps = [], []
    train(digits_folder, cut_run, warn=warnings.append, report=lambda step, *_: steps.append(step))
    assert warnings == [f"{files[-1]} is damaged; using the checkpoint before it"]
    assert steps[0] == 6
    assert_same_run(uncut_run, cut_run)


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


def test_no_whole_checkpoint_is_an_error_and_loses_nothing(digits_folder, cut_run):
    for file in (cut_run / "checkpoints").iterdir():
        file.write_bytes(b"PK")
    with pytest.raises(ZooError, match="every checkpoint in .* is damaged"):
        train(digits_folder, cut_run, warn=lambda _: None)
    assert (cut_run / "preset.json").exists()


def test_a_full_disk_costs_no_checkpoint(often, digits_folder, uncut_run, cut_run):
    """The system refuses files above a size: the run warns, keeps the older checkpoints and goes on."""
    import resource

    kept = {file: file.read_bytes() for file in (cut_run / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    warnings = []
    sizes = [len(content) for content in kept.values()] + [(uncut_run / "model.weights.h5").stat().st_size]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes) - 100, hard))
    try:
        with pytest.raises(ZooError, match="can't write"):  # at the end the preset can't be written either
            train(digits_folder, cut_run, warn=warnings.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert warnings[0].startswith("no checkpoint at step 7, ")
    assert "older checkpoints are kept" in warnings[0]
    assert {file: file.read_bytes() for file in (cut_run / "checkpoints").iterdir()} == kept
    train(digits_folder, cut_run)
    assert_same_run(uncut_run, cut_run)
