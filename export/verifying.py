"""`zoo.verify`: compares the answers of an export with the pipeline's."""

import contextlib
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
from zoo.exporting.versions import PORTABLE_MANIFEST, newest_version, served_name
from zoo.inference import Pipeline, pipeline
from zoo.tasks.raw import shown
from zoo.tasks.task import Task

TOLERANCE = 1e-5  # greatest difference of scores; strings must be equal


def verify(out: str | os.PathLike, preset: str | os.PathLike, inputs: Any = None) -> dict:
    """Compares an export's answers with the pipeline's, item by item.

    The export runs in a process of its own. A SavedModel runs in a process that imports TensorFlow but neither
    keras-zoo nor Keras; all items, bad ones too, are a single batch. An export for ONNX Runtime or LiteRT runs by its
    runner. The pipeline answers one item at a time.

    Args:
        out: the folder of an export's version; or of a model, whose newest version is used; or of all exports, which
            must contain a model with the name of the preset or of its folder.
        preset: a preset's name or path.
        inputs: an input or a list of inputs; None takes the preset's samples.

    Returns:
        {"export", "preset", "items": [{"input", "equal", "difference", ...}], "equal"}: "difference" is the greatest
        difference of two numbers, and None if strings or types differ. In an export for ONNX Runtime or LiteRT, labels
        of about equal scores may change places, but not the first label. An item whose answers differ also has
        "pipeline" and "export". An item that can't be read has "refused" instead of "difference", and "equal" is None.

    Raises:
        ZooError: an unknown export or preset, no input that can be compared, or an export that does not run.
    """
    opened = presets.open_preset(preset)
    version = find_version(checked_path(out, "out"), served_name(opened.path), opened.name)
    manifest = next((version / name for name in (MANIFEST, PORTABLE_MANIFEST) if (version / name).is_file()), None)
    try:
        saved = json.loads(manifest.read_text("utf-8"))
        settings = saved["settings"]
    except (AttributeError, OSError, ValueError, KeyError, TypeError):
        raise ZooError(f"{version} is not an export of keras-zoo: it has no {MANIFEST}") from None
    made, task = saved.get("task"), opened.record["task"]["name"]
    if made is not None and made != task:  # its settings would be unknown to this task
        raise ZooError(
            f"{version} is an export of a model for {made}, but {opened.name} is a model for {task}: give the preset "
            "that was exported"
        )
    answer = pipeline(opened.path, **settings)
    if inputs is None or isinstance(inputs, (list, tuple)) and not inputs:
        items = [answer.task.sample(opened.file(row["input"])) for row in opened.record.get("samples", [])]
    else:
        items = list(answer.task.items(inputs)) if answer.task.is_batch(inputs) else [inputs]
    if not items:
        raise ZooError(f"{opened.name} has no samples: give inputs to compare")
    rows = compare(version, answer, items)
    if all("refused" in row for row in rows):
        raise ZooError(f"no input can be compared: {rows[0]['input']}: {rows[0]['refused']}")
    return {
        "export": str(version),
        "preset": opened.name,
        "items": rows,
        "equal": all(row["equal"] is not False for row in rows),
    }


def compare(version: Path, answer: Pipeline, items: list) -> list[dict]:
    """The rows "items" of `verify`."""
    rows, encoded = [], []
    for item in items:
        row = {"input": shown(item)}
        try:
            encoded.append(answer.task.encode(item))
            row["place"] = len(encoded) - 1
        except InputError as error:
            row |= {"equal": None, "refused": str(error)}  # a client refuses such an item before it asks a server
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
        is_same = True
        if is_portable and "error" in ours and "error" in theirs:  # the runner has messages of its own
            difference = 0.0
        elif is_portable:
            comparable = answer.task.comparable
            difference = _difference(comparable(ours, theirs), comparable(theirs, ours))
            if "error" not in ours and "error" not in theirs:
                is_same = answer.task.best(ours) == answer.task.best(theirs)
        else:
            difference = _difference(ours, theirs)
        is_near = difference is not None and difference <= tolerance
        row["equal"], row["difference"] = is_same and is_near, difference
        if not row["equal"]:
            row |= {"pipeline": ours, "export": theirs}
    return rows


def find_version(out: Path, name: str, *earlier: str) -> Path:
    """The folder of an export: `out` itself, or the newest version in it or in OUT/NAME.

    `earlier` are names that earlier versions of keras-zoo gave the same export.
    """
    files = ("saved_model.pb", PORTABLE_MANIFEST)
    if any((out / file).is_file() for file in files):
        return out
    for folder in (out, *(out / each for each in (name, *earlier))):
        for file in files:
            if newest := newest_version(folder, file):
                return newest
    others = sorted(
        folder
        for each in {name, *earlier}
        for folder in out.glob(f"{glob.escape(each)}.*")
        if newest_version(folder, PORTABLE_MANIFEST)
    )
    if len(others) == 1:
        return newest_version(others[0], PORTABLE_MANIFEST)
    if others:
        raise ZooError(f"{out} has several exports of {name}: give the folder of one, such as {others[0]}")
    raise ZooError(f"no export in {out} or {out / name}: make one with `zoo export {name} {out}`")


@contextlib.contextmanager
def runner_files(encoded: list[dict]) -> Iterator[list[Path]]:
    """Writes encoded items, each with a single raw input, into temporary files for a runner."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, item in enumerate(encoded):
            value = next(iter(item.values()))  # a length may follow
            files.append(Path(folder) / f"{number}.bin")
            with open(files[-1], "wb") as file:
                file.write(value) if isinstance(value, bytes) else np.save(file, value)
        yield files


def _portable_answers(version: Path, encoded: list[dict]) -> list[dict]:
    """The answers of the runner, in a new process."""
    with runner_files(encoded) as files:
        done = _run([version / "run.py", "--json", *files])
        if not done.stdout.startswith("["):
            _does_not_run(version, done)
        rows = json.loads(done.stdout)
    return [{key: value for key, value in row.items() if key != "input"} for row in rows]


def _answers(version: Path, task: Task, encoded: list[dict]) -> list[dict]:
    """The answers of a SavedModel, in a new process."""
    inputs = task.collate(encoded)
    with tempfile.TemporaryDirectory() as folder:
        inputs_file, outputs_file = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(inputs_file, **{name: value.numpy() for name, value in inputs.items()})
        done = _run([run_saved_model.__file__, version, inputs_file, outputs_file])
        if done.returncode:
            _does_not_run(version, done)
        with np.load(outputs_file, allow_pickle=True) as arrays:
            answers = {name: arrays[name] for name in arrays.files}
    rows = [{name: value[row] for name, value in answers.items()} for row in range(len(encoded))]
    return [{"error": row["error"].decode()} if row["error"] else task.to_python(row) for row in rows]


def _run(arguments: list) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-P", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def _does_not_run(version: Path, done: subprocess.CompletedProcess) -> NoReturn:
    lines = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
    raise ZooError(f"the export {version} does not run: {lines[-1]}")


def _difference(ours: Any, theirs: Any) -> float | None:
    """The greatest difference of the numbers of two answers, relative above 1; None if anything else differs."""
    worst = 0.0
    for left, right in _pairs(ours, theirs):
        if isinstance(left, float) and isinstance(right, float):
            # Numbers above 1, such as places in pixels, are compared by their relative difference.
            size = max(1.0, abs(left), abs(right)) if math.isfinite(left) and math.isfinite(right) else 1.0
            distance = 0.0 if left == right or math.isnan(left) and math.isnan(right) else abs(left - right) / size
            if math.isnan(distance):
                return None
            worst = max(worst, distance)
        elif type(left) is not type(right) or left != right:
            return None
    return worst


def _pairs(left: Any, right: Any) -> Iterator[tuple[Any, Any]]:
    """The values that stand in the same place of two nested structures."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from _pairs(left[key], right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for pair in zip(left, right, strict=True):
            yield from _pairs(*pair)
    else:
        yield left, right
