"""What a task measures, and by which metric models are chosen."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf


class Criterion(NamedTuple):
    """The metric by which recipes, early stopping and `zoo tune` choose between models: its name and direction."""

    metric: str
    direction: str  # "max" or "min"

    def score(self, row: dict) -> tuple[float, float]:
        """A row of a run's history -> a pair that is greater for a better model.

        The first number is the validation metric, 0 without validation data. The second is minus the validation loss,
        or minus the training loss.
        """
        value = row.get(f"val_{self.metric}", 0.0)
        return value if self.direction == "max" else -value, -row.get("val_loss", row["loss"])


@dataclasses.dataclass(frozen=True)
class Measured:
    """Result of `Task.measure`.

    Attributes:
        metrics: values by name.
        draw: function that draws a picture of the metrics into a file; None if the task has no such picture.
        how: name of a metric -> a note on how it was computed; not every metric has a note.
    """

    metrics: dict[str, float]
    draw: Callable[[Path], None] | None = None
    how: dict[str, str] = dataclasses.field(default_factory=dict)


def measure(task, source, batch_size: int, report: Callable | None) -> Measured:
    """The task's `metrics` on a split, from the model's outputs; calls report(examples done, examples) per batch."""
    from zoo.tasks.dataset import stream

    batches = stream(task, source, batch_size, augment=False, shuffle=False)
    metrics = task.metrics()
    by_output = metrics if isinstance(metrics, dict) else {next(iter(task.model.output)): metrics}
    forward = tf.function(lambda inputs: task.model(inputs, training=False), reduce_retracing=True, autograph=False)
    done = 0
    for inputs, y, *weights in batches.epoch(0):
        outputs = forward(inputs)
        for output, each in by_output.items():
            own = [value[output] if isinstance(value, dict) else value for value in (y, *weights)]
            for metric in each:
                metric.update_state(own[0], outputs[output], *own[1:])
        done += len(tf.nest.flatten(inputs)[0])
        if report:
            report(done, batches.examples)
    return Measured({metric.name: float(metric.result()) for each in by_output.values() for metric in each})
