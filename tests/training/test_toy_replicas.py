"""Losses by output, frozen outputs and carried state: two replicas give the run of one device.

One process with two devices makes all runs, because importing TensorFlow takes longer than a run.
"""

import csv
import json

import numpy as np
import pytest

from tests.helpers.processes import run_child
from tests.helpers.toy_training import install, write_captions, write_tags, write_texts

pytestmark = pytest.mark.slow  # test_strategies compares replicas, of one toy, in the plain tests

RUNS = """
import json, sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import zoo
out, runs = sys.argv[1:]
losses = {}
for name, (ends, settings) in json.loads(runs).items():
    for strategy in ("one", "mirrored"):
        own = losses[f"{name}-{strategy}"] = []
        for steps in ends:
            zoo.train(name, f"{out}/{name}-{strategy}", strategy=strategy, steps=steps,
                      report=lambda step, total, row: own.append(row.get("loss")), **settings)
print(json.dumps(losses))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and the losses that each reported."""
    folder = tmp_path_factory.mktemp("replicas")
    tags, captions, texts = (
        {"folder": str(write(folder / f"{write.__name__}.tsv", *count))}
        for write, *count in ((write_tags, 39), (write_captions,), (write_texts,))
    )
    training = {"epochs": 3, "batch_size": 8, "weight_averaging": 0.9}
    frozen = {**training, "batch_size": 9, "keep_frozen": True, "label_smoothing": 0.1}
    carried = {**training, "batch_size": 5, "global_clipnorm": 1.0, "checkpoint_seconds": 0.0, "accumulation": 2}
    plain = {**training, "schedule": {"name": "constant"}, "accumulation": 2}
    settings = {
        "toy_tagger": ([None], {"data": tags, "training": plain, "task": {"rotate": True}}),
        "toy_captioner": (
            [None],
            {"data": captions, "training": frozen, "freeze": "up to body", "task": {"rotate": True}},
        ),
        "toy_reader": ([7, None], {"data": texts, "training": carried}),
    }
    site = install(folder / "site")
    return folder, json.loads(run_child(RUNS, str(folder), json.dumps(settings), PYTHONPATH=str(site)))


def figures(runs, name: str, *keys: str) -> list[np.ndarray]:
    """The figures of each epoch, on one device and on two."""
    found = []
    for strategy in ("one", "mirrored"):
        with open(runs[0] / f"{name}-{strategy}" / "history.csv", newline="") as file:
            found.append(np.array([[float(row[key]) for key in keys] for row in csv.DictReader(file)]))
    return found


def test_losses_by_output(runs):
    """27 examples in batches of 8, the last of 3; each output has weights of its own."""
    one, two = figures(runs, "toy_tagger", "loss", "val_loss", "val_accuracy", "val_total_error", "gradient_norm")
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert one[-1, 0] < one[0, 0]


def test_frozen_outputs(runs):
    """28 examples in batches of 9, the last of 1."""
    np.testing.assert_allclose(*figures(runs, "toy_captioner", "loss", "val_loss", "gradient_norm"), rtol=1e-5)


def test_carried_state(runs):
    """Five rows over two replicas; both runs are cut in an epoch."""
    one, two = (runs[1][f"toy_reader-{strategy}"] for strategy in ("one", "mirrored"))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_allclose(*figures(runs, "toy_reader", "val_loss"), rtol=1e-5)
