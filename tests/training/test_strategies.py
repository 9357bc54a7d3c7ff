"""Replicas and workers give the run of one device."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import contract_of
from tests.helpers.processes import run_child
from tests.helpers.runs import train, weights
from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.training.loop import SCALE
from zoo.training.strategies import distributed, open_strategy

EVERYTHING = {"epochs": 2, "batch_size": 16, "global_clipnorm": 0.5, "weight_averaging": 0.9, "accumulation": 3}

MIRRORED = """
import json, sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3)
import keras
from tests.helpers.token_batches import stream, toy
from zoo.training.loop import Loop
from zoo.training.recipe import Training
three = tf.distribute.MirroredStrategy()
precision = sys.argv[1]
keras.config.set_dtype_policy(precision)
for strategy in (tf.distribute.get_strategy(), three):
    with strategy.scope():
        model = toy()
    settings = Training(epochs=1, batch_size=2, accumulation=2, global_clipnorm=0.3, weight_averaging=0.9,
                        precision=precision)
    loop = Loop(model, settings, strategy)
    losses = []
    if precision == "mixed_float16":
        loop.scale.assign(2.0 ** 22)
    for number in range(4):
        loop.losses = []
        loop.epoch(stream(), number, 100, lambda step, loss, stop: losses.append(loss))
    print(json.dumps([losses, [np.abs(weight).sum().item() for weight in loop.weights()],
                      float(np.array(loop.scale or 0))]))
    for loop.step in (0, 5001, 123_457_891):
        loop.check_agreement()
"""


def test_three_replicas_give_the_steps_of_one():
    """Rows of unequal length, parts, clipping and averages; batches of 2 and 1 over three devices, so that some have
    no row."""
    one, three = map(json.loads, run_child(MIRRORED, "float32").splitlines())
    np.testing.assert_allclose(one[0], three[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], three[1], rtol=1e-5)


@pytest.mark.slow
def test_three_replicas_in_half_precision():
    """From a scale that overflows at first, one device and three recover alike."""
    one, three = map(json.loads, run_child(MIRRORED, "mixed_float16").splitlines())
    np.testing.assert_allclose(one[0], three[0], rtol=1e-3)
    assert one[2] == three[2] < 2.0**22
    assert one[0][-3] < one[0][0]


class Workers:
    """A strategy of several workers as far as handing out batches goes; `datasets` are theirs."""

    def __init__(self, workers: int, each: int):
        self.num_replicas_in_sync, self.workers = workers * each, workers

    def distribute_datasets_from_function(self, own):
        contexts = [
            tf.distribute.InputContext(self.workers, worker, self.num_replicas_in_sync)
            for worker in range(self.workers)
        ]
        return [list(own(context)) for context in contexts]


@pytest.mark.parametrize(("examples", "batch_size"), [(23, 8), (28, 9), (13, 3), (5, 4)])
@pytest.mark.parametrize(("workers", "each"), [(2, 1), (2, 2), (3, 1), (5, 1)])
def test_workers_read_their_own_rows(examples, batch_size, workers, each, monkeypatch):
    """Every row of a batch goes to one replica, in order; a worker reads its own and the one before."""
    monkeypatch.setattr("zoo.data.stream.KEEP_BYTES", 0)
    read = []

    def prepare(number):
        return tf.numpy_function(lambda value: read.append(int(value)) or value, [number], tf.int64)

    def finish(number):
        return {"x": number, "before": tf.roll(number, 1, axis=0)}, number

    def shaped(number):
        return tf.ensure_shape(prepare(number), ())

    stream = Stream(tf.data.Dataset.range(100, 100 + examples), shaped, None, finish, examples, batch_size, seed=3)
    whole = [(x["x"].numpy(), x["before"].numpy()) for x, _ in stream.epoch(1, 1)]
    read.clear()
    parts = distributed(Workers(workers, each), lambda wanted: stream.epoch(1, 1, wanted))
    for number, (rows, before) in enumerate(whole):
        own = [part for worker in parts for part in worker[number * each : (number + 1) * each]]
        counted = [np.stack([x["x"], x["before"], y])[:, weight > 0] for x, y, weight in own]
        np.testing.assert_array_equal(np.concatenate(counted, axis=1), [rows, before, rows])
        assert all(len(weight) for _, _, weight in own)  # no replica is without a row
    # Each worker reads its own, and one before; an empty part borrows a row.
    lent = sum(max(0, workers * each - len(rows)) for rows, _ in whole)
    assert len(read) <= sum(len(rows) for rows, _ in whole) + len(whole) * workers + lent


WORKER = """
import json, sys
import zoo
import zoo.data.stream
from zoo.training import loop
zoo.data.stream.KEEP_BYTES = 0  # so that each worker decodes its own rows
name, out, steps, keywords, scale = sys.argv[1:]
loop.SCALE = float(scale)
losses = []
made = zoo.train(name, out, strategy="multi_worker", steps=int(steps) or None,
                 report=lambda step, total, row: losses.append(row["loss"]), **json.loads(keywords))
print(json.dumps(losses), made is not None)
"""


def workers(name, out, steps: int, settings: dict, scale=SCALE, count: int = 2) -> list[tuple[list[float], str]]:
    """What each of several workers on this machine prints."""
    arguments = [name, str(out), str(steps), json.dumps(settings), str(scale)]
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    hosts = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    running = []
    for index in range(count):
        place = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(place), "TF_CPP_MIN_LOG_LEVEL": "3"}
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * count, told[0][1][-2000:]
    return [(json.loads(out.rsplit(" ", 1)[0]), out.split()[-1]) for out, _ in told]


@pytest.mark.slow
def test_two_workers_give_the_run_of_one_and_go_on_where_they_were(digits_folder, tmp_path):
    rows = []
    one = {"data": {"folder": str(digits_folder)}, "model_overrides": entries()["mlp"].tiny, "training": EVERYTHING}
    zoo.train("mlp", tmp_path / "one", report=lambda step, total, row: rows.append(row["loss"]), **one)
    first = workers("mlp", tmp_path / "two", 2, one)
    assert [made for _, made in first] == ["True", "False"]
    second = workers("mlp", tmp_path / "two", 0, one)
    for (begun, _), (ended, _) in zip(first, second, strict=True):
        np.testing.assert_allclose(begun[:2] + ended, rows, rtol=1e-5)
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "two" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "training", "scale", "tolerance"),
    [
        ("attention_seq2seq", EVERYTHING, SCALE, 1e-5),  # rows of unequal length
        ("resnet_cifar20", {**EVERYTHING, "accumulation": 1}, SCALE, 1e-3),  # statistics over both workers
        ("mlp", {**EVERYTHING, "epochs": 6, "precision": "mixed_float16"}, 2.0**22, 1e-3),  # overflows at first
    ],
)
def test_two_workers_agree_with_one(name, training, scale, tolerance, tmp_path, monkeypatch):
    tiny = entries()[name].tiny
    model = zoo.create_model(name, **tiny)
    folder = contract_of(model).training_data(model, tmp_path / "data")
    one = {"data": {"folder": str(folder)}, "model_overrides": contract_of(model).sizes(tiny), "training": training}
    rows = []
    monkeypatch.setattr("zoo.training.loop.SCALE", scale)
    zoo.train(name, tmp_path / "one", report=lambda step, total, row: rows.append(row["loss"]), **one)
    # Parts of about the same size, as the parts of one device: in float16 smaller parts overflow at a larger scale.
    parts = training["accumulation"] // (2 if "precision" in training else 1)
    two = {**one, "training": {**training, "accumulation": parts}}
    for losses, _ in workers(name, tmp_path / "two", 0, two, scale):
        np.testing.assert_allclose(losses, rows, rtol=tolerance)
    assert rows[-1] < rows[0]  # past an overflow, too


def test_mistakes_in_a_strategy_are_named(digits_folder, tmp_path, monkeypatch):
    with pytest.raises(ZooError, match="unknown strategy 'both'; known: mirrored, multi_worker, one"):
        open_strategy("both")
    two = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 3}}'
    damaged = [
        two, two.replace("3", "-1"), two.replace("3", '"0"'), two.replace("3", "0").replace('"worker",', '"wrker",'),
        two.replace("3", "0").replace("a:1", "nonsense"), two.replace("3", "0").replace('["a:1", "b:1"]', '"abc"'),
        two.replace("3", "0").replace('"type": "worker", ', ""),
    ]  # fmt: skip
    for config in ("", "{", '{"cluster": {}}', *damaged):
        monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ZooError, match="multi_worker reads TF_CONFIG"):
            train(digits_folder, tmp_path / "run", strategy="multi_worker")
    assert not (tmp_path / "run").exists()
