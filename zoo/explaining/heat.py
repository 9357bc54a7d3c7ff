"""Heat maps of image classifiers: Grad-CAM and input gradients.

Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391. The gradient with respect to the pixels: Simonyan et al. 2014,
arXiv 1312.6034, averaged over noisy copies as by Smilkov et al. 2017, arXiv 1706.03825.
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.errors import ZooError, unknown
from zoo.explaining import images
from zoo.explaining.images import line
from zoo.explaining.rows import rows_of
from zoo.layers import activations
from zoo.layers.activations import Activation
from zoo.tasks.losses import CrossEntropy
from zoo.tasks.task import Task

__all__ = ["ARRAYS", "ITEMS", "draw", "explain", "line", "remark"]

ITEMS = 12
ARRAYS = ("heat", "gradient")
NOISE = 0.15  # standard deviation, as a fraction of the range from black to white (Smilkov et al.: 0.1 to 0.2)
DRAWS = 16  # noisy copies; Smilkov et al. draw 50, but with 16 the noise that remains can hardly be seen
DRAWS_PER_BATCH = 8


def explain(task: Task, items: list, errors: str, *, label: str | None = None, layer: str | None = None) -> list[dict]:
    """{"input", "label", "score", "layer", "heat" (h, w), "gradient" (h, w)} per item.

    Args:
        task: the task of an image classifier.
        items: images, as users give them.
        errors: "raise" or "return".
        label: the class to explain, by default the best answer.
        layer: the layer whose output Grad-CAM reads, by default the last convolution whose output has an extent, with
            the layers of the same shape after it.
    """
    images.check_model(task)
    if label is not None and label not in task.names():
        raise unknown(f"label of {task.model.name}", label, task.names())
    heat = functools.partial(_heat, task, label=label, layer=layer)
    return rows_of(items, errors, functools.partial(images.read, task), heat)


def _heat(task: Task, picture: tf.Tensor, label: str | None, layer: str | None) -> dict:
    """Grad-CAM and the gradient for one picture (h, w, C)."""
    image = picture[tf.newaxis]
    row, number = grad_cam(task, {"image": image}, task.size, label, layer)
    return {**row, "gradient": _gradient(task, image, number), **images.displayed(task, picture)}


def grad_cam(task: Task, inputs: dict, size: tuple[int, int], label: str | None, layer: str | None) -> tuple[dict, int]:
    """Grad-CAM (equations 1 and 2) of one item.

    Args:
        task: the task of a classifier.
        inputs: the model's inputs, a batch of one item.
        size: h and w of the heat.
        label, layer: as for `explain`.

    Returns:
        {"label", "score", "layer", "heat" (h, w)}, and the number of the class. Layer and heat are None if no layer has
        an extent.
    """
    with tf.GradientTape() as tape:
        tape.watch([value for value in inputs.values() if value.dtype.is_floating])
        outputs, recorded = activations.record(task.model, inputs)
        row, number = images.answer(task, outputs, label)
        score = _score(task, outputs["logits"], number)
    chosen = _chosen(recorded, layer, task.model.name)
    if chosen is None:
        return {**row, "layer": None, "heat": None}, number
    maps = np.array(chosen.output[0], "float32")  # A (H, W, C)
    gradients = tape.gradient(score, chosen.output, unconnected_gradients="zero")
    gradients = np.array(gradients[0], "float32")
    heat = np.maximum(maps @ gradients.mean(axis=(0, 1)), 0.0)  # relu(sum_k alpha_k A^k)
    heat = _enlarged(heat, size, chosen.stride)
    return {**row, "layer": chosen.name, "heat": heat / (heat.max() or 1.0)}, number


def _chosen(recorded: list[Activation], layer: str | None, model: str) -> Activation | None:
    """The layer for Grad-CAM: the named layer, or the last convolution with the layers of its shape that follow it."""
    if layer is None:
        stages = [stage for stage in activations.stages(recorded) if stage[0].has_kernel and stage[0].has_extent]
        convolutions = [stage for stage in stages if not stage[0].is_local]
        return convolutions[-1][-1] if convolutions else None
    by_name = {activation.name: activation for activation in recorded}
    if layer not in by_name:
        raise unknown(f"layer of {model}", layer, by_name)
    if not by_name[layer].has_extent:
        size = " x ".join(map(str, by_name[layer].output.shape[1:]))
        raise ZooError(f"layer {layer} of {model} has no extent for Grad-CAM: its output is {size}")
    return by_name[layer]


def _score(task: Task, logits: tf.Tensor, number: int) -> tf.Tensor:
    """The score to explain, (B,): the logit of the class.

    The logit of LeNet-5 of 1998 is minus a distance, whose gradient vanishes if the answer is certain. For such a model
    the score is the logit's difference from the mean of all classes, which determines the softmax as well.
    """
    loss = task.loss()
    is_softmax = isinstance(loss["logits"] if isinstance(loss, dict) else loss, CrossEntropy)
    return logits[:, number] if is_softmax else logits[:, number] - tf.reduce_mean(logits, axis=-1)


def _enlarged(small: np.ndarray, size: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """Interpolates a map (H, W) to the size of the picture (h, w), >= 0.

    The points of the map are `stride` pixels apart and centred in the picture, where the receptive fields of their
    units are centred if convolutions pad both sides equally or not at all. To stretch the map of an unpadded
    convolution over the whole picture would move the heat outwards. The map fades beyond half a stride from its outer
    points. The interpolation is cubic (Keys 1981, a = -0.5), because linear interpolation draws a cross through each
    maximum.
    """
    for axis in (0, 1):
        last = small.shape[0] - 1
        places = (np.arange(size[axis]) - (size[axis] - 1) / 2) / stride[axis] + last / 2  # (h,), in units of the map
        fade = np.clip(1.5 - np.maximum(-places, places - last), 0.0, 1.0)
        inside = np.clip(places, 0, last)
        first = np.floor(inside).astype(int)
        weights = np.zeros((size[axis], last + 1))
        for point in (first - 1, first, first + 1, first + 2):  # beyond its outer points the map goes on as it ends
            np.add.at(weights, (np.arange(size[axis]), np.clip(point, 0, last)), _cubic(np.abs(inside - point)))
        small = ((fade[:, np.newaxis] * weights) @ small).T
    return np.maximum(small, 0.0)


def _cubic(x: np.ndarray) -> np.ndarray:
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _gradient(task: Task, image: tf.Tensor, number: int) -> np.ndarray:
    """(h, w): the magnitude of the score's gradient, its maximum over channels, averaged over noisy copies."""
    deviation = NOISE * abs(task.settings.high - task.settings.low)
    noise = tf.random.stateless_normal((DRAWS, *image.shape[1:]), seed=(0, 0), stddev=deviation)
    total = 0.0
    for part in tf.split(noise, DRAWS // DRAWS_PER_BATCH):
        noisy = image + part  # (8, h, w, C)
        with tf.GradientTape() as tape:
            tape.watch(noisy)
            scores = _score(task, task.model({"image": noisy}, training=False)["logits"], number)
        total += np.abs(tape.gradient(scores, noisy)).max(axis=-1).sum(axis=0)
    return total / DRAWS


def draw(rows: list[dict], path: Path) -> None:
    plotting.heat([row["_picture"] for row in rows], rows, [images.title(row) for row in rows], path)


def remark(rows: list[dict], name: str) -> str | None:
    if any("error" not in row and row["layer"] is None for row in rows):
        return f"no layer of {name} has an extent: gradients alone, no Grad-CAM"
    return None
