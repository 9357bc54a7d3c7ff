"""The loop of beam search: how beams are extended, how hypotheses end, and how they are traced back."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decoding.steps import (
    LOWEST,
    as_before,
    attention_of,
    checked_logits,
    filling,
    greatest,
    is_early,
    joined,
    normalizer,
    steps_array,
)


class Beams(NamedTuple):
    """The open beams of each item, best first."""

    tokens: tf.Tensor  # (B * W,), the last of each beam
    state: Any  # the generator's, B * W rows
    totals: tf.Tensor  # (B, W), log probabilities
    coverage: tf.Tensor  # (B, W, S), the attention to each source position, summed over the steps
    is_source: tf.Tensor  # (B, S), false on padding


class Ended(NamedTuple):
    """The hypotheses of each item that ended, best first; (B, W) each."""

    scores: tf.Tensor  # LOWEST in unused places
    lengths: tf.Tensor
    slots: tf.Tensor  # the beam that each stopped in


def length_normalizer(length, length_penalty):
    """lp(Y) of the length |Y|, an integer or a tensor of integers."""
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty


def coverage_score(coverage, is_source, coverage_penalty):
    """cp(X, Y) (...) of the coverage (..., S) of each source position; `is_source` is False on padding."""
    covered = tf.where(is_source, tf.minimum(coverage, 1.0), 1.0)
    return coverage_penalty * tf.reduce_sum(tf.math.log(covered), axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The loop of one search. The options are those of `beam_search`."""

    next_step: Callable  # tokens, state -> logits, state
    batch: tf.Tensor
    end: int | None
    max_length: int
    width: int
    min_length: int
    length_penalty: float
    coverage_penalty: float
    n_best: int
    stops_when_full: bool

    def start(self, tokens, state):
        """-> beams, ended, and arrays for the tokens, parents and attention of each step."""
        coverage = self._by_item(tf.zeros_like(attention_of(state)))  # (B, W, S)
        # All beams are equal at first, so only the first one counts.
        totals = self._tiled([0.0] + [LOWEST] * (self.width - 1), tf.float32)
        beams = Beams(tokens, state, totals, coverage, coverage[:, 0] > 0.0)
        zeros = [0] * self.width
        ended = Ended(
            self._tiled([LOWEST] * self.width, tf.float32), self._tiled(zeros, tf.int32), self._tiled(zeros, tf.int32)
        )
        shapes = (tf.int32, (None, self.width)), (tf.int32, (None, self.width)), (tf.float32, (None, self.width, None))
        return beams, ended, *(steps_array(self.max_length, *each) for each in shapes)

    def is_unfinished(self, step, beams, ended, *_):
        # The highest score that the best open beam can reach: all further tokens certain, all of the source covered.
        highest = self._normalized(beams.totals[:, 0], self.max_length)
        done = (ended.scores[:, self.n_best - 1] >= highest) | self._is_full(ended)
        return (step < self.max_length) & ((step == 0) | ~tf.reduce_all(done))

    def advance(self, step, beams, ended, tokens, parents, attention):
        """One step of the loop: every beam is extended, hypotheses that end leave, and the best others go on."""
        logits, state = self.next_step(beams.tokens, beams.state)
        weights = self._by_item(attention_of(state))  # (B, W, S)
        coverage = beams.coverage + weights
        is_source = tf.where(step == 0, weights[:, 0] > 0.0, beams.is_source)
        values, parent, token = self._extensions(step, logits, beams.totals)  # (B, 2 * W)
        ends = tf.zeros_like(token, tf.bool) if self.end is None else token == self.end
        scores = self._normalized(values, step + 1)
        if self.coverage_penalty:
            scores += tf.gather(self._coverage_score(coverage, is_source), parent, batch_dims=1)
        is_valid = ends & (values > LOWEST / 2)

        totals, order = tf.math.top_k(tf.where(ends, LOWEST, values), self.width)
        kept, token = (tf.gather(column, order, batch_dims=1) for column in (parent, token))
        index = tf.reshape(tf.range(self.batch)[:, tf.newaxis] * self.width + kept, [-1])
        after = Beams(
            tokens=tf.reshape(token, [-1]),
            state=tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), state),
            totals=totals,
            coverage=tf.gather(coverage, kept, batch_dims=1),
            is_source=is_source,
        )
        after = as_before((after, self._with_ended(step, ended, scores, is_valid, parent)), (beams, ended))
        return step + 1, *after, tokens.write(step, token), parents.write(step, kept), attention.write(step, weights)

    def _extensions(self, step, logits, totals):
        """The best extensions of an item's beams, best first: log probability, beam and token, (B, 2 * W) each.

        At most W of them end, so at least W go on.
        """
        likeliest = _likeliest(logits, self.end, step, self.min_length, 2 * self.width)
        values, tokens = (self._by_item(each) for each in likeliest)  # (B, W, 2 * W + 1)
        values = tf.maximum(totals[:, :, tf.newaxis] + values, LOWEST)
        count = tf.shape(values)[2]
        values = tf.reshape(values, [self.batch, self.width * count])
        best, places = tf.math.top_k(values, tf.minimum(2 * self.width, self.width * count))
        return best, places // count, tf.gather(tf.reshape(tokens, [self.batch, -1]), places, batch_dims=1)

    def _with_ended(self, step, ended, scores, is_valid, parent):
        """The `width` best hypotheses among those that ended before and those that end now."""
        is_valid = is_valid[:, : self.width] & ~self._is_full(ended)[:, tf.newaxis]
        scores = tf.where(is_valid, scores[:, : self.width], LOWEST)
        added = Ended(scores, tf.fill([self.batch, self.width], step), parent[:, : self.width])
        both = [tf.concat(pair, axis=1) for pair in zip(ended, added, strict=True)]
        order = tf.math.top_k(both[0], self.width).indices
        # The loop runs until the last item is done; hypotheses that end later are no better for the items done before.
        return Ended(*(tf.gather(column, order, batch_dims=1) for column in both))

    def ranked(self, beams, ended):
        """The `n_best` hypotheses, those that ended before those cut off: scores, lengths and slots, (B, N) each."""
        scores = self._normalized(beams.totals, self.max_length)
        scores += self._coverage_score(beams.coverage, beams.is_source)
        scores, slots = tf.math.top_k(tf.where(beams.totals > LOWEST / 2, scores, LOWEST), self.width)
        cut_off = Ended(scores, tf.fill([self.batch, self.width], self.max_length), slots)
        count = tf.reduce_sum(tf.cast(ended.scores > LOWEST / 2, tf.int32), axis=1, keepdims=True)  # (B, 1)
        rank = tf.range(self.n_best)[tf.newaxis]
        rank = tf.where(rank < count, rank, rank - count + self.width)  # (B, N)
        scores, lengths, slots = (
            tf.gather(tf.concat(pair, axis=1), rank, batch_dims=1) for pair in zip(ended, cut_off, strict=True)
        )
        return scores, tf.where(scores > LOWEST / 2, lengths, 0), slots

    def _by_item(self, tensor):
        """(B * W, ...) -> (B, W, ...)."""
        return tf.reshape(tensor, tf.concat([[self.batch, self.width], tf.shape(tensor)[1:]], axis=0))

    def _tiled(self, values, dtype):
        """(W,) -> (B, W)."""
        return tf.tile(tf.constant(values, dtype)[tf.newaxis], [self.batch, 1])

    def _normalized(self, totals, length):
        """log P(Y) / lp(Y)."""
        return totals / length_normalizer(length, self.length_penalty)

    def _coverage_score(self, coverage, is_source):
        """cp(X, Y): (B, W, S), (B, S) -> (B, W)."""
        return coverage_score(coverage, is_source[:, tf.newaxis], self.coverage_penalty)

    def _is_full(self, ended):
        """(B,), whether `width` hypotheses have ended and that is enough."""
        return (ended.scores[:, -1] > LOWEST / 2) & self.stops_when_full


def trace(arrays, steps, lengths, slots, end, max_length):
    """Follows hypotheses back from the beams that they stopped in.

    Args:
        arrays: tokens, parents and attention of each step.
        steps: the number of steps.
        lengths, slots: (B, N).

    Returns:
        tokens (B, N, U), and the attention (B, U, S) of the best hypothesis.
    """
    all_tokens, all_parents, all_attention = (array.gather(tf.range(steps)) for array in arrays)

    def body(step, slots, tokens, attention):
        inside = step < lengths
        token = tf.where(inside, tf.gather(all_tokens[step], slots, batch_dims=1), filling(end))
        slots = tf.where(inside, tf.gather(all_parents[step], slots, batch_dims=1), slots)
        weights = tf.gather(all_attention[step], slots[:, 0], batch_dims=1)  # (B, S)
        weights = tf.where((step <= lengths[:, 0])[:, tf.newaxis], weights, 0.0)
        return step - 1, slots, tokens.write(step, token), attention.write(step, weights)

    shapes = (tf.int32, (None, slots.shape[1])), (tf.float32, (None, None))
    arrays = [steps_array(max_length, *each) for each in shapes]
    _, _, tokens, attention = tf.while_loop(lambda step, *_: step >= 0, body, (steps - 1, slots, *arrays))
    tokens = joined(tokens, steps, max_length, filling(end), [1, 2, 0])
    return tokens, joined(attention, steps, max_length, 0.0, [1, 0, 2])


def _likeliest(logits, end, step, min_length, count):
    """(B, V) logits -> the `count` greatest log probabilities and their tokens, (B, count + 1), or (B, V) if V is less.

    Values are at least LOWEST: NaN becomes LOWEST, and so does an end before `min_length`.
    """
    logits = checked_logits(logits, end)
    values, tokens = greatest(logits, count + 1)  # one of them may be an early end
    values -= normalizer(logits, tokens[:, 0])[:, tf.newaxis]
    possible = (values >= LOWEST) & ~is_early(tokens, end, step, min_length)
    return tf.where(possible, values, LOWEST), tokens
