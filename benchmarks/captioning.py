"""Captioners: training on kept feature maps, and photos to captions, against the same networks in PyTorch.

    pip install -e ".[benchmark]" && python benchmarks/captioning.py [--rounds 3] [--seconds 8] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds, with their range; a ratio is zoo over PyTorch. The network is show_attend_tell on EfficientNet-Lite0 with the
sizes of its recipe, and captions of 12 tokens. The rows:

    train      captions per second, batch 64, on feature maps (7, 7, 1280) from memory: forward, backward, Adam; zoo
               also in bfloat16
    photo-1, photo-32    photos per second by batch size, from JPEG bytes of 500 x 375 to tokens, beam width 5: zoo's
               served signature; PIL and PyTorch

With --torch-python PATH, PyTorch runs in another environment.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

ROWS = {"train": ("zoo", "zoo-bfloat16", "torch"), "photo-1": ("zoo", "torch"), "photo-32": ("zoo", "torch")}
VOCABULARY, STEPS, WIDTH = 2500, 12, 5
SIZES = {"embedding": 256, "units": 352, "attention_units": 160, "annotation": 256}


def rate(call: Callable[[], object], items: int, seconds: float) -> float:
    for _ in range(3):
        call()
    done, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        call()
        done += items
    return done / (time.perf_counter() - started)


def photos(count: int) -> list[bytes]:
    """JPEG files of smooth random colours."""
    from PIL import Image

    random, files = np.random.default_rng(0), []
    for _ in range(count):
        file = io.BytesIO()
        small = Image.fromarray(random.integers(0, 256, (6, 8, 3), "uint8"))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def ours():
    import zoo

    options = {"dropout": 0.0, "doubly_stochastic": 0.0, "tied": "target"}
    encoder = "efficientnet_lite0.imagenet"
    model = zoo.create_model("show_attend_tell", encoder=encoder, target_vocabulary=VOCABULARY, **SIZES, **options)
    model.encoder.trainable = False
    return model


def train_ours(precision: str, seconds: float) -> float:
    import keras
    import tensorflow as tf

    from zoo.tasks.losses import CrossEntropy
    from zoo.training import frozen
    from zoo.training.loop import Loop
    from zoo.training.recipe import Training

    keras.config.set_dtype_policy(precision)
    _, model = frozen.split(ours())
    model.compile(keras.optimizers.Adam(1e-3), CrossEntropy(), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    loop = Loop(model, Training(epochs=1, batch_size=64), tf.distribute.get_strategy())
    random = np.random.default_rng(1)
    grid = random.random((64, 7, 7, 1280), "float32")
    target, y = random.integers(4, VOCABULARY, (2, 64, STEPS)).astype("int32")
    data = tf.data.Dataset.from_tensors(({frozen.NAME: grid, "target": target}, y, np.ones(y.shape, "float32")))
    step, inputs = loop._traced(data, None), next(iter(data))
    return rate(lambda: step(inputs, tf.constant(0.0)).numpy(), len(y), seconds)


def train_torch(seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.ShowAttendTell(VOCABULARY, *SIZES.values())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    grid = torch.rand(64, 49, 1280)
    target, y = torch.randint(4, VOCABULARY, (2, 64, STEPS))

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(grid, target).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return rate(step, len(y), seconds)


def caption_ours(size: int, seconds: float) -> float:
    import tensorflow as tf

    from zoo.layers.folding import fold_batch_normalization
    from zoo.tasks import task_of

    model = ours()
    settings = {"longest": STEPS, "shortest": STEPS, "beam": WIDTH}
    model = fold_batch_normalization(model)
    task = task_of(model, **settings)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def caption(files):
        return task.outputs(task.checked({"image_bytes": files})[0])["tokens"]

    files = tf.constant(photos(size))
    return rate(lambda: caption(files).numpy(), size, seconds)


def caption_torch(size: int, seconds: float) -> float:
    import torch
    import torch_networks
    from PIL import Image

    encoder = torch_networks.lite0().eval()[:-4].to(memory_format=torch.channels_last)  # without pooling and head
    model, files = torch_networks.ShowAttendTell(VOCABULARY, *SIZES.values()).eval(), photos(size)

    def read(file: bytes) -> np.ndarray:
        picture = Image.open(io.BytesIO(file)).convert("RGB").resize((299, 224), Image.Resampling.BILINEAR)
        return np.asarray(picture.crop((37, 0, 261, 224)))

    def call():
        with torch.inference_mode():
            images = torch.from_numpy(np.stack([read(file) for file in files])).permute(0, 3, 1, 2)
            grid = encoder(((images.float() - 127.0) / 128.0).contiguous(memory_format=torch.channels_last))
            return model.caption(grid.flatten(2).transpose(1, 2), WIDTH, STEPS).numpy()

    return rate(call, size, seconds)


def work(row: str, side: str, seconds: float) -> float:
    if row == "train":
        if side == "torch":
            return train_torch(seconds)
        return train_ours("mixed_bfloat16" if side.endswith("bfloat16") else "float32", seconds)
    size = int(row.partition("-")[2])
    return (caption_torch if side == "torch" else caption_ours)(size, seconds)


def measure(row: str, rounds: int, seconds: float, torch_python: str) -> None:
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
    texts = [f"{side} {middle[side]:,.1f} ({min(values):,.1f}-{max(values):,.1f})" for side, values in figures.items()]
    ratios = [f"{side} over torch {middle[side] / middle['torch']:.2f}" for side in middle if side != "torch"]
    unit = "captions/s" if row == "train" else "photos/s"
    print(f"{row}: {', '.join(texts)} {unit}; {', '.join(ratios)}", flush=True)


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
    for row in arguments.only or ROWS:
        measure(row, arguments.rounds, arguments.seconds, arguments.torch_python)


if __name__ == "__main__":
    main()
