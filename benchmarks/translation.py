"""Translators: training and decoding against the same networks in PyTorch, and memory as a file grows.

    pip install -e ".[benchmark]" && python benchmarks/translation.py [--rounds 3] [--seconds 8] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds, with their range; a ratio is zoo over the peer. Networks: attention by GRUs of 320 (encoder 256, embeddings 256,
attention 256), or two LSTMs of 384 per side; vocabulary 6,000; sentences of 8 to 20 tokens, translations of 20. The
rows:

    train-attention, train-lstm   target tokens per second, batch 64, forward, backward and Adam; zoo also in bfloat16
    greedy-1, greedy-64, beam-1, beam-64   sentences per second by batch size; beam width 5, answers of 20 tokens
    memory   peak memory of `zoo predict --file` on 500 lines, and on ten times as many

With --torch-python PATH, PyTorch runs in another environment.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS = {
    "train-attention": ("zoo", "zoo-bfloat16", "torch"),
    "train-lstm": ("zoo", "zoo-bfloat16", "torch"),
    **{f"{search}-{size}": ("zoo", "torch") for search in ("greedy", "beam") for size in (1, 64)},
    "memory": ("tenfold", "single"),
}
VOCABULARY, STEPS = 6000, 20
ATTENTION = {"embedding": 256, "units": 320, "encoder_units": 256, "attention_units": 256, "maxout": 256}
LSTM = {"embedding": 384, "units": 384, "depth": 2}


def batch(size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "source": random.integers(4, VOCABULARY, (size, STEPS)).astype("int32"),
        "source_length": np.resize([20, 8, 14, 11, 17], size).astype("int32"),
        "target": random.integers(4, VOCABULARY, (size, STEPS)).astype("int32"),
    }


def rate(call: Callable[[], object], items: int, seconds: float) -> float:
    for _ in range(3):
        call()
    done, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        call()
        done += items
    return done / (time.perf_counter() - started)


def ours(name: str):
    import zoo

    sizes = {"source_vocabulary": VOCABULARY, "target_vocabulary": VOCABULARY}
    return zoo.create_model(f"{name}_seq2seq", **sizes, **(ATTENTION if name == "attention" else LSTM))


def train_ours(name: str, precision: str, seconds: float) -> float:
    import keras
    import tensorflow as tf

    from zoo.tasks.losses import CrossEntropy
    from zoo.training.loop import Loop
    from zoo.training.recipe import Training

    keras.config.set_dtype_policy(precision)
    model = ours(name)
    model.compile(keras.optimizers.Adam(1e-3), CrossEntropy(), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    loop = Loop(model, Training(epochs=1, batch_size=64), tf.distribute.get_strategy())
    x, y = batch(64), np.random.default_rng(1).integers(4, VOCABULARY, (64, STEPS))
    data = tf.data.Dataset.from_tensors((x, y, np.ones(y.shape, "float32")))
    step, inputs = loop._traced(data, None), next(iter(data))
    return rate(lambda: step(inputs, tf.constant(0.0)).numpy(), y.size, seconds)


def train_torch(name: str, seconds: float) -> float:
    import torch
    import torch_networks

    inputs = {key: torch.from_numpy(value.astype("int64")) for key, value in batch(64).items()}
    y = torch.from_numpy(np.random.default_rng(1).integers(4, VOCABULARY, (64, STEPS)))
    kinds = {"attention": (torch_networks.AttentionSeq2seq, ATTENTION), "lstm": (torch_networks.LstmSeq2seq, LSTM)}
    kind, sizes = kinds[name]
    model = kind(VOCABULARY, *sizes.values())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        logits = model(inputs["source"], inputs["source_length"], inputs["target"])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return rate(step, y.numel(), seconds)


def decode_ours(width: int, size: int, seconds: float) -> float:
    import tensorflow as tf

    from zoo import decoding

    model, inputs = ours("attention"), batch(size)
    inputs = {key: tf.constant(inputs[key]) for key in ("source", "source_length")}
    decode = functools.partial(decoding.beam_search, width=width) if width > 1 else decoding.greedy
    search = tf.function(lambda inputs: decode(model, inputs, 1, 2, STEPS, min_length=STEPS).tokens)
    return rate(lambda: search(inputs).numpy(), size, seconds)


def decode_torch(width: int, size: int, seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.AttentionSeq2seq(VOCABULARY, *ATTENTION.values()).eval()
    inputs = [torch.from_numpy(batch(size)[key].astype("int64")) for key in ("source", "source_length")]

    def call():
        with torch.inference_mode():
            return torch_networks.beam_search(model, *inputs, width, STEPS).numpy()

    return rate(call, size, seconds)


def memory(lines: int) -> float:
    """Peak memory in MB of answering on a file, by an untrained translator of words into letters."""
    make = (
        "import sys, zoo; letters = '\\n'.join('abcdefghijklmnopqrstuvwxyz').encode()\n"
        "sizes = {'source_vocabulary': 30, 'target_vocabulary': 30, 'embedding': 16, 'units': 16}\n"
        "model = zoo.create_model('attention_seq2seq', **sizes)\n"
        "model.origin.assets = {'source_symbols.txt': letters, 'target_symbols.txt': letters}\n"
        "model.origin.settings = {'tokens': 'spelling', 'longest': 12}\n"
        "zoo.save(model, sys.argv[1])"
    )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", make, f"{folder}/speller"], check=True, capture_output=True)
        (Path(folder) / "lines").write_text("helloworld\n" * lines)
        command = [sys.executable, "-m", "zoo.cli", "predict", f"{folder}/speller", "--file", f"{folder}/lines"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as answering:
            _, status, used = os.wait4(answering.pid, 0)
    if status:
        sys.exit(f"zoo predict ended with {status}")
    return used.ru_maxrss / 1024


def work(row: str, side: str, seconds: float) -> float:
    kind, _, rest = row.partition("-")
    if kind == "memory":
        return memory(5000 if side == "tenfold" else 500)
    if kind == "train":
        if side == "torch":
            return train_torch(rest, seconds)
        return train_ours(rest, "mixed_bfloat16" if side.endswith("bfloat16") else "float32", seconds)
    width = 1 if kind == "greedy" else 5
    return (decode_torch if side == "torch" else decode_ours)(width, int(rest), seconds)


def measure(row: str, rounds: int, seconds: float, torch_python: str) -> dict[str, float]:
    figures: dict[str, list[float]] = {side: [] for side in ROWS[row]}
    for turn in range(rounds):
        for side in ROWS[row][:: 1 if turn % 2 else -1]:
            python = torch_python if side == "torch" else sys.executable
            command = [python, __file__, "--seconds", str(seconds), "--work", row, side]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
            figures[side].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {side: float(np.median(values)) for side, values in figures.items()}
    unit = {"train": "target tokens/s", "memory": "MB"}.get(row.partition("-")[0], "sentences/s")
    texts = [f"{side} {middle[side]:,.0f} ({min(values):,.0f}-{max(values):,.0f})" for side, values in figures.items()]
    last = list(middle)[-1]
    ratios = [f"{side} over {last} {middle[side] / middle[last]:.2f}" for side in list(middle)[:-1]]
    print(f"{row}: {', '.join(texts)} {unit}; {', '.join(ratios)}", flush=True)
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as zoo does, where it is imported first
    if arguments.work:
        print(json.dumps(work(*arguments.work, arguments.seconds)))
        return
    rates = {
        row: measure(row, arguments.rounds, arguments.seconds, arguments.torch_python) for row in arguments.only or ROWS
    }
    for size in (1, 64):
        if {f"greedy-{size}", f"beam-{size}"} <= set(rates):
            times = rates[f"greedy-{size}"]["zoo"] / rates[f"beam-{size}"]["zoo"]
            print(f"batch {size}: the beam of 5 takes {times:.2f} times as long as greedy")


if __name__ == "__main__":
    main()
