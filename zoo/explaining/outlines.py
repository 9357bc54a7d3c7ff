"""Outlines: the edges of the classes of a segmentation over the picture."""

import functools
import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo import plotting
from zoo.errors import InputError
from zoo.explaining.rows import rows_of, shortened
from zoo.preprocessing import image_files
from zoo.tasks.task import Task

__all__ = ["ARRAYS", "ITEMS", "draw", "explain", "line"]

ITEMS = 4
ARRAYS = ("mask",)


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """{"input", "classes", "mask" (H, W)} per item: labels with their fractions of the pixels, and class numbers."""
    task.check_complete()
    return rows_of(items, errors, functools.partial(_answered, task, task.single()), lambda row: row)


def _answered(task: Task, answer, item) -> dict:
    encoded = task.encode(item)
    outputs = answer(encoded)
    if outputs["error"]:
        raise InputError(outputs["error"].decode())
    row = task.to_python(outputs)
    mask = np.asarray(Image.open(io.BytesIO(row["mask"])))
    picture = image_files.read(tf.constant(encoded["image_bytes"])).numpy() / 255.0
    return {**row, "mask": mask, "_picture": picture}


def draw(rows: list[dict], path: Path) -> None:
    pictures, masks = [row["_picture"] for row in rows], [row["mask"] for row in rows]
    plotting.outlines(pictures, masks, [_texts(row) for row in rows], [shortened(row["input"]) for row in rows], path)


def line(row: dict) -> str:
    return f"{row['input']}: {', '.join(_texts(row))}"


def _texts(row: dict) -> list[str]:
    return [f"{own['label']} {own['fraction']:.1%}" for own in row["classes"]]
