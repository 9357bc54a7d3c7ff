"""Presets: folders that hold everything needed to use a trained model. Found, checked, loaded, written.

lenet5.mnist/
  preset.json         what it is, where it comes from, how good it is, terms; sha256 and size of each other file
  model.weights.h5
  assets/             vocabularies, tokenizers
  samples/            inputs, with the answers they must give
  README.md           the model card, written from preset.json
"""

import contextlib
import dataclasses
import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from zoo import cache, registry
from zoo.errors import ZooError, checked_path, unknown
from zoo.record import FORMAT, read_record, record_text

BUNDLED = Path(__file__).parent / "presets"
WEIGHTS = "model.weights.h5"
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)+")


@dataclasses.dataclass(frozen=True)
class Preset:
    """A preset's folder and the content of its preset.json."""

    path: Path
    record: dict

    @property
    def name(self) -> str:
        return self.record["name"]

    def file(self, name: str) -> Path:
        """The path of one of the preset's files, its sha256 checked.

        Raises:
            ZooError: not one of its files, missing, truncated or changed, or outside the folder.
        """
        if name not in self.record["files"]:
            raise ZooError(f"preset {self.path} lists no file {name}")
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ZooError(f"preset {self.path} lists {name}, which lies outside its folder")
        expected = self.record["files"][name]
        if not path.is_file():
            raise ZooError(f"{path} is missing: the preset is incomplete; fetch or make it again")
        if path.stat().st_size != expected["size"]:
            sizes = f"{path.stat().st_size} bytes, not {expected['size']}"
            raise ZooError(f"{path} is damaged: {sizes}; fetch or make it again")
        if sha256(path) != expected["sha256"]:
            raise ZooError(f"{path} is damaged: its sha256 is not the one in preset.json; fetch or make it again")
        return path

    def verify(self) -> None:
        """Checks every file of the preset."""
        for name in self.record["files"]:
            self.file(name)

    def assets(self) -> dict[str, bytes]:
        names = [name for name in self.record["files"] if name.startswith("assets/")]
        return {name.removeprefix("assets/"): self.file(name).read_bytes() for name in names}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_path(name: str | os.PathLike) -> bool:
    """Whether a preset or recipe is given as a path: it has a separator or ends in .toml."""
    name = os.fspath(name)
    return os.sep in name or "/" in name or name.endswith(".toml")


def open_preset(name: str | os.PathLike) -> Preset:
    """Finds a preset by name, or by path if `name` has a separator, and reads its preset.json.

    A name is looked up in the folders of ZOO_PRESETS, in the package, in the user's cache; then, where
    ZOO_PRESETS_URL is set, it is downloaded into the cache.

    Raises:
        ZooError: there is none, or its preset.json can't be used.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ZooError(f"{name!r} is no preset: give a name or a path")
    if isinstance(name, os.PathLike) or is_path(name):
        path = checked_path(name, "preset")
        if not (path / "preset.json").is_file():
            reason = "it has no preset.json" if path.is_dir() else "there is no such folder"
            raise ZooError(f"{path} is no preset: {reason}")
        return _read(path)
    if not _NAME.fullmatch(name):
        raise _no_preset(name)
    for folder in folders():
        if (folder / name / "preset.json").is_file():
            return _read(folder / name)
    if cache.available(name):
        return _read(cache.download(name))
    raise _no_preset(name)


def _no_preset(name: str) -> ZooError:
    if name in registry.entries():
        tags = [preset for preset in _names() if preset.startswith(f"{name}.")]
        has = f"load {' or '.join(tags)}" if tags else "it has no trained weights yet; see zoo train --help"
        return ZooError(f"{name!r} is a model, not a preset: {has}")
    if Path(name).is_dir() and name.strip("."):
        return ZooError(f"unknown preset {name!r}; for the folder give .{os.sep}{name}")
    return unknown("preset", name, _names())


def folders() -> list[Path]:
    """Where presets are looked up by name, first to last."""
    own = [Path(part) for part in os.environ.get("ZOO_PRESETS", "").split(os.pathsep) if part]
    return [*own, BUNDLED, cache.folder()]


def _names() -> dict[str, Path]:
    """Every preset that a name finds here, and its folder."""
    found: dict[str, Path] = {}
    for folder in folders():
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if _NAME.fullmatch(path.name) and (path / "preset.json").is_file():
                    found.setdefault(path.name, path)
    return found


def _read(path: Path) -> Preset:
    return Preset(path, read_record(path / "preset.json"))


def load_model(preset: Preset, classes: int | None = None, freeze: str | None = None, settings: dict | None = None):
    """The preset's model with its weights, not compiled; works on every Keras backend.

    Args:
        preset: from open_preset.
        classes: another size of the last layer: the head then starts fresh.
        freeze: as in create_model.
        settings: task settings that differ from the preset's.
    """
    from zoo import weights

    record = preset.record
    overrides = record["model"]["overrides"]
    try:
        model = registry.create_model(record["model"]["name"], **overrides)
    except (ZooError, TypeError) as error:
        raise ZooError(f"{preset.path / 'preset.json'} can't be used: {error}") from error
    weights.read(model, preset.file(WEIGHTS))
    settings = {**record["task"]["settings"], **(settings or {})}
    labels = settings.pop("labels", None)
    logits = model.output.get("logits")
    is_changed = classes is not None and (logits is None or classes != logits.shape[-1])
    if is_changed:
        trained = model
        model = registry.create_model(record["model"]["name"], **{**overrides, "classes": classes})
        _copy_all_but_head(trained, model, preset)
        labels = None
    registry.freeze_layers(model, freeze)
    origin = model.origin
    origin.task, origin.settings, origin.labels = record["task"]["name"], settings, labels
    origin.preset, origin.terms = preset.name, record.get("terms", {})
    origin.assets = {} if is_changed else preset.assets()  # they tell of the classes that are gone
    if not is_changed:
        origin.parent, origin.digest = preset, weights.digest(model)
    return model


def _copy_all_but_head(source, target, preset: Preset) -> None:
    for layer in target.layers:
        if not registry.is_head(layer.name):
            try:
                layer.set_weights(source.get_layer(layer.name).get_weights())
            except ValueError as error:
                raise ZooError(f"layer {layer.name} does not fit the weights of {preset.name}: {error}") from error


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
    from zoo import card, weights

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
            _read(hidden)  # before the old one goes
            _to_disk(path for path in hidden.rglob("*") if path.is_file())
            _move_in(hidden, path, [*files, "README.md", "preset.json"])
    except OSError as error:
        raise ZooError(f"can't write the preset {path}: {error.strerror or error}") from error
    return _read(path)


def _move_in(hidden: Path, path: Path, names: list[str]) -> None:
    """Moves a preset's files into its folder, preset.json last, and removes those that the old preset listed."""
    path.mkdir(exist_ok=True)
    old: set[str] = set()
    if (path / "preset.json").is_file():
        with contextlib.suppress(ZooError):  # a damaged one is overwritten
            old = set(_read(path).record["files"])
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
    from zoo import card

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
    return _read(preset.path)


def list_models(pattern: str | None = None, task: str | None = None, pretrained: bool = False) -> list[str]:
    """Names of models and presets; imports neither TensorFlow nor Keras.

    Args:
        pattern: a name with wildcards ("lenet*"), or a part of one.
        task: only those of this task.
        pretrained: presets only.
    """
    return [row["name"] for row in rows(pattern, task, pretrained)]


def rows(pattern: str | None = None, task: str | None = None, pretrained: bool = False) -> list[dict]:
    """What `zoo list` shows: {"name", "kind", "task", "parameters", "description" or "metrics"} each."""
    table = [_model_row(entry) for entry in registry.entries().values()]
    for path in _names().values():
        with contextlib.suppress(ZooError):  # a damaged preset is reported when it is used
            table.append(_preset_row(_read(path)))
    tasks = {row["task"] for row in table}
    if task is not None and task not in tasks:
        raise unknown("task", task, tasks)
    if pattern and not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    table = [row for row in table if row["kind"] == "preset" or not pretrained]
    table = [row for row in table if task in (None, row["task"]) and fnmatch.fnmatch(row["name"], pattern or "*")]
    return sorted(table, key=lambda row: row["name"])


def _model_row(entry: registry.Entry) -> dict:
    facts = {"name": entry.name, "kind": "model", "task": entry.task, "parameters": entry.parameters}
    return {**facts, "description": entry.description}


def _preset_row(preset: Preset) -> dict:
    record = preset.record
    facts = {"name": preset.path.name, "kind": "preset", "task": record["task"]["name"]}
    return {**facts, "parameters": record["parameters"], "metrics": record.get("metrics", [])}


def model_info(name: str) -> dict:
    """What is known of a model or a preset: task, paper, parameters; metrics, provenance and terms of a preset."""
    table = registry.entries()
    if isinstance(name, str) and name in table:
        entry = table[name]
        facts = {"paper": entry.paper, "settings": dict(entry.settings), "overrides": dict(entry.overrides)}
        presets = [preset for preset in _names() if preset.startswith(f"{name}.")]
        return {**_model_row(entry), **facts, "presets": presets, "file": str(entry.path)}
    try:
        preset = open_preset(name)
    except ZooError:
        if not isinstance(name, str) or is_path(name) or name in _names():
            raise
        raise unknown("model or preset", name, [*table, *_names()]) from None
    model = preset.record["model"]["name"]
    paper = table[model].paper if model in table else None
    return {"kind": "preset", "paper": paper, "path": str(preset.path), **preset.record}
