"""Reading a batch of raw inputs in the graph, where a bad item must not make its neighbours fail."""

from collections.abc import Callable

import tensorflow as tf


def read_safely(encoded, check: Callable, read: Callable, damaged: Callable, neutral) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads a batch in the graph; a bad item does not affect its neighbours.

    TensorFlow's decoders fail for a whole batch if one item is bad. Inside a tf.data pipeline that ignores errors they
    do not, and a SavedModel can hold such a pipeline.

    Args:
        encoded: (B,) strings.
        check: () string -> () string, the error that the header shows; must not raise.
        read: () string -> tensor; may raise.
        damaged: () string -> () string, the error of an item whose `read` raised.
        neutral: the tensor that replaces a bad item.

    Returns:
        items (B, ...), and error (B,), "" for good items.
    """
    count = tf.size(encoded)
    neutral = tf.convert_to_tensor(neutral)

    @tf.autograph.experimental.do_not_convert
    def item(index):
        content = encoded[index]
        error = check(content)
        value = tf.cond(error == "", lambda: tf.ensure_shape(read(content), neutral.shape), lambda: neutral)
        return index, value, error

    sentinel = tf.data.Dataset.from_tensors((count, neutral, tf.constant("")))  # the rest must not be empty
    items = tf.data.Dataset.range(tf.cast(count, tf.int64), output_type=tf.int32)
    items = items.map(item, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().concatenate(sentinel)
    index, values, errors = items.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    index, values, errors = index[:-1, tf.newaxis], values[:-1], errors[:-1]
    batch = tf.broadcast_to(neutral, tf.concat([[count], tf.shape(neutral)], axis=0))
    batch = tf.tensor_scatter_nd_update(batch, index, values)
    is_read = tf.scatter_nd(index, tf.ones_like(index[:, 0]), [count]) > 0
    error = tf.tensor_scatter_nd_update(tf.fill([count], ""), index, errors)
    texts = tf.cond(tf.reduce_all(is_read), lambda: error, lambda: tf.map_fn(damaged, encoded))
    return batch, tf.where(is_read, error, texts)
