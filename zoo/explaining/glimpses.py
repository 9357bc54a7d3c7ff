"""Glimpses: the parts of an image that a model looks at, in their order (Mnih et al. 2014, arXiv 1406.6247, Figure 3).

For models with the output `policy` (B, glimpses, ...), whose first two columns are the locations, and with a layer
`glimpse_sensor` that has the attributes `patch` and `scales`.
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.explaining import images
from zoo.explaining.images import line
from zoo.explaining.rows import rows_of
from zoo.tasks.task import Task

__all__ = ["ITEMS", "draw", "explain", "line"]

ITEMS = 12


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """{"input", "label", "score", "locations", "widths"} per item.

    Locations are pairs of the row and the column of the centre of each glimpse, in pixels of the model's input, where
    the upper left corner of the image is (0, 0). Widths are those of the square patches of every glimpse, in pixels.
    """
    images.check_model(task)
    return rows_of(items, errors, functools.partial(images.read, task), functools.partial(_glimpses, task))


def _glimpses(task: Task, image: tf.Tensor) -> dict:
    """The glimpses of an image (h, w, C)."""
    outputs, sensor = task.outputs({"image": image[tf.newaxis]}), task.model.get_layer("glimpse_sensor")
    places = np.array(outputs["policy"][0, :, :2])  # (glimpses, 2), from -1 to 1
    return {
        **images.answer(task, outputs)[0],
        "locations": ((places + 1.0) / 2.0 * task.size).tolist(),
        "widths": [sensor.patch * 2**scale for scale in range(sensor.scales)],
        **images.displayed(task, image),
    }


def draw(rows: list[dict], path: Path) -> None:
    plotting.glimpses([row["_picture"] for row in rows], rows, [images.title(row) for row in rows], path)
