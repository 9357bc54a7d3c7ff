"""The content of preset.json: reading, checking and formatting it."""

import json
import re
from pathlib import Path

from zoo.errors import ZooError
from zoo.preset import cache

FORMAT = 1
# The keys of preset.json and their types; a float may be an integer.
_REQUIRED = {"name": str, "model": dict, "task": dict, "parameters": int, "storage": str, "files": dict}
_OPTIONAL = {
    "domain": str, "data": dict, "provenance": dict, "terms": dict, "speed": dict, "metrics": list, "samples": list,
    "parts": dict, "op_libraries": list,
}  # fmt: skip
_METRIC = {"name": str, "value": float, "dataset": str, "split": str, "examples": int}
_SPEED = {"latency_1_ms": float, "latency_32_ms": float, "memory_mb": float, "hardware": str}


def read_record(file: Path) -> dict:
    """The content of a preset.json.

    Raises:
        ZooError: it is not JSON, has a newer format, lacks a key, or lists a file outside the preset's folder.
    """
    try:
        record = json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise ZooError(f"{file} is damaged: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise ZooError(f"{file} is damaged: its format must be an integer")
    if record["format"] > FORMAT:
        raise ZooError(f"{file} has format {record['format']}, this version reads up to {FORMAT}: upgrade keras-zoo")
    _check(file, "", record, _REQUIRED)
    _check(file, "", record, {key: kind for key, kind in _OPTIONAL.items() if record.get(key) is not None})
    _check(file, "model.", record["model"], {"name": str, "overrides": dict})
    _check(file, "task.", record["task"], {"name": str, "settings": dict})
    if record.get("speed"):
        _check(file, "speed.", record["speed"], _SPEED)
    for part, source in (record.get("parts") or {}).items():
        _check(file, f"parts[{part!r}].", source, {"preset": str, "sha256": str})
        _check(file, "model.overrides.", record["model"]["overrides"], {part: dict})
    for key, kinds in (("metrics", _METRIC), ("samples", {"input": str, "answer": dict})):
        for number, row in enumerate(record.get(key) or []):
            _check(file, f"{key}[{number}].", row, kinds)
    _check_strings(file, "task.settings.labels", record["task"]["settings"].get("labels"))
    _check_strings(file, "task.data_labels", record["task"].get("data_labels"))
    _check_strings(file, "op_libraries", record.get("op_libraries"))
    if record["name"] in ("", ".", "..") or re.search(r"[/\\\0]", record["name"]):
        raise ZooError(f"{file} is damaged: {record['name']!r} can't be the name of a preset")
    for name, facts in record["files"].items():
        if cache.leaves_folder(name):
            raise ZooError(f"{file} lists {name!r}, which leaves the preset's folder")
        _check(file, f"files[{name!r}].", facts, {"sha256": str, "size": int})
    return record


def _check(file: Path, where: str, record: object, kinds: dict[str, type]) -> None:
    """Checks that a part of preset.json has these keys with values of these types."""
    for key, kind in kinds.items():
        value = record.get(key) if isinstance(record, dict) else None
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise ZooError(f"{file} is damaged: {where}{key} is missing or not of type {kind.__name__}")


def _check_strings(file: Path, key: str, value: object) -> None:
    """Refuses a value that is neither None nor a list of strings."""
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ZooError(f"{file} is damaged: {key} must be a list of str")


def record_text(record: dict) -> str:
    """The text of preset.json; NumPy numbers are written as plain numbers."""
    try:
        return json.dumps(record, indent=1, default=lambda value: value.tolist()) + "\n"
    except (AttributeError, TypeError) as error:
        raise ZooError(f"preset.json can't hold this value: {error}") from error
