"""Reach: how far back a language model looks, as the gradient of its predictions by distance.

LeCun, Bengio & Hinton 2015, "Recurrent neural networks": gradients shrink or grow at every step, so that they vanish or
explode over many steps; Hochreiter & Schmidhuber 1997 and Bengio et al. 1994 (IEEE Transactions on Neural Networks 5).
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.errors import InputError
from zoo.explaining import surprise
from zoo.explaining.rows import rows_of
from zoo.layers import activations
from zoo.tasks.task import Task

ITEMS = 4
LONGEST = 200  # tokens; of a longer text, the last ones
ROWS = 32  # predictions whose gradients are computed together


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per text.

    Returns:
        {"input", "gradient"}: for the distances 0, 1, ... in tokens, the norm of the gradient of a token's log
        probability with respect to the vector of the token at this distance before the last one that the model read,
        averaged over the tokens of the text, and divided by the value at distance 0.
    """
    return rows_of(items, errors, functools.partial(read, task), functools.partial(_looked, task))


def read(task: Task, item) -> tf.Tensor:
    """A text -> its tokens after the start token, (T + 1,)."""
    _, numbers = surprise.read(task, item)
    if len(numbers) < 3:
        raise InputError("a text of one token: give at least two")
    return numbers


def _looked(task: Task, numbers: tf.Tensor) -> dict:
    mean = np.nanmean(by_distance(task, numbers[-LONGEST - 1 :]), axis=0)
    return {"gradient": (mean / max(mean[0], 1e-30)).tolist()}


def by_distance(task: Task, numbers: tf.Tensor) -> np.ndarray:
    """(T + 1,) tokens -> (T, T): the norm of the gradient of prediction t at distance d; NaN before the text."""
    count = len(numbers) - 1
    norms = []
    for begin in range(0, count, ROWS):
        places = tf.range(begin, min(begin + ROWS, count))
        target = tf.repeat(numbers[tf.newaxis, :-1], len(places), axis=0)  # (R, T): a copy for each prediction
        with tf.GradientTape() as tape:
            outputs, recorded = activations.record(task.model, task.model.whole({"target": target}))
            logits = tf.gather(outputs["logits"], places, batch_dims=1)
            wanted = tf.gather(numbers, places + 1)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, tf.cast(logits, tf.float32))
        vectors = next(each.output for each in recorded if each.name == task.model.target_embedding.name)
        gradients = tape.gradient(losses, vectors, unconnected_gradients="zero")
        norms.append(tf.norm(tf.cast(gradients, tf.float32), axis=-1)[:, -count:].numpy())
    norms = np.concatenate(norms)
    return np.array([np.append(row[t::-1], [np.nan] * (count - 1 - t)) for t, row in enumerate(norms)])


def draw(rows: list[dict], path: Path) -> None:
    plotting.reaches({row["input"]: row["gradient"] for row in rows}, path)


def line(row: dict) -> str:
    shown = [distance for distance in (1, 2, 5, 10, 20, 50, 100) if distance < len(row["gradient"])]
    return ", ".join(f"{distance}: {row['gradient'][distance]:.2g}" for distance in shown)
