"""Pictures with boxes around their objects: annotations in the formats of PASCAL VOC and COCO, and layouts of folders.

PASCAL VOC has an XML file per picture (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4), COCO a JSON file for all
pictures (Lin et al. 2014, arXiv 1405.0312). Boxes become fractions of the picture, in the order ymin, xmin, ymax, xmax
of TensorFlow Datasets.
"""

import dataclasses
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from zoo.errors import ZooError

LISTED = 5  # items that a message names


class Object(NamedTuple):
    """An object of a picture: its class, and its box in pixels."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclasses.dataclass
class Picture:
    """The annotation of a picture.

    Args:
        name: the file name, for COCO also with folders; for VOC that of the annotation without its suffix.
        width, height: pixels.
        objects: in the order of the annotation.
        where: the file of the annotation, for messages.
    """

    name: str
    width: int
    height: int
    objects: list[Object]
    where: Path


def read_voc(path: Path) -> Picture:
    """The annotation of one picture in the format of PASCAL VOC.

    Raises:
        ZooError: the file is not such an annotation; the message names it and what is missing.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise ZooError(f"{path} is not an XML file: {error}") from None

    def number(element, place: str) -> float:
        text = element.findtext(place)
        value = _finite(text)
        if value is None:
            raise ZooError(f"{path}: {place} must be a number, got {text!r}")
        return value

    width, height = (_size(path, side, root.findtext(f"size/{side}")) for side in ("width", "height"))
    objects = [
        Object(
            (element.findtext("name") or "").strip(),
            *(number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")),
        )
        for element in root.iter("object")
    ]
    if any(not each.label for each in objects):
        raise ZooError(f"{path}: an object has no name")
    return Picture(path.stem, width, height, objects, path)


def read_coco(path: Path) -> list[Picture]:
    """The annotations of all pictures in the format of COCO. Boxes of crowds are left out.

    Raises:
        ZooError: the file is not such an annotation; the message names it and what is missing.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise ZooError(f"{path} must be a JSON object with images, annotations and categories")
    names: dict[Any, str] = {}
    pictures: dict[Any, Picture] = {}
    for row in _entries(path, content, "categories", ("id", "name")):
        names[row["id"]] = str(row["name"])
    for row in _entries(path, content, "images", ("id", "file_name")):
        if row["id"] in pictures:
            first = pictures[row["id"]].name
            raise ZooError(f"{path}: {first} and {row['file_name']} have the same id, {row['id']!r}")
        width, height = (_size(path, side, row.get(side)) for side in ("width", "height"))
        pictures[row["id"]] = Picture(str(row["file_name"]), width, height, [], path)
    for row in _entries(path, content, "annotations", ("image_id", "category_id", "bbox")):
        if row.get("iscrowd"):
            continue
        where = f"{path}: the annotation {row.get('id')}"
        for key, known in (("image_id", pictures), ("category_id", names)):
            if row[key] not in known:
                raise ZooError(f"{where} has the {key} {row[key]!r}, which does not exist")
        box = [_finite(value) for value in row["bbox"]] if isinstance(row["bbox"], list) else []
        if len(box) != 4 or None in box:
            wanted = "a bbox of four numbers: left, top, width and height"
            raise ZooError(f"{where} needs {wanted}, got {str(row['bbox'])[:60]}")
        left, top, width, height = box
        found = Object(names[row["category_id"]], left, top, left + width, top + height)
        pictures[row["image_id"]].objects.append(found)
    return list(pictures.values())


def _entries(path: Path, content: dict, name: str, keys: tuple[str, ...]) -> list[dict]:
    """A list of a COCO file, its entries checked: each has the keys, and numbers or texts as ids."""
    rows = content[name]
    if not isinstance(rows, list):
        raise ZooError(f"{path}: {name} must be a list, got {str(rows)[:60]}")
    for place, row in enumerate(rows):
        where = f"{path}: {name}[{place}]"
        if not isinstance(row, dict):
            raise ZooError(f"{where} must be an object with {', '.join(keys)}, got {str(row)[:60]}")
        for key in keys:
            if key not in row:
                raise ZooError(f"{where} has no {key}")
            if key.endswith("id") and not isinstance(row[key], (int, float, str)):
                raise ZooError(f"{where}: {key} must be a number or a text, got {str(row[key])[:60]}")
    return rows


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _size(path: Path, side: str, value: Any) -> int:
    number = _finite(value)
    if number is None or number < 1:
        raise ZooError(f"{path}: the {side} of a picture must be an integer >= 1, got {value!r}")
    return int(number)


def within(pictures: Iterable[Picture], warn: bool = True) -> list[Picture]:
    """Pictures whose boxes all lie inside them and have an area.

    A box that reaches over the border is cut to the picture. A box that has no area then is left out. A warning counts
    both and lists the first of them.
    """
    kept, cut, empty = [], [], []
    for picture in pictures:
        objects = []
        for each in picture.objects:
            xmin, xmax = (min(max(value, 0.0), float(picture.width)) for value in (each.xmin, each.xmax))
            ymin, ymax = (min(max(value, 0.0), float(picture.height)) for value in (each.ymin, each.ymax))
            inside = each._replace(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
            if xmax <= xmin or ymax <= ymin:
                empty.append((picture, each))
                continue
            if inside != each:
                cut.append((picture, each))
            objects.append(inside)
        kept.append(dataclasses.replace(picture, objects=objects))
    total = sum(len(picture.objects) for picture in kept) + len(empty)
    if warn and empty:
        warnings.warn(
            f"{len(empty):,} of {total:,} boxes have no area inside their picture and are left out: {_listed(empty)}",
            stacklevel=5,
        )
    if warn and cut:
        warnings.warn(
            f"{len(cut):,} of {total:,} boxes reach over the border of their picture and are cut: {_listed(cut)}",
            stacklevel=5,
        )
    return kept


def _listed(boxes: list[tuple[Picture, Object]]) -> str:
    texts = [
        f"{picture.name}: {each.label} {each.xmin:g} {each.ymin:g} {each.xmax:g} {each.ymax:g} in "
        f"{picture.width} x {picture.height}"
        for picture, each in boxes[:LISTED]
    ]
    return "; ".join(texts) + (f" and {len(boxes) - LISTED:,} more" if len(boxes) > LISTED else "")


def check_size(picture: Picture, file: Path) -> None:
    """Raises ZooError if a picture's file has another size than its annotation says: the boxes would be wrong."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            width, height = opened.size
            is_turned = opened.getexif().get(0x0112, 1) >= 5 and opened.format != "TIFF"
    except (OSError, Image.DecompressionBombError):
        return  # reading reports it
    if is_turned:
        width, height = height, width
    if (width, height) != (picture.width, picture.height):
        raise ZooError(
            f"{file} has {width} x {height} pixels, but {picture.where} says {picture.width} x {picture.height}: "
            "the boxes would be at wrong places; correct the size, and the boxes with it"
        )


def fractions(picture: Picture) -> np.ndarray:
    """The boxes of a picture as fractions of it, (M, 4) float32: ymin, xmin, ymax, xmax."""
    boxes = [
        (each.ymin / picture.height, each.xmin / picture.width, each.ymax / picture.height, each.xmax / picture.width)
        for each in picture.objects
    ]
    return np.array(boxes, "float32").reshape(-1, 4)
