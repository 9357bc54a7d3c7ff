"""The features of a sound over time, under the heat of a class: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391)."""

import functools
from pathlib import Path

import numpy as np

from zoo import plotting
from zoo.errors import InputError, unknown
from zoo.explaining import images
from zoo.explaining.heat import grad_cam
from zoo.explaining.images import line
from zoo.explaining.rows import rows_of
from zoo.tasks.task import Task

__all__ = ["ARRAYS", "ITEMS", "draw", "explain", "line"]

ITEMS = 6
ARRAYS = ("heat", "features")


def explain(task: Task, items: list, errors: str, *, label: str | None = None, layer: str | None = None) -> list[dict]:
    """{"input", "label", "score", "layer", "heat" (N, M), "features" (N, M)} per item.

    N are frames and M the mel filters or cepstra, of which `features` has the normalized values, without differences.

    Args:
        task: the task of a sound classifier.
        items: sounds, as users give them.
        errors: "raise" or "return".
        label: the class to explain, by default the best answer.
        layer: the layer whose output Grad-CAM reads, by default the last convolution.
    """
    images.check_model(task)
    if label is not None and label not in task.names():
        raise unknown(f"label of {task.model.name}", label, task.names())
    heat = functools.partial(_heat, task, label=label, layer=layer)
    return rows_of(items, errors, functools.partial(_read, task), heat)


def _read(task: Task, item) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)]))
    if text := error[0].numpy().decode():
        raise InputError(text)
    return {"frames": inputs["frames"][:, : inputs["frame_count"][0]], "frame_count": inputs["frame_count"]}


def _heat(task: Task, inputs: dict, label: str | None, layer: str | None) -> dict:
    settings = task.front_end.settings
    features = np.array(inputs["frames"][0, :, : settings.cepstra or settings.filters])  # (N, M)
    row, _ = grad_cam(task, inputs, features.shape, label, layer)
    seconds = [task.front_end.time_of(frame - 0.5) for frame in (0, len(features))]
    return {**row, "features": features, "_seconds": seconds}


def draw(rows: list[dict], path: Path) -> None:
    plotting.spectrograms(rows, [images.title(row) for row in rows], path)
