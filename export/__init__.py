"""Exports for serving: `zoo.export`."""

import os
from pathlib import Path

import keras

from zoo import preset as presets
from zoo.errors import ZooError, checked_path, unknown
from zoo.exporting import saved_model
from zoo.layers.folding import fold_batch_normalization
from zoo.tasks import task_of

FORMATS = {"saved_model": saved_model.write}


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
        The new version's folder.

    Raises:
        ZooError: no such preset or format, or a place that can't be written.

    >>> zoo.export("lenet5.mnist", "exports")   # doctest: +SKIP
    PosixPath('exports/lenet5.mnist/1')
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    out = checked_path(out, "out")
    if not isinstance(model, keras.Model):
        preset = presets.open_preset(model)
        model, name = presets.load_model(preset), name or preset.name
    name = name or getattr(model, "name", None)
    if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
        raise ZooError(f"name={name!r} can't be a model's folder: give a plain name")
    return FORMATS[format](task_of(fold_batch_normalization(model), **settings), out / name)
