"""ConvNets against plain Keras, PyTorch and ONNX Runtime: training, inference, and a folder of photos end to end.

    pip install -e ".[benchmark]" && python benchmarks/images.py [--rounds 3] [--seconds 10] [--only ROW]

Every side runs in a process of its own, with its own memory and thread pools; the sides of a row take turns, round
after round. PyTorch runs in its default layout and channels-last, ONNX Runtime on the network that PyTorch exports. A
figure is images per second, the median of the rounds with their range, each the median of its calls; a ratio is ours
over the peer's. The rows:

    train-lenet5      LeNet-5 (lenet5_modern), batch 64, Adam
    train-resnet20    ResNet-20, batch 128, momentum: zoo's loop, Keras's fit, a PyTorch loop, all from memory
    train-resnet20-bfloat16    the same in mixed bfloat16 on all sides; useful on processors with AMX
    lite0-1, lite0-32 EfficientNet-Lite0 at batch 1 and 32: zoo's folded model, Keras's own layers
    folder            256 JPEG files of 500x375 -> top five labels: zoo's pipeline, and PIL with torch's DataLoader

With --torch-python PATH, PyTorch and ONNX Runtime run in another environment.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS = {
    "train-lenet5": ("zoo", "keras", "torch", "torch-last"),
    "train-resnet20": ("zoo", "keras", "torch", "torch-last"),
    "train-resnet20-bfloat16": ("zoo", "keras", "torch", "torch-last"),
    "lite0-1": ("zoo", "keras", "torch", "torch-last", "onnx"),
    "lite0-32": ("zoo", "keras", "torch", "torch-last", "onnx"),
    "folder": ("zoo", "torch", "torch-last"),
}
TRAINING = {
    "train-lenet5": ("lenet5_modern", 64, (32, 32, 1)),
    "train-resnet20": ("resnet_cifar20", 128, (32, 32, 3)),
    "train-resnet20-bfloat16": ("resnet_cifar20", 128, (32, 32, 3)),
}
BATCHES = 20  # in one call of a training row


def rate(call: Callable[[], int], seconds: float) -> float:
    """Images per second of a call that returns their number: the median of its calls, because a machine that
    stands still for a moment spoils a mean. The first three seconds are not counted."""
    started = time.perf_counter()
    call()
    while time.perf_counter() - started < 3:
        call()
    rates, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        rates.append(call() / (time.perf_counter() - before))
    return float(np.median(rates))


def with_keras_normalisation(model):
    """The same network on Keras's own batch normalisation."""
    import keras

    def clone(layer):
        own = isinstance(layer, keras.layers.BatchNormalization)
        return (keras.layers.BatchNormalization if own else type(layer)).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def train_tensorflow(side: str, row: str, seconds: float) -> float:
    import keras
    import tensorflow as tf

    import zoo
    from zoo.data.stream import Stream
    from zoo.tasks import task_of
    from zoo.training.loop import Loop
    from zoo.training.optimizers import make_optimizer
    from zoo.training.recipe import Optimizer, Training

    name, size, shape = TRAINING[row]
    random = np.random.default_rng(0)
    images, classes = random.random((BATCHES * size, *shape), "float32"), random.integers(0, 10, BATCHES * size)
    if row.endswith("bfloat16"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = zoo.create_model(name)
    chosen = Optimizer(name="adam") if name == "lenet5_modern" else Optimizer(name="sgd", momentum=0.9)
    settings = Training(epochs=1000, batch_size=size, optimizer=chosen)
    loss = task_of(model).loss()
    if side == "keras":
        model = with_keras_normalisation(model)
        model.compile(make_optimizer(settings, 10_000, model), loss)
        return rate(lambda: model.fit({"image": images}, classes, size, verbose=0) and len(images), seconds)
    data = tf.data.Dataset.from_tensor_slices((images, classes))
    stream = Stream(data, lambda x, y: (x, y), None, lambda x, y: ({"image": x}, y), len(images), size)
    model.compile(make_optimizer(settings, 10_000, model), loss)
    loop = Loop(model, settings, tf.distribute.get_strategy())

    def epoch() -> int:
        loop.losses.clear()
        loop.epoch(stream, 0, 10**9, lambda *_: None)
        return len(images)

    return rate(epoch, seconds)


def train_torch(side: str, row: str, seconds: float) -> float:
    import torch
    from torch_networks import lenet5, resnet20

    _, size, (height, width, channels) = TRAINING[row]
    form = torch.channels_last if side == "torch-last" else torch.contiguous_format
    model = (lenet5() if row == "train-lenet5" else resnet20()).to(memory_format=form).train()
    plain = torch.optim.Adam(model.parameters()) if row == "train-lenet5" else None
    optimizer = plain or torch.optim.SGD(model.parameters(), 0.01, 0.9)
    images = torch.rand(BATCHES * size, channels, height, width).contiguous(memory_format=form)
    classes = torch.randint(0, 10, (BATCHES * size,))
    loss = torch.nn.CrossEntropyLoss()

    def epoch() -> int:
        for rows in torch.randperm(len(images)).split(size):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=row.endswith("bfloat16")):
                value = loss(model(images[rows]), classes[rows])
            value.backward()
            optimizer.step()
            float(value)
        return len(images)

    return rate(epoch, seconds)


def infer_tensorflow(side: str, size: int, seconds: float) -> float:
    import tensorflow as tf

    import zoo
    from zoo.layers.folding import fold_batch_normalization

    model = zoo.create_model("efficientnet_lite0")
    model = fold_batch_normalization(model) if side == "zoo" else with_keras_normalisation(model)
    spec = tf.TensorSpec((None, 224, 224, 3))
    call = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    images = tf.random.uniform((size, 224, 224, 3))
    return rate(lambda: len(call(images).numpy()), seconds)


def infer_torch(side: str, size: int, seconds: float) -> float:
    import torch
    from torch_networks import lite0

    form = torch.channels_last if side == "torch-last" else torch.contiguous_format
    model = lite0().eval().to(memory_format=form)
    images = torch.rand(size, 3, 224, 224).contiguous(memory_format=form)
    with torch.inference_mode():
        return rate(lambda: len(model(images).numpy()), seconds)


def infer_onnx(size: int, seconds: float) -> float:
    import onnxruntime
    import torch
    from torch_networks import lite0

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lite0.onnx")
        dynamic = {"image": {0: "batch"}, "logits": {0: "batch"}}
        torch.onnx.export(lite0().eval(), torch.rand(1, 3, 224, 224), path, input_names=["image"], dynamo=False,
                          output_names=["logits"], dynamic_axes=dynamic)  # fmt: skip
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((size, 3, 224, 224), "float32")
    return rate(lambda: len(session.run(None, {"image": images})[0]), seconds)


def folder_zoo(files: list[str], seconds: float) -> float:
    import zoo

    pipeline = zoo.pipeline("efficientnet_lite0.imagenet")
    return rate(lambda: sum(1 for _ in pipeline.answers(files)), seconds)


def folder_torch(side: str, files: list[str], seconds: float) -> float:
    import torch
    from PIL import Image
    from torch_networks import lite0

    class Photos(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, number):
            picture = Image.open(files[number]).convert("RGB")
            short = min(picture.size)
            picture = picture.resize([round(side * 256 / short) for side in picture.size], Image.BILINEAR)
            left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
            pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)))
            return torch.from_numpy((pixels.astype("float32") - 127) / 128).permute(2, 0, 1)

    form = torch.channels_last if side == "torch-last" else torch.contiguous_format
    model = lite0().eval().to(memory_format=form)
    # Two loaders beside the network, or none: the better is the peer.
    best = 0.0
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(Photos(), 32, num_workers=workers)

        def run(loader=loader) -> int:
            with torch.inference_mode():
                for images in loader:
                    torch.softmax(model(images.contiguous(memory_format=form)), -1).topk(5)
            return len(files)

        run()
        started = time.perf_counter()
        done = run()
        while time.perf_counter() - started < seconds / 2:
            done += run()
        best = max(best, done / (time.perf_counter() - started))
    return best


def photos(folder: str, count: int = 256) -> list[str]:
    """JPEG files of 500x375 with the detail of photographs: noise of many sizes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((375, 500, 3))
        for cells in (4, 16, 64, 250):
            coarse = Image.fromarray(random.integers(0, 256, (cells * 3 // 4, cells, 3), dtype="uint8"))
            picture += np.asarray(coarse.resize((500, 375), Image.BICUBIC), float) / 4
        Image.fromarray(picture.astype("uint8")).save(f"{folder}/{number:03}.jpg", quality=90)
    return sorted(str(path) for path in Path(folder).glob("*.jpg"))


def work(row: str, side: str, seconds: float, folder: str) -> None:
    """Runs a side of a row in this process; prints its rate and its peak memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as zoo does, where it is imported first
    if side.startswith("torch") or side == "onnx":
        import torch

        torch.set_num_threads(os.cpu_count())
    if row in TRAINING:
        figure = (train_torch if side.startswith("torch") else train_tensorflow)(side, row, seconds)
    elif row == "folder":
        files = sorted(str(path) for path in Path(folder).glob("*.jpg"))
        figure = folder_zoo(files, seconds) if side == "zoo" else folder_torch(side, files, seconds)
    elif side == "onnx":
        figure = infer_onnx(int(row.split("-")[1]), seconds)
    else:
        figure = (infer_torch if side.startswith("torch") else infer_tensorflow)(side, int(row.split("-")[1]), seconds)
    print(json.dumps({"rate": figure, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=ROWS, action="append")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--work", nargs=3, metavar=("ROW", "SIDE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        row, side, folder = arguments.work
        return work(row, side, arguments.seconds, folder)
    with tempfile.TemporaryDirectory() as folder:
        photos(folder)
        for row in arguments.only or ROWS:
            results: dict[str, list[dict]] = {side: [] for side in ROWS[row]}
            for turn in range(arguments.rounds):
                for side in ROWS[row][:: 1 if turn % 2 else -1]:
                    python = sys.executable if side in ("zoo", "keras") else arguments.torch_python
                    command = [python, __file__, "--seconds", str(arguments.seconds), "--work", row, side, folder]
                    done = subprocess.run(command, capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
                    results[side].append(json.loads(done.stdout.splitlines()[-1]))
            ours = np.median([each["rate"] for each in results["zoo"]])
            for side, figures in results.items():
                rates = [each["rate"] for each in figures]
                peak = max(each["peak_mb"] for each in figures)
                middle = np.median(rates)
                against = "" if side == "zoo" else f"; zoo over it {ours / middle:.2f}"
                print(f"{row}, {side}: {middle:,.1f} images/s ({min(rates):,.1f}-{max(rates):,.1f}), "
                      f"peak {peak:,.0f} MB{against}", flush=True)  # fmt: skip
    return None


if __name__ == "__main__":
    main()
