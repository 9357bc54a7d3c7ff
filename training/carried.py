"""Carried state: outputs of a model that are its inputs in the next batch (truncated backpropagation through time)."""

import dataclasses

import keras
import tensorflow as tf

from zoo.errors import ZooError


@dataclasses.dataclass(frozen=True)
class Carried:
    """The outputs that are carried. Without any, each method returns its input unchanged.

    Gradients do not flow from batch to batch.

    Args:
        pairs: output -> input.
        resets: the entry (B,) of a batch's inputs that is true where a row starts a new sequence; its state is zero
            there. The model does not read it.
    """

    pairs: dict[str, str] = dataclasses.field(default_factory=dict)
    resets: str | None = None

    def check(self, model: keras.Model) -> None:
        """Raises ZooError if the model does not have these inputs and outputs, or their shapes differ."""
        for output, name in self.pairs.items():
            if output not in model.output or name not in model.input:
                raise ZooError(f"{model.name} must have the output {output!r} and the input {name!r} of carried state")
            old, new = model.output[output].shape[1:], model.input[name].shape[1:]
            if old != new or None in new:
                raise ZooError(
                    f"{model.name}: carried state must have one fixed shape; "
                    f"{output} has {tuple(old)}, {name} has {tuple(new)}"
                )

    def zeros(self, model: keras.Model, rows) -> dict[str, tf.Tensor]:
        """The state before the first batch, by name of the model's input."""
        inputs = {name: model.input[name] for name in self.pairs.values()}
        return {name: tf.zeros((rows, *tensor.shape[1:]), tensor.dtype) for name, tensor in inputs.items()}

    def fed(self, x: dict, state: dict) -> dict:
        """A batch's inputs with the state, which is zero where a row starts a new sequence."""
        if not self.pairs:
            return x
        x = dict(x)
        if self.resets is not None:
            starts = tf.cast(x.pop(self.resets), tf.bool)  # (B,)
            state = {
                name: tf.where(tf.reshape(starts, [-1] + [1] * (len(value.shape) - 1)), tf.zeros_like(value), value)
                for name, value in state.items()
            }
        return {**x, **state}

    def taken(self, model: keras.Model, outputs: dict) -> dict[str, tf.Tensor]:
        """The state for the next batch, in the dtypes of the model's inputs."""
        return {
            name: tf.cast(tf.stop_gradient(outputs[output]), model.input[name].dtype)
            for output, name in self.pairs.items()
        }
