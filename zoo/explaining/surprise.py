"""Surprise: how unlikely a language model found each token of a text, in bits.

Shannon 1951, "Prediction and entropy of printed English": the bits of a token are -log2 of its probability after the
tokens before it.
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.errors import InputError
from zoo.explaining.rows import rows_of
from zoo.tasks.task import Task

ITEMS = 4


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per text.

    Returns:
        {"input", "tokens", "bits", "perplexity"}: the tokens of the text, as the model reads them, and the bits of
        each. Bits of an unknown word are those of the token for all unknown words.
    """
    return rows_of(items, errors, functools.partial(read, task), functools.partial(_surprised, task))


def read(task: Task, item) -> tuple[list[str], tf.Tensor]:
    """A text -> its tokens as they are written (T,), and their numbers after the start token, (T + 1,)."""
    raw = task.collate([task.encode(item)])
    inputs, error = task.checked(raw)
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    return task.written(raw["prompt"][0]), inputs["prompt"][0]


def _surprised(task: Task, value: tuple) -> dict:
    tokens, numbers = value
    logits = tf.cast(task.model({"target": numbers[tf.newaxis, :-1]}, training=False)["logits"][0], tf.float32)
    bits = tf.nn.sparse_softmax_cross_entropy_with_logits(numbers[1:], logits).numpy() / np.log(2.0)
    return {"tokens": tokens, "bits": bits.tolist(), "perplexity": float(2.0 ** bits.mean())}


def draw(rows: list[dict], path: Path) -> None:
    plotting.coloured_text([(row["tokens"], row["bits"], _title(row)) for row in rows], "bits", path)


def _title(row: dict) -> str:
    return f"{sum(row['bits']):.1f} bits, perplexity {row['perplexity']:.1f} per token"


def line(row: dict) -> str:
    return " ".join(f"{token}:{bits:.1f}" for token, bits in zip(row["tokens"], row["bits"], strict=True))
