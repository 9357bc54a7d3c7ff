"""Boxes: the objects of an image, with their labels and probabilities, drawn on the image."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import overlays
from zoo.errors import InputError
from zoo.explaining.rows import rows_of, shortened
from zoo.preprocessing import image as image_ops
from zoo.preprocessing import image_files
from zoo.tasks.outputs.objects import counted
from zoo.tasks.task import Task

ITEMS = 12
LONGEST = 1600  # pixels of the longer side of a drawn image


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """{"input", "objects"} per item: the answer."""
    task.check_complete()
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_found, task, task.single()))


def _read(task: Task, item) -> dict:
    """The encoded item; raises InputError for a bad one."""
    encoded = task.encode(item)
    if error := image_files.header_error(encoded["image_bytes"]).numpy().decode():
        raise InputError(error)
    try:
        image_files.read(encoded["image_bytes"])
    except tf.errors.InvalidArgumentError:
        raise InputError(task.damaged(encoded).numpy().decode()) from None
    return encoded


def _found(task: Task, answer, encoded: dict) -> dict:
    pixels = tf.cast(image_files.read(encoded["image_bytes"]), tf.float32) / 255.0
    picture = np.clip(image_ops.reduce(pixels, LONGEST), 0.0, 1.0)
    row = task.to_python(answer(encoded))
    return {**row, "_picture": picture, "_scale": picture.shape[1] / pixels.shape[1]}


def draw(rows: list[dict], path: Path) -> None:
    scaled = [
        [{**each, "box": [value * row["_scale"] for value in each["box"]]} for each in row["objects"]] for row in rows
    ]
    titles = [f"{shortened(row['input'])}\n{counted(row['objects'])}" for row in rows]
    overlays.boxes([row["_picture"] for row in rows], scaled, titles, path)


def line(row: dict) -> str:
    return f"{row['input']}: {counted(row['objects'])}"
