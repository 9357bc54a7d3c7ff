"""The losses and metrics of a model on a data set, as Keras's `evaluate` computes them, also with carried state."""

from collections.abc import Callable

import keras
import tensorflow as tf

from zoo.training.carried import Carried
from zoo.training.objective import Objective


class Evaluation:
    """Evaluates a model.

    Args:
        model: outside every strategy, in float32.
        objective: losses and metrics.
        carried: state that goes from batch to batch; it starts at zero.
    """

    def __init__(self, model: keras.Model, objective: Objective, carried: Carried):
        self.model, self.objective, self.carried = model, objective, carried
        self._batch = tf.function(self._update, reduce_retracing=True, autograph=False)

    def __call__(self, batches: tf.data.Dataset, after_batch: Callable[[], None] = lambda: None) -> dict[str, float]:
        """The losses and metrics by name; calls `after_batch` after each batch."""
        self.objective.reset()
        state = None
        for batch in batches:
            x, y, weight = (*batch, None)[:3]
            if state is None:
                state = self.carried.zeros(self.model, _rows(x))
            state = self._batch(x, y, weight, state)
            after_batch()
        return self.objective.figures()

    def outputs(self, x: dict) -> dict:
        """The outputs for a batch, with carried state of zero."""
        return self.model(self.carried.fed(x, self.carried.zeros(self.model, _rows(x))), training=False)

    def _update(self, x, y, weight, state):
        rows = _rows(x)
        outputs = self.model(self.carried.fed(x, state), training=False)
        self.objective.update(self.model, y, outputs, weight, rows)
        return self.carried.taken(self.model, outputs)


def _rows(x) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(x)[0])[0]
