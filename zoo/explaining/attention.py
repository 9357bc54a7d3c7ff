"""Attention: the weights of each word of a generated text over the words of its source.

Bahdanau et al. 2015, arXiv 1409.0473, Figure 3.
"""

import functools
from pathlib import Path

from zoo import plotting
from zoo.errors import InputError, ZooError
from zoo.explaining.rows import rows_of
from zoo.tasks.task import Task

ITEMS = 4


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per item: the answer, and the attention of the best hypothesis.

    Returns:
        {"input", the keys of the answer, "source", "target", "attention"}: the words of both sides, each with its end
        symbol, and the weights (target words, source words); a row of weights sums to 1. Attention to a word is the sum
        over its pieces; attention from a word is the mean over its pieces.

    Raises:
        ZooError: the model has no attention.
    """
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_attended, task))


def _read(task: Task, item) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)]))
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    return inputs


def _attended(task: Task, inputs: dict) -> dict:
    outputs = task.outputs(inputs)
    if outputs["attention"] is None:
        raise ZooError(f"{task.model.name} has no attention to show: it encodes a text as a single vector")
    answers = {name: value[0].numpy() for name, value in task.answer(outputs).items()}
    return {**task.to_python(answers), **task.attention(inputs, outputs)[0]}


def draw(rows: list[dict], path: Path) -> None:
    plotting.attention(rows, path)


def line(row: dict) -> str:
    return f"{row['input']}: {row['translation']}"
