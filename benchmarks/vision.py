"""Segmentation and detection against PyTorch.

    pip install -e ".[benchmark]" && python benchmarks/vision.py [--rounds 3] [--seconds 8] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. PyTorch runs in its default
layout and channels-last. A figure is the median of the rounds, with their range; a ratio is zoo over the better side of
PyTorch. The networks are those of the recipes unet.isbi2012 and single_shot_detector.bccd. The rows:

    unet_training    tiles of 224x224 per second, batch 8: forward, backward and Adam, from memory
    unet_inference   the same tiles per second, batch 8: classes of pixels
    detector         JPEG files of 320x240 per second, one at a time: reading, network, boxes, suppression of boxes that
                     overlap; PyTorch's side takes torchvision's

With --torch-python PATH, PyTorch and torchvision run in another environment.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROWS = {"unet_training": "tiles/s", "unet_inference": "tiles/s", "detector": "images/s"}
SIDES = ("zoo", "torch", "torch-last")
TILES, SIDE = 8, 224
FILTERS, DEPTH, CLASSES = 16, 3, 2  # of the U-Net
HEIGHT, WIDTH, OBJECTS = 240, 320, 3  # of the detector
SCALES, RATIOS = (0.085, 0.2, 0.36, 0.65), (1.5, 0.667)
THRESHOLD, OVERLAP, MOST = 0.4, 0.45, 200  # of the answers of the detector; untrained weights exceed it often
FILES = 32


def rate(call: Callable[[], int], seconds: float) -> float:
    """Items per second of a call that returns their number: the median of its calls, after three seconds."""
    started = time.perf_counter()
    call()
    while time.perf_counter() - started < 3:
        call()
    rates, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        rates.append(call() / (time.perf_counter() - before))
    return float(np.median(rates))


def tiles() -> tuple[np.ndarray, np.ndarray]:
    """Tiles (B, h, w) float32, and the classes of their pixels."""
    random = np.random.default_rng(0)
    return random.random((TILES, SIDE, SIDE), "float32"), random.integers(0, CLASSES, (TILES, SIDE, SIDE))


def photos() -> list[bytes]:
    """JPEG files of blurred noise."""
    files, random = [], np.random.default_rng(0)
    for _ in range(FILES):
        noise = Image.fromarray(random.integers(0, 256, (12, 16, 3), "uint8")).resize((WIDTH, HEIGHT), Image.BICUBIC)
        file = io.BytesIO()
        noise.save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def zoo_side(row: str, seconds: float) -> float:
    import zoo

    import keras  # isort: skip
    import tensorflow as tf

    if row == "detector":
        return zoo_detector(seconds)
    from zoo.layers.folding import fold_batch_normalization
    from zoo.layers.model import outputs_of
    from zoo.tasks.losses import CrossEntropy
    from zoo.training.loop import Loop
    from zoo.training.optimizers import make_optimizer
    from zoo.training.recipe import Optimizer, Training

    images, classes = tiles()
    model = zoo.create_model(
        "unet", input_shape=(SIDE, SIDE, 1), filters=FILTERS, depth=DEPTH, padding="same", normalization=True,
        dropout=0.0,
    )  # fmt: skip
    if row == "unet_inference":
        model = fold_batch_normalization(model)

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 1))])
        def classify(image):
            return tf.argmax(model(image, training=False), axis=-1)

        given = tf.constant(images[..., np.newaxis])
        return rate(lambda: len(classify(given).numpy()), seconds)
    model = keras.Model({"image": model.inputs[0]}, outputs_of(model))  # a step calls outputs by name
    settings = Training(epochs=1, batch_size=TILES, optimizer=Optimizer(name="adam"))
    model.compile(make_optimizer(settings, 10_000, model), CrossEntropy(), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    weight = np.ones(classes.shape, "float32")
    data = tf.data.Dataset.from_tensors(({"image": images[..., np.newaxis]}, classes.astype("int32"), weight))
    loop = Loop(model, settings, tf.distribute.get_strategy())
    step, first = loop._traced(data, TILES), next(iter(data))

    def one_step() -> int:
        step(first, tf.constant(0.0)).numpy()
        return TILES

    return rate(one_step, seconds)


def zoo_detector(seconds: float) -> float:
    import zoo

    encoder = zoo.create_model("efficientnet_lite0", input_shape=(HEIGHT, WIDTH, 3), classes=0)
    model = zoo.create_model(
        "single_shot_detector", encoder=encoder, classes=OBJECTS, scales=SCALES, ratios=RATIOS, extra_filters=(128,),
        feature_layers=("stage4_block1_expand_relu", "stage6_block1_expand_relu"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, encoded in enumerate(photos()):
            paths.append(Path(folder) / f"{number}.jpg")
            paths[-1].write_bytes(encoded)
        pipeline = zoo.pipeline(model, threshold=THRESHOLD, overlap=OVERLAP)

        def run() -> int:
            for path in paths:
                pipeline(path)
            return len(paths)

        return rate(run, seconds)


def torch_side(side: str, row: str, seconds: float) -> float:
    import torch
    import torch_networks
    from torch.nn import functional

    form = torch.channels_last if side == "torch-last" else torch.contiguous_format
    if row == "detector":
        return torch_detector(form, seconds)
    images, classes = map(torch.from_numpy, tiles())
    images = images[:, None].contiguous(memory_format=form)
    model = torch_networks.UNet(FILTERS, DEPTH, CLASSES).to(memory_format=form)
    if row == "unet_inference":
        model.eval()
        with torch.inference_mode():
            return rate(lambda: len(model(images).argmax(1).numpy()), seconds)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> int:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        loss.item()
        return TILES

    return rate(step, seconds)


def torch_detector(form, seconds: float) -> float:
    import torch
    import torch_networks
    from torchvision.ops import batched_nms

    model = torch_networks.Detector(OBJECTS, 2 + len(RATIOS)).eval().to(memory_format=form)
    encoded = photos()
    centres, sizes = map(torch.from_numpy, np.split(default_boxes(), 2, axis=1))

    def answer(file: bytes):
        pixels = np.array(Image.open(io.BytesIO(file)).convert("RGB"))
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(torch.float32).sub(127).div(128)
        logits, offsets = (output[0] for output in model(image.contiguous(memory_format=form)))
        scores = torch.softmax(torch.cat([torch.zeros(len(logits), 1), logits], dim=1), dim=1)[:, 1:]
        middle = centres + 0.1 * offsets[:, :2] * sizes
        half = sizes * torch.exp(0.2 * offsets[:, 2:]) / 2
        boxes = torch.cat([middle - half, middle + half], dim=1).clamp(0, 1)
        places, labels = torch.nonzero(scores >= THRESHOLD, as_tuple=True)
        chosen = scores[places, labels]
        kept = batched_nms(boxes[places], chosen, labels, OVERLAP)[:MOST]
        return boxes[places[kept]].tolist(), labels[kept].tolist(), chosen[kept].tolist()

    def run() -> int:
        for file in encoded:
            answer(file)
        return len(encoded)

    with torch.inference_mode():
        return rate(run, seconds)


def default_boxes() -> np.ndarray:
    """Boxes (N, 4) as those of the detector: centre and size in fractions of the image."""
    parts = []
    for (height, width), own, following in zip(((30, 40), (15, 20), (8, 10)), SCALES, SCALES[1:], strict=False):
        shapes = [(own, 1.0), ((own * following) ** 0.5, 1.0), *((own, ratio) for ratio in RATIOS)]
        sizes = [(scale / ratio**0.5, scale * ratio**0.5 * HEIGHT / WIDTH) for scale, ratio in shapes]
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        parts += [[row, column, *size] for row in rows for column in columns for size in sizes]
    return np.array(parts, "float32")


def measure(row: str, rounds: int, seconds: float, torch_python: str) -> None:
    figures: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES[:: 1 if turn % 2 else -1]:
            python = sys.executable if side == "zoo" else torch_python
            command = [python, __file__, "--seconds", str(seconds), "--work", row, side]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
            figures[side].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {side: float(np.median(values)) for side, values in figures.items()}
    texts = [f"{side} {middle[side]:.1f} ({min(values):.1f}-{max(values):.1f})" for side, values in figures.items()]
    peer = max(middle["torch"], middle["torch-last"])
    print(f"{row}: {', '.join(texts)} {ROWS[row]}; zoo over torch {middle['zoo'] / peer:.2f}", flush=True)


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
        work = zoo_side(row, arguments.seconds) if side == "zoo" else torch_side(side, row, arguments.seconds)
        print(json.dumps(work))
        return
    for row in arguments.only or ROWS:
        measure(row, arguments.rounds, arguments.seconds, arguments.torch_python)


if __name__ == "__main__":
    main()
