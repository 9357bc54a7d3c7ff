"""Attention of a decoder to the positions of a source."""

import keras
from keras import layers, ops

SCORES = ("additive", "dot", "general")


@keras.saving.register_keras_serializable("zoo")
class Attention(layers.Layer):
    """Weights over the annotations of a source, by how well each one matches a query.

    Calling the layer prepares the annotations (B, S, D) once per source; `weigh` is then called at every step.

    Args:
        score: "additive", v tanh(W q + U h) (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473, section A.1.2); "dot", q h,
            or "general", q W h (Luong, Pham & Manning 2015, arXiv 1508.04025, equation 8).
        units: the hidden size of additive scores.
        query_units: the size of a query; for "dot" also the size of the annotations.
    """

    def __init__(self, score: str, units: int, query_units: int, **options):
        if score not in SCORES:
            raise ValueError(f"attention must be one of {', '.join(SCORES)}, got {score!r}")
        super().__init__(**options)
        self.score, self.units, self.query_units = score, units, query_units

    def build(self, inputs_shape):
        size = inputs_shape[-1]
        if self.score == "dot":
            if size != self.query_units:
                raise ValueError(f"dot scores need annotations of the query's size {self.query_units}, got {size}")
            return
        wide = self.units if self.score == "additive" else self.query_units
        self.kernel = self.add_weight(shape=(size, wide), initializer="glorot_uniform", name="kernel")
        if self.score == "additive":
            shape = (self.query_units, wide)
            self.query_kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="query_kernel")
            self.bias = self.add_weight(shape=(wide,), initializer="zeros", name="bias")
            self.energy = self.add_weight(shape=(wide, 1), initializer="glorot_uniform", name="energy")

    def call(self, inputs):
        """Annotations (B, S, D) -> keys (B, S, A), to which queries are compared."""
        if self.score == "dot":
            return inputs
        keys = ops.matmul(inputs, self.kernel)
        return keys + self.bias if self.score == "additive" else keys

    def weigh(self, query, keys, mask, beams: int = 1):
        """Queries (B * beams, Q), keys (B, S, A), mask (B, S) -> weights (B, beams, S).

        Queries of the same source are consecutive. Weights sum to 1, and are exactly 0 outside the mask.
        """
        if self.score == "additive":
            projected = ops.matmul(query, ops.cast(self.query_kernel, query.dtype))
            projected = ops.reshape(projected, (-1, beams, 1, self.units))
            scores = ops.matmul(ops.tanh(projected + keys[:, None]), ops.cast(self.energy, query.dtype))[..., 0]
        else:
            scores = ops.matmul(ops.reshape(query, (-1, beams, self.query_units)), ops.transpose(keys, (0, 2, 1)))
        scores = ops.where(mask[:, None], ops.cast(scores, "float32"), -1e9)
        return ops.cast(ops.softmax(scores, axis=-1), query.dtype)

    def compute_output_shape(self, inputs_shape):
        wide = {"additive": self.units, "dot": inputs_shape[-1], "general": self.query_units}[self.score]
        return (*inputs_shape[:-1], wide)

    def get_config(self):
        own = {"score": self.score, "units": self.units, "query_units": self.query_units}
        return {**super().get_config(), **own}


def context_of(weights, annotations):
    """Weights (B, beams, S) and annotations (B, S, D) -> their means (B * beams, D)."""
    return ops.reshape(ops.matmul(weights, annotations), (-1, annotations.shape[-1]))
