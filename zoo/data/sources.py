"""Where examples come from: TensorFlow Datasets, a folder with one subfolder of files a class, a file of pairs."""

import contextlib
import dataclasses
import hashlib
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tensorflow as tf

from zoo.errors import ZooError, checked_count, unknown

# The terms of the data, as its source states them.
TERMS = {
    "mnist": "CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
    "cifar10": "none stated; cite Krizhevsky 2009",
    "tf_flowers": "CC BY 2.0 by photo",
    "multi30k": "research and education (cite Elliott et al. 2016)",
    "tatoeba_pairs": "CC BY 2.0 FR (tatoeba.org and manythings.org/anki)",
    "cmudict": "unrestricted (Carnegie Mellon University)",
}
# Data sets that TFDS has in one piece, in an order that it shuffled: train, validation and the last fifth as test.
_SHARES = {"train": ":70%", "validation": "70%:80%", "test": "80%:"}
_ONE_PIECE = ("tf_flowers",)
# The shares of a folder or a file, and what the folders of one that is shared already may be called.
_PLACES = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}
_OWN = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
_NO_SPLIT = 'for none of the latter two give data.validation = "" or data.test = ""'
# The files that a folder has for a field: what they are called, and how their names end.
_FILES = {
    "image": ("images", {".jpg", ".jpeg", ".png", ".gif", ".bmp"}),
    "tensor": (".npy files", {".npy"}),
}


@dataclasses.dataclass(frozen=True)
class Source:
    """Examples of one split, images and other files still encoded."""

    name: str
    version: str
    split: str
    examples: int
    labels: list[str] | None
    stubs: tf.data.Dataset  # what can be shuffled in great number: examples, or the names of their files
    load: Callable[[dict], dict]  # a stub -> {field: tensor}
    terms: str
    rows: Sequence[tuple[str, float, float]] = ()  # of which files, and where in each the part begins and ends
    fingerprint: str = ""  # of the examples in their order: the version, the names of a folder's files, a file's pairs

    def overlaps(self, other: "Source") -> bool:
        """Whether both have examples in common."""
        return any(
            file == file_ and begin < end_ and begin_ < end
            for file, begin, end in self.rows
            for file_, begin_, end_ in other.rows
        )

    @property
    def dataset(self) -> tf.data.Dataset:
        """The examples, {field: tensor}."""
        return self.stubs.map(self.load)


def open_source(
    name: str,
    split: str,
    fields: Iterable[str],
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    download: bool = True,
) -> Source:
    """Opens one split of a data set.

    Args:
        name: a TFDS name ("mnist"), or a path (with a separator): of a folder that has one subfolder a class; for pairs
            of texts, of a file (*.tsv) with a source, a tab and a target a line.
        split: "train", "validation", "test", or TFDS's slices ("train[:55000]").
        fields: the fields that the caller reads; they decide which files of a folder count.
        data_dir: where TFDS keeps its data; by default ~/tensorflow_datasets.
        limit: only the first so many examples.
        download: whether TFDS may fetch what is not there.

    Raises:
        ZooError: no such data set, split or field, or data that can't be had.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ZooError(f"{name!r} is no data set: give a TFDS name or the path of a folder")
    fields = tuple(fields)
    is_path = isinstance(name, os.PathLike) or name.endswith(".tsv") or os.sep in name and Path(name).exists()
    if is_path and "source" in fields:
        source = _pairs(Path(name), split)
    elif is_path:
        source = _folder(Path(name), split, fields)
    else:
        source = _tfds(os.fspath(name), split, data_dir, download)
    spec = source.dataset.element_spec
    for field in fields:
        if field not in spec:
            raise ZooError(f"{source.name} has no field {field!r}; it has {', '.join(spec)}")
    keep = [*fields, *({"file"} & set(spec))]  # a folder's, so that a bad file can be named

    def load(stub, whole=source.load):
        example = whole(stub)
        return {field: example[field] for field in keep}

    source = dataclasses.replace(source, load=load)
    if limit is not None:
        checked_count(limit, "limit")
        source = dataclasses.replace(source, stubs=source.stubs.take(limit), examples=min(limit, source.examples))
    return source


def _tfds(name: str, split: str, data_dir: str | os.PathLike | None, download: bool) -> Source:
    import tensorflow_datasets as tfds

    from zoo.data import text_pairs  # noqa: F401, registers builders of our own

    if os.sep in name and name.split("/")[0] not in tfds.list_builders():
        raise ZooError(f"there is no folder {name}, and TFDS has no such data set")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise ZooError(f"there is no folder {data_dir} to look for data sets in")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        for there, what in ((Path(name).is_dir(), "folder"), (Path(name).is_file(), "file")):
            if there:
                raise ZooError(f"{name!r} is no data set; for the {what} give .{os.sep}{name}") from None
        if isinstance(error, tfds.core.DatasetNotFoundError):
            raise unknown("data set", name, {*tfds.list_builders(), *TERMS}) from None
        # A version or configuration that is not there, or no name at all.
        raise ZooError(f"{name!r} is no data set: {' '.join(str(error).split())[:150]}") from None
    if not builder.info.splits and not download:
        raise ZooError(f"{name} is not in {builder.data_path.parent.parent}")
    if not builder.info.splits:
        place = Path(builder.data_path).parent
        is_new = not place.exists()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                builder.download_and_prepare()
        except Exception as error:  # whatever the download meets: no network, no space, files to be fetched by hand
            if is_new:
                shutil.rmtree(place, ignore_errors=True)
            reason = " ".join(str(error).split())[:600]
            raise ZooError(f"{name} is not in {builder.data_path.parent.parent} and can't be had: {reason}") from error
    slices = _SHARES.get(split) if name in _ONE_PIECE else None
    asked = f"train[{slices}]" if slices else split
    try:
        examples = builder.info.splits[asked].num_examples
    except (KeyError, ValueError) as error:
        if "[" in split:
            reason = " ".join(str(error).split())[:200]
            raise ZooError(f"{name} has no split {split!r}: {reason}") from None
        raise unknown(f"split of {name}", split, builder.info.splits) from None
    if examples == 0:
        raise ZooError(f"{name} has no examples in {split}")
    images = {key: kind for key, kind in builder.info.features.items() if isinstance(kind, tfds.features.Image)}
    dataset = builder.as_dataset(
        split=asked,
        shuffle_files=False,
        decoders={key: tfds.decode.SkipDecoding() for key in images},
        read_config=tfds.ReadConfig(try_autocache=False, add_tfds_id=False),
    )
    labels = None
    if "label" in builder.info.features and isinstance(builder.info.features["label"], tfds.features.ClassLabel):
        labels = list(builder.info.features["label"].names)
    terms = TERMS.get(builder.name, "see its homepage, " + str(builder.info.homepage))
    parts = builder.info.splits[asked].file_instructions
    rows = [(part.filename, part.skip, part.examples_in_shard if part.take < 0 else part.skip + part.take)
            for part in parts]  # fmt: skip
    return Source(name, str(builder.version), split, examples, labels, dataset, dict, terms, rows, str(builder.version))


def _folder(path: Path, split: str, fields: tuple[str, ...]) -> Source:
    """One subfolder a class; its files sorted, shuffled with seed 0, then shared as 70, 10 and 20 per cent.

    A folder whose subfolders are called train, validation (or val) and test, with the classes in each, is shared
    already.
    """
    if path.is_file():
        raise ZooError(f"{path} is a file: a folder with one subfolder a class is expected")
    if not path.is_dir():
        raise ZooError(f"there is no folder {path}")
    field = next((field for field in fields if field in _FILES), "image")
    kind, suffixes = _FILES[field]
    name, labels = str(path), _subfolders(path)
    is_shared = "train" in labels and {*labels} <= {*_OWN} and bool(_subfolders(path / "train"))
    splits = {_OWN[label]: path / label for label in labels} if is_shared else dict.fromkeys(_SHARES, path)
    if split not in splits:
        raise ZooError(f"the folder {path} has no split {split!r}; it has {', '.join(splits)}; {_NO_SPLIT}")
    if is_shared:
        labels, path = _subfolders(path / "train"), splits[split]
        if others := sorted({*_subfolders(path)} - {*labels}):
            raise ZooError(f"{path / others[0]} is no class of {name}{os.sep}train")
    files = [
        (str(file), number)
        for number, label in enumerate(labels)
        for file in sorted((path / label).rglob("*"))
        if file.suffix.lower() in suffixes and file.is_file()
    ]
    if len(labels) < 2 or not files:
        raise ZooError(f"{path} needs one subfolder of {kind} a class; it has {len(labels)} with {len(files)} {kind}")
    empty = sorted(set(range(len(labels))) - {number for _, number in files})
    if empty and (split == "train" or not is_shared):
        raise ZooError(f"{path / labels[empty[0]]} holds no {kind}: fill it, or remove it")
    random.Random(0).shuffle(files)
    files = files if is_shared else _share(files, split)
    if not files:
        raise ZooError(f"{path} has too few {kind} for a share called {split}")
    names, numbers = zip(*files, strict=True)
    stubs = tf.data.Dataset.from_tensor_slices({"file": list(names), "label": tf.constant(numbers, tf.int64)})

    def load(stub):
        return {field: tf.io.read_file(stub["file"]), **stub}

    rows = [(str(path), 0.0, 1.0) if is_shared else (name, *_PLACES[split])]
    mark = _fingerprint(os.path.relpath(file, path) for file in names)
    return Source(name, "", split, len(files), labels, stubs, load, "the folder's own", rows, mark)


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pairs(path: Path, split: str) -> Source:
    """A file of pairs; the different sources, shuffled with seed 0, are shared as 70, 10 and 20 per cent."""
    if not path.is_file():
        raise ZooError(f"{path} is no file: pairs of texts come as lines of a source, a tab and a target")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: byte {error.start:,} is no UTF-8; save it in this encoding") from None
    pairs: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        parts = [part.strip() for part in line.split("\t")[:2]]
        if line.strip() and not (len(parts) == 2 and all(parts)):
            raise ZooError(f"{path}, line {number + 1}: a source, a tab and a target are expected")
        if line.strip():
            pairs.setdefault(parts[0], []).append(parts[1])
    if split not in _SHARES:
        raise ZooError(f"the file {path} has no split {split!r}; it has {', '.join(_SHARES)}; {_NO_SPLIT}")
    sources = sorted(pairs)
    random.Random(0).shuffle(sources)
    every = None if split == "train" else 1  # of what is right one is asked for; all are references
    rows = [
        (source, target, "\n".join(pairs[source]))
        for source in _share(sources, split)
        for target in pairs[source][:every]
    ]
    if not rows:
        raise ZooError(f"{path} has too few pairs for a share called {split}: {len(sources)} different sources")
    columns = dict(zip(("source", "target", "references"), map(list, zip(*rows, strict=True)), strict=True))
    stubs = tf.data.Dataset.from_tensor_slices(columns)
    places, mark = [(str(path), *_PLACES[split])], _fingerprint(part for row in rows for part in row)
    return Source(str(path), "", split, len(rows), None, stubs, dict, "the file's own", places, mark)


def _fingerprint(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _share(items: list, split: str) -> list:
    begin, end = _PLACES[split]
    return items[round(begin * len(items)) : round(end * len(items))]
