"""Answers as plain Python values, by the same layout for a pipeline and a served model. Imports no TensorFlow.

A layout maps each key of an answer to the name of an output of the signature, or to a list of one dict. Such a list
becomes a list of dicts, one per row of the outputs that its dict names:

    {"text": "text", "alternatives": [{"text": "alternatives", "score": "alternative_scores"}]}

If items have unequal numbers of rows, the outputs of a batch are padded, and a second element of the list names the
output with an item's number of rows: [{"word": "words", "start": "starts"}, "word_count"].

A dict in the place of a name, {"mask": {"bytes": "mask_bytes"}}, is an output of bytes that are not a text, such as a
file. The names of such outputs end with "_bytes", which TensorFlow Serving then sends by REST as base64.

The key "warning" is left out of an answer if its text is empty.
"""

import base64
import itertools
from typing import Any

import numpy as np

WARNING = "warning"
Layout = dict[str, "str | dict[str, str] | list[dict[str, str] | str]"]


def to_python(layout: Layout, outputs: dict[str, Any]) -> dict:
    """The answer of one item.

    Args:
        layout: see the module.
        outputs: the signature's outputs for this item, by name: NumPy arrays or scalars, texts as bytes.
    """
    answer = {}
    for key, place in layout.items():
        if isinstance(place, str):
            answer[key] = plain(outputs[place])
        elif isinstance(place, dict):
            value = outputs[
                place["bytes"]
            ]  # bytes, or an array of them; NumPy's own strings would lose zeros at the end
            answer[key] = value if isinstance(value, bytes) else value.item()
        else:
            columns, *count = place
            rows = zip(*(plain(outputs[name]) for name in columns.values()), strict=True)
            if count:
                rows = itertools.islice(rows, int(outputs[count[0]]))
            answer[key] = [dict(zip(columns, row, strict=True)) for row in rows]
    if answer.get(WARNING) == "":
        del answer[WARNING]
    return answer


def as_json(answer: dict) -> dict:
    """An answer as JSON values: bytes become base64."""
    return {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else plain(value)
        for key, value in answer.items()
    }


def plain(value: Any) -> Any:
    """Arrays -> lists, bytes -> text, NumPy numbers -> Python numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        has_text = value.dtype.kind in "OSU"
        value = value.tolist()
        if not has_text:
            return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
