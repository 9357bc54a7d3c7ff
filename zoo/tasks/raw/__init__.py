"""Raw inputs: the values of a user as the arguments of a served signature. Imports no TensorFlow.

A task has one raw input or several, each of a kind:

    image    a path, an open file, bytes, an array or a PIL image -> the bytes of an image file
    tensor   an array, nested lists of numbers, a .npy file (its path, open, or bytes) -> float32 of a fixed shape
    text     a string, or its bytes in UTF-8 -> bytes
    number   a number, or a string such as "0.5" -> float32

With several raw inputs, an item is a dict of their names, or the text of a JSON object. Several items are a list, a
generator or another iterator. If items are files, they may be a folder; if items are texts or JSON objects, an open
file, whose lines are the items.
"""

import dataclasses
import functools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zoo.errors import InputError
from zoo.tasks.raw import tensor
from zoo.tasks.raw.files import files_of, is_file_object, is_stream
from zoo.tasks.raw.image import encoded_image
from zoo.tasks.raw.text import encoded_text


@dataclasses.dataclass(frozen=True)
class RawInput:
    """One argument of a task's served signature.

    Args:
        name: of the argument, and of the value in an item with several raw inputs.
        kind: one of KINDS, or another name if the task encodes it.
        shape: of one item, for kind "tensor".
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()

    @property
    def dtype(self) -> str:
        return "string" if self.kind in ("image", "text") else "float32"

    def encode(self, item: Any) -> Any:
        """A user's value -> bytes, or an array of float32. A kind that is not in KINDS changes nothing.

        Raises:
            InputError: the value is missing, damaged, or of another type or shape.
        """
        return KINDS[self.kind](item, self.shape) if self.kind in KINDS else item


@functools.cache  # a pipeline asks for every item
def scalars(**kinds: str) -> tuple[RawInput, ...]:
    """Raw inputs whose items are scalars, by name and kind."""
    return tuple(RawInput(name, kind) for name, kind in kinds.items())


def _number(item: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        number = math.nan if isinstance(item, bool) else float(item)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"expected a finite number, got {item!r}")
    return np.float32(number)


LONGEST_NAME = 200  # characters of an input in front of its error
KINDS = {
    "image": lambda item, shape: encoded_image(item),
    "text": lambda item, shape: encoded_text(item),
    "tensor": tensor.tensor_of,
    "number": _number,
}
# The kinds of arguments in exports whose manifest does not have them.
KIND_OF_ARGUMENT = {"image_bytes": "image", "tensor": "tensor", "sentence": "text"}


def encode(inputs: tuple[RawInput, ...], item: Any) -> dict[str, Any]:
    """An item of the user -> its raw inputs by name.

    Raises:
        InputError: a value is missing, unknown, or can't be read; with several raw inputs the message names it.
    """
    if len(inputs) == 1:
        return {inputs[0].name: inputs[0].encode(item)}
    names = [raw.name for raw in inputs]
    if isinstance(item, (str, bytes)):
        try:
            item = json.loads(item)
        except ValueError as error:
            raise InputError(f"expected a JSON object with {', '.join(names)}: {error}") from None
    if not isinstance(item, dict):
        raise InputError(f"expected a dict of {', '.join(names)}, got {type(item).__name__}")
    if item.keys() != {*names}:
        raise InputError(f"expected the inputs {', '.join(names)}, got {', '.join(map(str, item)) or 'none'}")
    encoded = {}
    for raw in inputs:
        try:
            encoded[raw.name] = raw.encode(item[raw.name])
        except InputError as error:
            raise InputError(f"{raw.name}: {error}") from None
    return encoded


def batch(inputs: tuple[RawInput, ...], encoded: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Encoded items -> arrays by name, (B, ...), texts and files as objects."""
    return {
        raw.name: np.array([item[raw.name] for item in encoded], object)
        if raw.dtype == "string"
        else np.stack([item[raw.name] for item in encoded])
        for raw in inputs
    }


def is_batch(inputs: tuple[RawInput, ...], x: Any) -> bool:
    """Whether the argument of a pipeline is several items rather than one item."""
    if _are_files(inputs) and files_of(x) or not _are_files(inputs) and is_file_object(x):
        return True
    if len(inputs) == 1 and inputs[0].kind == "tensor":
        return tensor.is_batch(x, len(inputs[0].shape))
    if len(inputs) == 1 and inputs[0].kind == "image" and getattr(x, "ndim", 0) == 4:
        return True
    return isinstance(x, (list, tuple)) or is_stream(x)


def items(inputs: tuple[RawInput, ...], x: Any) -> Iterable:
    """The items of several (see `is_batch`): the files of a folder, the lines of an open file, or the values of `x`."""
    if _are_files(inputs):
        return files_of(x) or x
    return _lines(x) if is_file_object(x) else x


def _are_files(inputs: tuple[RawInput, ...]) -> bool:
    return len(inputs) == 1 and inputs[0].kind not in ("text", "number")


def _lines(file: Iterable[str | bytes]) -> Iterator[str]:
    for line in file:
        text = os.fsdecode(line) if isinstance(line, bytes) else line
        yield text.removeprefix("\ufeff").strip()


def named(error: str, item: str) -> str:
    """The error of an item with the name of the item in front, as `shown` gives it; long texts are cut."""
    name = item if len(item) <= LONGEST_NAME else f"{item[:LONGEST_NAME]}..."
    return f"{name or repr(name)}: {error}"


def shown(item: Any) -> str:
    """The name of an input in answers and errors."""
    if isinstance(item, (str, os.PathLike)):  # names and lines may hold bytes that are not text
        return re.sub("[\ud800-\udfff]", "\ufffd", os.fspath(item))
    if isinstance(item, (bytes, bytearray, memoryview)):
        return f"<{len(item)} bytes>"
    if is_file_object(item):
        return shown(item.name) if isinstance(getattr(item, "name", None), str) else f"<{type(item).__name__}>"
    if isinstance(item, dict):
        return json.dumps({str(name): shown(value) for name, value in item.items()}, ensure_ascii=False)
    if hasattr(item, "shape"):
        return f"<array {' x '.join(map(str, item.shape))}>"
    return str(item) if isinstance(item, (int, float)) else f"<{type(item).__name__}>"
