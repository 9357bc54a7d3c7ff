"""Greedy, beam search and sampling against plain Python, exhaustive search and numbers worked by hand."""

import functools
import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.toy_generator import ToyGenerator, example, stepped
from zoo.decoding import LOWEST, beam_search, greedy, sample, steps
from zoo.errors import ZooError

START, END = 1, 0
ROOT = pathlib.Path(__file__).parent.parent


class Chain:
    """A generator whose next token depends on the last alone: the probabilities (V, V), row by row."""

    def __init__(self, table, dtype="float32"):
        with np.errstate(divide="ignore"):
            self.logits = tf.constant(np.log(np.array(table)), dtype)
        self.steps = 0  # run eagerly, the times that step was called

    def encode(self, inputs):
        return inputs

    def initial_state(self, memory):
        return [tf.zeros_like(memory)]

    def step(self, tokens, state, memory):
        self.steps += 1
        return tf.gather(self.logits, tokens), state


def sources(inputs=None):
    inputs = inputs or example()
    return {key: inputs[key] for key in ("source", "source_length")}


def item(inputs, index):
    """One item of a batch, with its padding cut off."""
    length = inputs["source_length"][index]
    return {"source": inputs["source"][index : index + 1, :length], "source_length": np.array([length], "int32")}


def probabilities(model, inputs, prefixes, with_attention=False):
    """Log-softmax in double precision of teacher-forced logits, (N, U, V), for one item and N equally long prefixes."""
    prefixes = np.array(prefixes)
    repeated = {key: np.repeat(value, len(prefixes), axis=0) for key, value in inputs.items()}
    logits, attention = model({**repeated, "target": prefixes}, return_attention=True)
    logits = logits.numpy().astype("float64")
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return (logits, attention.numpy().astype("float64")) if with_attention else logits


def wu(total, attention, alpha, beta):
    """The score of Wu et al. 2016; attention (|Y|, S) without padding."""
    coverage = sum(np.log(min(column.sum(), 1.0)) for column in attention.T)
    return total / ((5 + len(attention)) / 6) ** alpha + beta * coverage


def filled(tokens, max_length):
    return list(tokens) + [END] * (max_length - len(tokens))


def plain_greedy(model, inputs, max_length, min_length=0):
    """(tokens, log probability, attention) of one item, everything computed anew at every step."""
    tokens, total = [], 0.0
    while len(tokens) < max_length and END not in tokens:
        values, rows = probabilities(model, inputs, [[START, *tokens]], with_attention=True)
        values = values[0, -1]
        allowed = [token for token in range(len(values)) if token != END or len(tokens) >= min_length]
        tokens.append(max(allowed, key=lambda token: values[token]))
        total += values[tokens[-1]]
    return tokens, total, rows[0]


def plain_beam(model, inputs, max_length, width, alpha=0.0, beta=0.0, min_length=0, end=END, until=None):
    """[(tokens, score)] of one item, best first: lists, whole prefixes, and no stop before `until` have ended."""
    alive, ended = [([], 0.0)], []
    for step in range(max_length):
        if until is not None and len(ended) >= until:
            break
        values, rows = probabilities(model, inputs, [[START, *tokens] for tokens, _ in alive], with_attention=True)
        candidates = [
            (total + values[beam, -1, token], beam, token)
            for beam, (_, total) in enumerate(alive)
            for token in range(values.shape[-1])
            if token != end or step >= min_length
        ]
        candidates.sort(reverse=True)
        for total, beam, token in candidates[:width]:
            if token == end:
                ended.append(([*alive[beam][0], token], wu(total, rows[beam], alpha, beta)))
        going_on = [found for found in candidates if found[2] != end][:width]
        rows = [rows[beam] for _, beam, _ in going_on]
        alive = [([*alive[beam][0], token], total) for total, beam, token in going_on]
    cut = [(tokens, wu(total, heard, alpha, beta)) for (tokens, total), heard in zip(alive, rows, strict=True)]
    return [pair for group in (ended, cut) for pair in sorted(group, key=lambda pair: -pair[1])]


def exhaustive(model, inputs, vocabulary, max_length, alpha, beta):
    """[(tokens, score)] of every sequence there is: those that end, best first, then those cut off."""
    words = [token for token in range(vocabulary) if token != END]
    found = []
    for length in range(1, max_length + 1):
        group = [[*body, END] for body in itertools.product(words, repeat=length - 1)]
        if length == max_length:
            group += [list(body) for body in itertools.product(words, repeat=length)]
        fed = [[START, *tokens[:-1]] for tokens in group]
        values, rows = probabilities(model, inputs, fed, with_attention=True)
        for index, tokens in enumerate(group):
            total = sum(values[index, step, token] for step, token in enumerate(tokens))
            found.append((tokens, wu(total, rows[index], alpha, beta)))
    return sorted(found, key=lambda pair: (pair[0][-1] != END, -pair[1]))


@pytest.mark.parametrize("attends", [True, False])
def test_stepping_equals_teacher_forcing(attends):
    model, inputs = ToyGenerator(attends=attends), example()
    called, attention = model(inputs, return_attention=True)
    logits, rows = stepped(model, inputs, inputs["target"])
    assert np.ptp(called, axis=1).max() > 1.0  # the law would be easy to keep for logits that never change
    np.testing.assert_allclose(logits, called, atol=1e-5)
    if attends:
        np.testing.assert_allclose(rows, attention, atol=1e-5)


def test_padding_and_later_tokens_change_nothing():
    model, inputs = ToyGenerator(), example()
    other = {key: value.copy() for key, value in inputs.items()}
    for row, length in zip(other["source"], inputs["source_length"], strict=True):
        row[length:] = 6 - row[length:]
    assert (other["source"] != inputs["source"]).sum() > 5
    other["target"][:, 5:] = 4 - other["target"][:, 5:]
    np.testing.assert_allclose(model(other)[:, :5], model(inputs)[:, :5], atol=1e-5)
    logits, _ = stepped(model, other, inputs["target"])
    np.testing.assert_allclose(logits, model(inputs), atol=1e-5)
    for decode in (greedy, beam_search, sample):
        first, second = (decode(model, sources(each), START, END, 6) for each in (inputs, other))
        np.testing.assert_array_equal(first.tokens, second.tokens)
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    beam = {"width": 3, "coverage_penalty": 0.5}  # padding hears nothing and is no lack of coverage
    first, second = (beam_search(model, sources(each), START, END, 6, **beam) for each in (inputs, other))
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


@pytest.mark.parametrize(("seed", "min_length"), [(0, 0), (18, 0), (40, 0), (1, 4), (52, 8)])
def test_greedy_is_the_plain_loop(seed, min_length):
    model, inputs = ToyGenerator(seed=seed), sources()
    made = greedy(model, inputs, START, END, 8, min_length)
    for index in range(4):
        tokens, total, rows = plain_greedy(model, item(inputs, index), 8, min_length)
        assert made.tokens[index].numpy().tolist() == filled(tokens, 8)
        assert made.lengths[index] == (tokens + [END]).index(END)
        np.testing.assert_allclose(made.scores[index], total, atol=1e-4)
        kept = np.zeros((8, 6))
        kept[: rows.shape[0], : rows.shape[1]] = rows
        np.testing.assert_allclose(made.attention[index], kept, atol=1e-5)


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
    made = beam_search(model, inputs, START, END, 6, width, min_length, alpha, beta, n_best=2)
    for index in range(4):
        truth = plain_beam(model, item(inputs, index), 6, width, alpha, beta, min_length)[:2]
        assert made.tokens[index].numpy().tolist() == [filled(tokens, 6) for tokens, _ in truth]
        assert made.lengths[index].numpy().tolist() == [(tokens + [END]).index(END) for tokens, _ in truth]
        np.testing.assert_allclose(made.scores[index], [score for _, score in truth], atol=1e-4)
        # The attention is that of teacher forcing along the best path.
        length = len(truth[0][0])
        rows = probabilities(model, item(inputs, index), [[START, *truth[0][0][:-1]]], with_attention=True)[1][0]
        kept = np.zeros((6, 6))
        kept[:length, : rows.shape[1]] = rows
        np.testing.assert_allclose(made.attention[index], kept, atol=1e-5)


@pytest.mark.parametrize(("seed", "width", "alpha"), [(18, 2, 0.8), (40, 3, 1.5), (18, 4, 2.5)])
def test_a_full_beam_stops(seed, width, alpha):
    """What ends later does not count, whatever the neighbours are still waiting for."""
    model, inputs = ToyGenerator(seed=seed), sources()
    options = {"length_penalty": alpha, "n_best": 2}
    made = beam_search(model, inputs, START, END, 9, width, **options, stops_when_full=True)
    exact = beam_search(model, inputs, START, END, 9, width, **options)
    assert (made.scores <= exact.scores + 1e-6).numpy().all()
    for index in range(4):
        truth = plain_beam(model, item(inputs, index), 9, width, alpha, until=width)[:2]
        assert made.tokens[index].numpy().tolist() == [filled(tokens, 9) for tokens, _ in truth]
        np.testing.assert_allclose(made.scores[index], [score for _, score in truth], atol=1e-4)
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
    made = greedy(Chain(GARDEN), tf.zeros(1), START, END, 3)
    assert made.tokens.numpy().tolist() == [[2, 2, 2]]
    assert made.attention is None
    np.testing.assert_allclose(made.scores, [np.log(0.6 * 0.4 * 0.4)], atol=1e-6)
    made = beam_search(Chain(GARDEN), tf.zeros(1), START, END, 3, width=2, n_best=2)
    assert made.tokens.numpy().tolist() == [[[3, 0, 0], [2, 2, 0]]]
    assert made.lengths.numpy().tolist() == [[1, 2]]
    # Step 2: 3 0 (0.36) ends, 2 2 (0.24) goes on; 2 0 (0.228) is not among the two best and is lost, though it would
    # be second in the end. Step 3: 2 2 2 (0.096) and 2 2 0 (0.0912); what ended ranks before what was cut off.
    np.testing.assert_allclose(made.scores, np.log([[0.4 * 0.9, 0.6 * 0.4 * 0.38]]), atol=1e-6)
    made = beam_search(Chain(GARDEN), tf.zeros(1), START, END, 3, width=2, length_penalty=1.0)
    np.testing.assert_allclose(made.scores, [[np.log(0.36) / (7 / 6)]], atol=1e-6)


def test_places_that_nothing_takes():
    made = beam_search(Chain([[1.0, 0.0], [0.3, 0.7]]), tf.zeros(2), START, END, 1, width=4, n_best=3)
    # The end ranks before the likelier token that was cut off; there is no third hypothesis.
    assert made.tokens.numpy().tolist() == [[[0], [1], [0]]] * 2
    assert made.lengths.numpy().tolist() == [[0, 1, 0]] * 2
    np.testing.assert_allclose(made.scores, [[np.log(0.3), np.log(0.7), LOWEST]] * 2, rtol=1e-6)
    # There are 4 up to length 3. A penalty that divides by more than 2 makes none of what can't be.
    made = beam_search(Chain([[1.0, 0.0], [0.3, 0.7]]), tf.zeros(1), START, END, 3, 8, length_penalty=6.0, n_best=6)
    assert made.lengths.numpy().tolist() == [[2, 1, 0, 3, 0, 0]]
    totals = np.log([0.7 * 0.7 * 0.3, 0.7 * 0.3, 0.3, 0.7**3])
    scores = totals / (np.array([8, 7, 6, 8]) / 6) ** 6.0
    np.testing.assert_allclose(made.scores, [[*scores, LOWEST, LOWEST]], rtol=1e-5)


@pytest.mark.parametrize("seed", [18, 40])
def test_a_batch_gives_what_its_items_give_alone(seed):
    model, inputs = ToyGenerator(seed=seed), sources()
    seeds = np.array([[7, 1], [7, 2], [8, 1], [8, 2]], "int32")
    beam = {"width": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.2}
    together = greedy(model, inputs, START, END, 7), beam_search(model, inputs, START, END, 7, **beam)
    together += (sample(model, inputs, START, END, 7, seed=seeds),)
    together += (sample(model, inputs, START, END, 7, seed=(3, 4)),)
    assert len(set(together[0].lengths.numpy())) > 1  # they stop at different times
    for index in range(4):
        one = item(inputs, index)
        alone = greedy(model, one, START, END, 7), beam_search(model, one, START, END, 7, **beam)
        alone += (sample(model, one, START, END, 7, seed=seeds[index : index + 1]),)
        if index == 0:  # one seed for all is mixed with the item's place
            alone += (sample(model, one, START, END, 7, seed=(3, 4)),)
        for many, single in zip(together[: len(alone)], alone, strict=True):
            np.testing.assert_array_equal(many.tokens[index], single.tokens[0])
            np.testing.assert_array_equal(many.lengths[index], single.lengths[0])
            np.testing.assert_allclose(many.scores[index], single.scores[0], atol=1e-5)
            length = one["source"].shape[1]
            np.testing.assert_allclose(many.attention[index, :, :length], single.attention[0], atol=1e-5)
            assert not many.attention[index, :, length:].numpy().any()


def test_a_broken_item_leaves_its_neighbours_alone():
    """A source of length 0 is divided by 0 and all its logits are NaN."""
    model, inputs = ToyGenerator(), sources()
    broken = {**inputs, "source_length": np.array([3, 0, 2, 4], "int32")}
    for decode in (greedy, beam_search, sample):
        right, made = (decode(model, each, START, END, 6) for each in (inputs, broken))
        others = [0, 2, 3]
        np.testing.assert_array_equal(made.tokens.numpy()[others], right.tokens.numpy()[others])
        np.testing.assert_allclose(made.scores.numpy()[others], right.scores.numpy()[others], atol=1e-5)
        assert np.isfinite(made.scores).all()
        assert np.max(made.scores[1]) <= LOWEST
        assert np.isin(made.tokens[1], range(5)).all()


@pytest.mark.parametrize("size", [43, 640, 641, 4000])  # one block; blocks of 32; a prime number; blocks of 32
@pytest.mark.parametrize("levels", [3, 1_000_000])  # nearly all tied, hardly any
def test_the_greatest_of_many_are_those_of_a_sort(size, levels):
    values = np.random.default_rng(size).integers(0, levels, (20, size)).astype("float32")
    values[0] = np.arange(size) // 2
    for k in (1, 11, size):
        order = np.argsort(-values, axis=-1, kind="stable")[:, :k]
        found, places = steps.greatest(tf.constant(values), k)
        np.testing.assert_array_equal(places, order)
        np.testing.assert_array_equal(found, np.take_along_axis(values, order, axis=-1))
    assert steps.greatest(tf.constant(values), size + 1)[0].shape == values.shape


def test_lengths_are_kept():
    surely = Chain([[1.0, 0.0], [0.999, 0.001]])
    for least in range(5):
        for made in (
            greedy(surely, tf.zeros(1), START, END, 4, min_length=least),
            sample(surely, tf.zeros(1), START, END, 4, min_length=least),
            beam_search(surely, tf.zeros(1), START, END, 4, width=2, min_length=least),
        ):
            assert made.lengths.numpy().ravel().tolist() == [least]
            assert made.tokens.numpy().ravel().tolist() == [1] * least + [0] * (4 - least)
            ending = np.log(0.999) if least < 4 else 0.0
            # The probability 0.999 is a float32, whose steps near 1 are 6e-8.
            np.testing.assert_allclose(np.ravel(made.scores), [least * np.log(0.001) + ending], rtol=1e-5, atol=1e-7)
    never = Chain([[1.0, 0.0], [0.0, 1.0]])
    for decode in (greedy, sample, beam_search):
        made = decode(never, tf.zeros(3), START, END, 5)
        assert made.lengths.numpy().ravel().tolist() == [5] * 3
        np.testing.assert_allclose(np.ravel(made.scores), 0.0, atol=1e-6)


def test_it_stops_when_every_item_is_done():
    count = Chain(np.eye(9)[[0, 0, 1, 2, 3, 4, 5, 6, 7]] * 0.98 + 0.01)  # counts down to its end
    for decode in (greedy, beam_search):
        count.steps = 0
        made = decode(count, tf.zeros(3), np.array([2, 6, 4]), END, 1000)
        assert made.lengths.numpy().ravel().tolist() == [1, 5, 3]
        assert made.tokens.numpy().reshape(3, 1000)[1, :7].tolist() == [5, 4, 3, 2, 1, 0, 0]
        assert count.steps == 6
    # A long answer might still win under a penalty on length: 1000 tokens divide the log probability by 167.
    count.steps = 0
    beam_search(count, tf.zeros(1), 6, END, 1000, width=2, length_penalty=1.0)
    assert 6 < count.steps < 1000


def test_nothing_ends_it():
    model, inputs = ToyGenerator(seed=18), sources()
    made = greedy(model, inputs, START, None, 7)
    assert made.lengths.numpy().tolist() == [7] * 4
    ended = greedy(model, inputs, START, END, 7)
    assert (ended.lengths.numpy() < 7).any()
    for index, length in enumerate(ended.lengths.numpy()):
        assert made.tokens[index, :length].numpy().tolist() == ended.tokens[index, :length].numpy().tolist()
        assert length == 7 or made.tokens[index, length] == END
    made = beam_search(model, inputs, START, None, 4, width=3)
    for index in range(4):
        tokens, score = plain_beam(model, item(inputs, index), 4, 3, end=None)[0]
        assert made.tokens[index, 0].numpy().tolist() == tokens
        np.testing.assert_allclose(made.scores[index, 0], score, atol=1e-4)


def test_half_precision_logits_are_summed_in_single():
    table = [[1.0, 0.0, 0.0], [0.001, 0.499, 0.5], [0.001, 0.499, 0.5]]
    logits = np.log(table[1]).astype("float16").astype("float64")
    step = logits[2] - np.log(np.exp(logits).sum())
    with np.errstate(divide="ignore"):
        for decode in (greedy, beam_search):
            made = decode(Chain(table, "float16"), tf.zeros(1), START, None, 50)
            assert made.scores.dtype == tf.float32
            np.testing.assert_allclose(np.ravel(made.scores), [50 * step], rtol=1e-5)


def test_a_state_without_attention():
    inputs = sources()
    for decode in (greedy, beam_search, sample):
        without, held = (decode(ToyGenerator(attends=attends), inputs, START, END, 6) for attends in (False, True))
        assert without.attention is None
        assert held.attention.shape == (4, 6, 6)
        np.testing.assert_array_equal(without.tokens, held.tokens)


DIE = [0.05, 0.1, 0.15, 0.3, 0.4]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, DIE),
        ({"temperature": 0.5}, np.square(DIE) / np.square(DIE).sum()),
        ({"top_k": 2}, [0, 0, 0, 0.3 / 0.7, 0.4 / 0.7]),
        ({"top_k": 9, "temperature": 2.0}, np.sqrt(DIE) / np.sqrt(DIE).sum()),
        ({"min_length": 1}, [0, *(np.array(DIE[1:]) / 0.95)]),
    ],
)
def test_samples_follow_the_distribution(options, expected):
    draws = 4000
    die = Chain([DIE] * 5)
    rolled = tf.function(lambda: sample(die, tf.zeros(draws), START, None, 2, seed=(5, 6), **options))
    if options.get("min_length"):
        rolled = tf.function(lambda: sample(die, tf.zeros(draws), START, END, 2, seed=(5, 6), **options))
    made = rolled()
    first, second = made.tokens.numpy().T
    expected = np.array(expected)
    bound = 4 * np.sqrt(expected * (1 - expected) / draws)  # four standard errors; exact where it's 0 or 1
    assert (np.abs(np.bincount(first, minlength=5) / draws - expected) <= bound).all()
    if "min_length" not in options:
        assert (np.abs(np.bincount(second, minlength=5) / draws - expected) <= bound).all()
        both = np.mean(first == second)  # steps are independent
        assert abs(both - np.square(expected).sum()) < 4 * np.sqrt(0.25 / draws)
    own = np.log(DIE)  # scores stay the model's
    likely = own[first] + np.where((first == END) & ("min_length" in options), 0, own[second])
    np.testing.assert_allclose(made.scores, likely, atol=1e-5)


def test_a_seed_decides_the_sample():
    model, inputs = ToyGenerator(), sources()
    inputs = {key: np.repeat(value[:1], 6, axis=0) for key, value in inputs.items()}

    def draw(seed, **options):
        return sample(model, inputs, START, END, 8, seed=seed, **options).tokens.numpy().tolist()

    first = draw((1, 2))
    assert draw((1, 2)) == first
    assert draw((1, 3)) != first
    assert len({tuple(tokens) for tokens in first}) > 1  # equal items get draws of their own
    same = draw(np.array([[4, 4]] * 6, "int64"))
    assert same == same[:1] * 6
    plain = greedy(model, inputs, START, END, 8)
    for seed in range(3):
        assert draw((seed, 0), top_k=1, temperature=5.0) == plain.tokens.numpy().tolist()
        assert draw((seed, 0), temperature=1e-6) == plain.tokens.numpy().tolist()


def test_ties_leave_one_token():
    made = sample(Chain([[0.25] * 4] * 4), tf.zeros(50), START, None, 1, top_k=1)
    assert made.tokens.numpy().ravel().tolist() == [0] * 50


@pytest.mark.parametrize("size", [1, 4])
def test_batches_of_a_size_that_the_graph_knows(size):
    model, inputs = ToyGenerator(seed=18), {key: tf.constant(value[:size]) for key, value in sources().items()}
    for decode in (greedy, functools.partial(beam_search, width=1), functools.partial(beam_search, width=3)):
        made, traced = (call(model, inputs, START, END, 6) for call in (decode, tf.function(decode)))
        np.testing.assert_array_equal(made.tokens, traced.tokens)
        np.testing.assert_allclose(made.scores, traced.scores, rtol=1e-5)


def test_saved_model(tmp_path):
    model, inputs = ToyGenerator(seed=18), {key: tf.constant(value) for key, value in sources().items()}
    beam = {"width": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.2}
    signature = [{"source": tf.TensorSpec([None, None], tf.int32), "source_length": tf.TensorSpec([None], tf.int32)}]
    module = tf.Module()
    module.model = model
    module.greedy = tf.function(lambda each: greedy(model, each, START, END, 6)._asdict(), signature)
    module.beam = tf.function(lambda each: beam_search(model, each, START, END, 6, **beam)._asdict(), signature)
    module.sample = tf.function(lambda each: sample(model, each, START, END, 6, seed=(1, 2))._asdict(), signature)
    tf.saved_model.save(module, tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved")
    eager = {
        "greedy": greedy(model, inputs, START, END, 6),
        "beam": beam_search(model, inputs, START, END, 6, **beam),
        "sample": sample(model, inputs, START, END, 6, seed=(1, 2)),
    }
    for name, made in eager.items():
        answers = getattr(served, name)(inputs)
        np.testing.assert_array_equal(answers["tokens"], made.tokens)
        np.testing.assert_array_equal(answers["lengths"], made.lengths)
        np.testing.assert_allclose(answers["scores"], made.scores, atol=1e-5)
        np.testing.assert_allclose(answers["attention"], made.attention, atol=1e-5)
        nobody = getattr(served, name)({key: value[:0] for key, value in inputs.items()})
        assert nobody["tokens"].shape == (0, *made.tokens.shape[1:])


@pytest.mark.parametrize(
    ("decode", "options", "message"),
    [
        (greedy, {"max_length": 0}, "max_length must be at least 1, not 0"),
        (greedy, {"min_length": 6}, "min_length must lie between 0 and max_length 5, not 6"),
        (sample, {"min_length": -1}, "min_length must lie between 0 and max_length 5, not -1"),
        (sample, {"temperature": 0.0}, "temperature must be above 0, not 0.0; greedy"),
        (sample, {"temperature": float("nan")}, "temperature must be above 0, not nan"),
        (sample, {"top_k": 0}, "top_k must be at least 1, not 0"),
        (sample, {"seed": 3}, r"seed must be integers of shape \(2,\) or \(B, 2\), not int32 of shape \(\)"),
        (sample, {"seed": (1, 2, 3)}, r"seed must be integers of shape .*, not int32 of shape \(3,\)"),
        (sample, {"seed": (1.0, 2.0)}, "seed must be integers of shape .*, not float32"),
        (beam_search, {"max_length": -1}, "max_length must be at least 1, not -1"),
        (beam_search, {"width": 0}, "width must be at least 1, not 0"),
        (beam_search, {"width": 2, "n_best": 3}, "n_best must lie between 1 and the width 2, not 3"),
        (beam_search, {"n_best": 0}, "n_best must lie between 1 and the width 5, not 0"),
        (beam_search, {"length_penalty": -0.1}, "penalties must be 0 or more, not -0.1 and 0.0"),
        (beam_search, {"coverage_penalty": -1.0}, "penalties must be 0 or more, not 0.0 and -1.0"),
        (beam_search, {"coverage_penalty": 0.2}, "coverage_penalty needs a model whose state holds 'attention'"),
        (greedy, {"end": 4}, "end must be one of the model's 4 tokens, not 4"),
        (beam_search, {"end": -1}, "end must be one of the model's 4 tokens, not -1"),
    ],
)
def test_errors(decode, options, message):
    options = {"start": START, "end": END, "max_length": 5, **options}
    with pytest.raises(ZooError, match=message) as raised:
        decode(Chain(GARDEN), tf.zeros(1), **options)
    assert "\n" not in str(raised.value)


def test_the_generator_steps_on_jax(tmp_path):
    """The same weights and inputs in a process with Keras's JAX backend: step, call and TensorFlow agree."""
    script = """
import sys
import keras, numpy as np
from tests.toy_generator import ToyGenerator, example, stepped
model, inputs = ToyGenerator(), example()
called = keras.ops.convert_to_numpy(model(inputs))
logits, rows = stepped(model, inputs, inputs["target"])
np.savez(sys.argv[1], backend=keras.backend.backend(), called=called, logits=logits, rows=rows)
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiling is most of what it does
    command = [sys.executable, "-c", script, str(tmp_path / "jax.npz")]
    child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    with np.load(tmp_path / "jax.npz") as file:
        made = dict(file)
    assert made["backend"] == "jax"
    np.testing.assert_allclose(made["logits"], made["called"], atol=1e-5)
    model, inputs = ToyGenerator(), example()
    called, attention = model(inputs, return_attention=True)
    np.testing.assert_allclose(made["called"], called, atol=1e-4)
    np.testing.assert_allclose(made["rows"], attention, atol=1e-4)
