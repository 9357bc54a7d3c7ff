"""A user's tensor (array, nested lists of numbers, .npy file, open file, bytes) -> float32 of the model's shape."""

import io
import json
import math
import numbers
import os
import threading
from pathlib import Path

import numpy as np

from zoo.errors import InputError
from zoo.tasks.raw.files import content_of, content_of_object, is_file_object, is_stream

_MAGIC = b"\x93NUMPY"
_PARSER = threading.Lock()  # Python before 3.11.9 fails if several threads evaluate literals at once
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def tensor_of(item, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """One item as float32; the graph checks whether its values are finite.

    Args:
        item: an array; nested lists of numbers, also as the text of JSON; the path of a `.npy` file or of a file of
            JSON; or such a file, open or as bytes.
        shape: the shape that it must have; None allows any shape, or in the place of a size any size of 1 or more.

    Raises:
        InputError: the item is missing, empty, damaged, pickled, not of numbers, or of another shape.
    """
    if isinstance(item, str) and item.lstrip().startswith("["):
        item = item.encode()
    elif isinstance(item, str) and item.lstrip().startswith("{"):
        raise InputError("a JSON object is not a tensor: give nested lists of numbers, or the path of a .npy file")
    elif isinstance(item, (str, os.PathLike)):
        item = content_of(Path(item), "a .npy file")
    elif is_file_object(item):
        item = content_of_object(item)
    if isinstance(item, (bytes, bytearray, memoryview)) and bytes(item[:100]).lstrip().startswith(b"["):
        item = _json(bytes(item))
    if isinstance(item, (bytes, bytearray, memoryview)):
        array = _npy(bytes(item), shape)
    elif isinstance(item, (list, tuple)) or hasattr(item, "__array__"):
        try:
            array = np.asarray(item)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise InputError("lists of unequal lengths, or of other things than numbers, are not a tensor") from None
        _check(array.shape, array.dtype, shape)
    else:
        form = f" of shape {shape}".replace("None", "any") if shape else ""
        raise InputError(
            f"an item of type {type(item).__name__} is not a tensor: give an array{form}, nested lists of numbers, "
            "the path of a .npy file, an open file or its bytes"
        )
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, which the graph reports
        return array.astype("float32")


def is_batch(x, rank: int) -> bool:
    """Whether the argument of a pipeline is a list of items of `rank` axes rather than one item.

    Numbers in `rank` levels of lists are one item, as is an array of `rank` axes; a list of arrays is several items.
    """
    if is_stream(x):
        return True
    axes = 0
    while isinstance(x, (list, tuple)) and axes <= rank:
        if not x:
            return True  # no items, or an item without numbers
        x, axes = x[0], axes + 1
    if isinstance(x, (numbers.Number, np.bool_)):
        return axes > rank
    return axes > 0 or getattr(x, "ndim", 0) > rank


def _check(actual: tuple[int, ...], dtype: np.dtype, shape: tuple[int | None, ...] | None) -> None:
    if dtype.kind == "O":
        raise InputError("Python objects are not a tensor, and pickled objects are not opened: give numbers")
    if dtype.kind not in "biuf":
        raise InputError(f"values of type {dtype} are not a tensor: give floats, integers or booleans")
    if shape is None:
        return
    is_good = len(actual) == len(shape) and all(
        size >= 1 if wanted is None else size == wanted for size, wanted in zip(actual, shape, strict=True)
    )
    if not is_good:
        wanted = str(shape).replace("None", "any")
        raise InputError(f"expected an array of shape {wanted}, got {actual}")


def _json(encoded: bytes) -> list:
    try:
        return json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON list of numbers: {error}") from None


def _npy(encoded: bytes, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """The array of a .npy file; a header that states more than the file holds allocates no memory."""
    if not encoded:
        raise InputError("empty")
    if encoded[:4] == b"PK\x03\x04":
        raise InputError("an archive such as .npz: give one array, as numpy.save writes it")
    if encoded[:6] != _MAGIC:
        raise InputError("not a .npy file, as numpy.save writes it")
    file = io.BytesIO(encoded)
    try:
        with _PARSER:
            actual, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception:  # NumPy evaluates the header as a literal, which raises all kinds of exceptions
        raise InputError("damaged or truncated .npy file: its header can't be read") from None
    _check(actual, dtype, shape)
    expected, held = math.prod(actual) * dtype.itemsize, len(encoded) - file.tell()
    if held != expected:
        raise InputError(f"damaged or truncated .npy file: {held:,} bytes of values, but {expected:,} by its header")
    return np.frombuffer(encoded, dtype, offset=file.tell()).reshape(actual, order="F" if is_fortran else "C")
