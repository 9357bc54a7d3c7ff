"""Reading a batch of raw inputs in the graph, where a bad item must not make its neighbours fail."""

from collections.abc import Callable

import tensorflow as tf


def read_safely(encoded, check: Callable, read: Callable, damaged: Callable, neutral) -> tuple:
    """Reads a batch in the graph; a bad item does not affect its neighbours.

    TensorFlow's decoders fail for a whole batch if one item is bad. Inside a tf.data pipeline that ignores errors they
    do not, and a SavedModel can hold such a pipeline.

    Args:
        encoded: (B,) strings.
        check: () string -> () string, the error that the header shows; must not raise.
        read: () string -> a tensor, or a structure of tensors; may raise.
        damaged: () string -> () string, the error of an item whose `read` raised.
        neutral: the tensor, or the structure of tensors, that replaces a bad item.

    Returns:
        items (B, ...), in the structure of `neutral`, and error (B,), "" for good items.
    """
    count = tf.size(encoded)
    structure = tf.nest.map_structure(tf.convert_to_tensor, neutral)
    neutral = tf.nest.flatten(structure)

    def shaped(values):
        values = tf.nest.flatten(values)
        return [tf.ensure_shape(value, own.shape) for value, own in zip(values, neutral, strict=True)]

    @tf.autograph.experimental.do_not_convert
    def item(index):
        content = encoded[index]
        error = check(content)
        values = tf.cond(error == "", lambda: shaped(read(content)), lambda: list(neutral))
        return index, tuple(values), error

    # The rest must not be empty.
    sentinel = tf.data.Dataset.from_tensors((count, tuple(neutral), tf.constant("")))
    items = tf.data.Dataset.range(tf.cast(count, tf.int64), output_type=tf.int32)
    items = items.map(item, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().concatenate(sentinel)
    index, values, errors = items.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    index, errors = index[:-1, tf.newaxis], errors[:-1]
    batch = [
        tf.tensor_scatter_nd_update(
            tf.broadcast_to(own, tf.concat([[count], tf.shape(own)], axis=0)), index, value[:-1]
        )
        for own, value in zip(neutral, values, strict=True)
    ]
    is_read = tf.scatter_nd(index, tf.ones_like(index[:, 0]), [count]) > 0
    error = tf.tensor_scatter_nd_update(tf.fill([count], ""), index, errors)
    texts = tf.cond(tf.reduce_all(is_read), lambda: error, lambda: tf.map_fn(damaged, encoded))
    return tf.nest.pack_sequence_as(structure, batch), tf.where(is_read, error, texts)
