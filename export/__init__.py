"""Exports for serving: `zoo.export`, and `zoo.verify`, whether they answer as the pipeline does."""

import json
import os
import re
from pathlib import Path

import keras

from zoo import preset as presets
from zoo.errors import ZooError, checked_path, unknown
from zoo.exporting import saved_model, serving_files
from zoo.exporting.verifying import verify
from zoo.exporting.versions import PORTABLE_MANIFEST
from zoo.layers.folding import fold_batch_normalization
from zoo.tasks import task_of

FORMATS = ("saved_model", "onnx", "litert")
PRECISIONS = ("float32", "float16", "int8")
__all__ = ["export", "verify"]


def export(
    model: keras.Model | str | os.PathLike,
    out: str | os.PathLike,
    format: str = "saved_model",
    precision: str = "float32",
    name: str | None = None,
    **settings,
) -> Path:
    """Writes a model with its preprocessing and its answers to OUT/NAME/VERSION/, the version counted up.

    A server that watches OUT/NAME never sees half a model: it is written aside and renamed. In another format than
    "saved_model" the folder is OUT/NAME.FORMAT/VERSION/, and preprocessing lies in a runner in Python beside the file;
    what answers otherwise than the pipeline is not written.

    Args:
        model: a preset's name or path, or a model from load or create_model.
        out: the folder of all exports.
        format: "saved_model"; "onnx", for ONNX Runtime; "litert", for phones and small boards.
        precision: of the weights in the other formats: "float32"; "float16"; "int8", dynamic quantisation. For less
            than float32 the metrics before and after are measured, where the test data is there.
        name: of the served model; by default the preset's.
        **settings: task settings that are fixed in the export, such as top=3.

    Returns:
        The new version's folder. Beside it lie `models.config` and `batching.config` for all models in OUT, and in
        OUT/NAME a README.md that says how to serve it, with an example request.

    Raises:
        ZooError: no such preset or format, or a place that can't be written.

    >>> zoo.export("lenet5.mnist", "exports")   # doctest: +SKIP
    PosixPath('exports/lenet5.mnist/1')
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if format == "saved_model" and precision != "float32":
        raise ZooError(f"a saved_model has float32; precision={precision!r} is for onnx and litert")
    out = checked_path(out, "out")
    items, origin, data = [], None, None
    if not isinstance(model, keras.Model):
        preset = presets.open_preset(model)
        items = [preset.file(row["input"]).read_bytes() for row in preset.record.get("samples", [])]
        model, name, origin = presets.load_model(preset), name or preset.name, preset.name
        data = preset.record.get("data")
    name = name or getattr(model, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ZooError(f"name={name!r} can't be a served model's: give letters, digits, '_', '-' and '.'")
    task = task_of(fold_batch_normalization(model), **settings)
    encoded = [task.encode(item) for item in items or [task.blank()]]
    if format != "saved_model":
        from zoo.exporting import edge

        facts = {"name": name, "preset": origin, "data": data}
        return edge.write(task, out / f"{name}.{format}", format, precision, facts, encoded)

    def fill(version: Path) -> None:
        serving_files.write_inside(version, task, name, origin, settings, encoded)

    version = saved_model.write(task, out / name, fill)
    example = {key: value.numpy() for key, value in task.collate(encoded[:1]).items()}
    serving_files.write_beside(out, name, example)
    return version


def metrics_of(version: Path) -> dict:
    """What was measured of an export of lower precision: {"dataset", "split", "examples", "before", "after"}, the last
    two by metric; or {"not measured": why}."""
    return json.loads((version / PORTABLE_MANIFEST).read_text("utf-8"))["metrics"]
