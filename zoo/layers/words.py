"""Vectors of words, and attention over words and sentences."""

import keras
from keras import layers, ops


def word_vectors(vocabulary: int, size: int, name: str = "embedding", trainable: bool = True) -> layers.Embedding:
    """A table of vectors that start between -0.25 and 0.25, as in the program of Kim 2014."""
    uniform = keras.initializers.RandomUniform(-0.25, 0.25)
    return layers.Embedding(vocabulary, size, uniform, trainable=trainable, name=name)


@keras.saving.register_keras_serializable("zoo")
class JoinedSentences(layers.Layer):
    """The sentences of all items one after the other: (B, S, ...) -> (B S, ...)."""

    def call(self, values):
        return ops.reshape(values, (-1, *ops.shape(values)[2:]))

    def compute_output_spec(self, values):
        return keras.KerasTensor((None, *values.shape[2:]), dtype=values.dtype)


@keras.saving.register_keras_serializable("zoo")
class DividedSentences(layers.Layer):
    """The inverse of `JoinedSentences`: (B S, D) and a tensor (B, S) -> (B, S, D)."""

    def call(self, values, like):
        return ops.reshape(values, (*ops.shape(like), values.shape[-1]))

    def compute_output_spec(self, values, like):
        return keras.KerasTensor((*like.shape, values.shape[-1]), dtype=values.dtype)


@keras.saving.register_keras_serializable("zoo")
class ContextAttention(layers.Layer):
    """Weights over annotations by a context vector: (B, T, D) and a mask (B, T) -> (B, T).

    Yang et al. 2016, equations 5 and 6: the softmax of the products of tanh(W h + b) and a learned vector. Weights sum
    to 1, and are exactly 0 outside the mask; they are all 0 if the mask is.

    Args:
        units: the size of the context vector.
    """

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.units = units

    def build(self, inputs_shape, mask_shape=None):
        self.kernel = self.add_weight(shape=(inputs_shape[-1], self.units), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.context = self.add_weight(shape=(self.units, 1), initializer="glorot_uniform", name="context")

    def call(self, inputs, mask):
        hidden = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        scores = ops.cast(ops.matmul(hidden, self.context)[..., 0], "float32")  # (B, T)
        weights = ops.softmax(ops.where(mask, scores, -1e9), axis=-1)
        return ops.cast(ops.where(mask, weights, 0.0), inputs.dtype)

    def compute_output_spec(self, inputs, mask):
        return keras.KerasTensor(inputs.shape[:2], dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("zoo")
class WeightedSum(layers.Layer):
    """Annotations (B, T, D) and weights (B, T) -> (B, D); a weight of 0 leaves an annotation out."""

    def call(self, inputs, weights):
        return ops.matmul(weights[:, None], inputs)[:, 0]

    def compute_output_spec(self, inputs, weights):
        return keras.KerasTensor((inputs.shape[0], inputs.shape[2]), dtype=inputs.dtype)
