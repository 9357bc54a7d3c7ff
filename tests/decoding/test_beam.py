"""Beam search against plain Python and exhaustive search."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.plain_decoding import END, START, Chain, exhaustive, filled, item, plain_beam, probabilities, sources
from tests.helpers.toy_generator import ToyGenerator
from zoo.decoding import LOWEST, beam_search, greedy


@pytest.mark.parametrize(
    ("seed", "alpha", "beta"),
    [(4, 0.0, 0.0), (24, 0.0, 0.0), (48, 0.0, 0.0), (4, 0.7, 0.0), (24, 0.0, 0.3), (48, 1.0, 0.2)],
)
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, alpha, beta):
    """4 tokens, length 4: 40 sequences that end and 81 cut off; 108 beams lose none of the former."""
    model, inputs = ToyGenerator(vocabulary=4, seed=seed), sources()
    options = {"width": 108, "length_penalty": alpha, "coverage_penalty": beta}
    ranked = beam_search(model, inputs, START, END, 4, n_best=60, **options)
    best = beam_search(model, inputs, START, END, 4, n_best=1, **options)
    for index in range(4):
        truth = exhaustive(model, item(inputs, index), 4, 4, alpha, beta)
        assert len(truth) == 121
        np.testing.assert_allclose(ranked.scores[index], [score for _, score in truth[:60]], atol=1e-4)
        np.testing.assert_allclose(best.scores[index, 0], truth[0][1], atol=1e-4)
        assert best.tokens[index, 0].numpy().tolist() == filled(truth[0][0], 4)
        # The order may differ where scores are equal to rounding; each hypothesis must have its own score.
        scores = {tuple(filled(tokens, 4)): score for tokens, score in truth}
        named = [tuple(tokens) for tokens in ranked.tokens[index].numpy().tolist()]
        assert len(set(named)) == 60
        np.testing.assert_allclose(ranked.scores[index], [scores[tokens] for tokens in named], atol=1e-4)


@pytest.mark.parametrize(
    ("seed", "width", "alpha", "beta", "min_length"),
    [(0, 2, 0.0, 0.0, 0), (18, 3, 0.8, 0.2, 0), (40, 4, 1.5, 0.0, 3)],
)
def test_a_narrow_beam_is_the_plain_one(seed, width, alpha, beta, min_length):
    """The plain one never stops early, so this also shows that stopping loses nothing."""
    model, inputs = ToyGenerator(seed=seed), sources()
    decoded = beam_search(model, inputs, START, END, 6, width, min_length, alpha, beta, n_best=2)
    for index in range(4):
        truth = plain_beam(model, item(inputs, index), 6, width, alpha, beta, min_length)[:2]
        assert decoded.tokens[index].numpy().tolist() == [filled(tokens, 6) for tokens, _ in truth]
        assert decoded.lengths[index].numpy().tolist() == [(tokens + [END]).index(END) for tokens, _ in truth]
        np.testing.assert_allclose(decoded.scores[index], [score for _, score in truth], atol=1e-4)
        # The attention is that of teacher forcing along the best path.
        length = len(truth[0][0])
        rows = probabilities(model, item(inputs, index), [[START, *truth[0][0][:-1]]], with_attention=True)[1][0]
        kept = np.zeros((6, 6))
        kept[:length, : rows.shape[1]] = rows
        np.testing.assert_allclose(decoded.attention[index], kept, atol=1e-5)


@pytest.mark.parametrize(("seed", "width", "alpha"), [(18, 2, 0.8), (40, 3, 1.5), (18, 4, 2.5)])
def test_a_full_beam_stops(seed, width, alpha):
    """What ends later does not count, whatever the neighbours are still waiting for."""
    model, inputs = ToyGenerator(seed=seed), sources()
    options = {"length_penalty": alpha, "n_best": 2}
    decoded = beam_search(model, inputs, START, END, 9, width, **options, stops_when_full=True)
    exact = beam_search(model, inputs, START, END, 9, width, **options)
    assert (decoded.scores <= exact.scores + 1e-6).numpy().all()
    for index in range(4):
        truth = plain_beam(model, item(inputs, index), 9, width, alpha, until=width)[:2]
        assert decoded.tokens[index].numpy().tolist() == [filled(tokens, 9) for tokens, _ in truth]
        np.testing.assert_allclose(decoded.scores[index], [score for _, score in truth], atol=1e-4)


def test_a_full_beam_stops_before_the_last_step():
    # From 2 it ends or goes on with 3, which hardly ever ends: under a penalty that might win after all.
    chain, steps = Chain([[1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0, 0, 0.5], [0.01, 0, 0, 0.99]]), {}
    for stops in (True, False):
        chain.steps = 0
        beam_search(chain, tf.zeros(1), 2, END, 100, width=2, length_penalty=1.0, stops_when_full=stops)
        steps[stops] = chain.steps
    assert steps == {True: 2, False: 100}


def test_width_one_is_greedy():
    for seed in (0, 18, 40):
        model, inputs = ToyGenerator(seed=seed), sources()
        narrow, plain = beam_search(model, inputs, START, END, 7, width=1), greedy(model, inputs, START, END, 7)
        np.testing.assert_array_equal(narrow.tokens[:, 0], plain.tokens)
        np.testing.assert_array_equal(narrow.lengths[:, 0], plain.lengths)
        np.testing.assert_allclose(narrow.scores[:, 0], plain.scores, atol=1e-5)
        np.testing.assert_allclose(narrow.attention, plain.attention, atol=1e-6)


GARDEN = [  # end, start, and two paths: greedy takes 2 (0.6 * 0.4 * 0.5), while 3 then the end has 0.4 * 0.9
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.6, 0.4],
    [0.38, 0.22, 0.4, 0.0],
    [0.9, 0.1, 0.0, 0.0],
]


def test_by_hand():
    decoded = greedy(Chain(GARDEN), tf.zeros(1), START, END, 3)
    assert decoded.tokens.numpy().tolist() == [[2, 2, 2]]
    assert decoded.attention is None
    np.testing.assert_allclose(decoded.scores, [np.log(0.6 * 0.4 * 0.4)], atol=1e-6)
    decoded = beam_search(Chain(GARDEN), tf.zeros(1), START, END, 3, width=2, n_best=2)
    assert decoded.tokens.numpy().tolist() == [[[3, 0, 0], [2, 2, 0]]]
    assert decoded.lengths.numpy().tolist() == [[1, 2]]
    # Step 2: 3 0 (0.36) ends, 2 2 (0.24) goes on; 2 0 (0.228) is not among the two best and is lost, though it would
    # be second in the end. Step 3: 2 2 2 (0.096) and 2 2 0 (0.0912); what ended ranks before what was cut off.
    np.testing.assert_allclose(decoded.scores, np.log([[0.4 * 0.9, 0.6 * 0.4 * 0.38]]), atol=1e-6)
    decoded = beam_search(Chain(GARDEN), tf.zeros(1), START, END, 3, width=2, length_penalty=1.0)
    np.testing.assert_allclose(decoded.scores, [[np.log(0.36) / (7 / 6)]], atol=1e-6)


def test_places_that_nothing_takes():
    decoded = beam_search(Chain([[1.0, 0.0], [0.3, 0.7]]), tf.zeros(2), START, END, 1, width=4, n_best=3)
    # The end ranks before the likelier token that was cut off; there is no third hypothesis.
    assert decoded.tokens.numpy().tolist() == [[[0], [1], [0]]] * 2
    assert decoded.lengths.numpy().tolist() == [[0, 1, 0]] * 2
    np.testing.assert_allclose(decoded.scores, [[np.log(0.3), np.log(0.7), LOWEST]] * 2, rtol=1e-6)
    # There are 4 up to length 3. A penalty that divides by more than 2 makes none of what can't be.
    decoded = beam_search(Chain([[1.0, 0.0], [0.3, 0.7]]), tf.zeros(1), START, END, 3, 8, length_penalty=6.0, n_best=6)
    assert decoded.lengths.numpy().tolist() == [[2, 1, 0, 3, 0, 0]]
    totals = np.log([0.7 * 0.7 * 0.3, 0.7 * 0.3, 0.3, 0.7**3])
    scores = totals / (np.array([8, 7, 6, 8]) / 6) ** 6.0
    np.testing.assert_allclose(decoded.scores, [[*scores, LOWEST, LOWEST]], rtol=1e-5)


def test_nothing_ends_it():
    model, inputs = ToyGenerator(seed=18), sources()
    decoded = greedy(model, inputs, START, None, 7)
    assert decoded.lengths.numpy().tolist() == [7] * 4
    ended = greedy(model, inputs, START, END, 7)
    assert (ended.lengths.numpy() < 7).any()
    for index, length in enumerate(ended.lengths.numpy()):
        assert decoded.tokens[index, :length].numpy().tolist() == ended.tokens[index, :length].numpy().tolist()
        assert length == 7 or decoded.tokens[index, length] == END
    decoded = beam_search(model, inputs, START, None, 4, width=3)
    for index in range(4):
        tokens, score = plain_beam(model, item(inputs, index), 4, 3, end=None)[0]
        assert decoded.tokens[index, 0].numpy().tolist() == tokens
        np.testing.assert_allclose(decoded.scores[index, 0], score, atol=1e-4)
