"""Hops: which lines of a story a memory network reads at each hop, as in Sukhbaatar et al. 2015, Figure 2."""

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
    """A row per story and question.

    Returns:
        {"input", "label", "score", "lines", "weights"}: the best answer, the lines that were read, oldest first, and
        lists (hops, lines) of their weights, which sum to 1 at each hop if the model has a softmax.
    """
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_explained, task))


def _read(task: Task, item) -> tuple[list[str], str, dict]:
    encoded = task.encode(item)
    raw = task.collate([encoded])
    inputs, error = task.checked(raw)
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    return task.written(raw["story"][0]), " ".join(encoded["question"].decode("utf-8").split()), inputs


def _explained(task: Task, value: tuple) -> dict:
    lines, question, inputs = value
    logits, weights = task.model.get_layer("memory")(inputs["story"], inputs["line_count"], inputs["question"])
    outputs = task.answer({"logits": logits, "warning": inputs["warning"]})
    answer = task.to_python({name: each[0].numpy() for name, each in outputs.items()})
    return {
        "label": answer["labels"][0],
        "score": answer["scores"][0],
        "lines": lines[::-1],
        "weights": tf.reverse(weights[0, :, : len(lines)], axis=[1]).numpy().tolist(),
        **{key: text for key, text in answer.items() if key == "warning"},
        "_question": question,
    }


def draw(rows: list[dict], path: Path) -> None:
    """A panel per story: the question, the lines, and a column per hop with the weights as shades."""
    plotting.hops([(row["lines"], np.array(row["weights"]), _title(row)) for row in rows], path)


def _title(row: dict) -> str:
    question = row["_question"]
    shown = question if len(question) <= 70 else f"{question[:67]}..."
    return f"{shown}  {row['label']} {row['score']:.1%}"


def line(row: dict) -> str:
    hops = (f"hop {hop}: {row['lines'][int(np.argmax(own))]} {max(own):.2f}"
            for hop, own in enumerate(row["weights"], start=1))  # fmt: skip
    return f"{row['label']} {row['score']:.1%}: {'; '.join(hops)}"
