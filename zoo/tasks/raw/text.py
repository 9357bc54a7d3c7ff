"""A text, or its bytes, as UTF-8."""

from typing import Any

from zoo.errors import InputError


def encoded_text(item: Any) -> bytes:
    """A text, or its bytes, as UTF-8. Whether bytes are valid UTF-8 is checked in the graph.

    Raises:
        InputError: the item has another type, or is a string with an unpaired surrogate.
    """
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if not isinstance(item, str):
        raise InputError(f"an item of type {type(item).__name__} is not a text: give a string, or its bytes in UTF-8")
    try:
        return item.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InputError("not UTF-8") from None
