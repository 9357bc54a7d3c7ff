"""Beam search."""

import functools

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


def beam_search(
    model,
    inputs,
    start,
    end: int | None,
    max_length: int,
    width: int = 5,
    min_length: int = 0,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    n_best: int = 1,
    stops_when_full: bool = False,
) -> Decoded:
    """The best hypotheses among those that `width` beams an item come across.

    A hypothesis Y of a source X scores log P(Y|X) / lp(Y) + cp(X, Y) (Wu et al. 2016, "Google's neural machine
    translation system", arXiv 1609.08144, equation 14), with lp(Y) = ((5 + |Y|) / 6)^alpha, where |Y| counts the end,
    and cp(X, Y) = beta sum_i log(min(sum_j p_ij, 1)) over the attention p_ij of target j to source i. Source positions
    to which the first step gives exactly no weight are padding and left out.

    A hypothesis ends if its end is among the `width` best continuations. An item is done when no open beam can still
    come among its `n_best`, even by growing to `max_length`: width 1 without penalties is `greedy`. Hypotheses cut off
    at `max_length` rank behind all that ended; a place that nothing takes has length 0 and score -1e9.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        width: beams an item.
        length_penalty: alpha; 0: none, the paper's own is 0.2, common are 0.6 to 1.
        coverage_penalty: beta; 0: none, the paper's own is 0.2. Needs a state with `attention`.
        n_best: hypotheses returned an item, N.
        stops_when_full: an item is done, too, once `width` of its hypotheses have ended. That is the common rule, and
            with a length penalty much sooner than the exact one; a longer hypothesis that would have been better may
            be missed.

    Raises:
        ZooError: an argument is out of its range.
    """
    check_lengths(max_length, min_length)
    if width < 1:
        raise ZooError(f"width must be at least 1, not {width}")
    if not 1 <= n_best <= width:
        raise ZooError(f"n_best must lie between 1 and the width {width}, not {n_best}")
    if not (length_penalty >= 0.0 and coverage_penalty >= 0.0):
        raise ZooError(f"penalties must be 0 or more, not {length_penalty} and {coverage_penalty}")
    memory, state, tokens = begin(model, inputs, start)
    attends = holds_attention(state)
    if coverage_penalty and not attends:
        raise ZooError("coverage_penalty needs a model whose state holds 'attention'; this one's doesn't")
    batch = tf.size(tokens)

    def repeated(tensors):
        return tf.nest.map_structure(lambda one: None if one is None else tf.repeat(one, width, axis=0), tensors)

    state, tokens = repeated((state, tokens))
    if getattr(model, "shares_memory", False):
        next_step = functools.partial(model.step, memory=memory, beams=width)
    else:
        next_step = functools.partial(model.step, memory=repeated(memory))

    def by_item(tensor):  # (B * W, ...) -> (B, W, ...)
        return tf.reshape(tensor, tf.concat([[batch, width], tf.shape(tensor)[1:]], axis=0))

    def beams(values, dtype):  # (W,) -> (B, W)
        return tf.tile(tf.constant(values, dtype)[tf.newaxis], [batch, 1])

    def shrunk(total, length):  # log P(Y) / lp(Y)
        return total / ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty

    def penalty(heard, counted):  # (B, W, S), (B, S) -> (B, W)
        heard = tf.where(counted[:, tf.newaxis], tf.minimum(heard, 1.0), 1.0)
        return coverage_penalty * tf.reduce_sum(tf.math.log(heard), axis=-1)

    def is_full(ended):  # (B,)
        return (ended[0][:, -1] > LOWEST / 2) & stops_when_full

    def unfinished(step, tokens, state, total, ended, *_):
        # The most that the best open beam can still reach: all its further tokens certain, all the source covered.
        done = (ended[0][:, n_best - 1] >= shrunk(total[:, 0], max_length)) | is_full(ended)
        return (step < max_length) & ((step == 0) | ~tf.reduce_all(done))

    def body(step, tokens, state, total, ended, heard, counted, tokens_made, parents_made, rows_made):
        before = tokens, state, total, ended, heard, counted
        logits, stepped = next_step(tokens, state)
        made, names = (by_item(one) for one in _likeliest(logits, end, step, min_length, 2 * width))  # (B, W, 2W + 1)
        rows = by_item(attention_of(stepped))  # (B, W, S)
        heard = heard + rows
        counted = tf.where(step == 0, rows[:, 0] > 0.0, counted)
        candidates = tf.maximum(total[:, :, tf.newaxis] + made, LOWEST)
        kept = tf.shape(candidates)[2]
        candidates = tf.reshape(candidates, [batch, width * kept])
        # At most W of these end, so W that go on are left.
        best, places = tf.math.top_k(candidates, tf.minimum(2 * width, width * kept))
        parent, token = places // kept, tf.gather(tf.reshape(names, [batch, -1]), places, batch_dims=1)
        ends = tf.zeros_like(token, tf.bool) if end is None else token == end

        ripe = ends[:, :width] & (best[:, :width] > LOWEST / 2)
        score = shrunk(best, step + 1)
        if coverage_penalty:
            score += tf.gather(penalty(heard, counted), parent, batch_dims=1)
        score = tf.where(ripe & ~is_full(ended)[:, tf.newaxis], score[:, :width], LOWEST)
        added = (score, tf.fill([batch, width], step), parent[:, :width])
        pool = [tf.concat(pair, axis=1) for pair in zip(ended, added, strict=True)]
        order = tf.math.top_k(pool[0], width).indices
        # A batch waits for its last item; what the early ones meanwhile find is no better and changes nothing.
        ended = tuple(tf.gather(column, order, batch_dims=1) for column in pool)

        total, order = tf.math.top_k(tf.where(ends, LOWEST, best), width)
        parent, token = (tf.gather(column, order, batch_dims=1) for column in (parent, token))
        rows_made = rows_made.write(step, rows)
        parents_made, tokens_made = parents_made.write(step, parent), tokens_made.write(step, token)
        heard = tf.gather(heard, parent, batch_dims=1)
        index = tf.reshape(tf.range(batch)[:, tf.newaxis] * width + parent, [-1])
        state = tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), stepped)
        after = as_before((tf.reshape(token, [-1]), state, total, ended, heard, counted), before)
        return step + 1, *after, tokens_made, parents_made, rows_made

    blank = by_item(tf.zeros_like(attention_of(state)))  # (B, W, S)
    total = beams([0.0] + [LOWEST] * (width - 1), tf.float32)  # the beams are equal at first, so only one counts
    ended = (beams([LOWEST] * width, tf.float32), beams([0] * width, tf.int32), beams([0] * width, tf.int32))
    shapes = (tf.int32, (None, width)), (tf.int32, (None, width)), (tf.float32, (None, width, None))
    arrays = [steps_array(max_length, *each) for each in shapes]
    steps, _, _, total, ended, heard, counted, *arrays = tf.while_loop(
        unfinished, body, (tf.constant(0), tokens, state, total, ended, blank, blank[:, 0] > 0.0, *arrays)
    )
    # Those that ended, best first; then those cut off.
    cut, slots = tf.math.top_k(
        tf.where(total > LOWEST / 2, shrunk(total, max_length) + penalty(heard, counted), LOWEST), width
    )
    finished = tf.reduce_sum(tf.cast(ended[0] > LOWEST / 2, tf.int32), axis=1, keepdims=True)  # (B, 1)
    rank = tf.range(n_best)[tf.newaxis]
    rank = tf.where(rank < finished, rank, rank - finished + width)  # (B, N)
    added = (cut, tf.fill([batch, width], max_length), slots)
    scores, lengths, slots = (
        tf.gather(tf.concat(pair, axis=1), rank, batch_dims=1) for pair in zip(ended, added, strict=True)
    )
    lengths = tf.where(scores > LOWEST / 2, lengths, 0)
    tokens, attention = _trace(arrays, steps, lengths, slots, end, max_length)
    return Decoded(tokens, lengths, scores, attention if attends else None)


def _trace(arrays, steps, lengths, slots, end, max_length):
    """Walks hypotheses back from the beams in which they stopped: (B, N) -> tokens (B, N, U), rows (B, U, S)."""
    tokens_made, parents_made, rows_made = (array.gather(tf.range(steps)) for array in arrays)

    def body(step, slots, tokens, rows):
        inside = step < lengths
        token = tf.where(inside, tf.gather(tokens_made[step], slots, batch_dims=1), filling(end))
        slots = tf.where(inside, tf.gather(parents_made[step], slots, batch_dims=1), slots)
        row = tf.gather(rows_made[step], slots[:, 0], batch_dims=1)  # (B, S)
        row = tf.where((step <= lengths[:, 0])[:, tf.newaxis], row, 0.0)
        return step - 1, slots, tokens.write(step, token), rows.write(step, row)

    shapes = (tf.int32, (None, slots.shape[1])), (tf.float32, (None, None))
    arrays = [steps_array(max_length, *each) for each in shapes]
    _, _, tokens, rows = tf.while_loop(lambda step, *_: step >= 0, body, (steps - 1, slots, *arrays))
    tokens = joined(tokens, steps, max_length, filling(end), [1, 2, 0])
    return tokens, joined(rows, steps, max_length, 0.0, [1, 0, 2])


def _likeliest(logits, end, step, min_length, count):
    """(B, V) logits -> the `count` greatest log probabilities and their tokens, (B, count + 1), or (B, V) if V is less.

    None is below LOWEST; NaN becomes LOWEST, and so does an end that comes too early.
    """
    logits = checked_logits(logits, end)
    values, tokens = greatest(logits, count + 1)  # one may be an early end
    values -= normalizer(logits, tokens[:, 0])[:, tf.newaxis]
    possible = (values >= LOWEST) & ~is_early(tokens, end, step, min_length)
    return tf.where(possible, values, LOWEST), tokens
