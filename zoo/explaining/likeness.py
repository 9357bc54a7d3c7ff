"""Likeness of two faces: their distance, and the parts of each that bring them nearer.

A square is covered with the mean grey of the face, place by place, and the distance to the other face is measured
again: Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.errors import InputError, ZooError
from zoo.explaining import images
from zoo.explaining.rows import rows_of, shortened
from zoo.tasks.task import Task

__all__ = ["ARRAYS", "ITEMS", "draw", "explain", "line"]

ITEMS = 2
ARRAYS = ("heat",)
PART = 6  # the side of a square is this part of the shorter side of a face
BATCH = 16


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """{"input", "other", "distance", "same", "heat" (h, w)} for each of two faces.

    Positive heat means that covering the place moves the faces apart: it speaks for the same person.
    """
    task.check_complete()
    if len(items) != ITEMS:
        raise ZooError(f"kind='likeness' compares two pictures, got {len(items)}")
    answer = task.single()

    def read(item):
        image = images.read(task, item)  # raises InputError for a bad item
        outputs = answer(task.encode(item))
        if outputs["error"]:
            raise InputError(outputs["error"].decode())
        return image, task.to_python(outputs)

    rows = rows_of(items, errors, read, lambda value: {"_image": value[0], "_answer": value[1]})
    if any("error" in row for row in rows):
        alone = "the other picture can't be read, so it is compared with nothing"
        return [row if "error" in row else {"input": row["input"], "error": alone} for row in rows]
    return [_row(task, own, other) for own, other in (rows, rows[::-1])]


def _row(task: Task, own: dict, other: dict) -> dict:
    facts = task.compared(own["_answer"], other["_answer"])
    return {
        "input": own["input"],
        "other": other["input"],
        **facts,
        "heat": occlusion(task, own["_image"], other["_image"]),
        "_picture": task.displayed(own["_image"]),
        "_verdict": task.comparison(facts),
    }


def occlusion(task: Task, image: tf.Tensor, other: tf.Tensor) -> np.ndarray:
    """The mean change of the distance over the squares that cover a pixel, (h, w).

    Args:
        task: with a model of embeddings.
        image: the face that is covered, as the model sees it, (h, w, C).
        other: the face to which the distance is measured, (h, w, C).
    """
    height, width = image.shape[:2]
    side = max(1, min(height, width) // PART)
    places = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    masks = np.zeros((len(places), height, width, 1), "float32")
    for mask, (top, left) in zip(masks, places, strict=True):
        mask[top : top + side, left : left + side] = 1.0
    point = _points(task, other[tf.newaxis])
    grey, before = tf.reduce_mean(image), np.linalg.norm(_points(task, image[tf.newaxis]) - point, axis=1)
    changes = []
    for begin in range(0, len(masks), BATCH):
        own = masks[begin : begin + BATCH]
        covered = image * (1.0 - own) + grey * own
        changes.append(np.linalg.norm(_points(task, covered) - point, axis=1) - before)
    changes = np.concatenate(changes)
    return np.einsum("n,nhw->hw", changes, masks[..., 0]) / masks[..., 0].sum(axis=0)


def _points(task: Task, pictures) -> np.ndarray:
    """(B, h, w, C) -> embeddings (B, D)."""
    return task.model({"image": pictures}, training=False)["embeddings"].numpy()


def _starts(length: int, side: int) -> list[int]:
    """Starts of squares that overlap by half and reach both ends."""
    return sorted({*range(0, length - side, max(1, side // 2)), length - side})


def draw(rows: list[dict], path: Path) -> None:
    titles = [shortened(row["input"]) for row in rows]
    pictures, heats = [row["_picture"] for row in rows], [row["heat"] for row in rows]
    plotting.likeness(pictures, heats, titles, rows[0]["_verdict"], path)


def line(row: dict) -> str:
    verdict = "the same person as" if row["same"] else "another person than"
    return f"{row['input']}: {verdict} {row['other']}, distance {row['distance']:.3f}"
