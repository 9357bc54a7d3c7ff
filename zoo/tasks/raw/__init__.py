"""Raw inputs: the values of a user as the arguments of a served signature. Imports no TensorFlow.

A task has one raw input or several, each of a kind:

    image    a path, an open file, bytes, an array or a PIL image -> the bytes of an image file
    tensor   an array, nested lists of numbers, a .npy file (its path, open, or bytes) -> float32 of a fixed shape
    text     a string, or its bytes in UTF-8 -> bytes
    audio    a sound file of any rate (its path, open, or bytes), or samples -> float32 samples at the model's rate
    number   a number, or a string such as "0.5" -> float32

Items of an audio or a tensor may differ in length. A batch of them is padded, and a second argument of the signature
has their lengths.

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
from zoo.preprocessing.limits import LONGEST_SOUND
from zoo.tasks.raw import tensor
from zoo.tasks.raw.audio import waveform_of
from zoo.tasks.raw.files import files_of, is_file_object, is_stream
from zoo.tasks.raw.image import encoded_image
from zoo.tasks.raw.text import encoded_text


@dataclasses.dataclass(frozen=True)
class RawInput:
    """A user's value as an argument of a task's served signature.

    Args:
        name: of the argument, and of the value in an item with several raw inputs.
        kind: one of KINDS, or another name if the task encodes it.
        shape: of one item, for the kinds "tensor" and "audio". The first size may be None: items differ in length.
        length: for such a shape, the name of the argument with an item's length, () int32.
        rate: for the kind "audio", samples per second.
        longest: for the kind "audio", the greatest length, seconds.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] = ()
    length: str = ""
    rate: int = 0
    longest: float = 0.0

    @classmethod
    def of(cls, entry: dict) -> "RawInput":
        """The raw input of an entry of a manifest."""
        known = {field.name for field in dataclasses.fields(cls)} & entry.keys()
        return cls(**{name: tuple(entry[name]) if name == "shape" else entry[name] for name in known})

    def entry(self) -> dict[str, Any]:
        """The raw input as JSON values, for a manifest: name, kind, shape, and what is not the default."""
        own = {"name": self.name, "kind": self.kind, "shape": list(self.shape)}
        others = {name: getattr(self, name) for name in ("length", "rate", "longest")}
        return own | {name: value for name, value in others.items() if value}

    @property
    def dtype(self) -> str:
        return "string" if self.kind in ("image", "text") else "float32"

    @property
    def arguments(self) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        """The arguments of the signature: name -> dtype, and shape of one item."""
        return {self.name: (self.dtype, self.shape)} | ({self.length: ("int32", ())} if self.length else {})

    def encode(self, item: Any) -> dict[str, Any]:
        """A user's value -> the arguments by name: bytes, or an array of float32, and its length.

        A kind that is not in KINDS leaves the value as it is.

        Raises:
            InputError: the value is missing, damaged, or of another type or shape.
        """
        value = KINDS[self.kind](item, self) if self.kind in KINDS else item
        return {self.name: value} | ({self.length: np.int32(len(value))} if self.length else {})


@functools.cache  # a pipeline asks for every item
def scalars(**kinds: str) -> tuple[RawInput, ...]:
    """Raw inputs whose items are scalars, by name and kind."""
    return tuple(RawInput(name, kind) for name, kind in kinds.items())


def _number(item: Any, raw: RawInput) -> np.ndarray:
    try:
        number = math.nan if isinstance(item, bool) else float(item)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"expected a finite number, got {item!r}")
    return np.float32(number)


KINDS = {
    "image": lambda item, raw: encoded_image(item),
    "text": lambda item, raw: encoded_text(item),
    "tensor": lambda item, raw: tensor.tensor_of(item, raw.shape),
    "audio": lambda item, raw: waveform_of(item, raw.rate, raw.longest or LONGEST_SOUND),
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
        return inputs[0].encode(item)
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
            encoded |= raw.encode(item[raw.name])
        except InputError as error:
            raise InputError(f"{raw.name}: {error}") from None
    return encoded


def batch(inputs: tuple[RawInput, ...], encoded: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Encoded items -> arrays by name, (B, ...), texts and files as objects."""
    arguments = {name: dtype for raw in inputs for name, (dtype, _) in raw.arguments.items()}
    return {name: stacked([item[name] for item in encoded], dtype) for name, dtype in arguments.items()}


def stacked(values: list[Any], dtype: str) -> np.ndarray:
    """Values of one argument -> an array (B, ...), with zeros after those that are shorter than the longest."""
    if dtype == "string":
        return np.array([value.encode() if isinstance(value, str) else value for value in values], object)
    values = [np.asarray(value, dtype) for value in values]
    longest = max((len(value) for value in values if value.ndim), default=0)
    if all(value.ndim == 0 or len(value) == longest for value in values):
        return np.stack(values)
    padded = np.zeros((len(values), longest, *values[0].shape[1:]), dtype)
    for row, value in zip(padded, values, strict=True):
        row[: len(value)] = value
    return padded


def is_batch(inputs: tuple[RawInput, ...], x: Any) -> bool:
    """Whether the argument of a pipeline is several items rather than one item."""
    if _are_files(inputs) and files_of(x) or not _are_files(inputs) and is_file_object(x):
        return True
    if len(inputs) == 1 and inputs[0].kind in ("tensor", "audio"):
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
    """The error of an item with the name of the item in front, as `shown` gives it."""
    return f"{item or repr(item)}: {error}"


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
