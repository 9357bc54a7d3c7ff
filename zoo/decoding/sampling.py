"""Decoding along one path per item: greedy and sampling."""

import tensorflow as tf

from zoo.decoding.steps import (
    LOWEST,
    Decoded,
    as_before,
    attention_of,
    begin,
    check_lengths,
    checked_logits,
    filling,
    greatest,
    holds_attention,
    is_early,
    joined,
    normalizer,
    steps_array,
)
from zoo.errors import ZooError


def greedy(model, inputs, start, end: int | None, max_length: int, min_length: int = 0) -> Decoded:
    """Decodes with the likeliest token at every step.

    Args:
        model: a generator, as `zoo.decoding` describes it.
        inputs: the argument of the model's `encode`.
        start: the first token that the model gets: an integer, or (B,) integers.
        end: the token that ends an answer; None if no token does.
        max_length: the greatest number of tokens of an answer, its end included.
        min_length: the least number of tokens before the end.

    Raises:
        ZooError: an argument is out of its range.
    """
    check_lengths(max_length, min_length)
    memory, state, tokens = begin(model, inputs, start)

    def choose(logits, step):
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return _follow(model, memory, state, tokens, end, max_length, min_length, choose)


def sample(
    model,
    inputs,
    start,
    end: int | None,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed=(0, 0),
    min_length: int = 0,
) -> Decoded:
    """Decodes with tokens drawn from the model's distribution. `scores` ignore temperature and top_k.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        temperature: divides the logits; a value below 1 sharpens the distribution.
        top_k: draw among the k likeliest tokens; None: among all.
        seed: the same seed gives the same answers. (2,) integers, with which an item's draws also depend on its place
            in the batch; or (B, 2), one seed per item, with which they do not.

    Raises:
        ZooError: an argument is out of its range.
    """
    check_lengths(max_length, min_length)
    if not temperature > 0.0:
        raise ZooError(f"temperature must be > 0, got {temperature}; greedy() takes the likeliest token")
    if top_k is not None and top_k < 1:
        raise ZooError(f"top_k must be an integer >= 1 or None, got {top_k}")
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer or seed.shape.rank not in (1, 2) or seed.shape[-1] != 2:
        raise ZooError(f"seed must be integers of shape (2,) or (B, 2), got {seed.dtype.name} of shape {seed.shape}")
    memory, state, tokens = begin(model, inputs, start)
    if seed.shape.rank == 1:
        places = tf.range(tf.size(tokens))
        fold = tf.random.experimental.stateless_fold_in
        seed = tf.map_fn(lambda place: fold(seed, place), places, fn_output_signature=seed.dtype)  # (B, 2)
    draws = tf.map_fn(
        lambda each: tf.random.stateless_uniform((max_length,), each), seed, fn_output_signature=tf.float32
    )  # (B, U), per item and for all steps at once, so that a draw depends on its seed and step alone

    def choose(logits, step):
        values, tokens = (logits, None) if top_k is None else greatest(logits, top_k)  # (B, k)
        values = (values - tf.reduce_max(values, axis=-1, keepdims=True)) / temperature
        cumulative = tf.cumsum(tf.nn.softmax(values), axis=-1)
        # The inverse of the distribution function. Its last value, which rounding may keep from 1, stands for 1.
        level = draws[:, step, tf.newaxis] * cumulative[:, -1:]
        chosen = tf.reduce_sum(tf.cast(cumulative <= level, tf.int32), axis=-1)
        return chosen if tokens is None else tf.gather(tokens, chosen, batch_dims=1)

    return _follow(model, memory, state, tokens, end, max_length, min_length, choose)


def _follow(model, memory, state, tokens, end, max_length, min_length, choose) -> Decoded:
    """Decodes along one path per item; choose((B, V) logits, step) -> (B,) tokens."""

    def unfinished(step, tokens, state, done, *_):
        return (step < max_length) & ((step == 0) | ~tf.reduce_all(done))

    def body(step, tokens, state, done, lengths, scores, all_tokens, attention):
        logits, stepped = model.step(tokens, state, memory)
        values = checked_logits(logits, end)
        norm = normalizer(values, tf.argmax(values, axis=-1, output_type=tf.int32))
        if min_length:
            values = tf.where(is_early(tf.range(tf.shape(values)[-1]), end, step, min_length), LOWEST, values)
        tokens = tf.where(done, filling(end), choose(values, step))
        log_probability = tf.gather(values, tokens, batch_dims=1) - norm
        scores += tf.where(done, 0.0, tf.where(log_probability >= LOWEST, log_probability, LOWEST))
        weights = tf.where(done[:, tf.newaxis], 0.0, attention_of(stepped))
        all_tokens, attention = all_tokens.write(step, tokens), attention.write(step, weights)
        done = done if end is None else done | (tokens == end)
        lengths += tf.cast(~done, tf.int32)
        return step + 1, tokens, as_before(stepped, state), done, lengths, scores, all_tokens, attention

    zeros = tf.zeros_like(tokens)  # (B,)
    arrays = steps_array(max_length, tf.int32, (None,)), steps_array(max_length, tf.float32, (None, None))
    begin = tf.constant(0), tokens, state, zeros > 0, zeros, tf.cast(zeros, tf.float32), *arrays
    steps, _, _, _, lengths, scores, tokens, attention = tf.while_loop(unfinished, body, begin)
    attention = joined(attention, steps, max_length, 0.0, [1, 0, 2]) if holds_attention(state) else None
    return Decoded(joined(tokens, steps, max_length, filling(end), [1, 0]), lengths, scores, attention)
