"""Beam search."""

import functools

import tensorflow as tf

from zoo.decoding.beam_loop import Search, coverage_score, length_normalizer, trace
from zoo.decoding.steps import Decoded, begin, check_lengths, holds_attention
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
    """The best hypotheses that a beam search with `width` beams per item finds.

    A hypothesis Y of a source X scores log P(Y|X) / lp(Y) + cp(X, Y) (Wu et al. 2016, "Google's neural machine
    translation system", arXiv 1609.08144, equation 14), with lp(Y) = ((5 + |Y|) / 6)^alpha, where |Y| counts the end,
    and cp(X, Y) = beta sum_i log(min(sum_j p_ij, 1)) over the attention p_ij of target j to source i. Source positions
    to which the first step gives a weight of exactly 0 are padding, and the sum leaves them out.

    A hypothesis ends if its end token is among the `width` best continuations of the item's beams. An item is done when
    no open beam can still reach its `n_best`, even if it grows to `max_length`. With width 1 and no penalties, the
    search equals `greedy`. Hypotheses that are cut off at `max_length` rank behind all that ended. If there are fewer
    than `n_best` hypotheses, the unused places have length 0 and score -1e9.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        width: beams per item.
        length_penalty: alpha; 0 turns it off. The paper uses 0.2; 0.6 to 1 are common.
        coverage_penalty: beta; 0 turns it off. The paper uses 0.2. Needs a state with `attention`.
        n_best: hypotheses returned per item, N.
        stops_when_full: whether an item is also done once `width` of its hypotheses have ended. With a length penalty,
            this common rule stops much sooner than the exact rule, but may miss a longer hypothesis that scores better.

    Raises:
        ZooError: an argument is out of its range.
    """
    check_lengths(max_length, min_length)
    _check_options(width, n_best, length_penalty, coverage_penalty)
    memory, state, tokens = begin(model, inputs, start)
    attends = holds_attention(state)
    if coverage_penalty and not attends:
        raise ZooError("coverage_penalty needs a model whose state has 'attention', and this model's state has none")
    batch = tf.size(tokens)
    state, tokens = _repeated((state, tokens), width)
    if getattr(model, "shares_memory", False):
        next_step = functools.partial(model.step, memory=memory, beams=width)
    else:
        next_step = functools.partial(model.step, memory=_repeated(memory, width))
    search = Search(
        next_step, batch, end, max_length, width, min_length, length_penalty, coverage_penalty, n_best, stops_when_full
    )
    steps, beams, ended, *arrays = tf.while_loop(
        search.is_unfinished, search.advance, (tf.constant(0), *search.start(tokens, state))
    )
    scores, lengths, slots = search.ranked(beams, ended)
    tokens, attention = trace(arrays, steps, lengths, slots, end, max_length)
    return Decoded(tokens, lengths, scores, attention if attends else None)


def mean_log_probability(
    decoded: Decoded, max_length: int, length_penalty: float = 0.0, coverage_penalty: float = 0.0
) -> tf.Tensor:
    """(B,) log P(Y|X) / |Y| of the best hypotheses, with |Y| counting the end, whatever the penalties of the search.

    Args:
        decoded: the result of `beam_search`, whose best hypotheses are not empty places.
        max_length, length_penalty, coverage_penalty: the arguments of the search.
    """
    scores = decoded.scores[:, 0]
    counts = tf.minimum(decoded.lengths[:, 0] + 1, max_length)  # an answer that was cut off has no end
    if coverage_penalty:
        is_source = decoded.attention[:, 0] > 0.0
        scores -= coverage_score(tf.reduce_sum(decoded.attention, axis=1), is_source, coverage_penalty)
    return scores * length_normalizer(counts, length_penalty) / tf.cast(counts, tf.float32)


def _check_options(width, n_best, length_penalty, coverage_penalty):
    if width < 1:
        raise ZooError(f"width must be an integer >= 1, got {width}")
    if not 1 <= n_best <= width:
        raise ZooError(f"n_best must be an integer from 1 to the width {width}, got {n_best}")
    if not (length_penalty >= 0.0 and coverage_penalty >= 0.0):
        raise ZooError(f"length_penalty and coverage_penalty must be >= 0, got {length_penalty} and {coverage_penalty}")


def _repeated(tensors, width):
    return tf.nest.map_structure(lambda each: None if each is None else tf.repeat(each, width, axis=0), tensors)
