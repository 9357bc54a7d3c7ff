"""SavedModels from raw input to answers, in stock TensorFlow operations."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from zoo.exporting.versions import write_version
from zoo.files import disk_error
from zoo.tasks.task import Task


def write(task: Task, folder: Path, manifest: dict, fill: Callable[[Path], None]) -> Path:
    """Writes the task's signatures and "manifest" as the next version below `folder`.

    Args:
        task: the task, bound to the model.
        folder: OUT/NAME.
        manifest: what the signature "manifest" returns, as JSON.
        fill: adds files to the version's folder.
    """
    archive = keras.export.ExportArchive()
    for resource in (task.model, *task.resources()):
        archive.track(resource)
    for name, (function, spec) in task.signatures().items():
        archive.add_endpoint(name, function, input_signature=list(spec.values()))
    archive.add_endpoint("manifest", _constant(manifest), [tf.TensorSpec((None,), tf.string, name="about")])

    def write_files(version: Path) -> None:
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                archive.write_out(str(version), verbose=False)
            fill(version)
        except tf.errors.OpError as error:
            raise disk_error(error) or error from None

    return write_version(folder, write_files)


def _constant(manifest: dict) -> Callable:
    """A function of (B,) strings that returns the manifest's JSON once per row, so that a server may batch requests."""
    text = json.dumps(manifest)

    def manifest_of_rows(about):
        return {"manifest": tf.fill(tf.shape(about), text)}

    return manifest_of_rows
