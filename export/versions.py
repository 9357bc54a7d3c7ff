"""Numbered versions of an export; a version that can be seen is complete."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import hidden_folder

PORTABLE_MANIFEST = "manifest.json"  # in an export for ONNX Runtime or LiteRT


def write_version(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Makes the next of FOLDER/1, FOLDER/2, ...: `fill` writes a hidden folder, which is then renamed.

    A failure leaves nothing.

    Raises:
        ZooError: the folder can't be written, or `fill` raised it.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with hidden_folder(folder / "version") as hidden:
            fill(hidden)
            versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
            return hidden.rename(folder / str(max(versions, default=0) + 1))
    except OSError as error:
        raise ZooError(f"can't write the export {folder}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            for path in new:
                path.rmdir()


def newest_version(folder: Path, file: str = "saved_model.pb") -> Path | None:
    """The folder of a model's newest version that has a file; None if no version has it."""
    versions = [path for path in folder.glob("*") if path.name.isdigit() and (path / file).is_file()]
    return max(versions, key=lambda path: int(path.name), default=None)
