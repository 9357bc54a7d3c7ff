"""A model's weights as a file: Keras's own HDF5 layout, in float32, float16, or int8 with a scale an output channel."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from zoo.errors import ZooError

STORAGES = ("float32", "float16", "int8")


def write(model, path: Path, storage: str = "float32") -> None:
    """Writes the weights of a keras.Model to `path` (*.weights.h5).

    float16 and float32 files are loaded by Keras's own `load_weights`, too. In int8 every array of two or more
    dimensions is rounded to 255 steps between minus and plus its channel's greatest magnitude; vectors stay float32.

    Raises:
        ZooError: an unknown storage, or weights that float16 or int8 can't hold.
        OSError: the file can't be written.
    """
    if storage not in STORAGES:
        raise ZooError(f"storage={storage!r} is none of {', '.join(STORAGES)}")
    try:
        model.save_weights(path)
        _convert(path, storage)
    except (OSError, RuntimeError) as error:  # h5py tells of a full disk as either, in many lines
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _convert(path: Path, storage: str) -> None:
    """Rounds the arrays of a file of float32 weights, and leaves out what a compiled model's optimizer keeps."""
    with h5py.File(path, "r+") as file:
        file.pop("optimizer", None)
        for name in _arrays(file):
            values = file[name][()]
            if storage == "float32" or values.dtype != np.float32:
                continue
            del file[name]
            if storage == "float16":
                with np.errstate(over="ignore"):
                    rounded = values.astype("float16")
                if np.isfinite(values).all() and not np.isfinite(rounded).all():
                    raise ZooError(f"float16 can't hold the weights {name}; use storage='float32'")
                file[name] = rounded
            elif values.ndim < 2:
                file[name] = values
            else:
                file[name], scale = quantize(values)
                file[name].attrs["scale"] = scale
    # What was replaced or left out still takes up room: copy what is left into a file of its own.
    packed = path.with_name(f"packed.{path.name}")
    with h5py.File(path, "r") as source, h5py.File(packed, "w") as target:
        target.attrs.update(source.attrs)
        for name in source:
            source.copy(name, target)
    packed.replace(path)


def quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float values (..., C) to int8 and the float32 scales that give them back: values ~ int8 * scale.

    The output channel is the last axis, or the one before it where the last has size one (depthwise kernels).

    Raises:
        ZooError: a value is infinite or no number.
    """
    if not np.isfinite(values).all():
        raise ZooError("int8 can't hold weights that are infinite or no numbers; use storage='float32'")
    channel = values.ndim - 1 if values.shape[-1] > 1 else values.ndim - 2
    others = tuple(axis for axis in range(values.ndim) if axis != channel)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127.0
    scale = np.maximum(scale, np.finfo("float32").tiny).astype("float32")  # channels of zeros; coarse below it
    return np.clip(np.rint(values / scale), -127, 127).astype("int8"), scale


def read(model, path: Path) -> None:
    """Loads a file that `write` made into a model of the same plan.

    Raises:
        ZooError: the file is no weights file, or of another model.
    """
    try:
        with h5py.File(path, "r") as file:
            held = len(_arrays(file))
        if held != len(model.weights):  # Keras would warn of each and leave some as they are
            raise ValueError(f"it holds {held} arrays, the model has {len(model.weights)} weights")
        with _dequantized(path) as plain:
            model.load_weights(plain)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(f"the weights in {path} do not fit the model {model.name}: {reason}") from error


def digest(model) -> str:
    """A hash of a model's weights: two models with equal weights have equal digests."""
    total = hashlib.sha256()
    for variable in model.weights:
        total.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return total.hexdigest()


def _arrays(file: h5py.File) -> list[str]:
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


@contextlib.contextmanager
def _dequantized(path: Path) -> Iterator[Path]:
    """The file itself, or, where it holds int8, a float32 copy that is gone afterwards."""
    with h5py.File(path, "r") as file:
        if not any("scale" in file[name].attrs for name in _arrays(file)):
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.weights.h5"
            with h5py.File(copy, "w") as target:
                target.attrs.update(file.attrs)
                for name in file:
                    file.copy(name, target)
                for name in _arrays(target):
                    if "scale" in target[name].attrs:
                        values = target[name][()].astype("float32") * target[name].attrs["scale"]
                        del target[name]
                        target[name] = values
            yield copy
