"""The weights of an image classifier's first layer."""

from pathlib import Path

import keras
import numpy as np

from zoo import plotting
from zoo.errors import ZooError
from zoo.explaining import images
from zoo.layers import activations
from zoo.tasks.task import Task

ITEMS = 0


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A single row, {"layer", "filters" (h, w, C, count)}."""
    images.check_model(task)
    layer, filters = _first_filters(task.model)
    return [{"layer": layer, "filters": filters}]


def _first_filters(model: keras.Model) -> tuple[str, np.ndarray]:
    """The name of the first layer with filters on the picture, and the filters (h, w, C, count).

    The weights of a dense layer on the flattened picture are filters of the picture's size.
    """
    shape = tuple(model.input["image"].shape[1:])
    for name, layer in activations.leaves(model):
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4 and kernel.shape[2] == shape[2]:
            return name, np.array(kernel, "float32")
        if kernel is not None and len(kernel.shape) == 2 and kernel.shape[0] == np.prod(shape):
            return name, np.array(kernel, "float32").reshape(*shape, -1)
    raise ZooError(f"{model.name} has no layer with filters on the picture")


def draw(rows: list[dict], path: Path) -> None:
    (row,) = rows
    plotting.filters(row["filters"], f"{row['_name']}  {row['layer']}", path)


def line(row: dict) -> str:
    return ""
