"""Tasks: the way from the raw world to a model's tensors and back. One file a task.

Importing this checks that Keras runs on TensorFlow: models alone run on other backends, tasks do not.
"""

import importlib
import json
import os
from pathlib import Path

from zoo.errors import ZooError, unknown

_NAMES = ("image_classification", "tensor_classification", "translation")
_TEXT = ("translation",)


def _guard() -> None:
    """One line before anything breaks: another backend, or another order of axes, in the user's environment."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    file = home / "keras.json"
    try:
        config = json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError):
        config = {}
    backend = os.environ.get("KERAS_BACKEND") or config.get("backend") or "tensorflow"
    if backend != "tensorflow":
        where = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else file
        raise ZooError(
            f"{where} says {backend}: tasks, training and export need tensorflow; set KERAS_BACKEND=tensorflow"
        )
    if config.get("image_data_format", "channels_last") != "channels_last":
        raise ZooError(f"{file} says image_data_format channels_first: models here need channels_last; change it there")


_guard()


def names() -> tuple[str, ...]:
    return _NAMES


def takes_text(name: str) -> bool:
    """Whether an input of the task, on the command line, is a sentence and never a file's path."""
    return name in _TEXT


def task_class(name: str):
    """The class of a task by its name; it imports the task's file alone."""
    if name not in _NAMES:
        raise unknown("task", name, _NAMES)
    module = importlib.import_module(f"zoo.tasks.{name}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")))


def task_of(model, **settings):
    """The task that a model was made for, bound to it; `settings` go over the recorded ones.

    Raises:
        ZooError: the model has lost its origin, a setting is unknown, or the task does not fit the model.
    """
    if not hasattr(model, "layers"):
        raise ZooError(f"{model!r} is no Keras model: give one from zoo.load or zoo.create_model")
    origin = getattr(model, "origin", None)
    if origin is None:
        raise ZooError(
            f"the model {model.name} has no origin (a clone or a wrapped model loses it); "
            'set model.origin = zoo.load("...").origin, or pass like= to zoo.save'
        )
    return task_class(origin.task)(model, {**origin.settings, **settings}, origin.labels, origin.assets)
