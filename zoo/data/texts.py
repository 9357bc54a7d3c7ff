"""A user's own text file of any size, read in pieces."""

import codecs
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from zoo.data.source import Source
from zoo.errors import NoSplitError, ZooError

PIECE = 1 << 16  # bytes of a piece, about
BLOCK = 1 << 20  # bytes that are read at once
LONGEST_WORD = 1 << 14  # bytes
_SPACES = b" \t\n\r"
PARTS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0), "all": (0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A file of running text in UTF-8, such as a book.

    A split is one text. An example is {"text", "begins"}: a piece of about 64 KiB that ends behind white space, and
    whether it is the first. Joined, the pieces are the text. A piece without white space ends between two characters.
    The file is read piece by piece, so a large file takes no memory.

    Args:
        parts: split -> (begin, end), its part of the file; by default the first 70 per cent are train, the next 10
            validation, and the last 20 test.
        constants: further fields, which have the same value in every example.
    """

    file_suffix: ClassVar[str | None] = ".txt"
    parts: dict[str, tuple[float, float]] = dataclasses.field(default_factory=PARTS.copy)
    constants: dict = dataclasses.field(default_factory=dict)

    def open(self, path: Path, split: str) -> Source:
        if split not in self.parts:
            raise NoSplitError(f"the file {path} has no split {split!r}; it has {', '.join(self.parts)}")
        if not path.is_file():
            raise ZooError(f"there is no text file {path}")
        size, digest = _checked(path)
        if not size:
            raise ZooError(f"{path} is empty: expected a text")
        begin, end = (_cut(path, round(place * size), size) for place in self.parts[split])
        places = list(_places(path, begin, end))
        if not places:
            raise ZooError(f"{path} has too little text for the split {split!r}: {size} bytes in all")

        def pieces():
            with path.open("rb") as file:
                for start, stop in places:
                    file.seek(start)
                    yield {"text": file.read(stop - start), "begins": start == begin, **self.constants}

        spec = {"text": tf.TensorSpec((), tf.string), "begins": tf.TensorSpec((), tf.bool)}
        spec |= {name: tf.TensorSpec((), tf.constant(value).dtype) for name, value in self.constants.items()}
        stubs = tf.data.Dataset.from_generator(pieces, output_signature=spec)
        mark = f"{digest} {begin} {end}"
        rows = [(str(path), *self.parts[split])]
        return Source(str(path), "", split, len(places), None, stubs, dict, "the file's own", rows, mark)


def pieces_of(text: bytes, size: int = PIECE) -> Iterator[bytes]:
    """Pieces of at least `size` bytes, but for the last, that end behind white space and joined are the text."""
    begin = 0
    while begin < len(text):
        spaces = [place for place in (text.find(space, begin + size) for space in _spaces()) if place >= 0]
        end = min(spaces, default=len(text) - 1) + 1
        yield text[begin:end]
        begin = end


def _spaces() -> list[bytes]:
    return [bytes([space]) for space in _SPACES]


def _checked(path: Path) -> tuple[int, str]:
    """The size and the sha256 of a file, which must be in UTF-8."""
    digest, decoder, size = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, size - pending + error.start) from None
            digest.update(block)
            size += len(block)
    if pending := len(decoder.getstate()[0]):
        raise _not_utf8(path, size - pending)
    return size, digest.hexdigest()


def _not_utf8(path: Path, place: int) -> ZooError:
    return ZooError(f"{path}: byte {place:,} is not UTF-8; save the file in this encoding")


def _places(path: Path, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of each piece."""
    while begin < end:
        stop = _cut(path, begin + PIECE, end)
        yield begin, stop
        begin = stop


def _cut(path: Path, place: int, end: int) -> int:
    """The first place from `place` on, but for 0, that is behind white space; at most `end`.

    Without white space in LONGEST_WORD bytes, it is the first place between two characters.
    """
    if place <= 0 or place >= end:
        return max(0, min(place, end))
    with path.open("rb") as file:
        file.seek(place)
        block = file.read(min(LONGEST_WORD, end - place))
    if spaces := [offset for offset in map(block.find, _spaces()) if offset >= 0]:
        return place + min(spaces) + 1
    if len(block) < LONGEST_WORD:
        return end
    return place + next(offset for offset, byte in enumerate(block) if byte & 0xC0 != 0x80)
