"""The outputs of an image classifier's layers for one image: feature maps (LeCun, Bengio & Hinton 2015, Figure 2)."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting, registry
from zoo.explaining import images
from zoo.explaining.images import line
from zoo.explaining.rows import rows_of
from zoo.layers import activations
from zoo.tasks.task import Task

__all__ = ["ITEMS", "draw", "explain", "line"]

ITEMS = 1
LAYERS = 8  # the most in one picture


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """{"input", "label", "score", "layers": {name: output without its batch axis}} per item."""
    images.check_model(task)
    return rows_of(items, errors, functools.partial(images.read, task), functools.partial(_layers, task))


def _layers(task: Task, image: tf.Tensor) -> dict:
    """The outputs of a few stages of the model, from the first to the last, for an image (h, w, C)."""
    outputs, recorded = activations.record(task.model, {"image": image[tf.newaxis]})
    # Stages that only flatten or average are left out.
    stages = [
        stage
        for stage in activations.stages(recorded)
        if stage[0].has_extent or any(activation.has_weights for activation in stage)
    ]
    stages.sort(key=lambda stage: registry.is_head(stage[-1].name))  # last, even if the model has layers beside it
    places = np.unique(np.linspace(0, len(stages) - 1, LAYERS).round().astype(int))
    ends = [stages[place][-1] for place in places]
    arrays = {activation.name: np.array(activation.output[0], "float32") for activation in ends}
    return {**images.answer(task, outputs)[0], "layers": arrays, **images.displayed(task, image)}


def draw(rows: list[dict], path: Path) -> None:
    (row,) = rows
    plotting.feature_maps(row["_picture"], row["layers"], images.title(row), path)
