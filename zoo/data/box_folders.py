"""The layout of a user's own pictures with boxes: a folder in the format of PASCAL VOC or of COCO."""

import dataclasses
import hashlib
import random
import re
import warnings
from collections.abc import Container
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow as tf

from zoo.data.boxes import LISTED, Picture, check_size, fractions, read_coco, read_voc, within
from zoo.data.source import Source
from zoo.errors import NoSplitError, ZooError

_PARTS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0), "all": (0.0, 1.0)}
# Names of folders, of lists and in names of JSON files that are a split.
_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
WANTED = "XML files in the format of PASCAL VOC, or a JSON file in that of COCO"


@dataclasses.dataclass(frozen=True)
class BoxFolder:
    """A folder of pictures with boxes around their objects.

    In the format of PASCAL VOC each picture has an XML file of the same name, in any folders; the lists train.txt,
    val.txt and test.txt in ImageSets/Main are the splits, if they exist. In that of COCO a JSON file has all
    annotations. The subfolders train, valid and test, or JSON files with these words in their names, are the splits.
    Otherwise the pictures are shuffled and divided, as in the other layouts (see `zoo.data.layouts`).

    The classes are the names of the objects in the order of the alphabet. A picture without objects is kept. Boxes are
    cut to their picture; those without an area are left out, and a warning lists them.

    Args:
        suffixes: suffixes of the names of pictures, in lower case.
        skip_missing: leave out annotations whose picture does not exist, with a warning; by default they are an error.
    """

    suffixes: frozenset[str]
    skip_missing: bool = False
    file_suffix: ClassVar[str | None] = None  # the layout is a folder, not a file

    def open(self, path: Path, split: str) -> Source:
        if not path.is_dir():
            raise ZooError(f"there is no folder {path}: expected one with pictures, and {WANTED}")
        divided = self._divided(path)
        known = [*divided, "all"] if "all" not in divided else [*_PARTS]
        if split not in known:
            raise NoSplitError(f"the folder {path} has no split {split!r}; it has {', '.join(known)}")
        every = [picture for part in divided.values() for picture in part]
        labels = sorted({each.label for picture in within(every, warn=False) for each in picture.objects})
        if not labels:
            raise ZooError(f"{path} has {len(every):,} annotations, but no boxes in them")
        pictures = self._part(divided, split)
        files = self._files(path, pictures)
        pictures = within([picture for picture in pictures if id(picture) in files])
        if not pictures:
            raise ZooError(f"{path} has too few pictures for the split {split!r}: {len(every):,} in all")
        return self._source(path, split, labels, [*files.values()], pictures, "all" not in divided)

    def _divided(self, path: Path) -> dict[str, list[Picture]]:
        """The annotations by split; {"all": annotations} for a folder that is not divided."""
        folders = {_NAMES[folder.name]: folder for folder in sorted(path.iterdir()) if folder.name in _NAMES}
        if "train" in folders and all(folder.is_dir() and _annotations(folder) for folder in folders.values()):
            return {split: _annotations(folder) for split, folder in folders.items()}
        files = _json_files(path)
        if len(files) > 1:
            splits = {_split_of(file): file for file in files}
            if None in splits or len(splits) < len(files) or "train" not in splits:
                raise ZooError(
                    f"{path} has several JSON files, {', '.join(file.name for file in files[:LISTED])}: keep one, or "
                    "one per split with train, val or test in its name"
                )
            return {split: read_coco(file) for split, file in splits.items()}
        if not (pictures := _annotations(path)):
            raise ZooError(f"{path} has no annotations: expected {WANTED}")
        lists = {_NAMES[file.stem]: file for file in sorted(path.glob("ImageSets/Main/*.txt")) if file.stem in _NAMES}
        if "train" not in lists:
            return {"all": pictures}
        named = {picture.name: picture for picture in pictures}
        divided = {}
        for split, file in lists.items():
            names = _listed_names(file, named)
            if unknown := [name for name in names if name not in named]:
                raise ZooError(f"{file} names {unknown[0]!r}, which has no annotation")
            divided[split] = [named[name] for name in names]
        return divided

    @staticmethod
    def _part(divided: dict[str, list[Picture]], split: str) -> list[Picture]:
        if split in divided and split != "all":
            pictures = divided[split]
        else:
            every = {id(each): each for part in divided.values() for each in part}  # a picture in two lists counts once
            pictures = sorted(every.values(), key=lambda each: each.name)
        pictures = list(pictures)
        random.Random(0).shuffle(pictures)
        if "all" not in divided or split == "all":
            return pictures
        begin, end = _PARTS[split]
        return pictures[round(begin * len(pictures)) : round(end * len(pictures))]

    def _files(self, path: Path, pictures: list[Picture]) -> dict[int, Path]:
        """The file of each picture that exists, by its id; checks the sizes of the pictures."""
        known: dict[str, list[Path]] = {}
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in self.suffixes:
                known.setdefault(file.stem, []).append(file)
        found = {id(picture): _found(picture, known) for picture in pictures}
        missing = [f"{picture.name} of {picture.where.name}" for picture in pictures if found[id(picture)] is None]
        if missing:
            names = ", ".join(missing[:LISTED]) + (f" and {len(missing) - LISTED:,} more" if missing[LISTED:] else "")
            counts = f"{len(missing):,} of {len(pictures):,} annotations in {path}"
            if not self.skip_missing:
                raise ZooError(
                    f"{counts} have no picture: {names}; add the pictures, or leave them out with skip_missing"
                )
            warnings.warn(f"{counts} have no picture and are left out: {names}", stacklevel=5)
        for picture in pictures:
            if (file := found[id(picture)]) is not None:
                check_size(picture, file)
        return {number: file for number, file in found.items() if file is not None}

    def _source(self, path, split, labels, files, pictures, is_divided) -> Source:
        boxes = [fractions(picture) for picture in pictures]
        numbers = [np.array([labels.index(each.label) for each in own.objects], "int64") for own in pictures]
        columns = {
            "file": [str(file) for file in files],
            "bbox": [tf.io.serialize_tensor(own).numpy() for own in boxes],
            "label": [tf.io.serialize_tensor(own).numpy() for own in numbers],
        }
        stubs = tf.data.Dataset.from_tensor_slices(columns)
        places = [str(file.relative_to(path)).encode("utf-8", "surrogateescape") for file in files]
        mark = hashlib.sha256(b"\0".join([*places, *columns["bbox"], *columns["label"]])).hexdigest()
        begin, end = (0.0, 1.0) if is_divided else _PARTS[split]
        rows = [(f"{path}, {split}" if is_divided and split != "all" else str(path), begin, end)]
        return Source(
            str(path), "", split, len(files), labels, stubs, _load, "the folder's own", rows, mark, is_files=True
        )


def _load(stub: dict) -> dict:
    bbox = tf.ensure_shape(tf.io.parse_tensor(stub["bbox"], tf.float32), (None, 4))
    label = tf.ensure_shape(tf.io.parse_tensor(stub["label"], tf.int64), (None,))
    objects = {"bbox": bbox, "label": label}
    return {"image": tf.io.read_file(stub["file"]), "objects": objects, "file": stub["file"]}


def _annotations(path: Path) -> list[Picture]:
    """The annotations in a folder: those of its only JSON file, or of its XML files."""
    if files := _json_files(path):
        return [picture for file in files for picture in read_coco(file)]
    return [read_voc(file) for file in sorted(path.rglob("*.xml"))]


def _listed_names(file: Path, known: Container[str]) -> list[str]:
    """The names in a list of VOC, each once: a line, or its first word if the line is not a known name."""
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ZooError(f"{file}: byte {error.start:,} is not UTF-8; save the file in this encoding") from None
    return list(dict.fromkeys(line if line in known else line.split()[0] for line in lines))


def _json_files(path: Path) -> list[Path]:
    return sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])


def _split_of(file: Path) -> str | None:
    """The split that the name of a JSON file states, such as that of instances_train2017.json."""
    words = {_NAMES[word] for word in re.findall(r"[a-z]+", file.stem.lower()) if word in _NAMES}
    return words.pop() if len(words) == 1 else None


def _found(picture: Picture, known: dict[str, list[Path]]) -> Path | None:
    """The file of a picture: of the files with its name, the one in the same folders, or the first."""
    is_voc = picture.where.suffix.lower() == ".xml"
    files = known.get(picture.name if is_voc else Path(picture.name).stem, [])
    if is_voc:
        return next((file for file in files if file.parent == picture.where.parent), files[0] if files else None)
    own = [file for file in files if file.name == Path(picture.name).name]
    exact = [file for file in own if file == picture.where.parent / picture.name]
    ending = [file for file in own if file.as_posix().endswith("/" + Path(picture.name).as_posix())]
    return next(iter([*exact, *ending, *own]), None)
