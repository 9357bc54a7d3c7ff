"""SavedModels: raw bytes in, answers out, in stock TensorFlow operations."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import keras

from zoo.errors import ZooError
from zoo.tasks.task import Task


def write(task: Task, folder: Path, fill: Callable[[Path], None]) -> Path:
    """Writes the task's signatures as the next version below `folder`: FOLDER/1, FOLDER/2, ...

    `fill` adds what belongs to it; a version that is seen is whole.
    """
    hidden = folder / f".{os.getpid()}.tmp"
    archive = keras.export.ExportArchive()
    archive.track(task.model)
    for name, (function, spec) in task.signatures().items():
        archive.add_endpoint(name, function, input_signature=list(spec.values()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            archive.write_out(str(hidden), verbose=False)
        fill(hidden)
        versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        target = folder / str(max(versions, default=0) + 1)
        hidden.rename(target)
    except OSError as error:
        raise ZooError(f"can't write the export {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return target
