"""Whitening of a head: the pictures of a person then differ equally in all directions.

The linear layer `head` of a model is set in closed form. In directions in which pictures of a person differ much, by
light and pose say, distances become smaller, and the directions in which people differ most are kept: relevant
component analysis (Bar-Hillel, Hertz, Shental & Weinshall 2003, "Learning distance functions using equivalence
relations"), and linear discriminant analysis if there are more people than directions.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.model import foreign_names
from zoo.training.recipe import Whitening

LARGEST = 8192  # inputs of a head; the scatter of more takes over 1 GB


class Scatter:
    """The sums of vectors from which their scatter within and between people follows.

    Args:
        size: values of a vector.
    """

    def __init__(self, size: int):
        self.products = np.zeros((size, size))
        self.sums: dict[int, np.ndarray] = {}
        self.counts: dict[int, int] = {}

    def add(self, vectors: np.ndarray, people: np.ndarray) -> None:
        """Adds vectors (N, D) of people (N,)."""
        vectors = vectors.astype("float64")
        self.products += vectors.T @ vectors
        for person in np.unique(people).tolist():
            own = vectors[people == person]
            self.sums[person] = self.sums.get(person, 0.0) + own.sum(axis=0)
            self.counts[person] = self.counts.get(person, 0) + len(own)

    def projection(self, size: int, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
        """The kernel (D, size) and the bias (size,) of a linear layer.

        The projected vectors have the mean 0 and a mean squared length of 1. Their scatter within people is a multiple
        of the identity, as far as `shrinkage` allows.

        Args:
            size: number of directions, those with the largest scatter after whitening.
            shrinkage: how much of the mean variance is added to the scatter of each direction, as few pictures show
                too little of it.
        """
        count, sums = sum(self.counts.values()), np.stack(list(self.sums.values()))
        mean = sums.sum(axis=0) / count
        total = self.products / count - np.outer(mean, mean)
        scaled = sums / np.sqrt(list(self.counts.values()))[:, np.newaxis]
        within = (self.products - scaled.T @ scaled) / count
        within += shrinkage * np.trace(within) / len(mean) * np.eye(len(mean))
        variances, axes = np.linalg.eigh(within)
        whitening = axes / np.sqrt(variances)
        variances, axes = np.linalg.eigh(whitening.T @ total @ whitening)  # the smallest come first
        kernel = whitening @ axes[:, : -size - 1 : -1]
        kernel /= np.sqrt(variances[: -size - 1 : -1].sum())
        return kernel.astype("float32"), (-mean @ kernel).astype("float32")


def whiten(model: keras.Model, batches: Stream, settings: Whitening, report: Callable[[dict], None]) -> None:
    """Sets the kernel and the bias of the layer `head`; the other layers stay as they are.

    Args:
        batches: of the training data, whose targets are the numbers of the people (B,).
        settings: the recipe's [whitening].
        report: called after each epoch with figures by name.

    Raises:
        ZooError: the model has no such layer, or a larger one than there are inputs or than memory allows; the targets
            are not numbers of people; or no person has two pictures.
    """
    head = next((each for each in model.layers if each.name == "head" and isinstance(each, keras.layers.Dense)), None)
    if head is None or not head.use_bias:
        raise ZooError(f"{model.name} has no linear layer 'head' with a bias, which whitening needs")
    inputs = head.kernel.shape[0]
    if inputs > LARGEST:
        raise ZooError(f"the layer 'head' has {inputs:,} inputs: whitening needs {LARGEST:,} or fewer")
    if head.units > inputs:
        raise ZooError(f"the layer 'head' has {head.units} outputs: whitening needs {inputs} or fewer, its inputs")
    with foreign_names():
        body = keras.Model(model.input, head.input)
    forward = tf.function(lambda inputs: body(inputs, training=False), reduce_retracing=True, autograph=False)
    scatter = Scatter(inputs)
    for epoch in range(settings.epochs):
        for images, people, *_ in batches.epoch(epoch):
            if not people.dtype.is_integer or people.shape.rank != 1:
                raise ZooError("whitening needs targets that are numbers of people")
            scatter.add(forward(images).numpy(), people.numpy())
        report({"whitening_epoch": epoch + 1, "pictures": sum(scatter.counts.values())})
    if max(scatter.counts.values()) <= settings.epochs:
        raise ZooError("no person has two pictures in the training data: whitening compares the pictures of a person")
    head.set_weights(scatter.projection(head.units, settings.shrinkage))
