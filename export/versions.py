"""Numbered versions of an export, each whole from the moment that it is seen."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from zoo.errors import ZooError

PORTABLE_MANIFEST = "manifest.json"  # of an export for ONNX Runtime or LiteRT


def write_version(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Makes the next of FOLDER/1, FOLDER/2, ...: `fill` writes it aside, then it is renamed; a failure leaves nothing.

    Raises:
        ZooError: the place can't be written, or `fill` raised it.
    """
    hidden = folder / f".{os.getpid()}.tmp"
    is_new = not folder.exists()
    try:
        hidden.mkdir(parents=True)
        fill(hidden)
        versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        return hidden.rename(folder / str(max(versions, default=0) + 1))
    except OSError as error:
        raise ZooError(f"can't write the export {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def newest_version(folder: Path, file: str = "saved_model.pb") -> Path | None:
    """The folder of a model's newest version that is whole, for it has the file; None where there is none."""
    versions = [path for path in folder.glob("*") if path.name.isdigit() and (path / file).is_file()]
    return max(versions, key=lambda path: int(path.name), default=None)
