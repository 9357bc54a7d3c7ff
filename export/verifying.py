"""`zoo.verify`: whether an export answers as the pipeline does."""

import glob
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from zoo import preset as presets
from zoo.errors import InputError, ZooError, checked_path
from zoo.exporting import run_saved_model
from zoo.exporting.serving_files import MANIFEST
from zoo.exporting.versions import PORTABLE_MANIFEST, newest_version
from zoo.inference import Pipeline, pipeline, shown
from zoo.tasks.task import Task

TOLERANCE = 1e-5  # of scores; strings must be equal


def verify(out: str | os.PathLike, preset: str | os.PathLike, inputs: Any = None) -> dict:
    """Compares an export's answers with the pipeline's, item by item.

    The export runs in a process of its own: a SavedModel in one that imports TensorFlow and nothing of keras-zoo or
    Keras, as one batch, bad items among them; one for ONNX Runtime or LiteRT by its runner, which imports neither. The
    pipeline answers one by one.

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
    manifest = next((version / name for name in (MANIFEST, PORTABLE_MANIFEST) if (version / name).is_file()), None)
    try:
        settings = json.loads(manifest.read_text("utf-8"))["settings"]
    except (AttributeError, OSError, ValueError, KeyError, TypeError):
        raise ZooError(f"{version} is no export of keras-zoo: it has no {MANIFEST}") from None
    answer = pipeline(opened.path, **settings)
    if inputs is None or isinstance(inputs, (list, tuple)) and not inputs:
        items = [answer.task.sample(opened.file(row["input"])) for row in opened.record.get("samples", [])]
    else:
        items = list(inputs) if answer.task.is_batch(inputs) else [inputs]
    if not items:
        raise ZooError(f"{opened.name} has no samples: give inputs to compare")
    rows = compare(version, answer, items)
    if all("refused" in row for row in rows):
        raise ZooError(f"there is nothing to compare: {rows[0]['input']}: {rows[0]['refused']}")
    return {
        "export": str(version),
        "preset": opened.name,
        "items": rows,
        "equal": all(row["equal"] is not False for row in rows),
    }


def compare(version: Path, answer: Pipeline, items: list) -> list[dict]:
    """The rows of `verify`, "items"."""
    rows, encoded = [], []
    for item in items:
        row = {"input": shown(item)}
        try:
            encoded.append(answer.task.encode(item))
            row["place"] = len(encoded) - 1
        except InputError as error:
            row |= {"equal": None, "refused": str(error)}  # no input of a server's; Python's side refuses it before
        rows.append(row)
    if not encoded:
        return rows
    if is_portable := (version / PORTABLE_MANIFEST).is_file():
        tolerance = json.loads((version / PORTABLE_MANIFEST).read_text("utf-8"))["tolerance"]
        answers = _portable_answers(version, encoded)
    else:
        tolerance, answers = TOLERANCE, _answers(version, answer.task, encoded)
    for item, row in zip(items, rows, strict=True):
        if "refused" in row:
            continue
        theirs = answers[row.pop("place")]
        ours = answer(item, errors="return")
        ours.pop("input")
        if is_portable and "error" in ours and "error" in theirs:  # the runner's words are its own
            difference = 0.0
        elif is_portable:
            difference = _difference(_by_label(ours, theirs), _by_label(theirs, ours))
        else:
            difference = _difference(ours, theirs)
        row["equal"], row["difference"] = difference is not None and difference <= tolerance, difference
        if not row["equal"]:
            row |= {"pipeline": ours, "export": theirs}
    return rows


def find_version(out: Path, name: str) -> Path:
    """The folder of an export: `out` itself, or the newest version in it or in OUT/NAME."""
    files = ("saved_model.pb", PORTABLE_MANIFEST)
    if any((out / file).is_file() for file in files):
        return out
    for folder in (out, out / name):
        for file in files:
            if newest := newest_version(folder, file):
                return newest
    others = sorted(
        folder for folder in out.glob(f"{glob.escape(name)}.*") if newest_version(folder, PORTABLE_MANIFEST)
    )
    if len(others) == 1:
        return newest_version(others[0], PORTABLE_MANIFEST)
    if others:
        raise ZooError(f"{out} has several exports of {name}: name one, as in {others[0]}")
    raise ZooError(f"there is no export in {out}, nor in {out / name}")


def _by_label(answer: dict, other: dict) -> dict:
    """{label: score}, for labels of about equal scores may change places, and the last ones of two lists differ.

    A label that only the other answer lists has at most this one's lowest score, and gets that.
    """
    if "labels" not in answer or "labels" not in other:
        return answer
    lowest = min(answer["scores"])
    scores = dict(zip(answer["labels"], answer["scores"], strict=True))
    return {label: scores.get(label, lowest) for label in sorted({*answer["labels"], *other["labels"]})}


def _portable_answers(version: Path, encoded: list) -> list[dict]:
    """The runner's, from a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, item in enumerate(encoded):
            files.append(os.path.join(folder, f"{number}.bin"))
            with open(files[-1], "wb") as file:
                file.write(item) if isinstance(item, bytes) else np.save(file, item)
        done = _run([version / "run.py", "--json", *files])
        if not done.stdout.startswith("["):
            _does_not_run(version, done)
        rows = json.loads(done.stdout)
    return [{key: value for key, value in row.items() if key != "input"} for row in rows]


def _answers(version: Path, task: Task, encoded: list) -> list[dict]:
    """A SavedModel's, from a fresh process."""
    inputs = task.collate(encoded)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, **{name: value.numpy() for name, value in inputs.items()})
        done = _run([run_saved_model.__file__, version, given, made])
        if done.returncode:
            _does_not_run(version, done)
        with np.load(made, allow_pickle=True) as arrays:
            answers = {name: arrays[name] for name in arrays.files}
    rows = [{name: value[row] for name, value in answers.items()} for row in range(len(encoded))]
    return [{"error": row["error"].decode()} if row["error"] else task.told(row) for row in rows]


def _run(arguments: list) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-P", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def _does_not_run(version: Path, done: subprocess.CompletedProcess) -> NoReturn:
    said = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
    raise ZooError(f"the export {version} does not run: {said[-1]}")


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
