"""The cost of the training engine: over a bare train step, for checkpoints, determinism, more data, more replicas.

    python benchmarks/training.py [--rounds 3] [--seconds 10] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is examples
per second, the median of the rounds with their range; a ratio is the first side over another side. The rows:

    loop-lenet5, loop-resnet20, loop-lstm   the loop, and a bare compiled Keras train step on the same batches
    determinism    ResNet-20 with TensorFlow's deterministic operations, as `zoo train` has them, and without
    data           LeNet-5 from a folder of JPEG files that is not kept in memory, and one with ten times as many
    replicas       ResNet-20 on one device, on two that share this machine's cores, and by two workers on this machine
    checkpoints    fraction of a run's time that checkpoints take, at the shortest interval, of cifar_convnet
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS = {
    "loop-lenet5": ("loop", "bare"),
    "loop-resnet20": ("loop", "bare"),
    "loop-lstm": ("loop", "bare"),
    "determinism": ("with", "without"),
    "data": ("tenfold", "single"),
    "replicas": ("one", "mirrored", "workers"),
    "checkpoints": ("run",),
}
BATCHES = {"lenet5": 100, "resnet20": 10, "lstm": 10}  # of a call that is timed, of about a second


def network(name: str):
    """(model, loss, optimizer settings, a batch's inputs, its y)."""
    import keras

    import zoo
    from zoo.tasks import task_of
    from zoo.tasks.losses import CrossEntropy
    from zoo.training.recipe import Optimizer

    random = np.random.default_rng(0)
    if name == "lstm":  # two layers of 256 over 50 tokens, as a small language model
        tokens = keras.Input((50,), dtype="int32", name="tokens")
        x = keras.layers.Embedding(1000, 256)(tokens)
        for _ in range(2):
            x = keras.layers.LSTM(256, return_sequences=True)(x)
        model = keras.Model({"tokens": tokens}, {"logits": keras.layers.Dense(1000, dtype="float32")(x)})
        batch = {"tokens": random.integers(0, 1000, (32, 50)).astype("int32")}, random.integers(0, 1000, (32, 50))
        return model, CrossEntropy(), Optimizer(name="adam"), batch
    if name == "lenet5":
        kind, size, shape = "lenet5_modern", 64, (32, 32, 1)
    else:
        kind, size, shape = "resnet_cifar20", 128, (32, 32, 3)
    task = task_of(zoo.create_model(kind))
    chosen = Optimizer(name="adam") if name == "lenet5" else Optimizer(name="sgd", momentum=0.9)
    batch = {"image": random.random((size, *shape), "float32")}, random.integers(0, 10, size)
    return task.model, task.loss(), chosen, batch


class Ready:
    """A stream that repeats a single batch."""

    def __init__(self, x: dict, y: np.ndarray, count: int):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensors((x, y, np.ones(y.shape, "float32"))).repeat(count)
        # Like in a real stream, the batch size is not part of the type.
        self.batches = data.unbatch().batch(len(y)).cache().prefetch(2)
        self.steps, self.batch_size, self.examples = count, len(y), count * len(y)

    def epoch(self, number, skip=0, wanted=None):
        return self.batches


def rate(call: Callable[[], int], seconds: float) -> float:
    """Examples per second of a call that returns their number: the median of the calls without the first two.

    A shared machine stands still for seconds at times, which would spoil a mean.
    """
    for _ in range(2):
        call()
    rates, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        rates.append(call() / (time.perf_counter() - begun))
    return float(np.median(rates))


def loop_rate(name: str, seconds: float, strategy: str = "one") -> float:
    """The rate of the training loop on batches in memory."""
    import keras

    from zoo.training.loop import Loop
    from zoo.training.optimizers import make_optimizer
    from zoo.training.recipe import Training
    from zoo.training.strategies import open_strategy

    distribution = open_strategy(strategy)
    keras.utils.set_random_seed(0)
    with distribution.scope():
        model, loss, chosen, (x, y) = network(name)
        settings = Training(epochs=1000, batch_size=len(y), optimizer=chosen)
        model.compile(make_optimizer(settings, 100_000, model), loss, auto_scale_loss=False)
        model.optimizer.build(model.trainable_variables)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = distribution.num_replicas_in_sync > 1
    stream = Ready(x, y, BATCHES[name])
    loop = Loop(model, settings, distribution)

    def epoch() -> int:
        loop.losses.clear()
        loop.epoch(stream, 0, 10**9, lambda *_: None)
        return stream.examples

    if strategy != "multi_worker":
        return rate(epoch, seconds)
    epoch()  # all workers do the same number of steps, whatever the time
    started = time.perf_counter()
    return sum(epoch() for _ in range(3)) / (time.perf_counter() - started)


def bare_rate(name: str, seconds: float) -> float:
    """The rate of a plain compiled step with Keras and a GradientTape, on the same tf.data batches."""
    import keras
    import tensorflow as tf

    from zoo.training.optimizers import make_optimizer
    from zoo.training.recipe import Training

    keras.utils.set_random_seed(0)
    model, loss, chosen, (x, y) = network(name)
    optimizer = make_optimizer(Training(epochs=1000, batch_size=len(y), optimizer=chosen), 100_000, model)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, y, _):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True)["logits"])
        variables = [variable.value for variable in model.trainable_variables]
        optimizer.apply(tape.gradient(value, variables), model.trainable_variables)
        return value

    stream = Ready(x, y, BATCHES[name])

    def epoch() -> int:
        for batch in stream.epoch(0):
            float(step(*batch))
        return stream.examples

    return rate(epoch, seconds)


def folder_rate(files: int) -> float:
    """LeNet-5 by the default recipe from a folder of JPEG files of 100x100, read in each epoch."""
    from PIL import Image

    import zoo
    import zoo.data.stream

    zoo.data.stream.KEEP_BYTES = 0
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            path = Path(folder) / "photos" / str(number % 10) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (100, 100, 3), np.uint8)).save(path)
        rates = []
        zoo.train("lenet5_modern", Path(folder) / "run", data={"folder": f"{folder}/photos", "validation": None},
                  training={"epochs": 2, "batch_size": 64},
                  report=lambda step, total, row: rates.append(row.get("examples_per_second")))  # fmt: skip
        return [value for value in rates if value][-1]


def checkpoint_fraction() -> float:
    """The fraction for a run on noise that saves as often as possible."""
    from PIL import Image

    import zoo
    from zoo.training.checkpoints import Checkpoints

    spent, save = [], Checkpoints.save

    def timed(self, *arguments):
        started = time.perf_counter()
        save(self, *arguments)
        spent.append(time.perf_counter() - started)

    Checkpoints.save = timed
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(600):
            path = Path(folder) / "photos" / str(number % 2) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
        started = time.perf_counter()
        zoo.train("cifar_convnet", Path(folder) / "run", data={"folder": f"{folder}/photos", "validation": None},
                  training={"epochs": 100, "batch_size": 64, "checkpoint_seconds": 0.0})  # fmt: skip
        return sum(spent) / (time.perf_counter() - started)


def workers_rate(seconds: float) -> float:
    """The rate of the slower of two workers on this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    hosts = [f"localhost:{listener.getsockname()[1]}" for listener in sockets]
    for listener in sockets:
        listener.close()
    running = []
    for index in range(2):
        place = json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})
        command = [sys.executable, __file__, "--seconds", str(seconds), "--work", "replicas", "worker"]
        environment = {**os.environ, "TF_CONFIG": place}
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    return min(json.loads(process.communicate()[0].splitlines()[-1])["rate"] for process in running)


def work(row: str, side: str, seconds: float) -> None:
    """Runs a side of a row in this process; prints its rate and its peak memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as zoo does, where it is imported first
    import tensorflow as tf

    if row == "replicas" and side == "workers":
        figure = workers_rate(seconds)
    elif row == "data":
        figure = folder_rate({"single": 2000, "tenfold": 20_000}[side])
    elif row == "checkpoints":
        figure = checkpoint_fraction()
    else:
        if side == "mirrored":
            [device] = tf.config.list_physical_devices("CPU")
            tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = {"mirrored": "mirrored", "worker": "multi_worker"}.get(side, "one")
        if strategy == "multi_worker":
            from zoo.training.strategies import open_strategy

            open_strategy(strategy)
        if side != "without":
            tf.config.experimental.enable_op_determinism()
        name = row.removeprefix("loop-") if row.startswith("loop-") else "resnet20"
        figure = bare_rate(name, seconds) if side == "bare" else loop_rate(name, seconds, strategy)
    print(json.dumps({"rate": figure, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=ROWS, action="append")
    parser.add_argument("--work", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(*arguments.work, arguments.seconds)
    for row in arguments.only or ROWS:
        results: dict[str, list[dict]] = {side: [] for side in ROWS[row]}
        for turn in range(1 if row == "checkpoints" else arguments.rounds):
            for side in ROWS[row][:: 1 if turn % 2 else -1]:
                command = [sys.executable, __file__, "--seconds", str(arguments.seconds), "--work", row, side]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
                results[side].append(json.loads(done.stdout.splitlines()[-1]))
        if row == "checkpoints":
            print(f"checkpoints: {results['run'][0]['rate']:.2%} of the time")
            continue
        first = np.median([each["rate"] for each in results[ROWS[row][0]]])
        for side, figures in results.items():
            rates = [each["rate"] for each in figures]
            peak = max(each["peak_mb"] for each in figures)
            middle = np.median(rates)
            against = "" if side == ROWS[row][0] else f"; {ROWS[row][0]} over it {first / middle:.3f}"
            print(f"{row}, {side}: {middle:,.1f} examples/s ({min(rates):,.1f}-{max(rates):,.1f}), "
                  f"peak {peak:,.0f} MB{against}", flush=True)  # fmt: skip
    return None


if __name__ == "__main__":
    main()
