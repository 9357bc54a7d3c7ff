"""Early stopping."""

from tests.helpers.resumable_runs import history, train


def test_early_stopping_ends_a_run_without_progress(digits_folder, tmp_path):
    training = {"epochs": 50, "early_stopping": 3, "optimizer": {"learning_rate": 1e-30}, "weight_averaging": None}
    made = train(digits_folder, tmp_path / "run", **training)
    assert len(history(tmp_path / "run")) == 4
    assert made.record["provenance"]["epochs"] == "4 of 50, kept that of epoch 1"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_early_stopping_looks_at_whole_epochs(digits_folder, tmp_path):
    """Four steps an epoch: the sixth ends none, and the run goes on from there."""
    training = {"epochs": 9, "early_stopping": 1, "optimizer": {"learning_rate": 1e-30}, "weight_averaging": None}
    train(digits_folder, tmp_path / "run", steps=6, **training)
    assert (tmp_path / "run" / "checkpoints").exists()
    made = train(digits_folder, tmp_path / "run", **training)
    assert made.record["provenance"]["steps"] == 8
    assert len(history(tmp_path / "run")) == 2
