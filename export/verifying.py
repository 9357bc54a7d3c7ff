"""`zoo.verify`: whether an export answers as the pipeline does."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo import preset as presets
from zoo.errors import InputError, ZooError, checked_path
from zoo.exporting import checker
from zoo.exporting.companions import MANIFEST, newest_version
from zoo.inference import pipeline, shown

TOLERANCE = 1e-5  # of scores; strings must be equal


def verify(out: str | os.PathLike, preset: str | os.PathLike, inputs: Any = None) -> dict:
    """Compares an export's answers with the pipeline's, item by item.

    The export runs in a process of its own that imports TensorFlow and nothing of keras-zoo or Keras; all items go
    through it as one batch, bad ones among them, and through the pipeline one by one.

    Args:
        out: the folder of an export's version, of the model above it (the newest version counts), or that of all
            exports, where the model bears the preset's name.
        preset: its name or path.
        inputs: what to run, one input or a list; None: the preset's samples.

    Returns:
        {"export", "preset", "items": [{"input", "equal", "difference", ...}], "equal"}: "difference" is the greatest
        between two scores, and None where strings or kinds differ; such an item has "pipeline" and "export", too. What
        can't be read has "refused" in the place of a difference, and "equal" None.

    Raises:
        ZooError: no such export or preset, nothing to compare, or the export does not run.
    """
    opened = presets.open_preset(preset)
    version = find_version(checked_path(out, "out"), opened.name)
    try:
        settings = json.loads((version / MANIFEST).read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ZooError(f"{version} is no export of keras-zoo: it has no {MANIFEST}") from None
    answer = pipeline(opened.path, **settings)
    if inputs is None or isinstance(inputs, (list, tuple)) and not inputs:
        items = [str(opened.file(row["input"])) for row in opened.record.get("samples", [])]
    else:
        items = list(inputs) if answer.task.is_batch(inputs) else [inputs]
    if not items:
        raise ZooError(f"{opened.name} has no samples: give inputs to compare")
    rows, encoded = [], []
    for item in items:
        row = {"input": shown(item)}
        try:
            encoded.append(answer.task.encode(item))
            row["place"] = len(encoded) - 1
        except InputError as error:
            row["error"] = str(error)  # no input of a server's; Python's side refuses it before
        rows.append(row)
    if not encoded:
        raise ZooError(f"there is nothing to compare: {rows[0]['input']}: {rows[0]['error']}")
    answers = _answers(version, answer.task.collate(encoded))
    told = []
    for item, row in zip(items, rows, strict=True):
        if "error" in row:
            told.append({"input": row["input"], "equal": None, "refused": row["error"]})
            continue
        one = {name: value[row["place"]] for name, value in answers.items()}
        theirs = {"error": one["error"].decode()} if one["error"] else answer.task.told(one)
        ours = answer(item, errors="return")
        ours.pop("input")
        difference = _difference(ours, theirs)
        equal = difference is not None and difference <= TOLERANCE
        row = {"input": row["input"], "equal": equal, "difference": difference}
        told.append(row if equal else {**row, "pipeline": ours, "export": theirs})
    return {
        "export": str(version),
        "preset": opened.name,
        "items": told,
        "equal": all(row["equal"] is not False for row in told),
    }


def find_version(out: Path, name: str) -> Path:
    """The folder of a SavedModel: `out` itself, or the newest version in it or in OUT/NAME."""
    if (out / "saved_model.pb").is_file():
        return out
    for folder in (out, out / name):
        if newest := newest_version(folder):
            return newest
    raise ZooError(f"there is no export in {out}, nor in {out / name}")


def _answers(version: Path, inputs: dict) -> dict[str, np.ndarray]:
    """The export's, from a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, **{name: value.numpy() for name, value in inputs.items()})
        command = [sys.executable, "-P", checker.__file__, str(version), str(given), str(made)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
            raise ZooError(f"the export {version} does not run: {said[-1]}")
        with np.load(made, allow_pickle=True) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _difference(ours: Any, theirs: Any) -> float | None:
    """The greatest between two answers' numbers; None where anything else differs."""
    worst = 0.0
    for one, other in _pairs(ours, theirs):
        if isinstance(one, float) and isinstance(other, float):
            distance = 0.0 if one == other or math.isnan(one) and math.isnan(other) else abs(one - other)
            if math.isnan(distance):
                return None
            worst = max(worst, distance)
        elif type(one) is not type(other) or one != other:
            return None
    return worst


def _pairs(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _pairs(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for inner, another in zip(one, other, strict=True):
            yield from _pairs(inner, another)
    else:
        yield one, other
