"""Short runs with checkpoints, and whether two of them are the same."""

import csv

import numpy as np

import zoo
from tests.helpers.runs import weights
from zoo.registry import entries

TRAINING = {"epochs": 3, "batch_size": 12, "weight_averaging": 0.9, "checkpoint_seconds": 0.0}

TASK = {"augment": {"rotate": 20.0, "shift": 2.0, "elastic": 1.0}}


def settings(folder, name="mlp", **training) -> dict:
    """Settings of a run that uses everything with a state: dropout, augmentation, averages, schedule."""
    overrides = {**entries()[name].tiny, **({"dropout": 0.3} if name == "mlp" else {})}
    return {
        "model_overrides": overrides,
        "task": TASK,
        "data": {"folder": str(folder)},
        "training": {**TRAINING, **training},
    }


def train(folder, out, name="mlp", *, steps=None, report=None, warn=None, **training):
    """Runs with `settings` in a folder."""
    extra = {"warn": warn} if warn else {}
    return zoo.train(name, out, steps=steps, report=report, **extra, **settings(folder, name, **training))


def history(path) -> list[dict]:
    """The rows of a run's history, without times."""
    with open(path / "history.csv", newline="") as file:
        timing = ("seconds", "examples_per_second")
        return [{key: row[key] for key in row if key not in timing} for row in csv.DictReader(file)]


def assert_same_run(one, other):
    """Equal weights to the bit, and equal histories."""
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history(one) == history(other)
