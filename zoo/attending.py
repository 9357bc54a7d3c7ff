"""What a translator looks at: its attention, word by word."""

import os

from zoo.tasks import task_of  # first: it checks Keras's backend

import keras  # isort: skip

from zoo.errors import InputError, ZooError
from zoo.inference import shown
from zoo.tasks.task import Task

SENTENCES = 4  # in one picture


def attention_of(model: keras.Model, items: list, errors: str) -> list[dict]:
    """The best translation of each item and where it looked.

    Returns:
        {"input", "translation", "score", "alternatives", "source", "target", "attention"} each: the words of both
        sides with their ends, and the weights (target words, source words); a row sums to 1. What a word's pieces got
        is added up, what they looked at is their mean. {"input", "error"} where errors is "return" and the item can't
        be answered.

    Raises:
        InputError: an item can't be answered, and errors is "raise".
        ZooError: the model has no attention.
    """
    task = task_of(model)
    rows = []
    for item in items:
        try:
            rows.append({"input": shown(item), **_attended(task, item)})
        except InputError as error:
            if errors == "raise":
                raise InputError(f"{shown(item)}: {error}") from None
            rows.append({"input": shown(item), "error": str(error)})
    return rows


def _attended(task: Task, item: str | bytes | os.PathLike) -> dict:
    inputs, error = task.checked(task.collate([task.encode(item)])["sentence"])
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    decoded = task.decode(inputs)
    if decoded.attention is None:
        raise ZooError(f"{task.model.name} has no attention to show: it keeps of a sentence one vector")
    answers = {key: value[0].numpy() for key, value in task.answer(decoded._asdict()).items()}
    return {**task.told(answers), **task.attended(inputs, decoded)[0]}
