"""Steps that all decoding functions share, and their return value."""

from typing import NamedTuple

import tensorflow as tf

from zoo.errors import ZooError

LOWEST = -1e9  # log probability of the impossible; a difference of two infinities would be NaN


class Decoded(NamedTuple):
    """The result of decoding. The axis in brackets, N, best first, exists after beam search only.

    Attributes:
        tokens: (B, [N,] U) int32, filled with `end` after the answer.
        lengths: (B, [N]) int32, the number of tokens before `end`; U if the answer was cut off without an end.
        scores: (B, [N]) float32, natural log probability of the tokens and their end; in beam search with penalties.
        attention: (B, U, S) float32 of the (best) answer, one row per token and one for the end, then zeros; None if
            the state has no `attention`.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    attention: tf.Tensor | None


def check_lengths(max_length, min_length):
    if max_length < 1:
        raise ZooError(f"max_length must be an integer >= 1, got {max_length}")
    if not 0 <= min_length <= max_length:
        raise ZooError(f"min_length must be an integer from 0 to max_length {max_length}, got {min_length}")


def begin(model, inputs, start):
    """-> memory, state and the first tokens (B,)."""
    memory = model.encode(inputs)
    state = model.initial_state(memory)
    batch = tf.shape(tf.nest.flatten(state)[0])[0]
    return memory, state, tf.broadcast_to(tf.cast(start, tf.int32), [batch])


def checked_logits(logits, end):
    """(B, V) in float32."""
    size = logits.shape[-1]
    if end is not None and size is not None and not 0 <= end < size:
        raise ZooError(f"end must be one of the model's {size} tokens, got {end}")
    return tf.cast(logits, tf.float32)


def normalizer(logits, likeliest):
    """(B, V) and the likeliest tokens (B,) -> log sum exp (B,), computed from the softmax because that is faster."""
    logit, probability = (tf.gather(each, likeliest, batch_dims=1) for each in (logits, tf.nn.softmax(logits)))
    return logit - tf.math.log(probability)


def is_early(tokens, end, step, min_length):
    """Whether each token is an end before `min_length`."""
    return (tokens == (-1 if end is None else end)) & (step < min_length)


def greatest(values, k):
    """Equals tf.math.top_k on (B, V), ties included; faster, as it sorts only the k blocks with the greatest maxima."""
    size = values.shape[-1]
    block = next((each for each in range(32, size) if size % each == 0), size) if size else 0
    if not block or size // block <= k:
        return tf.math.top_k(values, tf.minimum(k, tf.shape(values)[-1]))
    blocks = tf.reshape(values, [-1, size // block, block])
    chosen = tf.sort(tf.math.top_k(tf.reduce_max(blocks, axis=-1), k).indices)
    values, places = tf.math.top_k(tf.reshape(tf.gather(blocks, chosen, batch_dims=1), [-1, k * block]), k)
    return values, tf.gather(chosen, places // block, batch_dims=1) * block + places % block


def holds_attention(state) -> bool:
    return isinstance(state, dict) and "attention" in state


def attention_of(state):
    """(B, S) float32; S is 0 if the state has no `attention`."""
    if holds_attention(state):
        return tf.cast(state["attention"], tf.float32)
    return tf.zeros([tf.shape(tf.nest.flatten(state)[0])[0], 0])


def as_before(state, before):
    """The state with the static shapes of the previous one, which tf.while_loop needs unchanged."""
    return tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), state, before)


def filling(end) -> int:
    """The token that fills the places after an answer."""
    return 0 if end is None else end


def steps_array(size, dtype, shape):
    return tf.TensorArray(dtype, size, clear_after_read=False, element_shape=shape)


def joined(array, steps, max_length, filling, order):
    """The values that the steps wrote, (T, B, ...), filled up to max_length and transposed."""
    values = array.gather(tf.range(steps))
    widths = [[0, max_length - steps]] + [[0, 0]] * (values.shape.rank - 1)
    values = tf.ensure_shape(tf.pad(values, widths, constant_values=filling), [max_length] + values.shape[1:])
    return tf.transpose(values, order)
