"""Exports for serving: `zoo.export`, and `zoo.verify`, whether they answer as the pipeline does."""

import os
import re
from pathlib import Path

import keras

from zoo import preset as presets
from zoo.errors import ZooError, checked_path, unknown
from zoo.exporting import companions, saved_model
from zoo.exporting.verifying import verify
from zoo.layers.folding import fold_batch_normalization
from zoo.tasks import task_of

FORMATS = ("saved_model",)
__all__ = ["export", "verify"]


def export(
    model: keras.Model | str | os.PathLike,
    out: str | os.PathLike,
    format: str = "saved_model",
    name: str | None = None,
    **settings,
) -> Path:
    """Writes a model with its preprocessing and its answers to OUT/NAME/VERSION/, the version counted up.

    A server that watches OUT/NAME never sees half a model: it is written aside and renamed.

    Args:
        model: a preset's name or path, or a model from load or create_model.
        out: the folder of all exports.
        format: "saved_model".
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
    out = checked_path(out, "out")
    items, origin = [], None
    if not isinstance(model, keras.Model):
        preset = presets.open_preset(model)
        items = [preset.file(row["input"]) for row in preset.record.get("samples", [])]
        model, name, origin = presets.load_model(preset), name or preset.name, preset.name
    name = name or getattr(model, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ZooError(f"name={name!r} can't be a served model's: give letters, digits, '_', '-' and '.'")
    task = task_of(fold_batch_normalization(model), **settings)
    encoded = [task.encode(item) for item in items or [task.blank()]]

    def fill(version: Path) -> None:
        companions.write_inside(version, task, name, origin, settings, encoded)

    version = saved_model.write(task, out / name, fill)
    example = {key: value.numpy() for key, value in task.collate(encoded[:1]).items()}
    companions.write_beside(out, name, example)
    return version
