"""One path an item: greedy, and sampling."""

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
    """The likeliest token at every step.

    Args:
        model: a generator (see the module).
        inputs: what its `encode` takes.
        start: first token fed to the model: an integer, or (B,) of them.
        end: token that ends an answer; None if nothing does.
        max_length: most tokens made, the end included.
        min_length: fewest tokens before the end.

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
    """Tokens drawn from the model's distribution; `scores` are that distribution's own, before temperature and top_k.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        temperature: divides the logits; below 1 sharpens.
        top_k: draw among the k likeliest; None: among all.
        seed: (2,) integers: the same seed gives the same answers, and an item's place in the batch is mixed in; or
            (B, 2), a seed an item, and its place doesn't matter.

    Raises:
        ZooError: an argument is out of its range.
    """
    check_lengths(max_length, min_length)
    if not temperature > 0.0:
        raise ZooError(f"temperature must be above 0, not {temperature}; greedy() takes the likeliest token")
    if top_k is not None and top_k < 1:
        raise ZooError(f"top_k must be at least 1, not {top_k}")
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer or seed.shape.rank not in (1, 2) or seed.shape[-1] != 2:
        raise ZooError(f"seed must be integers of shape (2,) or (B, 2), not {seed.dtype.name} of shape {seed.shape}")
    memory, state, tokens = begin(model, inputs, start)
    if seed.shape.rank == 1:
        places = tf.range(tf.size(tokens))
        fold = tf.random.experimental.stateless_fold_in
        seed = tf.map_fn(lambda place: fold(seed, place), places, fn_output_signature=seed.dtype)  # (B, 2)
    draws = tf.map_fn(
        lambda one: tf.random.stateless_uniform((max_length,), one), seed, fn_output_signature=tf.float32
    )  # (B, U); all at once and by item, so that a draw depends on its seed and step alone

    def choose(logits, step):
        values, names = (logits, None) if top_k is None else greatest(logits, top_k)  # (B, k)
        values = (values - tf.reduce_max(values, axis=-1, keepdims=True)) / temperature
        heaps = tf.cumsum(tf.nn.softmax(values), axis=-1)
        # Inverting the distribution function; its last value stands for 1, which rounding may miss.
        level = draws[:, step, tf.newaxis] * heaps[:, -1:]
        chosen = tf.reduce_sum(tf.cast(heaps <= level, tf.int32), axis=-1)
        return chosen if names is None else tf.gather(names, chosen, batch_dims=1)

    return _follow(model, memory, state, tokens, end, max_length, min_length, choose)


def _follow(model, memory, state, tokens, end, max_length, min_length, choose) -> Decoded:
    """One path an item; choose((B, V) logits, step) -> (B,) tokens."""

    def unfinished(step, tokens, state, done, *_):
        return (step < max_length) & ((step == 0) | ~tf.reduce_all(done))

    def body(step, tokens, state, done, lengths, scores, tokens_made, rows_made):
        logits, stepped = model.step(tokens, state, memory)
        values = checked_logits(logits, end)
        norm = normalizer(values, tf.argmax(values, axis=-1, output_type=tf.int32))
        if min_length:
            values = tf.where(is_early(tf.range(tf.shape(values)[-1]), end, step, min_length), LOWEST, values)
        tokens = tf.where(done, filling(end), choose(values, step))
        made = tf.gather(values, tokens, batch_dims=1) - norm
        scores += tf.where(done, 0.0, tf.where(made >= LOWEST, made, LOWEST))
        rows = tf.where(done[:, tf.newaxis], 0.0, attention_of(stepped))
        tokens_made, rows_made = tokens_made.write(step, tokens), rows_made.write(step, rows)
        done = done if end is None else done | (tokens == end)
        lengths += tf.cast(~done, tf.int32)
        return step + 1, tokens, as_before(stepped, state), done, lengths, scores, tokens_made, rows_made

    nothing = tf.zeros_like(tokens)  # (B,)
    arrays = steps_array(max_length, tf.int32, (None,)), steps_array(max_length, tf.float32, (None, None))
    begin = tf.constant(0), tokens, state, nothing > 0, nothing, tf.cast(nothing, tf.float32), *arrays
    steps, _, _, _, lengths, scores, tokens, rows = tf.while_loop(unfinished, body, begin)
    attention = joined(rows, steps, max_length, 0.0, [1, 0, 2]) if holds_attention(state) else None
    return Decoded(joined(tokens, steps, max_length, filling(end), [1, 0]), lengths, scores, attention)
