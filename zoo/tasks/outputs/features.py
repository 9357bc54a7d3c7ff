"""Features: the outputs of a model without a head, or of its tapped layers, as arrays."""

import functools

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.layers.model import outputs_of
from zoo.tasks.task import Task


class Features(Task):
    """Replaces the answers of a task by the outputs of its model, an array of float32 per output."""

    @property
    def answer_layout(self):
        return {name: name for name in self.model.output}

    def answer(self, outputs):
        return {name: tf.cast(outputs[name], tf.float32) for name in self.model.output}

    def to_python(self, outputs):
        return {name: np.asarray(outputs[name]) for name in self.model.output}

    def heads(self):
        return {}

    def check_complete(self):
        """Nothing is missing: the outputs are the answer."""

    def portable(self, is_rounded):
        raise ZooError(f"{self.model.name} gives {', '.join(self.model.output)}, which only saved_model can export")

    def compile(self, model=None):
        raise ZooError(f"{self.model.name} gives {', '.join(self.model.output)}, for which {self.name} has no loss")

    def measure(self, source, batch_size, report):
        raise ZooError(f"{self.model.name} gives {', '.join(self.model.output)}, for which {self.name} has no metrics")

    def lines(self, row):
        return [f"{row['input']}: {self.summary(row)}"]

    def csv_columns(self):
        raise ZooError("--csv prints labels and texts, not arrays: use --json, or `zoo embed`")

    def summary(self, row):
        return ", ".join(f"{name} {' x '.join(map(str, row[name].shape))}" for name in self.model.output)

    def comparable(self, answer, other):
        return {name: np.asarray(value).tolist() for name, value in answer.items()}


def features_of(kind: type[Task], model) -> type[Task]:
    """The class of a model's task: `kind`, or its variant with features if the model has taps or lacks its head."""
    origin = model.origin
    is_headless = set(outputs_of(model)) == {"embeddings"} and not kind.embeds
    is_short = getattr(origin, "taps", None) is not None or is_headless
    if is_short and kind.writes:
        raise ZooError(f"{origin.model} generates {kind.writes}: its embeddings and outputs of layers have no pipeline")
    return _variant(kind) if is_short else kind


@functools.cache
def _variant(kind: type[Task]) -> type[Task]:
    return type(f"{kind.__name__}Features", (Features, kind), {"__module__": __name__})
