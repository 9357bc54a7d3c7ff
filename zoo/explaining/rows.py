"""Rows of an explanation, one per item, with errors for bad items."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.errors import InputError
from zoo.tasks.raw import named, shown


def rows_of(items: list, errors: str, read: Callable[[Any], Any], explain: Callable[[Any], dict]) -> list[dict]:
    """A row per item. All items are read before the first is explained, so a bad item is reported at once.

    Args:
        items: the user's inputs.
        errors: "raise", or "return" for {"input", "error"} in the place of a bad item.
        read: item -> the argument of `explain`; raises InputError for a bad item.
        explain: the value of `read` -> the row without "input".

    Raises:
        InputError: errors="raise", and an item is bad; the message names it.
    """
    inputs = []
    for item in items:
        try:
            inputs.append(read(item))
        except InputError as error:
            if errors == "raise":
                raise InputError(named(str(error), shown(item))) from None
            inputs.append(error)
    return [
        {"input": shown(item), **({"error": str(value)} if isinstance(value, InputError) else explain(value))}
        for item, value in zip(items, inputs, strict=True)
    ]


def shortened(text: str) -> str:
    """The last part of a path, shortened to the width of a panel."""
    text = Path(text).name
    return text if len(text) <= 36 else f"{text[:18]}...{text[-15:]}"
