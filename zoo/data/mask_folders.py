"""A layout of a user's own files: a folder of pictures, and a folder of masks with the class of each pixel."""

import contextlib
import dataclasses
import functools
import io
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.data.layouts import _DIVIDED, _PARTS, _fingerprint, _part
from zoo.data.source import Source
from zoo.errors import NoSplitError, ZooError

VOID = 255  # in a mask: a pixel without a class
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")  # formats without losses
Image.init()


class Pair(NamedTuple):
    """A picture and its mask: a page of two files; the only page of most files is 0."""

    image: str
    mask: str
    page: int


class Classes(NamedTuple):
    """The names of the classes, and their colours in the masks: (classes, 3) uint8, or None for class numbers."""

    labels: list[str]
    colours: np.ndarray | None
    is_binary: bool  # the masks are black and white: 255 is class 1


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """A folder with the subfolders `images` and `masks`, whose files have the same names up to their suffixes.

    A mask has the size of its picture, and a class number at each pixel: a grey value, or an index of its palette. The
    number 255 is a pixel without a class; but if all masks are black and white, black is class 0 and white class 1. A
    file `classes.txt` names the classes, one per line; without it their names are their numbers. If each line has a
    colour after a tab, such as #ff0000, masks are read by their colours. A black pixel has no class then, unless
    black is the colour of a class.

    The pages of a TIFF file with several pages are pictures of their own, and those of its mask are their masks. Such a
    stack is divided into blocks of successive pages, because neighbouring pages resemble each other.

    If the subfolders are train and any of validation (or val, valid) and test, each with images and masks, they are the
    splits.

    Args:
        suffixes: suffixes of the files of pictures, in lower case.
    """

    suffixes: frozenset[str]
    file_suffix: ClassVar[str | None] = None

    def open(self, path: Path, split: str) -> Source:
        if not path.is_dir():
            raise ZooError(f"{path} is not a folder; expected a folder with the subfolders images and masks")
        folders = _splits(path)
        known = [*folders, "all"] if folders else [*_PARTS]
        if split not in known:
            raise NoSplitError(f"the folder {path} has no split {split!r}; it has {', '.join(known)}")
        every = {part: self._pairs(folder) for part, folder in (folders or {"all": path}).items()}
        classes = _classes(path, [pair for pairs in every.values() for pair in pairs])
        if folders:
            pairs = [pair for part, own in every.items() if split in (part, "all") for pair in own]
            rows = [(str(folders[part]), 0.0, 1.0) for part in every if split in (part, "all")]
        else:
            pairs, rows = _divided(every["all"], split), [(str(path), *_PARTS[split])]
        if not pairs:
            raise ZooError(f"{path} has too few pictures for the split {split!r}: {sum(map(len, every.values()))}")
        columns = {name: list(values) for name, values in zip(Pair._fields, zip(*pairs, strict=True), strict=True)}
        stubs = tf.data.Dataset.from_tensor_slices({"file": columns["image"], **columns})

        def load(stub):
            image = tf.numpy_function(_image, [stub["image"], stub["page"]], tf.string, stateful=False)
            read_mask = functools.partial(_encoded_mask, classes)
            mask = tf.numpy_function(read_mask, [stub["mask"], stub["page"]], tf.string, stateful=False)
            return {"file": stub["file"], "image": tf.ensure_shape(image, ()), "mask": tf.ensure_shape(mask, ())}

        mark = _fingerprint(part for pair in pairs for part in (os.path.relpath(pair.image, path), str(pair.page)))
        return Source(
            str(path), "", split, len(pairs), classes.labels, stubs, load, "the folder's own", rows, mark, is_files=True
        )

    def _pairs(self, path: Path) -> list[Pair]:
        """The pictures and masks of a folder in the order of their names, their sizes checked."""
        images, masks = path / "images", path / "masks"
        if not (images.is_dir() and masks.is_dir()):
            raise ZooError(f"{path} needs the subfolders images and masks, with files of the same names")
        known = {(file.stem, file.suffix.lower()): file for file in sorted(masks.iterdir()) if file.is_file()}
        pairs = []
        for image in sorted(images.iterdir()):
            if image.suffix.lower() not in self.suffixes or image.name.startswith("."):
                continue
            mask = next((known[image.stem, suffix] for suffix in MASK_SUFFIXES if (image.stem, suffix) in known), None)
            if mask is None:
                raise ZooError(f"{image} has no mask: expected {masks / image.stem}.png, or .tif")
            pairs += _checked_pages(image, mask)
        if not pairs:
            raise ZooError(f"{images} has no pictures")
        return pairs


def _splits(path: Path) -> dict[str, Path]:
    """The folders of the splits of a folder that is divided already; empty for others."""
    found: dict[str, Path] = {}
    for name, split in _DIVIDED.items():
        if (path / name).is_dir():
            if split in found:
                raise ZooError(f"{path} has {found[split].name} and {name}, which are the same split: keep one of them")
            found[split] = path / name
    return found if "train" in found else {}


def _divided(pairs: list[Pair], split: str) -> list[Pair]:
    """The pairs of a split: single pictures at random, stacks in blocks of successive pages."""
    stacks: dict[str, list[Pair]] = {}
    for pair in pairs:
        stacks.setdefault(pair.image, []).append(pair)
    singles = [own[0] for own in stacks.values() if len(own) == 1]
    random.Random(0).shuffle(singles)
    return _part(singles, split) + [pair for own in stacks.values() if len(own) > 1 for pair in _part(own, split)]


def _checked_pages(image: Path, mask: Path) -> list[Pair]:
    """The pages of two files; raises ZooError if they differ in number or size."""
    sizes = [_sizes(str(file), file.stat().st_mtime_ns) for file in (image, mask)]
    if len(sizes[0]) != len(sizes[1]):
        raise ZooError(f"{image} has {len(sizes[0])} pages, but its mask {mask} has {len(sizes[1])}")
    for page, (own, other) in enumerate(zip(*sizes, strict=True)):
        if own != other:
            where = f", page {page}," if len(sizes[0]) > 1 else ""
            raise ZooError(
                f"{image}{where} is {own[0]} x {own[1]} pixels, but its mask {mask} is {other[0]} x {other[1]}: a mask "
                "must have the size of its picture"
            )
    return [Pair(str(image), str(mask), page) for page in range(len(sizes[0]))]


@functools.lru_cache(100_000)
def _sizes(file: str, changed: int) -> list[tuple[int, int]]:
    """(width, height) of each page, upright; `changed`, the time of the last change, is part of the cache's key."""
    with _reading(file), _opened(file) as picture:
        pages = picture.n_frames if picture.format == "TIFF" else 1
        sizes = []
        for page in range(pages):
            picture.seek(page)
            is_turned = picture.format != "TIFF" and picture.getexif().get(0x0112, 1) >= 5
            sizes.append((picture.height, picture.width) if is_turned else picture.size)
        return sizes


def _opened(file: str) -> Image.Image:
    try:
        return Image.open(file, formats=[name for name in Image.OPEN if name != "EPS"])  # EPS is a program
    except Exception as error:  # Pillow raises all kinds of exceptions
        raise ZooError(f"{file} is not an image that can be read: {' '.join(str(error).split())[:80]}") from None


@contextlib.contextmanager
def _reading(file: str) -> Iterator[None]:
    """Names the file in the errors of its content."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # Pillow raises all kinds of exceptions
        raise ZooError(f"{file} can't be read: {' '.join(str(error).split())[:80]}; repair or remove it") from None


def _classes(path: Path, pairs: list[Pair]) -> Classes:
    """The classes of the masks of a folder, by its file classes.txt or by the values of all masks.

    Raises:
        ZooError: classes.txt is wrong, or a mask has a class or colour that it does not name.
    """
    file = path / "classes.txt"
    labels, colours = _named_classes(file) if file.is_file() else (None, None)
    first: dict[int, str] = {}  # value of a pixel -> the first mask that has it
    for pair in pairs:
        for value in _values(pair.mask, pair.page, Path(pair.mask).stat().st_mtime_ns, colours is not None):
            first.setdefault(value, pair.mask)
    if colours is not None:
        known = {_packed(colour) for colour in colours} | {0}
        if others := sorted({*first} - known):
            raise ZooError(
                f"{first[others[0]]} has the colour #{others[0]:06x}, which is not in {file}: add its class, or "
                "correct the mask"
            )
        return Classes(labels, colours, False)
    is_binary = {*first} <= {0, VOID} and VOID in first and (labels is None or len(labels) == 2)
    if is_binary:
        return Classes(labels or ["0", "1"], None, True)
    highest = max((value for value in first if value != VOID), default=0)
    if labels is not None and highest >= len(labels):
        raise ZooError(
            f"{first[highest]} has the class number {highest}, but {file} names {len(labels)} classes, 0 to "
            f"{len(labels) - 1}"
        )
    if labels is None and highest < 1:
        raise ZooError(f"{path}: its masks have one class only; a mask needs class numbers, such as 0 and 1")
    return Classes(labels or [str(number) for number in range(highest + 1)], None, False)


def _named_classes(file: Path) -> tuple[list[str], np.ndarray | None]:
    """Names and colours of the lines of classes.txt; None if no line has a colour."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ZooError(f"{file}: byte {error.start:,} is not UTF-8; save the file in this encoding") from None
    rows = [line.split("\t") for line in lines if line.strip()]
    labels, colours = [row[0].strip() for row in rows], [row[1].strip() for row in rows if len(row) > 1]
    if len({*labels}) < max(2, len(labels)):
        raise ZooError(f"{file} must name two or more different classes, one per line")
    if colours and (len(colours) < len(labels) or not all(re.fullmatch("#[0-9a-fA-F]{6}", each) for each in colours)):
        raise ZooError(f"{file}: every line, or none, must have a colour such as #ff0000 after the name and a tab")
    if len({colour.lower() for colour in colours}) < len(colours):
        raise ZooError(f"{file}: two classes have the same colour")
    if not colours:
        return labels, None
    return labels, np.array([[*bytes.fromhex(colour[1:])] for colour in colours], "uint8")


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 -> (...), one number each."""
    return pixels.astype("int32") @ np.array([1 << 16, 1 << 8, 1], "int32")


def _mask(file: str, page: int, is_coloured: bool) -> np.ndarray:
    """A mask as grey values or indices of its palette, (H, W) uint8; with is_coloured as packed colours."""
    with _opened(file) as picture:
        picture.seek(page)
        if is_coloured:
            return _packed(np.asarray(picture.convert("RGB")))
        if picture.mode == "1":
            return np.asarray(picture).astype("uint8") * VOID
        values = np.asarray(picture)
    if values.ndim != 2:
        raise ZooError(f"{file} is a mask in colours: name the classes and their colours in classes.txt")
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):  # also if one is not a number
        raise ZooError(f"{file} has values that are not integers: class numbers must be 0 to 254, and {VOID} for none")
    if others := [value for value in (values.max(initial=0), values.min(initial=0)) if not 0 <= value <= VOID]:
        raise ZooError(f"{file} has the class number {others[0]}: class numbers must be 0 to 254, and {VOID} for none")
    return values.astype("uint8")


@functools.lru_cache(100_000)
def _values(file: str, page: int, changed: int, is_coloured: bool) -> tuple[int, ...]:
    """The different values of a mask."""
    with _reading(file):
        return tuple(np.unique(_mask(file, page, is_coloured)).tolist())


def _encoded_mask(classes: Classes, file, page) -> bytes:
    """A mask as a PNG of class numbers; the arguments come from a graph."""
    values = _mask(os.fsdecode(np.asarray(file).item()), int(page), classes.colours is not None)
    if classes.colours is not None:
        packed = _packed(classes.colours)
        order = np.argsort(packed)
        place = order[np.clip(np.searchsorted(packed[order], values), 0, len(order) - 1)]
        values = np.where(packed[place] == values, place, VOID).astype("uint8")
    elif classes.is_binary:
        values = (values == VOID).astype("uint8")
    return _png(Image.fromarray(values))


def _image(file, page) -> bytes:
    """The content of a file of a picture; a page of a stack as a PNG. The arguments come from a graph."""
    path = os.fsdecode(np.asarray(file).item())
    if page == 0 and len(_sizes(path, Path(path).stat().st_mtime_ns)) == 1:
        return Path(path).read_bytes()
    with _opened(path) as picture:
        picture.seek(int(page))
        is_plain = picture.mode.startswith(("L", "I;16"))
        return _png(picture if is_plain else picture.convert("L" if picture.mode == "1" else "RGB"))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
