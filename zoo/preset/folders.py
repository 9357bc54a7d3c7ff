"""Finding presets: by name in the searched folders, by path, or by download into the cache."""

import os
import re
from pathlib import Path

from zoo import registry
from zoo.errors import ZooError, checked_path, unknown
from zoo.preset import cache
from zoo.preset.keras_files import is_keras_file
from zoo.preset.preset import Preset, read_preset

BUNDLED = Path(__file__).parents[1] / "presets"
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)+")


def is_path(name: str | os.PathLike) -> bool:
    """Whether the name of a preset or recipe is a path: it has a separator or ends in .toml."""
    name = os.fspath(name)
    return os.sep in name or "/" in name or name.endswith(".toml")


def bundled() -> list[str]:
    """The names of the presets in the package."""
    return [path.name for path in sorted(BUNDLED.iterdir()) if (path / "preset.json").is_file()]


def open_preset(name: str | os.PathLike) -> Preset:
    """Opens a preset by name, or by path if `name` has a separator, and reads its preset.json.

    A name is looked up in the folders of ZOO_PRESETS, in the package and in the user's cache. Then, if
    ZOO_PRESETS_URL is set, the preset is downloaded into the cache. A name that none of them has may be a folder of the
    working directory.

    Raises:
        ZooError: the preset does not exist, or its preset.json can't be used.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ZooError(f"a preset must be a name or a path, got {name!r}")
    if isinstance(name, os.PathLike) or is_path(name):
        path = checked_path(name, "preset")
        if not (path / "preset.json").is_file():
            if is_keras_file(path):
                raise _keras_file(path)
            reason = "it has no preset.json" if path.is_dir() else "the folder does not exist"
            raise ZooError(f"{path} is not a preset: {reason}")
        return read_preset(path)
    if _NAME.fullmatch(name):
        for folder in folders():
            if (folder / name / "preset.json").is_file():
                return read_preset(folder / name)
        if cache.available(name):
            return read_preset(cache.download(name))
    if is_folder(name):
        return read_preset(Path(name))
    raise _no_preset(name)


def is_folder(name: str) -> bool:
    """Whether a name without a separator is the folder of a preset in the working directory."""
    return bool(name) and "\0" not in name and (Path(name) / "preset.json").is_file()


def _no_preset(name: str) -> ZooError:
    if name in registry.entries():
        tags = [preset for preset in names() if preset.startswith(f"{name}.")]
        has = f"load {' or '.join(tags)}" if tags else "it has no trained weights yet; see zoo train --help"
        return ZooError(f"{name!r} is a model, not a preset: {has}")
    if is_keras_file(name):
        return _keras_file(name)
    if Path(name).is_dir() and name.strip("."):
        return ZooError(f"{name} is not a preset: the folder has no preset.json")
    return unknown("preset", name, names())


def _keras_file(path: str | os.PathLike) -> ZooError:
    return ZooError(
        f"{path} is not a preset: of .keras files only zoo.pipeline and `zoo predict` read the model; "
        "zoo.save(keras.saving.load_model(FILE), FOLDER) makes a preset of it"
    )


def folders() -> list[Path]:
    """The folders in which presets are looked up by name, in this order."""
    own = [Path(part) for part in os.environ.get("ZOO_PRESETS", "").split(os.pathsep) if part]
    return [*own, BUNDLED, cache.folder()]


def names() -> dict[str, Path]:
    """Every preset that can be opened by name without a download, and its folder."""
    paths: dict[str, Path] = {}
    for folder in folders():
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if _NAME.fullmatch(path.name) and (path / "preset.json").is_file():
                    paths.setdefault(path.name, path)
    return paths
