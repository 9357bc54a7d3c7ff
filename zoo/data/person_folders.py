"""A layout of a user's own files: a folder with one subfolder of pictures per person."""

import dataclasses
import os
import random
import warnings
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from zoo.data.layouts import ClassFolders, _fingerprint, _listed, _subfolders
from zoo.data.source import Source
from zoo.errors import NoSplitError, ZooError

SHARES = {"validation": 0.1, "test": 0.2}  # of the people; the others are for training
LEAST = 2  # people of a split: one has no other person to be compared with

People = dict[str, list[str]]  # path of a person's folder -> the files in it


@dataclasses.dataclass(frozen=True)
class PersonFolders:
    """A folder with one subfolder of pictures per person, divided by person: no person is in two splits.

    The people are shuffled with seed 0 and divided into train, validation and test (70, 10 and 20 per cent, at least
    two people each). If the subfolders are train and any of validation (or val, valid) and test, each with one
    subfolder per person, they are the splits. Examples are {"image", "person", "file"}. The source has no labels, so
    that names of people are not stored with a model.

    Args:
        suffixes: suffixes of the file names, in lower case.
    """

    suffixes: frozenset[str]
    file_suffix: ClassVar[str | None] = None

    def open(self, path: Path, split: str) -> Source:
        if not path.is_dir():
            raise ZooError(f"{path} is not a folder; expected a folder with one subfolder of images per person")
        splits = self._splits(path)
        known = [*splits, "all"]
        if split not in known:
            if split in SHARES or split == "train":
                raise NoSplitError(self._missing(path, split, splits))
            raise NoSplitError(f"the folder {path} has no split {split!r}; it has {', '.join(known)}")
        everyone = [folder for own in splits.values() for folder in own]
        people = {folder: files for part, own in splits.items() if split in (part, "all")
                  for folder, files in own.items()}  # fmt: skip
        _check(path, split, people)
        files = [(file, everyone.index(folder)) for folder, own in people.items() for file in own]
        random.Random(0).shuffle(files)
        names, numbers = zip(*files, strict=True)
        stubs = tf.data.Dataset.from_tensor_slices({"file": list(names), "person": tf.constant(numbers, tf.int64)})

        def load(stub):
            return {"image": tf.io.read_file(stub["file"]), **stub}

        rows = [(folder, 0.0, 1.0) for folder in people]
        mark = _fingerprint(os.path.relpath(file, path) for file in names)
        return Source(
            str(path), "", split, len(files), None, stubs, load, "the folder's own", rows, mark, is_files=True
        )

    def counts(self, path: Path) -> dict[str, dict[str, int]]:
        """The number of files per person and split: {person: {split: count}}."""
        splits = self._splits(path)
        return {
            os.path.basename(folder): {other: len(files) if other == split else 0 for other in splits}
            for split, own in splits.items()
            for folder, files in own.items()
        }

    def _splits(self, path: Path) -> dict[str, People]:
        """The people of each split; with too few people for three splits, of "all"."""
        divided = ClassFolders._splits(path)
        if divided is not None:
            order = [split for split in ("train", *SHARES) if split in divided]
            splits = {split: self._people(divided[split]) for split in order}
            _check_apart(splits)
            return splits
        people = self._people(path)
        sizes = {split: max(LEAST, round(share * len(people))) for split, share in SHARES.items()}
        sizes = {"train": len(people) - sum(sizes.values()), **sizes}
        if sizes["train"] < LEAST:
            return {"all": people}
        order = sorted(people)
        random.Random(0).shuffle(order)
        splits, begin = {}, 0
        for split, size in sizes.items():
            splits[split] = {folder: people[folder] for folder in sorted(order[begin : begin + size])}
            begin += size
        return splits

    def _people(self, path: Path) -> People:
        people = {}
        for name in _subfolders(path):
            files = [file for file in sorted((path / name).rglob("*")) if not file.name.startswith(".")]
            own = [str(file) for file in files if file.suffix.lower() in self.suffixes and file.is_file()]
            if not own:
                raise ZooError(f"{path / name} has no images: fill it, or remove it")
            people[str(path / name)] = own
        if not people:
            raise ZooError(f"{path} needs one subfolder of images per person; it has none")
        return people

    @staticmethod
    def _missing(path: Path, split: str, splits: dict[str, People]) -> str:
        if "all" not in splits:
            return f"the folder {path} has no split {split!r}; it has {', '.join([*splits, 'all'])}"
        return (
            f"{path} has {len(splits['all'])} people, too few for the split {split!r}: {3 * LEAST} or more are needed, "
            f"{LEAST} for each split; the split 'all' has all of them"
        )


def _check_apart(splits: dict[str, People]) -> None:
    """Raises ZooError if a person is in two splits."""
    first: dict[str, str] = {}
    for own in splits.values():
        for folder in own:
            name = os.path.basename(folder)
            if name in first:
                raise ZooError(f"{folder} is the same person as {first[name]}: keep a person in one split")
            first[name] = folder


def _check(path: Path, split: str, people: People) -> None:
    """Raises ZooError if no pictures can be compared; warns of people with a single picture."""
    if len(people) < LEAST:
        raise ZooError(f"{path} has one person in the split {split!r}: two or more are needed to tell people apart")
    single = sorted(os.path.basename(folder) for folder, files in people.items() if len(files) == 1)
    if len(single) == len(people):
        raise ZooError(
            f"{path}: each person of the split {split!r} has one image only: two or more images of a person are needed"
        )
    if single:
        warnings.warn(
            f"{path}: {len(single):,} of {len(people):,} people have one image only, which is compared with other "
            f"people alone: {_listed(single)}",
            stacklevel=4,
        )
