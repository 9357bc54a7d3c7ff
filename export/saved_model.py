"""SavedModels: raw bytes in, answers out, in stock TensorFlow operations."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import keras

from zoo.exporting.versions import write_version
from zoo.tasks.task import Task


def write(task: Task, folder: Path, fill: Callable[[Path], None]) -> Path:
    """Writes the task's signatures as the next version below `folder`; `fill` adds what belongs to it."""
    archive = keras.export.ExportArchive()
    for resource in (task.model, *task.resources()):
        archive.track(resource)
    for name, (function, spec) in task.signatures().items():
        archive.add_endpoint(name, function, input_signature=list(spec.values()))

    def whole(version: Path) -> None:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            archive.write_out(str(version), verbose=False)
        fill(version)

    return write_version(folder, whole)
