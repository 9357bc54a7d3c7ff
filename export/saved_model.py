"""SavedModels from raw input to answers, in stock TensorFlow operations."""

import json
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from zoo.exporting.versions import write_version
from zoo.files import disk_error
from zoo.tasks.task import Task

VARIABLES = ("variables", "trainable_variables", "non_trainable_variables")  # attributes of a model


def write(task: Task, folder: Path, manifest: dict, fill: Callable[[Path], None]) -> Path:
    """Writes the task's signatures and "manifest" as the next version below `folder`.

    Args:
        task: the task, bound to the model.
        folder: OUT/NAME.
        manifest: what the signature "manifest" returns, as JSON.
        fill: adds files to the version's folder.
    """
    about = {"about": tf.TensorSpec((None,), tf.string, name="about")}
    signatures = {**task.signatures(), "manifest": (_constant(manifest), about)}

    def write_files(version: Path) -> None:
        try:
            _save(task, {name: _traced(*signature) for name, signature in signatures.items()}, version)
            fill(version)
        except tf.errors.OpError as error:
            raise disk_error(error) or error from None

    return write_version(folder, write_files)


def _traced(function: Callable, specs: dict[str, tf.TensorSpec]) -> tf.types.experimental.ConcreteFunction:
    """The graph of a signature. As a tf.function it would be traced again when it is saved, which takes as long."""
    return tf.function(function, input_signature=[*specs.values()], autograph=False).get_concrete_function()


def _save(task: Task, signatures: dict[str, tf.types.experimental.ConcreteFunction], folder: Path) -> None:
    """Writes a SavedModel with the attributes that Keras's own exports have: variables, and each signature."""
    variables = {kind: [each.value for each in getattr(task.model, kind)] for kind in VARIABLES}
    saved = tf.train.Checkpoint(**variables, resources=task.resources())
    for name, function in signatures.items():
        setattr(saved, name, function)
    tf.saved_model.save(saved, str(folder), signatures)


def _constant(manifest: dict) -> Callable:
    """A function of (B,) strings that returns the manifest's JSON once per row, so that a server may batch requests."""
    text = json.dumps(manifest)

    def manifest_of_rows(about):
        return {"manifest": tf.fill(tf.shape(about), text)}

    return manifest_of_rows
