"""Training of a text classifier, a memory network and a neural Turing machine against PyTorch.

    pip install -e ".[benchmark]" && python benchmarks/memory.py [--rounds 3] [--seconds 8] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds, with their range; a ratio is zoo over PyTorch. A step is forward, backward, clipping and the optimizer's update.
The networks have the sizes of their papers. The rows:

    conv_text_classifier    texts per second, batch 50, texts of 5 to 40 words; Adam and the limit of the last weights
    memory_network          questions per second, batch 32, stories of 5 to 50 lines of 4 to 8 words; SGD
    neural_turing_machine   steps of the machine per second, batch 16, copies of 20 vectors, 41 steps; Adam

With --torch-python PATH, PyTorch runs in another environment.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

ROWS = {
    "conv_text_classifier": "texts/s",
    "memory_network": "questions/s",
    "neural_turing_machine": "steps/s",
}
SIDES = ("zoo", "torch")
VOCABULARY, CLASSES = 18_769, 2  # of the text classifier
WORDS, ANSWERS, LINES = 180, 60, 50  # of the memory network
LENGTH, BITS = 20, 8  # of the sequences to copy
CLIP = 5.0


def rate(call: Callable[[], object], amount: float, seconds: float) -> float:
    """The amount of work per second, if a call does `amount` of it."""
    for _ in range(2):
        call()
    done, started = 0.0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        call()
        done += amount
    return done / (time.perf_counter() - started)


def texts() -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(0)
    count = random.integers(5, 41, 50).astype("int32")
    tokens = random.integers(4, VOCABULARY, (50, 40))
    tokens = np.where(np.arange(40) < count[:, np.newaxis], tokens, 0).astype("int32")
    return {"tokens": tokens, "token_count": count}, random.integers(0, CLASSES, 50).astype("int32")


def stories() -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(0)

    def words(*shape):
        """Lines of 4 to 8 words, (*shape, 8)."""
        length = random.integers(4, 9, (*shape, 1))
        return np.where(np.arange(8) < length, random.integers(4, WORDS, (*shape, 8)), 0).astype("int32")

    line_count = random.integers(5, LINES + 1, 32).astype("int32")
    story = np.where(np.arange(LINES)[:, np.newaxis] < line_count[:, np.newaxis, np.newaxis], words(32, LINES), 0)
    inputs = {"story": story.astype("int32"), "line_count": line_count, "question": words(32)}
    return inputs, random.integers(0, ANSWERS, 32).astype("int32")


def copies() -> tuple[dict[str, np.ndarray], np.ndarray]:
    bits = np.random.default_rng(0).integers(0, 2, (16, LENGTH, BITS)).astype("float32")
    sequence = np.zeros((16, 2 * LENGTH + 1, BITS + 1), "float32")
    sequence[:, :LENGTH, :BITS], sequence[:, LENGTH, BITS] = bits, 1.0
    return {"sequence": sequence}, bits


def batch(row: str) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Inputs, targets, and the amount of work."""
    if row == "conv_text_classifier":
        return *texts(), 50.0
    if row == "memory_network":
        return *stories(), 32.0
    inputs, bits = copies()
    return inputs, bits, float(len(bits) * (2 * LENGTH + 1))


def zoo_side(row: str, seconds: float) -> float:
    import zoo

    import keras  # isort: skip
    import tensorflow as tf

    from zoo.tasks.losses import REDUCTION, CrossEntropy
    from zoo.training.loop import Loop
    from zoo.training.recipe import Training

    inputs, y, amount = batch(row)
    if row == "neural_turing_machine":
        machine, loss = zoo.create_model(row), keras.losses.BinaryCrossentropy(from_logits=True, reduction=REDUCTION)
        model = keras.Model({"sequence": machine.input}, {"logits": machine.output})  # as training names them
        weight = np.repeat([[0.0, 1.0]], len(y), 0).repeat([LENGTH + 1, LENGTH], 1).astype("float32")
        y = np.pad(y, ((0, 0), (LENGTH + 1, 0), (0, 0)))
    else:
        sizes = {"classes": CLASSES, "vocabulary": VOCABULARY}
        sizes = sizes if row == "conv_text_classifier" else {"classes": ANSWERS, "vocabulary": WORDS}
        model, loss, weight = zoo.create_model(row, **sizes), CrossEntropy(), np.ones(len(y), "float32")
    sgd = row == "memory_network"
    model.compile(keras.optimizers.SGD(0.01) if sgd else keras.optimizers.Adam(1e-3), loss, auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    settings = Training(epochs=1, batch_size=len(y), global_clipnorm=CLIP)
    loop = Loop(model, settings, tf.distribute.get_strategy())
    data = tf.data.Dataset.from_tensors((inputs, y, weight))
    step, first = loop._traced(data, len(y)), next(iter(data))
    return rate(lambda: step(first, tf.constant(0.0)).numpy(), amount, seconds)


def torch_side(row: str, seconds: float) -> float:
    import torch
    import torch_networks
    from torch.nn import functional

    inputs, y, amount = batch(row)
    inputs, y = {name: torch.from_numpy(value) for name, value in inputs.items()}, torch.from_numpy(y)
    if row == "conv_text_classifier":
        model = torch_networks.ConvText(VOCABULARY, CLASSES, 300, (3, 4, 5), 100)
    elif row == "memory_network":
        model = torch_networks.MemoryNetwork(WORDS, ANSWERS, 50, 3, LINES)
    else:
        model = torch_networks.TuringMachine(BITS, BITS, 100, 128, 20)
    sgd = row == "memory_network"
    optimizer = (torch.optim.SGD if sgd else torch.optim.Adam)(model.parameters(), 0.01 if sgd else 1e-3)

    def step():
        optimizer.zero_grad()
        logits = model(*inputs.values())
        if row == "neural_turing_machine":
            loss = functional.binary_cross_entropy_with_logits(logits[:, LENGTH + 1 :], y)
        else:
            loss = functional.cross_entropy(logits, y.long())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if row == "conv_text_classifier":
            model.limit(3.0)
        return loss.item()

    return rate(step, amount, seconds)


def measure(row: str, rounds: int, seconds: float, torch_python: str) -> None:
    figures: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES[:: 1 if turn % 2 else -1]:
            python = torch_python if side == "torch" else sys.executable
            command = [python, __file__, "--seconds", str(seconds), "--work", row, side]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
            figures[side].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {side: float(np.median(values)) for side, values in figures.items()}
    texts = [f"{side} {middle[side]:,.0f} ({min(values):,.0f}-{max(values):,.0f})" for side, values in figures.items()]
    print(f"{row}: {', '.join(texts)} {ROWS[row]}; zoo over torch {middle['zoo'] / middle['torch']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        row, side = arguments.work
        print(json.dumps((zoo_side if side == "zoo" else torch_side)(row, arguments.seconds)))
        return
    for row in arguments.only or ROWS:
        measure(row, arguments.rounds, arguments.seconds, arguments.torch_python)


if __name__ == "__main__":
    main()
