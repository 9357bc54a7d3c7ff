"""The objective of training: losses and metrics by name of the model's output."""

import keras
import tensorflow as tf

from zoo.errors import ZooError


class Objective:
    """The losses and metrics of a task for a model.

    They are those that Keras's `compile` would use, with two differences: a model may have outputs without a loss, and
    metrics keep their own names, unless metrics of two outputs have the same name (then OUTPUT_NAME).

    Args:
        loss: a Keras loss, or a dict of them by output.
        metrics: Keras metrics, or lists of them by output.
        outputs: names of the model's outputs that may have a loss.

    Raises:
        ZooError: a loss or metric without an output, or a single loss for a model with several outputs.
    """

    def __init__(self, loss, metrics=(), outputs: tuple[str, ...] = ("logits",)):
        self.losses = {name: keras.losses.get(value) for name, value in _by_output(loss, outputs, "loss").items()}
        by_output = _by_output(metrics, outputs, "metrics")
        pairs = [(output, metric) for output, own in by_output.items() for metric in own]
        names = [metric.name for _, metric in pairs]
        self.metrics = {
            metric.name if names.count(metric.name) == 1 else f"{output}_{metric.name}": (output, metric)
            for output, metric in pairs
        }
        several = [f"{name}_loss" for name in self.losses] if len(self.losses) > 1 else []
        self.means = {name: keras.metrics.Mean(name) for name in ("loss", *several)}

    def values(self, model: keras.Model, y, outputs: dict, weight) -> dict[str, tf.Tensor]:
        """The loss () of each output; the first includes the model's own losses, such as regularizers.

        Args:
            y, weight: for all outputs, or dicts by output; weight may be None.
        """
        values = {}
        for name, loss in self.losses.items():
            own = _expanded(loss, of(y, name), outputs[name], of(weight, name))
            values[name] = tf.cast(loss(of(y, name), outputs[name], sample_weight=own), tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        first = next(iter(values))
        for extra in model.losses:  # Keras divides losses by the number of replicas, but not these
            values[first] += tf.cast(tf.reduce_sum(extra), tf.float32) / replicas
        return values

    def reset(self) -> None:
        for metric in (*self.means.values(), *(metric for _, metric in self.metrics.values())):
            metric.reset_state()

    def update(self, model: keras.Model, y, outputs: dict, weight, rows) -> None:
        """Adds a batch of `rows` rows to the losses and metrics."""
        values = self.values(model, y, outputs, weight)
        figures = {"loss": sum(values.values()), **{f"{name}_loss": value for name, value in values.items()}}
        for name, mean in self.means.items():
            mean.update_state(figures[name], sample_weight=rows)
        for output, metric in self.metrics.values():
            metric.update_state(of(y, output), outputs[output], sample_weight=of(weight, output))

    def figures(self) -> dict[str, float]:
        """The losses and metrics since `reset`, by name."""
        metrics = {name: metric for name, (_, metric) in self.metrics.items()}
        return {name: float(metric.result()) for name, metric in sorted({**metrics, **self.means}.items())}


def of(value, output: str):
    """The part of y or of weights that belongs to an output."""
    return value[output] if isinstance(value, dict) else value


def _expanded(loss, y, output, weight):
    """Weights per row (B,) in the shape of the loss before its mean, such as (B, T); Keras does not broadcast them."""
    if weight is None or len(weight.shape) != 1 or len(y.shape) == 1:
        return weight
    each = loss.call(y, output)  # the graph drops it, as only its shape is used
    if len(each.shape) <= 1:
        return weight
    return tf.reshape(weight, [-1] + [1] * (len(each.shape) - 1)) * tf.ones(tf.shape(each), weight.dtype)


def _by_output(value, outputs: tuple[str, ...], what: str) -> dict:
    if not isinstance(value, dict):
        if len(outputs) != 1 and what == "loss":
            raise ZooError(f"{what}() must be a dict by output, as the model has {', '.join(outputs)}")
        return {outputs[0]: value}
    for name in value:
        if name not in outputs:
            raise ZooError(f"{what}() has {name!r}, which is not an output of the model; it has {', '.join(outputs)}")
    return value
