"""The lists behind `zoo list` and `zoo info`."""

import contextlib
import fnmatch

from zoo import registry
from zoo.errors import ZooError, unknown
from zoo.preset.folders import is_path, names, open_preset
from zoo.preset.keras_files import is_keras_file
from zoo.preset.preset import Preset, read_preset


def list_models(pattern: str | None = None, task: str | None = None, pretrained: bool = False) -> list[str]:
    """Names of models and presets; imports neither TensorFlow nor Keras.

    Args:
        pattern: a name with wildcards ("lenet*"), or a part of a name.
        task: only models and presets of this task.
        pretrained: only presets.
    """
    return [row["name"] for row in rows(pattern, task, pretrained)]


def rows(pattern: str | None = None, task: str | None = None, pretrained: bool = False) -> list[dict]:
    """The rows of `zoo list`: {"name", "kind", "task", "parameters", "description" or "metrics"} each."""
    table = [_model_row(entry) for entry in registry.entries().values()]
    for path in names().values():
        with contextlib.suppress(ZooError):  # a damaged preset is reported when it is used
            table.append(_preset_row(read_preset(path)))
    tasks = {row["task"] for row in table}
    if task is not None and task not in tasks:
        raise unknown("task", task, tasks)
    if pattern and not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    table = [row for row in table if row["kind"] == "preset" or not pretrained]
    table = [row for row in table if task in (None, row["task"]) and fnmatch.fnmatch(row["name"], pattern or "*")]
    return sorted(table, key=lambda row: row["name"])


def _model_row(entry: registry.Entry) -> dict:
    facts = {"name": entry.name, "kind": "model", "task": entry.task, "parameters": entry.parameters}
    return {**facts, "description": entry.description}


def _preset_row(preset: Preset) -> dict:
    record = preset.record
    facts = {"name": preset.path.name, "kind": "preset", "task": record["task"]["name"]}
    return {**facts, "parameters": record["parameters"], "metrics": record.get("metrics", [])}


def model_info(name: str) -> dict:
    """Facts about a model or a preset: task, paper, parameters.

    Of a model also `arguments`, the arguments of its builder, which create_model takes, and their defaults (None if
    there is none); of a preset also metrics, provenance and terms.
    """
    table = registry.entries()
    if isinstance(name, str) and name in table:
        entry = table[name]
        facts = {"paper": entry.paper, "settings": dict(entry.settings), "overrides": dict(entry.overrides)}
        facts |= {"parts": dict(entry.parts)} if entry.parts else {}
        facts["arguments"] = {key: None if value is ... else value for key, value in entry.arguments.items()}
        presets = [preset for preset in names() if preset.startswith(f"{name}.")]
        return {**_model_row(entry), **facts, "presets": presets, "file": str(entry.path)}
    try:
        preset = open_preset(name)
    except ZooError:
        if not isinstance(name, str) or is_path(name) or is_keras_file(name) or name in names():
            raise
        raise unknown("model or preset", name, [*table, *names()]) from None
    model = preset.record["model"]["name"]
    paper = table[model].paper if model in table else None
    return {"kind": "preset", "paper": paper, "path": str(preset.path), **preset.record}
