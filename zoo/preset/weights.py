"""Weights files: Keras's HDF5 layout in float32, float16, or int8 with one scale per output channel."""

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import h5py
import numpy as np

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

from zoo.errors import ZooError

STORAGES = ("float32", "float16", "int8")
FEW = 1000  # values of an array


def write(model, path: Path, storage: str = "float32", without: Collection[str] = ()) -> None:
    """Writes the weights of a keras.Model to `path` (*.weights.h5), except those of the layers named in `without`.

    Keras's own `load_weights` can read float16 and float32 files. In int8 every array of two or more dimensions is
    rounded to 255 steps between minus and plus the greatest magnitude of its channel; vectors stay float32.

    Raises:
        ZooError: an unknown storage, or weights that float16 or int8 can't hold.
        OSError: the file can't be written.
    """
    if storage not in STORAGES:
        raise ZooError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}")
    _check_space(model, path)
    try:
        if without:
            import keras

            keras.saving.save_weights(model, path, objects_to_skip=_layers(model, without))
        else:
            model.save_weights(path)
        _convert(path, storage)
    except (OSError, RuntimeError) as error:  # h5py raises either on a full disk, with many lines of text
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _check_space(model, path: Path) -> None:
    """Raises OSError if the disk is full or files may not be so large.

    h5py can't close a file that it can't write, and ends the process later.
    """
    size = sum(4 * int(np.prod(weight.shape)) for weight in getattr(model, "weights", ())) + (1 << 20)
    if shutil.disk_usage(path.parent).free < 2 * size:  # all weights in float32, and what `_convert` makes of them
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0] if resource else -1
    if 0 <= largest < size:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _convert(path: Path, storage: str) -> None:
    """Rounds the arrays of a file of float32 weights, and removes the variables of the optimizer."""
    packed = io.BytesIO()
    # The file format of HDF5 1.10 needs less space for each array and group than the oldest one.
    with h5py.File(path, "r") as source, h5py.File(packed, "w", libver=("v110", "v110")) as target:
        target.attrs.update(source.attrs)

        def convert(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if name.split("/")[0] == "optimizer":
                return
            if isinstance(item, h5py.Group):
                target.create_group(name).attrs.update(item.attrs)
            else:
                _store(target, name, item[()], storage)

        source.visititems(convert)  # a group comes before its members
    path.write_bytes(packed.getbuffer())


def _store(file: h5py.File, name: str, values: np.ndarray, storage: str) -> None:
    """Writes an array; an array of one value, such as weights that are never trained, takes no space."""
    if values.size > FEW and (values == values.flat[0]).all():
        # HDF5 keeps a single value for chunks that are not written.
        file.create_dataset(name, values.shape, values.dtype, chunks=True, fillvalue=values.flat[0])
    elif storage == "float32" or values.dtype != np.float32 or (storage == "int8" and values.ndim < 2):
        file[name] = values
    elif storage == "float16":
        with np.errstate(over="ignore"):
            rounded = values.astype("float16")
        if np.isfinite(values).all() and not np.isfinite(rounded).all():
            raise ZooError(f"float16 can't hold the weights {name}; use storage='float32'")
        _create(file, name, rounded)
    else:
        rounded, scale = quantize(values)
        _create(file, name, rounded)
        file[name].attrs["scale"] = scale


def _create(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Writes an array, compressed in one piece unless it is small."""
    if values.size > FEW:
        options = {"chunks": values.shape, "compression": "gzip", "compression_opts": 9, "shuffle": True}
        file.create_dataset(name, data=values, **options)
    else:
        file[name] = values


def quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounds float values (..., C) to int8 with float32 scales, so that values ~ int8 * scale.

    The output channel is the last axis, or the axis before it if the last has size 1 (depthwise kernels).

    Raises:
        ZooError: a value is infinite or NaN.
    """
    if not np.isfinite(values).all():
        raise ZooError("int8 can't hold weights that are infinite or NaN; use storage='float32'")
    channel = values.ndim - 1 if values.shape[-1] > 1 else values.ndim - 2
    others = tuple(axis for axis in range(values.ndim) if axis != channel)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127.0
    scale = np.maximum(scale, np.finfo("float32").tiny).astype("float32")  # channels of zeros; coarse below it
    return np.clip(np.rint(values / scale), -127, 127).astype("int8"), scale


def _layers(model, names: Collection[str]) -> list:
    """The layers with these names, and all layers inside them."""
    layers = [model.get_layer(name) for name in names]
    for layer in layers:  # the list grows during the loop
        layers += getattr(layer, "layers", ())
    return layers


def read(model, path: Path, without: Collection[str] = ()) -> None:
    """Loads a file written by `write` into a model of the same architecture, except the layers named in `without`.

    Raises:
        ZooError: the file is not a weights file, or belongs to another model.
    """
    import keras

    try:
        with h5py.File(path, "r") as file:
            held = len(_arrays(file))
        skipped = _layers(model, without)
        others = {id(weight) for layer in skipped for weight in layer.weights}
        expected = sum(id(weight) not in others for weight in model.weights)
        if held != expected:  # Keras would only warn, and keep some initial weights
            raise ValueError(f"it holds {held} arrays, the model has {expected} weights")
        with _dequantized(path) as plain:
            keras.saving.load_weights(model, plain, objects_to_skip=skipped)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(f"the weights in {path} do not fit the model {model.name}: {reason}") from error


def digest(model) -> str:
    """A hash of the weights of a model or layer: two models with equal weights have equal digests."""
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
    """The file itself or, if it contains int8, a temporary float32 copy."""
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
