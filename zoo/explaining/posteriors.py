"""Posteriors: the probability of each symbol at each step of a sound, with the words that they spell under them.

Graves et al. 2006, "Connectionist temporal classification", Figure 1.
"""

import functools
from pathlib import Path

import numpy as np

from zoo import plotting
from zoo.errors import InputError
from zoo.explaining.rows import rows_of, shortened
from zoo.tasks.task import Task

ITEMS = 3


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per sound.

    Returns:
        {"input", the keys of the answer, "symbols", "posteriors", "step_times"}: `posteriors` (T, V) sum to 1 over the
        symbols, of which the first is CTC's blank, "", and `step_times` (T + 1,) are the edges of the steps in seconds.
    """
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_explained, task))


def _read(task: Task, item) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)]))
    if text := error[0].numpy().decode():
        raise InputError(text)
    return inputs


def _explained(task: Task, inputs: dict) -> dict:
    outputs = task.outputs(inputs)
    answer = {name: value[0].numpy() for name, value in task.answer(outputs).items()}
    frame_count = int(inputs["frame_count"][0])
    steps = frame_count // task.model.frames_per_step
    logits = outputs["logits"][0, :steps].numpy().astype("float64")
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    edges = np.arange(steps + 1, dtype="float32") * task.model.frames_per_step
    return {
        **task.to_python(answer),
        "symbols": ["", *task.alphabet.characters],
        "posteriors": exponentials / exponentials.sum(axis=-1, keepdims=True),
        "step_times": task.seconds(edges).numpy(),
        "_frames": inputs["frames"][0, :frame_count].numpy(),
        "_times": task.seconds(np.float32([0, frame_count])).numpy(),
    }


def draw(rows: list[dict], path: Path) -> None:
    plotting.posteriors([{**row, "input": shortened(row["input"])} for row in rows], path)


def line(row: dict) -> str:
    return f"{row['input']}: {row['transcript']}"
