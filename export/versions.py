"""Numbered versions of an export; a version that can be seen is complete."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import hidden_folder

PORTABLE_MANIFEST = "manifest.json"  # in an export for ONNX Runtime or LiteRT
_SAME = ("task", "model", "labels", "precision")  # entries of the manifest that all versions share


def served_name(preset: Path) -> str:
    """The default name of the exports of a preset: the name of its folder."""
    return Path(os.path.abspath(preset)).name


def check_next(folder: Path, file: str, manifest: dict) -> None:
    """Checks that a new version is one of the same model, because a server replaces the newest version by it.

    Args:
        folder: the folder of the versions.
        file: the path of the manifest in a version.
        manifest: the manifest of the new version.

    Raises:
        ZooError: the newest version has another task, model or precision, or other labels.
    """
    newest = newest_version(folder, file)
    try:
        old = json.loads((newest / file).read_text("utf-8")) if newest else {}
    except (OSError, ValueError):
        return
    for key in _SAME:
        before, now = old.get(key), manifest.get(key)
        if before is not None and before != now:  # exports of earlier versions of keras-zoo lack some entries
            raise ZooError(
                f"{newest} has the {key} {_shortened(before)}, this model {_shortened(now)}: "
                "export it under another name (--name)"
            )


def _shortened(value) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


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
