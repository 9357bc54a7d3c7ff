"""Presets are written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError
from zoo.preset import cache, card, weights
from zoo.preset.preset import WEIGHTS, Preset, read_preset, sha256
from zoo.preset.preset_json import FORMAT, record_text


def write(path: Path, record: dict, model, storage: str, others: dict[str, bytes]) -> Preset:
    """Writes a preset whole, or leaves what was there.

    Everything is written into a hidden folder beside and then moved in; preset.json goes out first and comes in
    last, so that a kill leaves the old preset, none, or the new one. Other files of the folder stay.

    Args:
        path: the preset's folder.
        record: the content of preset.json, without format, files and storage.
        model: the keras.Model whose weights it holds.
        storage: "float32", "float16" or "int8".
        others: further files by name, such as "assets/vocabulary.txt".
    """
    path = Path(path)
    for name in others:
        if cache.leaves_folder(name):
            raise ZooError(f"{name!r} can't be a file of the preset {path}: it leaves the folder")
    try:
        with cache.hidden_folder(path) as hidden:
            weights.write(model, hidden / WEIGHTS, storage)
            for name, content in others.items():
                (hidden / name).parent.mkdir(parents=True, exist_ok=True)
                (hidden / name).write_bytes(content)
            files = {
                name: {"sha256": sha256(hidden / name), "size": (hidden / name).stat().st_size}
                for name in sorted([WEIGHTS, *others])
            }
            record = {"format": FORMAT, **record, "storage": storage, "files": files}
            (hidden / "README.md").write_text(card.card(record), encoding="utf-8")
            (hidden / "preset.json").write_text(record_text(record), encoding="utf-8")
            read_preset(hidden)  # before the old one goes
            _to_disk(path for path in hidden.rglob("*") if path.is_file())
            _move_in(hidden, path, [*files, "README.md", "preset.json"])
    except OSError as error:
        raise ZooError(f"can't write the preset {path}: {error.strerror or error}") from error
    return read_preset(path)


def _move_in(hidden: Path, path: Path, names: list[str]) -> None:
    """Moves a preset's files into its folder, preset.json last, and removes those that the old preset listed."""
    path.mkdir(exist_ok=True)
    old: set[str] = set()
    if (path / "preset.json").is_file():
        with contextlib.suppress(ZooError):  # a damaged one is overwritten
            old = set(read_preset(path).record["files"])
    for name in names:  # whatever can fail, fails while the old preset is there
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if (path / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    (path / "preset.json").unlink(missing_ok=True)
    for name in old - set(names):
        if (path / name).parent.resolve().is_relative_to(path.resolve()):
            (path / name).unlink(missing_ok=True)
    for name in names:
        (hidden / name).replace(path / name)
    _to_disk({(path / name).parent for name in names})


def _to_disk(paths: Iterable[Path]) -> None:
    """Waits until files, or the names in folders, are on the disk: a run's checkpoints go when its preset is there."""
    if os.name != "posix":  # elsewhere folders can't be opened
        return
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def update(preset: Preset, **changes) -> Preset:
    """Replaces parts of preset.json and writes the card anew, each file whole or not at all."""
    record = {**preset.record, **changes}
    texts = {"README.md": card.card(record), "preset.json": record_text(record)}
    try:
        for name, text in texts.items():
            hidden = preset.path / f".{name}.{os.getpid()}.tmp"
            with contextlib.ExitStack() as stack:
                stack.callback(hidden.unlink, missing_ok=True)
                hidden.write_text(text, encoding="utf-8")
                hidden.replace(preset.path / name)
    except OSError as error:
        raise ZooError(f"can't write into the preset {preset.path}: {error.strerror}") from error
    return read_preset(preset.path)
