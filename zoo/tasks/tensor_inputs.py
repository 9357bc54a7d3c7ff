"""What a user hands over as a tensor (array, nested numbers, .npy file, bytes) -> float32 of the model's shape."""

import io
import math
import numbers
import os
from pathlib import Path

import numpy as np

from zoo.errors import InputError
from zoo.tasks.raw_files import content_of

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def tensor_of(item, shape: tuple[int, ...] | None) -> np.ndarray:
    """One item as float32; whether its values are finite is for the graph to say.

    Args:
        item: an array, nested lists of numbers, the path of a `.npy` file, or such a file's bytes.
        shape: the shape it must have; None takes any.

    Raises:
        InputError: missing, empty, damaged, pickled, no numbers, or of another shape.
    """
    if isinstance(item, (str, os.PathLike)):
        item = content_of(Path(item), "a .npy file")
    if isinstance(item, (bytes, bytearray, memoryview)):
        array = _npy(bytes(item), shape)
    elif isinstance(item, (list, tuple)) or hasattr(item, "__array__"):
        try:
            array = np.asarray(item)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise InputError("lists of unequal lengths, or of something else than numbers, are no tensor") from None
        _check(array.shape, array.dtype, shape)
    else:
        form = f" of shape {shape}" if shape else ""
        raise InputError(
            f"an item of type {type(item).__name__} is no tensor: give an array{form}, nested lists of numbers, "
            "the path of a .npy file or its bytes"
        )
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, which has an error of its own
        return array.astype("float32")


def is_batch(x, rank: int) -> bool:
    """Whether the argument of a pipeline is several items of so many axes, and not one.

    Numbers in `rank` levels of lists are one item, and so is an array of `rank` axes; a list of arrays is several.
    """
    axes = 0
    while isinstance(x, (list, tuple)) and axes <= rank:
        if not x:
            return True  # no items, or nothing that could be one
        x, axes = x[0], axes + 1
    if isinstance(x, (numbers.Number, np.bool_)):
        return axes > rank
    return axes > 0 or getattr(x, "ndim", 0) > rank


def _check(found: tuple[int, ...], dtype: np.dtype, shape: tuple[int, ...] | None) -> None:
    if dtype.kind == "O":
        raise InputError("Python objects are no tensor, and pickled ones are not opened: give numbers")
    if dtype.kind not in "biuf":
        raise InputError(f"values of type {dtype} are no tensor: give floats, integers or booleans")
    if shape is not None and found != shape:
        raise InputError(f"an array of shape {found}: the model takes {shape}")


def _npy(encoded: bytes, shape: tuple[int, ...] | None) -> np.ndarray:
    """The array of a .npy file; nothing is allocated for a header that promises what is not there."""
    if not encoded:
        raise InputError("empty")
    if encoded[:4] == b"PK\x03\x04":
        raise InputError("an archive such as .npz: give one array, as numpy.save writes it")
    if encoded[:6] != _MAGIC:
        raise InputError("no .npy file, which numpy.save would write")
    file = io.BytesIO(encoded)
    try:
        found, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception:  # NumPy evaluates the header as a literal, and raises whatever a damaged one brings about
        raise InputError("damaged or truncated .npy file: its header can't be read") from None
    _check(found, dtype, shape)
    expected, held = math.prod(found) * dtype.itemsize, len(encoded) - file.tell()
    if held != expected:
        raise InputError(f"damaged or truncated .npy file: {held:,} bytes of values, {expected:,} by its header")
    return np.load(io.BytesIO(encoded), allow_pickle=False)
