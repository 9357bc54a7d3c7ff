"""What a task serves, built once for all tasks: signatures on raw input, the path of a single item, masked errors."""

import functools
import inspect
from collections.abc import Callable

import keras
import tensorflow as tf


def of_task(task) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
    """The signatures of a task: name -> (function of named batches, their specs).

    "serving_default" and those of `Task.heads` map raw inputs to answers and `error`; "tensors" is the model itself.
    """
    task.check_complete()
    raw_specs = _raw_specs(task, (None,))
    heads = {"serving_default": (task.model, task.answer), **task.heads()}
    served = {name: (_served(task, raw_specs, *head), raw_specs) for name, head in heads.items()}
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in task.model.input.items()}
    tensors = _with_arguments(specs, lambda inputs: task.model(inputs, training=False))
    return {**served, "tensors": (tensors, specs)}


def single(task) -> Callable[[dict], dict]:
    """The path of one item of a task: a function of its encoded raw inputs -> answers and `error`, in NumPy."""
    task.check_complete()
    specs = _raw_specs(task, ())

    @functools.cache
    def traced(read: Callable) -> Callable:
        def serve(raw):
            inputs, error = read(raw)
            inputs = tf.nest.map_structure(lambda value: value[tf.newaxis], inputs)
            outputs = task.outputs(inputs)
            error = task.checked_outputs(inputs, outputs, error[tf.newaxis])
            return {**{name: value[0] for name, value in task.answer(outputs).items()}, "error": error[0]}

        function = _with_arguments(specs, serve)
        return tf.function(function, input_signature=[*specs.values()], autograph=False).get_concrete_function()

    def answer(encoded: dict) -> dict:
        tensors = {name: tf.constant(encoded[name], spec.dtype) for name, spec in specs.items()}
        try:
            outputs = traced(task.checked_single(encoded))(*tensors.values())
        except tf.errors.InvalidArgumentError:
            return {"error": task.damaged(tensors).numpy()}
        return {name: value.numpy() for name, value in outputs.items()}

    return answer


def masked(answers: dict[str, tf.Tensor], error: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers (B, ...) with "", zeros or False in the place of items that have an error (B,)."""
    neutral = {}
    for name, value in answers.items():
        is_good = tf.reshape(error == "", [-1] + [1] * (value.shape.rank - 1))
        neutral[name] = tf.where(is_good, value, tf.zeros((), value.dtype))  # "" as a string
    return neutral


def _raw_specs(task, batch: tuple) -> dict[str, tf.TensorSpec]:
    arguments = {name: argument for raw in task.raw_inputs() for name, argument in raw.arguments.items()}
    return {name: tf.TensorSpec((*batch, *shape), dtype, name=name) for name, (dtype, shape) in arguments.items()}


def _served(task, specs: dict, model: keras.Model, answer: Callable) -> Callable:
    """Raw inputs -> answers and `error`, with neutral answers in the place of bad items."""

    def serve(raw):
        inputs, error = task.checked(raw)
        outputs = task.run(model, inputs)
        error = task.checked_outputs(inputs, outputs, error)
        return {**masked(answer(outputs), error), "error": error}

    return _with_arguments(specs, serve)


def _with_arguments(specs: dict, function: Callable[[dict], dict]) -> Callable:
    """A function of a dict as one with arguments of the same names, as tf.function and SavedModels want it."""

    def call(*values):
        return function(dict(zip(specs, values, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in specs])
    return call
