"""Early stopping; tests/training/test_targets.py checks how long it waits, and by which metric."""

from tests.helpers.resumable_runs import history, train


def test_early_stopping_looks_at_whole_epochs(digits_folder, tmp_path):
    """Four steps an epoch: the sixth ends none, and the run goes on from there."""
    training = {"epochs": 9, "early_stopping": 1, "optimizer": {"learning_rate": 1e-30}, "weight_averaging": None}
    train(digits_folder, tmp_path / "run", steps=6, **training)
    assert (tmp_path / "run" / "checkpoints").exists()
    made = train(digits_folder, tmp_path / "run", **training)
    assert made.record["provenance"]["steps"] == 8
    assert made.record["provenance"]["epochs"] == "2 of 9, kept that of epoch 1"
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert len(history(tmp_path / "run")) == 2
