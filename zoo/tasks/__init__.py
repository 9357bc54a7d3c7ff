"""Tasks: the way from raw input to a model's tensors and from its outputs to answers. One file per task.

A task is a file zoo/tasks/NAME.py, or a class that another distribution names in its entry-point group `zoo.tasks`
(NAME = package.module:Class). A file is found by its name, and only the task in use is imported.

Importing this package checks that Keras runs on TensorFlow: models alone run on other backends, tasks do not.
"""

import functools
import importlib
import json
import os
import re
from importlib import metadata
from pathlib import Path

from zoo.errors import ZooError, unknown


def _guard() -> None:
    """Raises ZooError if Keras is set to another backend or order of axes, before its own errors appear."""
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


@functools.cache
def _own() -> frozenset[str]:
    """The tasks of this package: the files that define a class with the file's name."""
    files = Path(__file__).parent.glob("*.py")
    return frozenset(
        file.stem for file in files if re.search(rf'^    name = "{file.stem}"$', file.read_text("utf-8"), re.MULTILINE)
    )


def _third_parties() -> dict[str, metadata.EntryPoint]:
    points = sorted(metadata.entry_points(group="zoo.tasks"), key=lambda point: point.value)
    return {point.name: point for point in points if point.name not in _own()}


def names(own: bool = False) -> list[str]:
    """Every task; with own=True only those of this package."""
    return sorted(_own() if own else {*_own(), *_third_parties()})


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def task_class(name: str):
    """The class of a task by its name; imports the task's file alone.

    Raises:
        ZooError: the task is unknown, can't be imported, or is not a Task of this name.
    """
    if name in _own():
        return getattr(importlib.import_module(f"zoo.tasks.{name}"), _class_name(name))
    points = _third_parties()
    if name not in points:
        raise unknown("task", name, names())
    from zoo.tasks.task import Task

    try:
        loaded = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ZooError(f"task {name}: {points[name].value} can't be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Task)) or getattr(loaded, "name", None) != name:
        raise ZooError(f"task {name}: {points[name].value} must be a subclass of Task with name = {name!r}")
    return loaded


def settings_class(name: str):
    """The settings class of a task by its name; for tasks of this package it does not import TensorFlow."""
    if name in _own():
        return getattr(importlib.import_module("zoo.tasks.settings"), f"{_class_name(name)}Settings")
    return task_class(name).Settings


def task_of(model, **settings):
    """The task that a model was made for, bound to it; `settings` override the recorded ones.

    Raises:
        ZooError: the model has no origin, a setting is wrong, or the task does not fit the model.
    """
    if not hasattr(model, "layers"):
        raise ZooError(f"{model!r} is not a Keras model: give one from zoo.load or zoo.create_model")
    origin = getattr(model, "origin", None)
    if origin is None:
        raise ZooError(_without_origin(model))
    kind = task_class(origin.task)
    today = kind.Settings.today
    return bound(kind, model, {**today(origin.settings), **today(settings)}, origin.labels)


def bound(kind, model, settings: dict, labels: list[str] | None):
    """A task of the class `kind` for a model, whose inputs and outputs the task sees by name."""
    from zoo.layers.model import named
    from zoo.tasks.outputs.features import features_of

    view = named(model, input_name=kind.input_name)
    return features_of(kind, model)(view, settings, labels, model.origin.assets)


def _without_origin(model) -> str:
    inner = [layer.name for layer in model.layers if getattr(layer, "origin", None) is not None]
    if inner:
        return f"the model {model.name} has no origin, but its layer {inner[0]} has: give {inner[0]} in its place"
    return (
        f"the model {model.name} has no origin, as keras.models.clone_model drops it: copy models with copy.deepcopy, "
        "or set clone.origin = model.origin; zoo.save also takes like="
    )
