"""Memory: what a machine with an explicit memory writes and reads at every step, and where.

Graves, Wayne & Danihelka 2014, arXiv 1410.5401, Figure 6.
"""

import functools
from pathlib import Path

from zoo import plotting
from zoo.errors import InputError, ZooError
from zoo.explaining.rows import rows_of, shortened
from zoo.tasks.task import Task

ITEMS = 2
ARRAYS = ("write_weights", "read_weights", "adds", "reads")


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per sequence; steps are those of the input, the end mark and the answer.

    Returns:
        {"input", "vectors", "write_weights", "read_weights", "adds", "reads"}: the attention of each head to the
        places of the memory (S, heads, places), and the vectors that it adds and reads (S, heads, width).

    Raises:
        ZooError: the model has no memory.
    """
    if "memory" not in [layer.name for layer in task.model.layers]:
        raise ZooError(f"{task.model.name} has no memory to show: its state is a single vector")
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_explained, task))


def _read(task: Task, item) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)]))
    if text := error[0].numpy().decode():
        raise InputError(text)
    return inputs


def _explained(task: Task, inputs: dict) -> dict:
    outputs = task.outputs(inputs)
    answer = {name: value[0].numpy() for name, value in task.answer(outputs).items()}
    steps = task.model.get_layer("memory").run(task.model.get_layer("controller")(inputs["sequence"]))
    return {
        **task.to_python(answer),
        **{name: steps[name][0].numpy() for name in ARRAYS},
        "_bits": answer["bits"].astype("float32"),
        "_sequence": inputs["sequence"][0].numpy(),
    }


def draw(rows: list[dict], path: Path) -> None:
    plotting.memories([{**row, "input": shortened(row["input"])} for row in rows], path)


def line(row: dict) -> str:
    return f"{row['input']}: {' '.join(''.join(map(str, vector['bits'])) for vector in row['vectors'])}"
