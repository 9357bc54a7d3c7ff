"""The scan of an LSTM over one long sequence at inference on TensorFlow, compiled by XLA.

With one sequence, the step of a loop takes longer to start its operations than to compute. XLA compiles a loop over
STEPS steps once, which then serves sequences of every length.

Shapes: T steps, U units. The gates (4 U) are in Keras's order: input, forget, cell, output.
"""

import tensorflow as tf

from zoo.layers.lstm_scan import lstm_scan

STEPS = 64
LONG = 256  # from so many steps on, a sequence is worth the compilation, about half a second in a process


def lstm_alone(products, kernel, h, c, valid, reverse: bool = False):
    """All steps of an LSTM over one sequence, equal to a scan of `Cell.advance`.

    XLA can't give the gradient of a loop to one outside, so a gradient computes the steps again, by `lstm_scan`.

    Args:
        products: (T, 1, 4 U), the part of each step's sums that does not depend on the state.
        kernel: (U, 4 U), the recurrent kernel.
        h, c: (1, U), the states before the first step.
        valid: (T, 1, 1); a step that is not valid keeps the state.
        reverse: run from the last step to the first; outputs keep the positions of their inputs.

    Returns:
        The last h and c, and h of every step, (T, 1, U).
    """

    @tf.custom_gradient
    def run(products, kernel, h, c):
        def gradient(*above):
            given = [products, kernel, h, c]
            with tf.GradientTape() as tape:
                tape.watch(given)
                outputs, states = lstm_scan(*given, valid, None, reverse)
            return tape.gradient([*states, outputs], given, above)

        return _all_steps(products, kernel, h, c, valid, reverse), gradient

    h, c, outputs = run(products, kernel, h, c)
    return (h, c), outputs


def _all_steps(products, kernel, h, c, valid, reverse: bool):
    """The last h and c, and h of every step."""
    units, count = kernel.shape[0], tf.shape(products)[0]
    if reverse:
        products, valid = tf.reverse(products, [0]), tf.reverse(valid, [0])
    parts = (count + STEPS - 1) // STEPS
    padding = [[0, parts * STEPS - count], [0, 0], [0, 0]]
    products = tf.reshape(tf.pad(products, padding), (parts, STEPS, 1, 4 * units))
    valid = tf.reshape(tf.pad(valid, padding), (parts, STEPS, 1, 1))
    outputs = tf.TensorArray(products.dtype, parts, element_shape=(STEPS, 1, units))

    def body(part, h, c, outputs):
        h, c, own = _steps(products[part], kernel, h, c, valid[part])
        return part + 1, h, c, outputs.write(part, own)

    _, h, c, outputs = tf.while_loop(lambda part, *_: part < parts, body, (0, h, c, outputs), maximum_iterations=parts)
    outputs = tf.reshape(outputs.stack(), (-1, 1, units))[:count]
    return h, c, tf.reverse(outputs, [0]) if reverse else outputs


@tf.function(jit_compile=True, autograph=False)
def _steps(products, kernel, h, c, valid):
    """STEPS steps: h and c after the last, and h of every step."""

    def step(t, h, c, outputs):
        i, f, g, o = tf.split(products[t] + tf.matmul(h, kernel), 4, axis=-1)
        c = tf.where(valid[t], tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g), c)
        h = tf.where(valid[t], tf.sigmoid(o) * tf.tanh(c), h)
        return t + 1, h, c, outputs.write(t, h)

    outputs = tf.TensorArray(products.dtype, STEPS, element_shape=h.shape)
    start = (0, h, c, outputs)
    _, h, c, outputs = tf.while_loop(lambda t, *_: t < STEPS, step, start, maximum_iterations=STEPS)
    return h, c, outputs.stack()
