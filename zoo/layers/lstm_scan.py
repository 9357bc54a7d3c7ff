"""The scan of an LSTM in training on TensorFlow, with a gradient that is written by hand.

The gradient of a loop adds up the gradient of the recurrent kernel step by step, which reads and writes a matrix of the
kernel's size each time, and it stores every intermediate value. Here the gradients of the gates are stored, and that of
the kernel is one product over all steps (Appleyard et al. 2016, arXiv 1604.01946, section 3.2).

Shapes: T steps, B batch, U units. The gates (4 U) are in Keras's order: input, forget, cell, output.
"""

import tensorflow as tf


def lstm_scan(products, kernel, h, c, valid, kept, reverse: bool = False):
    """All steps of an LSTM, equal to a scan of `Cell.advance`.

    In half precision the sums of the gates and c are float32, and the products of matrices have the type of `products`.

    Args:
        products: (T, B, 4 U), the part of each step's sums that does not depend on the state.
        kernel: (U, 4 U), the recurrent kernel.
        h, c: (B, U), the states before the first step.
        valid: (T, B, 1); a step that is not valid keeps the state. None: all are valid.
        kept: (B, U), the factors of h in the products, which get no gradient. None: 1.
        reverse: run from the last step to the first; outputs keep the positions of their inputs.

    Returns:
        h of every step, (T, B, U), and the last h and c.
    """
    dtype, batch, units = products.dtype, products.shape[1], kernel.shape[0]
    count = tf.shape(products)[0]
    if valid is None:
        valid = tf.ones([count, tf.shape(products)[1], 1], tf.bool)
    if kept is None:
        kept = tf.ones_like(h)
    if reverse:
        products, valid = tf.reverse(products, [0]), tf.reverse(valid, [0])

    def array(width, content=None):
        array = tf.TensorArray(dtype, count, element_shape=(batch, width), clear_after_read=False)
        return array if content is None else array.unstack(content)

    def masks():
        return tf.TensorArray(tf.bool, count, element_shape=(batch, 1), clear_after_read=False).unstack(valid)

    @tf.custom_gradient
    def run(products, kernel, h, c):
        inputs, is_valid = array(4 * units, products), masks()

        def step(t, h, c, gates, cells, outputs):
            sums = tf.cast(inputs.read(t), tf.float32) + tf.cast(tf.matmul(h * kept, kernel), tf.float32)
            i, f, g, o = tf.split(sums, 4, axis=-1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            c = tf.where(is_valid.read(t), f * c + i * g, c)
            h = tf.where(is_valid.read(t), tf.cast(o * tf.tanh(c), dtype), h)
            gates = gates.write(t, tf.cast(tf.concat([i, f, g, o], axis=-1), dtype))
            return t + 1, h, c, gates, cells.write(t, tf.cast(c, dtype)), outputs.write(t, h)

        start = (0, h, tf.cast(c, tf.float32), array(4 * units), array(units), array(units))
        _, last_h, last_c, *arrays = tf.while_loop(lambda t, *_: t < count, step, start)
        gates, cells, outputs = [each.stack() for each in arrays]

        def gradient(d_outputs, d_h, d_c):
            before = array(units, tf.concat([c[tf.newaxis], cells[:-1]], axis=0))
            own_gates, own_cells, above = array(4 * units, gates), array(units, cells), array(units, d_outputs)
            is_valid = masks()

            def back(t, d_h, d_c, collected):
                i, f, g, o = tf.split(tf.cast(own_gates.read(t), tf.float32), 4, axis=-1)
                squashed = tf.tanh(tf.cast(own_cells.read(t), tf.float32))
                d_h += tf.cast(above.read(t), tf.float32)
                d_cell = d_c + d_h * o * (1.0 - squashed * squashed)
                d_i = d_cell * g * i * (1.0 - i)
                d_f = d_cell * tf.cast(before.read(t), tf.float32) * f * (1.0 - f)
                d_g = d_cell * i * (1.0 - g * g)
                d_o = d_h * squashed * o * (1.0 - o)
                d_sums = tf.where(is_valid.read(t), tf.concat([d_i, d_f, d_g, d_o], axis=-1), 0.0)
                d_sums = tf.cast(d_sums, dtype)
                through = tf.cast(tf.matmul(d_sums, kernel, transpose_b=True) * kept, tf.float32)
                d_h = tf.where(is_valid.read(t), through, d_h)
                return t - 1, d_h, tf.where(is_valid.read(t), d_cell * f, d_c), collected.write(t, d_sums)

            start = (count - 1, tf.cast(d_h, tf.float32), tf.cast(d_c, tf.float32), array(4 * units))
            _, d_h, d_c, collected = tf.while_loop(lambda t, *_: t >= 0, back, start)
            d_products = collected.stack()
            states = tf.concat([h[tf.newaxis], outputs[:-1]], axis=0) * kept
            rows, columns = tf.reshape(states, [-1, units]), tf.reshape(d_products, [-1, 4 * units])
            return d_products, tf.matmul(rows, columns, transpose_a=True), tf.cast(d_h, dtype), tf.cast(d_c, dtype)

        return (outputs, last_h, tf.cast(last_c, dtype)), gradient

    states = [tf.cast(each, dtype) for each in (h, c)]
    kept = tf.stop_gradient(tf.cast(kept, dtype))
    outputs, h, c = run(products, tf.cast(kernel, dtype), *states)
    return tf.reverse(outputs, [0]) if reverse else outputs, (h, c)
