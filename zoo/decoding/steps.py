"""What every way of decoding does at a step, and what it returns."""

from typing import NamedTuple

import tensorflow as tf

from zoo.errors import ZooError

LOWEST = -1e9  # the log probability of what can't be; infinities would turn into NaN where they meet


class Decoded(NamedTuple):
    """What was decoded; beam search has the axis N, best first, where it stands in brackets.

    Attributes:
        tokens: (B, [N,] U) int32, filled with `end` behind the answer.
        lengths: (B, [N]) int32, tokens before `end`. It is U where the answer was cut off without an end.
        scores: (B, [N]) float32, natural log probability of the tokens and their end; in beam search with penalties.
        attention: (B, U, S) float32 of the (best) answer, a row a token and one for its end, then zeros; None where
            the state holds none.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    attention: tf.Tensor | None


def check_lengths(max_length, min_length):
    if max_length < 1:
        raise ZooError(f"max_length must be at least 1, not {max_length}")
    if not 0 <= min_length <= max_length:
        raise ZooError(f"min_length must lie between 0 and max_length {max_length}, not {min_length}")


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
        raise ZooError(f"end must be one of the model's {size} tokens, not {end}")
    return tf.cast(logits, tf.float32)


def normalizer(logits, likeliest):
    """(B, V) and the likeliest tokens (B,) -> log sum exp (B,): from their softmax, much faster than a sum of exp."""
    logit, probability = (tf.gather(each, likeliest, batch_dims=1) for each in (logits, tf.nn.softmax(logits)))
    return logit - tf.math.log(probability)


def is_early(tokens, end, step, min_length):
    """Where tokens are an end that comes too early."""
    return (tokens == (-1 if end is None else end)) & (step < min_length)


def greatest(values, k):
    """As tf.math.top_k (B, V), ties included, but of the k blocks with the greatest maxima alone: it is slow in V."""
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
    """(B, S) float32; S is 0 where the state holds none."""
    if holds_attention(state):
        return tf.cast(state["attention"], tf.float32)
    return tf.zeros([tf.shape(tf.nest.flatten(state)[0])[0], 0])


def as_before(state, before):
    """The state with the static shapes of the one before, which the loop wants to see unchanged."""
    return tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), state, before)


def filling(end) -> int:
    return 0 if end is None else end


def steps_array(size, dtype, shape):
    return tf.TensorArray(dtype, size, clear_after_read=False, element_shape=shape)


def joined(array, steps, max_length, filling, order):
    """What the steps wrote, (T, B, ...), filled up to max_length and transposed."""
    made = array.gather(tf.range(steps))
    widths = [[0, max_length - steps]] + [[0, 0]] * (made.shape.rank - 1)
    made = tf.ensure_shape(tf.pad(made, widths, constant_values=filling), [max_length] + made.shape[1:])
    return tf.transpose(made, order)
