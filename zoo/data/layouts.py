"""Data sets from a user's own files. A task names its layout. Layouts are classes with a method `open`.

    ClassFolders   a folder with one subfolder of files per class
    FolderTable    a folder of files and a table in it: file name, tab, text
    FrameTable     the same, where the text has the labels of frames
    Pairs          a file of lines: source, tab, target
    SequenceLines  a file of JSON lines: sequences of vectors, as input and output
    Table          a file of tab-separated columns; its first line names them
    TextTable      a table of texts and their classes, with tabs or commas between its columns
    StoryLines     a file of JSON objects: stories, questions and answers

The examples are shuffled with seed 0 and divided into train, validation and test (70, 10 and 20 per cent), unless the
folder already has these splits. Each class is divided in this proportion, as far as its examples allow. The split "all"
has all examples. The examples of a split stay in this random order, so that the first ones, as `limit`
takes them, are of all classes.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import random
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow as tf

from zoo.data.source import Source
from zoo.errors import NoSplitError, ZooError

_PARTS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0), "all": (0.0, 1.0)}
LONGEST_FIELD = 1 << 24  # characters of a text in a table
# Names of the subfolders of a folder that is already divided.
_DIVIDED = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """A folder with one subfolder of files per class.

    If the subfolders are train and any of validation (or val, valid) and test, each with one subfolder per class, they
    are the splits; there must be only one folder for validation.

    Args:
        field: the field for the content of a file, such as "image".
        kind: the word for the files in error messages, such as "images".
        suffixes: suffixes of the file names, in lower case.
    """

    field: str
    kind: str
    suffixes: frozenset[str]
    file_suffix: ClassVar[str | None] = None  # the layout is a folder, not a file

    def open(self, path: Path, split: str) -> Source:
        if path.is_file():
            raise ZooError(f"{path} is a file; expected a folder with one subfolder of {self.kind} per class")
        if not path.is_dir():
            raise ZooError(f"there is no folder {path}")
        name, folders = str(path), self._splits(path)
        is_divided = folders is not None
        labels = _subfolders(folders["train"] if is_divided else path)
        known = [*folders, "all"] if is_divided else [*_PARTS]
        if split not in known:
            raise NoSplitError(f"the folder {path} has no split {split!r}; it has {', '.join(known)}")
        if is_divided:
            chosen = {part: folder for part, folder in folders.items() if split in (part, "all")}
            for folder in chosen.values():
                if others := sorted({*_subfolders(folder)} - {*labels}):
                    raise ZooError(f"{folder / others[0]} is not a class of {name}{os.sep}train")
            files = [file for part, folder in chosen.items() for file in self._files(folder, labels, part != "train")]
            random.Random(0).shuffle(files)
            rows = [(str(folder), 0.0, 1.0) for folder in chosen.values()]
            path = folders.get(split, path)
        else:
            files = _part(_stratified(self._files(path, labels, False)), split)
            rows = [(name, *_PARTS[split])]
        if not files:
            raise ZooError(f"{path} has too few {self.kind} for the split {split!r}")
        if split == "train" and (unseen := sorted({*range(len(labels))} - {number for _, number in files})):
            raise ZooError(f"{path / labels[unseen[0]]} has too few {self.kind}: none is in the split 'train'")
        names, numbers = zip(*files, strict=True)
        stubs = tf.data.Dataset.from_tensor_slices({"file": list(names), "label": tf.constant(numbers, tf.int64)})

        def load(stub):
            return {self.field: tf.io.read_file(stub["file"]), **stub}

        mark = _fingerprint(os.path.relpath(file, path) for file in names)
        return Source(name, "", split, len(files), labels, stubs, load, "the folder's own", rows, mark, is_files=True)

    def counts(self, path: Path) -> dict[str, dict[str, int]]:
        """The number of files per class and split: {class: {split: count}}."""
        table: dict[str, dict[str, int]] = {}
        for split in self._splits(path) or [part for part in _PARTS if part != "all"]:
            source = self.open(path, split)
            numbers = [int(stub["label"]) for stub in source.stubs.as_numpy_iterator()]
            for number, label in enumerate(source.labels):
                table.setdefault(label, {})[split] = numbers.count(number)
        return table

    @staticmethod
    def _splits(path: Path) -> dict[str, Path] | None:
        """The folders of the splits of a folder that is divided already; None for others."""
        names = _subfolders(path)
        if not ("train" in names and {*names} <= {*_DIVIDED} and _subfolders(path / "train")):
            return None
        twice = [name for name in names if _DIVIDED[name] == "validation"]
        if len(twice) > 1:
            raise ZooError(f"{path} has {' and '.join(twice)}, which are the same split: keep one of them")
        return {_DIVIDED[name]: path / name for name in names}

    def _files(self, path: Path, labels: list[str], may_lack_classes: bool) -> list[tuple[str, int]]:
        """(file, number of its class), sorted."""
        files = [
            (str(file), number)
            for number, label in enumerate(labels)
            for file in sorted((path / label).rglob("*"))
            if file.suffix.lower() in self.suffixes and file.is_file() and not file.name.startswith(".")
        ]
        if len(labels) < 2 or not files:
            raise ZooError(
                f"{path} needs one subfolder of {self.kind} per class; "
                f"it has {len(labels)} with {len(files)} {self.kind}"
            )
        empty = sorted(set(range(len(labels))) - {number for _, number in files})
        if empty and not may_lack_classes:
            raise ZooError(f"{path / labels[empty[0]]} has no {self.kind}: fill it, or remove it")
        return files


@dataclasses.dataclass(frozen=True)
class FolderTable:
    """A folder of files and a table in it, such as captions.tsv, with lines of file name, tab, text.

    A file may have several lines in the table. Their texts are joined by newlines into one example, so all texts of a
    file are in the same split, also if the lines spell its name in different ways, such as a.jpg and ./a.jpg.

    Args:
        table: file name of the table.
        field: the field for the content of a file.
        text: the field for the texts of a file.
        kind: the word for the files in messages, such as "images".
        suffixes: suffixes of the file names, in lower case. A warning counts the files of the folder that the table
            does not name.
        punctuation: regular expression for characters that are not learned. A text without other visible characters is
            an error.
        skip_missing: leave out lines whose file does not exist, with a warning; by default they are an error.
        is_single: whether several lines of a file are an error.
    """

    table: str
    field: str
    text: str
    kind: str
    suffixes: frozenset[str]
    punctuation: str | None = None
    skip_missing: bool = False
    is_single: bool = False
    file_suffix: ClassVar[str | None] = None

    def open(self, path: Path, split: str) -> Source:
        texts = self._texts(path)
        names = _shuffled_part(texts, split, path)
        columns = {
            "file": [str(path / name) for name in names],
            self.text: ["\n".join(texts[name]) for name in names],
        }
        stubs = tf.data.Dataset.from_tensor_slices(columns)

        def load(stub):
            return {self.field: tf.io.read_file(stub["file"]), **stub}

        rows, mark = (
            [(str(path), *_PARTS[split])],
            _fingerprint(part for name in names for part in (name, *texts[name])),
        )
        terms = "the folder's own"
        return Source(str(path), "", split, len(names), None, stubs, load, terms, rows, mark, is_files=True)

    def _texts(self, path: Path) -> dict[str, list[str]]:
        """The texts of each file that the table names."""
        table = path / self.table
        if not table.is_file():
            raise ZooError(f"{path} is not a folder with a file {self.table}: lines of file name, tab, text")
        texts: dict[str, list[str]] = {}
        lines: dict[str, int] = {}
        names: dict[str, str] = {}  # normalised path -> the first name of the file in the table
        for number, line in _lines(table):
            name, _, text = (part.strip() for part in line.partition("\t"))
            if not name or not self._is_text(text):
                raise ZooError(f"{table}, line {number}: expected a file name, a tab and a text")
            name = names.setdefault(os.path.abspath(os.path.join(path, name)), name)
            if self.is_single and name in lines:
                raise ZooError(
                    f"{table}, line {number}: {name} has a {self.text} already, in line {lines[name]}: keep one of them"
                )
            texts.setdefault(name, []).append(text)
            lines.setdefault(name, number)
        if not texts:
            raise ZooError(f"{table} is empty: expected lines of file name, tab, text")
        first = next(iter(texts))
        is_missing = not self.skip_missing and not (path / first).is_file()
        if is_missing and Path(first).suffix.lower() not in self.suffixes:
            raise ZooError(
                f"{table}, line {lines[first]}: there is no file {first!r}; if the line is a header, remove it: the "
                "table must have none"
            )
        missing = [name for name in texts if not (path / name).is_file()]
        named = _listed([f"{name} (line {lines[name]})" for name in missing])
        counts = f"{len(missing):,} of {len(texts):,} {self.kind}"
        if missing and not self.skip_missing:
            raise ZooError(
                f"{table} names {counts} that do not exist: {named}; add them, or leave them out with skip_missing"
            )
        if missing:
            warnings.warn(f"{table}: {counts} do not exist and are left out: {named}", stacklevel=4)
        others = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in self.suffixes and os.path.abspath(file) not in names
        )
        if others:
            named = _listed([str(file.relative_to(path)) for file in others])
            warnings.warn(
                f"{len(others):,} {self.kind} have no line in {table} and are left out: {named}", stacklevel=4
            )
        return {name: own for name, own in texts.items() if name not in {*missing}}

    def _is_text(self, text: str) -> bool:
        """Whether something is left of a text without punctuation, spaces and invisible characters."""
        rest = re.sub(self.punctuation, "", text) if self.punctuation else text
        return any(letter.isprintable() and not letter.isspace() for letter in rest)


@dataclasses.dataclass(frozen=True)
class FrameTable(FolderTable):
    """A `FolderTable` whose texts are labels of frames with their numbers of frames: "SIL 12 HH 7 AH 5"."""

    def open(self, path: Path, split: str) -> Source:
        source = super().open(path, split)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shown already
            texts = self._texts(path)
        runs = {str(path / name): self._runs(path / self.table, name, own) for name, own in texts.items()}
        labels = sorted({label for own in runs.values() for label, _ in own})
        files = [stub["file"].decode() for stub in source.stubs.as_numpy_iterator()]
        numbers = tf.ragged.constant(
            [[labels.index(label) for label, count in runs[file] for _ in range(count)] for file in files], tf.int64
        )
        stubs = tf.data.Dataset.from_tensor_slices({"file": files, self.text: numbers})
        return dataclasses.replace(source, stubs=stubs, labels=labels)

    @staticmethod
    def _runs(table: Path, name: str, texts: list[str]) -> list[tuple[str, int]]:
        parts = texts[0].split()
        labels, counts = parts[::2], parts[1::2]
        if (
            len(texts) > 1
            or len(labels) != len(counts)
            or not all(re.fullmatch("[1-9][0-9]*", each) for each in counts)
        ):
            raise ZooError(f"{table}: {name} must have one line of labels with their numbers of frames: SIL 12 HH 7")
        return [(label, int(count)) for label, count in zip(labels, counts, strict=True)]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A file of lines: source, tab, target.

    All lines with the same source are in the same split. Validation and test have each source once, with all targets of
    the source as references.
    """

    file_suffix: ClassVar[str | None] = ".tsv"

    def open(self, path: Path, split: str) -> Source:
        pairs: dict[str, list[str]] = {}
        for number, line in _lines(path):
            parts = [part.strip() for part in line.split("\t")[:2]]
            if not (len(parts) == 2 and all(parts)):
                raise ZooError(f"{path}, line {number}: expected a source, a tab and a target")
            pairs.setdefault(parts[0], []).append(parts[1])
        sources = _shuffled_part(pairs, split, path)
        count = None if split == "train" else 1
        rows = [(source, target, "\n".join(pairs[source])) for source in sources for target in pairs[source][:count]]
        columns = dict(zip(("source", "target", "references"), map(list, zip(*rows, strict=True)), strict=True))
        stubs = tf.data.Dataset.from_tensor_slices(columns)
        parts, mark = [(str(path), *_PARTS[split])], _fingerprint(part for row in rows for part in row)
        return Source(str(path), "", split, len(rows), None, stubs, dict, "the file's own", parts, mark)


@dataclasses.dataclass(frozen=True)
class Table:
    """A file of tab-separated columns. The first line names the columns; each other line is an example.

    Args:
        columns: the columns that a task reads and their types: str, int or float.
    """

    columns: dict[str, type]
    file_suffix: ClassVar[str | None] = ".tsv"

    def open(self, path: Path, split: str) -> Source:
        lines = list(_lines(path))
        names = next(csv.reader([lines[0][1]], delimiter="\t")) if lines else []
        if missing := [name for name in self.columns if name not in names]:
            raise ZooError(f"{path} has no column {missing[0]!r}: its first line must name {', '.join(self.columns)}")
        rows = []
        for number, line in lines[1:]:
            values = dict(zip(names, next(csv.reader([line], delimiter="\t")), strict=False))
            try:
                rows.append(tuple(kind(values[name]) for name, kind in self.columns.items()))
            except (KeyError, ValueError):
                wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in self.columns.items())
                raise ZooError(f"{path}, line {number}: expected the columns {wanted}") from None
        rows = _shuffled_part(rows, split, path)
        columns = {
            name: tf.constant(values, tf.float32 if kind is float else tf.int64 if kind is int else tf.string)
            for (name, kind), values in zip(self.columns.items(), zip(*rows, strict=True), strict=True)
        }
        stubs = tf.data.Dataset.from_tensor_slices(columns)
        parts, mark = [(str(path), *_PARTS[split])], _fingerprint(str(value) for row in rows for value in row)
        return Source(str(path), "", split, len(rows), None, stubs, dict, "the file's own", parts, mark)


@dataclasses.dataclass(frozen=True)
class SequenceLines:
    """A file of JSON lines: {"input": vectors, "output": vectors}, where vectors are lists of lists of numbers.

    All vectors of a field have the same size; the number of vectors may differ from line to line. The field `file` is
    the place of an example, for error messages.
    """

    file_suffix: ClassVar[str | None] = ".jsonl"

    def open(self, path: Path, split: str) -> Source:
        rows: list[tuple[np.ndarray, ...]] = []
        places: list[str] = []
        for number, line in _lines(path):
            where = f"{path}, line {number}"
            try:
                record = json.loads(line)
                row = tuple(np.array(record[field], "float32") for field in ("input", "output"))
            except (ValueError, TypeError, KeyError):
                row = ()
            if not row or any(values.ndim != 2 or not values.size for values in row):
                raise ZooError(f'{where}: expected {{"input": [[...], ...], "output": [[...], ...]}}, lists of vectors')
            for field, own, first in zip(("input", "output"), row, rows[0] if rows else row, strict=True):
                if own.shape[1] != first.shape[1]:
                    sizes = f"{own.shape[1]} numbers, those of the first line {first.shape[1]}"
                    raise ZooError(f"{where}: the vectors of {field} have {sizes}")
            rows.append(row)
            places.append(where)
        numbers = _shuffled_part(range(len(rows)), split, path)
        part = [rows[number] for number in numbers]
        fields = {
            field: tf.RaggedTensor.from_row_lengths(np.concatenate(values), [len(each) for each in values])
            for field, values in zip(("input", "output"), zip(*part, strict=True), strict=True)
        }
        stubs = tf.data.Dataset.from_tensor_slices({**fields, "file": [places[number] for number in numbers]})
        mark = _fingerprint(str(values.tolist()) for row in part for values in row)
        return Source(
            str(path), "", split, len(part), None, stubs, dict, "the file's own", [(str(path), *_PARTS[split])], mark
        )


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table with the columns `text` and `label`, which its first line names; other columns are left out.

    A file .csv has commas between its columns, and quotes around values with commas or line ends, as spreadsheets write
    it. A file .tsv has tabs, and a line for each row. The classes are the labels in the order of the alphabet. Rows
    with the same text are in the same split; texts are compared in small letters and without regard to spaces.
    """

    file_suffix: ClassVar[tuple[str, ...]] = (".tsv", ".csv")

    def open(self, path: Path, split: str) -> Source:
        if split not in _PARTS:
            raise NoSplitError(f"the file {path} has no split {split!r}; it has {', '.join(_PARTS)}")
        rows = self._rows(path)
        labels = sorted({label for _, label in rows})
        if len(labels) < 2:
            known = f"one, {labels[0]!r}" if labels else "none: it has no rows"
            raise ZooError(f"{path} needs two or more classes in its column 'label'; it has {known}")
        texts: dict[str, list[tuple[str, int]]] = {}
        for text, label in rows:
            texts.setdefault(" ".join(text.lower().split()), []).append((text, labels.index(label)))
        order = _stratified([(key, own[0][1]) for key, own in texts.items()])
        part = [row for key, _ in _part(order, split) for row in texts[key]]
        if not part:
            raise ZooError(f"{path} has too few examples for the split {split!r}: {len(texts)} different texts in all")
        if split == "train" and (unseen := sorted({*range(len(labels))} - {number for _, number in part})):
            raise ZooError(f"{path} has too few texts of the class {labels[unseen[0]]!r}: none is in the split 'train'")
        contents, numbers = zip(*part, strict=True)
        stubs = tf.data.Dataset.from_tensor_slices({"text": list(contents), "label": tf.constant(numbers, tf.int64)})
        parts, mark = [(str(path), *_PARTS[split])], _fingerprint(str(value) for row in part for value in row)
        return Source(str(path), "", split, len(part), labels, stubs, dict, "the file's own", parts, mark)

    def _rows(self, path: Path) -> list[tuple[str, str]]:
        """(text, label) of every row."""
        is_csv = path.suffix.lower() == ".csv"
        if is_csv:
            content = "\n".join(line for _, line in _lines(path, blank=True))
            table = csv.reader(io.StringIO(content), strict=True)
        else:
            table = csv.reader((line for _, line in _lines(path, blank=True)), delimiter="\t", quoting=csv.QUOTE_NONE)
        rows, places, usual = [], None, csv.field_size_limit(LONGEST_FIELD)
        first = 1  # line of the next row
        try:
            for values in table:
                where, first = f"{path}, line {first}", table.line_num + 1
                values = [value.strip() for value in values]
                if not any(values):
                    continue
                if places is None:
                    for name in ("text", "label"):
                        if values.count(name) != 1:
                            many = "two columns" if name in values else "no column"
                            line = ", ".join(values)[:60]
                            raise ZooError(
                                f"{path} has {many} {name!r}: its first line must name text and label, got {line!r}"
                            )
                    places, count = [values.index(name) for name in ("text", "label")], len(values)
                    continue
                if any(values[count:]):
                    raise ZooError(
                        f"{where}: {len(values)} columns, but the first line names {count}: put a text that has a "
                        f"{'comma' if is_csv else 'tab'} {'into quotes' if is_csv else 'into a .csv file, in quotes'}"
                    )
                row = [values[place] if place < len(values) else "" for place in places]
                for name, value in zip(("text", "label"), row, strict=True):
                    if not value:
                        raise ZooError(f"{where}: the {name} is empty: fill it in, or remove the row")
                rows.append(tuple(row))
        except csv.Error as error:
            reason = "a quote is not closed" if "unexpected end" in str(error) else error
            raise ZooError(f"{path}, line {first}: {reason}") from None
        finally:
            csv.field_size_limit(usual)
        if places is None:
            raise ZooError(f"{path} is empty: expected a first line that names text and label, and a row per text")
        return rows


@dataclasses.dataclass(frozen=True)
class StoryLines:
    """A file .jsonl with an object {"story", "question", "answer"} of texts per line; other keys are left out.

    The classes are the answers in the order of the alphabet. Questions about the same story are in the same split.
    """

    file_suffix: ClassVar[str] = ".jsonl"

    def open(self, path: Path, split: str) -> Source:
        if split not in _PARTS:
            raise NoSplitError(f"the file {path} has no split {split!r}; it has {', '.join(_PARTS)}")
        rows = [self._row(f"{path}, line {number}", line) for number, line in _lines(path)]
        labels = sorted({answer for _, _, answer in rows})
        if len(labels) < 2:
            raise ZooError(f"{path} needs two or more different answers; it has {labels[0] if labels else 'none'}")
        stories: dict[str, list[tuple]] = {}
        for row in rows:
            stories.setdefault(row[0], []).append(row)
        order = sorted(stories)
        random.Random(0).shuffle(order)
        part = [row for story in _part(order, split) for row in stories[story]]
        if not part:
            raise ZooError(f"{path} has too few examples for the split {split!r}: {len(stories)} different stories")
        columns = dict(zip(("story", "question", "answer"), zip(*part, strict=True), strict=True))
        numbers = tf.constant([labels.index(answer) for answer in columns["answer"]], tf.int64)
        texts = {name: list(columns[name]) for name in ("story", "question")}
        stubs = tf.data.Dataset.from_tensor_slices({**texts, "answer": numbers})
        parts, mark = [(str(path), *_PARTS[split])], _fingerprint(value for row in part for value in row)
        return Source(str(path), "", split, len(part), labels, stubs, dict, "the file's own", parts, mark)

    @staticmethod
    def _row(where: str, line: str) -> tuple[str, str, str]:
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ZooError(f"{where}: expected a JSON object with story, question and answer: {error}") from None
        if not isinstance(content, dict):
            raise ZooError(f"{where}: expected a JSON object with story, question and answer, got {line[:40]}")
        for name in ("story", "question", "answer"):
            if not isinstance(content.get(name), str) or not content[name].strip():
                raise ZooError(f"{where}: {name} must be a text that is not empty, got {content.get(name)!r}")
        return content["story"], content["question"], content["answer"].strip()


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _lines(path: Path, blank: bool = False) -> Iterable[tuple[int, str]]:
    """(line number from 1, line) of each line of a UTF-8 text file; blank lines only if `blank`.

    Raises:
        ZooError: the file does not exist, is not UTF-8, or has a NUL character.
    """
    if not path.is_file():
        content = {".csv": "commas between its columns", ".jsonl": "a JSON object per line"}
        rest = content.get(path.suffix.lower(), "tabs between its columns")
        raise ZooError(f"{path} is not a file; expected a text file with {rest}")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: byte {error.start:,} is not UTF-8; save the file in this encoding") from None
    if with_nul := next((number for number, line in enumerate(lines, start=1) if "\0" in line), None):
        raise ZooError(f"{path}, line {with_nul}: contains a NUL character: remove it")
    return ((number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if blank or line.strip())


def _listed(names: list[str], most: int = 5) -> str:
    """The first names, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _shuffled_part(items: Iterable, split: str, path: Path) -> list:
    """The items of a split, shuffled: the keys of a dict, or the items of a list."""
    if split not in _PARTS:
        raise NoSplitError(f"the file {path} has no split {split!r}; it has {', '.join(_PARTS)}")
    items = sorted(items) if isinstance(items, dict) else list(items)
    random.Random(0).shuffle(items)
    if not (part := _part(items, split)):
        raise ZooError(f"{path} has too few examples for the split {split!r}: {len(items)} in all")
    return part


def _stratified(files: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Files (path, number of the class) in a random order in which any stretch has about the same share of each class.

    The files of a class are shuffled and spread evenly over the order, from a random start. The only file of a class
    is in the first half, so that it is one to train on.
    """
    draws = random.Random(0)
    classes: dict[int, list[str]] = {}
    for file, number in files:
        classes.setdefault(number, []).append(file)
    places = []
    for number, own in classes.items():
        draws.shuffle(own)
        start = draws.random() * min(1.0, len(own) / 2)
        places += [((place + start) / len(own), number, file) for place, file in enumerate(own)]
    return [(file, number) for _, number, file in sorted(places)]


def _fingerprint(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _part(items: list, split: str) -> list:
    begin, end = _PARTS[split]
    return items[round(begin * len(items)) : round(end * len(items))]
