"""The error of a loss, a gradient or a weight that is not finite."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError


class NotFinite(ZooError):
    """A loss, gradient or weight became infinite or NaN; `batch` is the batch of the failed step, or None."""

    def __init__(self, what: str, where: str, batch=None):
        saved = "; the batch is saved in not_finite.npz" if batch is not None else ""
        super().__init__(
            f"{what} not finite {where}: lower the learning rate, or clip with training.global_clipnorm{saved}"
        )
        self.batch = batch

    def write(self, path: Path) -> None:
        """Writes the arrays of the batch in order: x, y and weights, flattened."""
        tensors = [part for value in tf.nest.flatten(self.batch) for part in getattr(value, "values", [value])]
        np.savez(path, *[tensor.numpy() for tensor in tensors])
