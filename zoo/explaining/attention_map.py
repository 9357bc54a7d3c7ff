"""Attention maps: where a captioner looks in an image at each word of its caption.

Xu et al. 2015, arXiv 1502.03044, Figures 2 and 3.
"""

import functools
from pathlib import Path

from zoo import plotting
from zoo.errors import InputError, ZooError
from zoo.explaining.rows import rows_of
from zoo.tasks.task import Task

ITEMS = 4
ARRAYS = ("attention",)


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per item: the answer, and the attention of the best caption.

    Returns:
        {"input", the keys of the answer, "words", "attention"}: the words of the caption and its end symbol, and the
        weights (words, rows, columns) over the grid of the encoder; the weights of a word sum to 1. The attention of a
        word is the mean over its tokens.

    Raises:
        ZooError: the model has no attention.
    """
    if not task.model.attends:
        raise ZooError(f"{task.model.name} has no attention to show: it encodes an image as a single vector")
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_attended, task))


def _read(task: Task, item) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)]))
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    return inputs


def _attended(task: Task, inputs: dict) -> dict:
    outputs = task.outputs(inputs)
    answers = {name: value[0].numpy() for name, value in task.answer(outputs).items()}
    row = {**task.to_python(answers), **task.attention(inputs, outputs)[0]}
    return {**row, "_picture": task.displayed(inputs["image"][0])}


def draw(rows: list[dict], path: Path) -> None:
    plotting.attention_maps(rows, path)


def line(row: dict) -> str:
    return f"{row['input']}: {row['caption']}"
