"""Folders of drawn pictures with boxes, in the formats of PASCAL VOC and COCO. Imports nothing of zoo."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"disc": (200, 40, 40), "square": (40, 60, 200)}
Row = tuple[str, float, float, float, float]  # class, xmin, ymin, xmax, ymax


def draw_scene(number: int, size: tuple[int, int] = (48, 36), most: int = 3) -> tuple[Image.Image, list[Row]]:
    """A picture of one to `most` discs and squares of 10 to 16 pixels on a grey ground, and their boxes in pixels."""
    random = np.random.default_rng(number)
    picture = Image.new("RGB", size, (190, 190, 190))
    canvas, rows = ImageDraw.Draw(picture), []
    for _ in range(random.integers(1, most + 1)):
        label, side = random.choice([*COLOURS]), int(random.integers(10, 17))
        left, top = (int(random.integers(0, length - side)) for length in size)
        draw = canvas.ellipse if label == "disc" else canvas.rectangle
        draw((left, top, left + side - 1, top + side - 1), fill=COLOURS[label])
        rows.append((str(label), left, top, left + side, top + side))
    return picture, rows


def voc(size: tuple[int, int], rows: list[Row]) -> str:
    """An annotation in the format of PASCAL VOC."""
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for label, x0, y0, x1, y1 in rows
    )
    width, height = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def write_voc(folder: Path, count: int = 20, first: int = 0) -> Path:
    """Pictures 0.png ... in JPEGImages, and their annotations in Annotations."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        picture, rows = draw_scene(number)
        picture.save(folder / "JPEGImages" / f"{number}.png")
        (folder / "Annotations" / f"{number}.xml").write_text(voc(picture.size, rows))
    return folder


def write_coco(folder: Path, count: int = 20, first: int = 0, file: str = "annotations.json") -> Path:
    """Pictures 0.png ... and a file with all annotations; its categories have numbers from 3."""
    folder.mkdir(parents=True, exist_ok=True)
    names, images, annotations = {"unused": 3, "square": 4, "disc": 7}, [], []
    for number in range(first, first + count):
        picture, rows = draw_scene(number)
        picture.save(folder / f"{number}.png")
        images.append({"id": 100 + number, "file_name": f"{number}.png", "width": 48, "height": 36})
        for label, x0, y0, x1, y1 in rows:
            box = {"id": len(annotations), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            annotations.append({**box, "image_id": 100 + number, "category_id": names[label], "iscrowd": 0})
    categories = [{"id": number, "name": name} for name, number in names.items()]
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder
