"""Writing presets to disk, whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import hidden_folder, whole_file
from zoo.preset import cache, card
from zoo.preset.preset import WEIGHTS, Preset, read_preset, sha256
from zoo.preset.preset_json import FORMAT, record_text


def write(path: Path, record: dict, model, storage: str, others: dict[str, bytes]) -> Preset:
    """Writes a preset; if an error occurs while the files are written, the folder stays as it was.

    All files are written to a hidden folder beside `path` and then moved into `path`. The old preset.json is moved away
    before the first of them, and the new one is moved last. So if the process is killed, the folder holds the old
    preset, no preset, or the new preset. Other files in the folder are kept.

    Args:
        path: the preset's folder.
        record: the content of preset.json, without format, files and storage.
        model: the keras.Model whose weights are written, except those of record["parts"].
        storage: "float32", "float16" or "int8".
        others: content of further files by name, such as "assets/vocabulary.txt".
    """
    from zoo.preset import weights  # imports NumPy and h5py, which listings do without

    path = Path(path)
    for name in others:
        if cache.leaves_folder(name):
            raise ZooError(f"{name!r} can't be a file of the preset {path}: it leads out of the folder")
    try:
        with hidden_folder(path) as hidden:
            weights.write(model, hidden / WEIGHTS, storage, record.get("parts") or ())
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
            read_preset(hidden)  # before the old preset is removed
            _to_disk(path for path in hidden.rglob("*") if path.is_file())
            _move_in(hidden, path, [*files, "README.md", "preset.json"])
    except OSError as error:
        raise ZooError(f"can't write the preset {path}: {error.strerror or error}") from error
    return read_preset(path)


def _move_in(hidden: Path, path: Path, names: list[str]) -> None:
    """Moves a preset's files into its folder, preset.json last, and removes the other files of the old preset.

    If an error occurs, the old files are moved back.
    """
    path.mkdir(exist_ok=True)
    old: set[str] = set()
    if (path / "preset.json").is_file():
        with contextlib.suppress(ZooError):  # a damaged preset is overwritten
            old = set(read_preset(path).record["files"])
    for name in names:  # errors must occur while the old preset is still there
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if (path / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    inside = [name for name in old - set(names) if (path / name).parent.resolve().is_relative_to(path.resolve())]
    replaced = [name for name in ("preset.json", *inside, *names[:-1]) if os.path.lexists(path / name)]
    aside = hidden / ".replaced"
    for name in replaced:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
    try:
        for name in replaced:
            (path / name).rename(aside / name)
        for name in names:
            (hidden / name).rename(path / name)
        _to_disk({(path / name).parent for name in names})
    except OSError:
        for name in names:
            if not os.path.lexists(hidden / name):  # it was moved in
                (path / name).unlink()
        for name in reversed(replaced):  # preset.json last
            if os.path.lexists(aside / name):
                (aside / name).rename(path / name)
        raise


def _to_disk(paths: Iterable[Path]) -> None:
    """Syncs files and folders to disk, because a run removes its checkpoints after its preset is written."""
    if os.name != "posix":  # other systems can't open folders
        return
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def update(preset: Preset, **changes) -> Preset:
    """Replaces keys of preset.json and rewrites the card; each file is written whole or not at all."""
    record = {**preset.record, **changes}
    texts = {"preset.json": record_text(record), "README.md": card.card(record)}
    try:
        for name, text in texts.items():
            with whole_file(preset.path / name) as hidden:
                hidden.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ZooError(f"can't write into the preset {preset.path}: {error.strerror or error}") from error
    return read_preset(preset.path)
