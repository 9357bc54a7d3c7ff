"""Functions for explanations of image classifiers."""

import numpy as np
import tensorflow as tf

from zoo.errors import InputError, ZooError
from zoo.explaining.rows import shortened
from zoo.layers.keras_private import is_functional
from zoo.preprocessing import image_files
from zoo.tasks.task import Task


def check_model(task: Task) -> None:
    """Raises ZooError if the outputs of the model's layers can't be read, or it has no classes."""
    if not is_functional(task.model):
        raise ZooError(f"{task.model.name} is not a functional Keras model, so the outputs of its layers can't be read")
    if "logits" not in task.model.output:
        raise ZooError(f"{task.model.name} has no head: it gives {', '.join(task.model.output)}, not labels")
    task.check_complete()


def read(task: Task, item) -> tf.Tensor:
    """An item -> the model's input (h, w, C), or its middle window; raises InputError for a bad item."""
    try:
        encoded = tf.constant(task.encode(item)["image_bytes"])
        error = image_files.header_error(encoded).numpy().decode()
        if error:
            raise InputError(error)
        return task.preprocess({"pixels": image_files.read(encoded)})["image"]
    except tf.errors.InvalidArgumentError:
        raise InputError(task.damaged({"image_bytes": encoded}).numpy().decode()) from None


def answer(task: Task, outputs: dict, label: str | None = None) -> tuple[dict, int]:
    """{"label", "score"} of a class, by default of the best answer, and the number of the class."""
    probabilities = task.probabilities(outputs)[0].numpy()
    number = int(probabilities.argmax()) if label is None else task.names().index(label)
    return {"label": task.names()[number], "score": float(probabilities[number])}, number


def displayed(task: Task, image: tf.Tensor) -> dict[str, np.ndarray]:
    """The key of a row for `draw`: the model's input (h, w, C) with values in [0, 1]."""
    return {"_picture": task.displayed(image)}


def title(row: dict) -> str:
    """The title of a panel, two lines: the input; the label and its score."""
    return f"{shortened(row['input'])}\n{row['label']}  {row['score']:.1%}"


def line(row: dict) -> str:
    return f"{row['input']}: {row['label']} {row['score']:.1%}"
