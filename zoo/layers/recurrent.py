"""Recurrent networks over sequences of unequal lengths, in parts that a decoder can also run step by step.

Shapes: B batch, T time, D input, U units. A mask (B, T) is true on valid steps, which come before the padding.
"""

import functools

import keras
from keras import layers, ops


def scan(step, carry, inputs, reverse: bool = False):
    """Runs step(carry, inputs at t) -> carry, outputs at t over the first axis -> the last carry and all outputs.

    Equivalent to `jax.lax.scan`. On TensorFlow, `keras.ops.scan` needs outputs of the carry's shapes, and is slower
    because it keeps the carry in an array.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.scan(step, carry, inputs, reverse=reverse)
    import tensorflow as tf

    if reverse:  # not by the index of a step, which tf2onnx takes for its turn
        inputs = tf.nest.map_structure(lambda x: tf.reverse(x, [0]), inputs)
    flat = tf.nest.flatten(inputs)
    count = tf.shape(flat[0])[0]
    arrays = [tf.TensorArray(x.dtype, count, element_shape=x.shape[1:]).unstack(x) for x in flat]
    # A step outside the loop shows the types of its outputs. A graph drops it, because its values are not used.
    _, example = step(carry, tf.nest.map_structure(lambda x: tf.zeros(tf.shape(x)[1:], x.dtype), inputs))
    collected = [tf.TensorArray(x.dtype, count, element_shape=x.shape) for x in tf.nest.flatten(example)]

    def body(t, carry, collected):
        after, outputs = step(carry, tf.nest.pack_sequence_as(inputs, [array.read(t) for array in arrays]))
        after = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), after, carry)
        written = zip(collected, tf.nest.flatten(outputs), strict=True)
        return t + 1, after, [array.write(t, x) for array, x in written]

    start = (tf.constant(0), carry, collected)
    _, carry, collected = tf.while_loop(lambda t, *_: t < count, body, start, maximum_iterations=count)
    stacked = [array.stack() for array in collected]
    return carry, tf.nest.pack_sequence_as(example, [tf.reverse(x, [0]) for x in stacked] if reverse else stacked)


def _cut(x, size: int):
    """The first `size` features (B, ..., D) and the rest.

    On TensorFlow, `keras.ops.split` at an index computes the sizes of the parts in the graph of every step.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.split(x, [size], axis=-1)
    import tensorflow as tf

    return tf.split(x, [size, x.shape[-1] - size], axis=-1)


@keras.saving.register_keras_serializable("zoo")
class LengthMask(layers.Layer):
    """(B, T, ...) and lengths (B,) -> (B, T), true on valid steps."""

    def call(self, inputs, length):
        return ops.arange(ops.shape(inputs)[1])[None] < ops.cast(length, "int32")[:, None]

    def compute_output_spec(self, inputs, length):
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")


@keras.saving.register_keras_serializable("zoo")
class Cell(layers.Layer):
    """One step of a recurrent network, with Keras's weights and equations.

    Args:
        units: U, the size of the state.
        kind: "tanh" (Elman 1990), "gru" (Cho et al. 2014, arXiv 1406.1078, in the form of Keras and cuDNN, which
            resets after the product) or "lstm" (Hochreiter & Schmidhuber 1997, with forget gates that start open).
    """

    GATES = {"tanh": 1, "gru": 3, "lstm": 4}

    def __init__(self, units: int, kind: str = "gru", **options):
        if kind not in self.GATES:
            raise ValueError(f"cell must be one of {', '.join(self.GATES)}, got {kind!r}")
        super().__init__(**options)
        self.units, self.kind = units, kind

    def build(self, shape):
        wide = self.GATES[self.kind] * self.units
        self.kernel = self.add_weight(shape=(shape[-1], wide), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, wide), initializer="orthogonal", name="recurrent_kernel"
        )
        biases = (2, wide) if self.kind == "gru" else (wide,)
        self.bias = self.add_weight(shape=biases, initializer=self._first_bias, name="bias")

    def _first_bias(self, shape, dtype=None):
        bias = ops.zeros(shape, dtype)
        if self.kind != "lstm":
            return bias
        units = self.units
        return ops.concatenate([bias[:units], ops.ones((units,), dtype), bias[2 * units :]], axis=0)

    def call(self, inputs):
        """(B, ..., D) -> (B, ..., gates), the part of each step's sums that does not depend on the state."""
        bias = self.bias[0] if self.kind == "gru" else self.bias
        return ops.matmul(inputs, self.kernel) + bias

    def first(self, batch: int) -> tuple:
        """The initial states, zeros (B, U) each: h, and c of an LSTM."""
        zeros = ops.zeros((batch, self.units), self.compute_dtype)
        return (zeros, zeros) if self.kind == "lstm" else (zeros,)

    def advance(self, products, states: tuple, kept=None) -> tuple:
        """One step: the states after it, h first.

        Args:
            products: (B, gates), the output of `call` for the inputs of the step.
            states: the states before the step, (B, U) each.
            kept: (B, U), the factors of the recurrent dropout for h in the products; None: no dropout.
        """
        h = states[0] if kept is None else states[0] * kept
        product = ops.matmul(h, ops.cast(self.recurrent_kernel, h.dtype))
        if self.kind == "lstm":
            i, f, g, o = ops.split(products + product, 4, axis=-1)
            c = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
            return ops.sigmoid(o) * ops.tanh(c), c
        if self.kind == "tanh":
            return (ops.tanh(products + product),)
        gates, new = _cut(products, 2 * self.units)
        gates_of_h, new_of_h = _cut(product + ops.cast(self.bias[1], h.dtype), 2 * self.units)
        z, r = ops.split(ops.sigmoid(gates + gates_of_h), 2, axis=-1)
        new = ops.tanh(new + r * new_of_h)
        return (z * states[0] + (1.0 - z) * new,)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "kind": self.kind}


@keras.saving.register_keras_serializable("zoo")
class Recurrent(layers.Layer):
    """A recurrent layer over sequences: (B, T, D) and a mask (B, T) -> outputs (B, T, U) and the last states (B, U).

    Equal to Keras's SimpleRNN, GRU and LSTM in weights and results. The products of the inputs are computed for all
    steps at once.
    Padding does not change the state, so in both directions the last state is that of the valid part.

    Args:
        units: U.
        cell: "tanh", "gru" or "lstm".
        reverse: run from the last step to the first; outputs keep the positions of their inputs.
        dropout: the fraction of the state that is dropped in the recurrent products, drawn once per sequence (Gal &
            Ghahramani 2016, arXiv 1512.05287).
        compile_long: an LSTM on TensorFlow answers one long sequence, a batch of 1 in a graph, with a loop that XLA
            compiles (see `zoo.layers.lstm_alone`). Exported graphs have batches of any size, so they have no such loop.
    """

    def __init__(
        self,
        units: int,
        cell: str = "gru",
        reverse: bool = False,
        dropout: float = 0.0,
        compile_long: bool = False,
        **options,
    ):
        super().__init__(**options)
        self.supports_jit = False  # XLA would compile again for every length
        self.reverse, self.compile_long = reverse, compile_long
        self.cell = Cell(units, cell, dtype=self.dtype_policy, name="cell")
        self.dropout = layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, inputs_shape, mask_shape=None, states_shape=None):
        self.cell.build(inputs_shape)

    def call(self, inputs, mask=None, states: tuple | None = None, training=None):
        """mask: (B, T); None: all steps are valid. states: the initial states, (B, U) each; None: zeros."""
        products = ops.transpose(self.cell(inputs), (1, 0, 2))  # (T, B, gates)
        if states is None:
            states = self.cell.first(ops.shape(inputs)[0])
        kept = dropped(self.dropout, states[0], training)
        if training and self.cell.kind == "lstm" and keras.backend.backend() == "tensorflow":
            from zoo.layers.lstm_scan import lstm_scan

            valid = None if mask is None else ops.transpose(mask)[:, :, None]
            outputs, states = lstm_scan(products, self.cell.recurrent_kernel, *states, valid, kept, self.reverse)
            return ops.transpose(outputs, (1, 0, 2)), states

        def step(states, products):
            after = self.cell.advance(products, states, kept)
            return after, after[0]

        def masked_step(states, inputs):
            products, valid = inputs
            after, _ = step(states, products)
            after = tuple(ops.where(valid, new, old) for new, old in zip(after, states, strict=True))
            return after, after[0]

        if mask is None:
            states, outputs = scan(step, tuple(states), products, self.reverse)
        else:
            valid = ops.transpose(mask)[:, :, None]  # (T, B, 1)
            run = functools.partial(scan, masked_step, tuple(states), (products, valid), self.reverse)
            states, outputs = self._alone(run, products, states, valid) if self.compile_long and not training else run()
        return ops.transpose(outputs, (1, 0, 2)), states

    def _alone(self, run, products, states, valid):
        """The scan `run`, or its compiled form for one long sequence."""
        if keras.backend.backend() != "tensorflow" or self.cell.kind != "lstm" or products.shape[1] != 1:
            return run()
        import tensorflow as tf

        from zoo.layers import lstm_alone

        kernel = ops.cast(self.cell.recurrent_kernel, products.dtype)
        compiled = functools.partial(lstm_alone.lstm_alone, products, kernel, *states, valid, self.reverse)
        return tf.cond(tf.shape(products)[0] >= lstm_alone.LONG, compiled, run)

    def compute_output_spec(self, inputs, mask=None, states=None, training=None):
        shapes = [(*inputs.shape[:2], self.cell.units)] + [(inputs.shape[0], self.cell.units)] * len(self.cell.first(1))
        outputs, *states = [keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in shapes]
        return outputs, tuple(states)

    def get_config(self):
        own = {"units": self.cell.units, "cell": self.cell.kind, "reverse": self.reverse, "dropout": self.dropout.rate}
        own["compile_long"] = self.compile_long
        return {**super().get_config(), **own}


def dropped(dropout: layers.Dropout, like, training):
    """Dropout factors of the shape of `like`, drawn once for all steps; None if nothing is dropped."""
    return dropout(ops.ones_like(like), training=True) if training and dropout.rate else None
