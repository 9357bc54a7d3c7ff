"""Greedy decoding and sampling, against plain Python and the model's distribution."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.plain_decoding import END, START, Chain, filled, item, plain_greedy, sources
from tests.helpers.toy_generator import ToyGenerator
from zoo.decoding import greedy, sample


@pytest.mark.parametrize(("seed", "min_length"), [(0, 0), (18, 0), (40, 0), (1, 4), (52, 8)])
def test_greedy_is_the_plain_loop(seed, min_length):
    model, inputs = ToyGenerator(seed=seed), sources()
    decoded = greedy(model, inputs, START, END, 8, min_length)
    for index in range(4):
        tokens, total, rows = plain_greedy(model, item(inputs, index), 8, min_length)
        assert decoded.tokens[index].numpy().tolist() == filled(tokens, 8)
        assert decoded.lengths[index] == (tokens + [END]).index(END)
        np.testing.assert_allclose(decoded.scores[index], total, atol=1e-4)
        kept = np.zeros((8, 6))
        kept[: rows.shape[0], : rows.shape[1]] = rows
        np.testing.assert_allclose(decoded.attention[index], kept, atol=1e-5)


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
    decoded = rolled()
    first, second = decoded.tokens.numpy().T
    expected = np.array(expected)
    bound = 4 * np.sqrt(expected * (1 - expected) / draws)  # four standard errors; exact where it's 0 or 1
    assert (np.abs(np.bincount(first, minlength=5) / draws - expected) <= bound).all()
    if "min_length" not in options:
        assert (np.abs(np.bincount(second, minlength=5) / draws - expected) <= bound).all()
        both = np.mean(first == second)  # steps are independent
        assert abs(both - np.square(expected).sum()) < 4 * np.sqrt(0.25 / draws)
    own = np.log(DIE)  # scores stay the model's
    likely = own[first] + np.where((first == END) & ("min_length" in options), 0, own[second])
    np.testing.assert_allclose(decoded.scores, likely, atol=1e-5)


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
    decoded = sample(Chain([[0.25] * 4] * 4), tf.zeros(50), START, None, 1, top_k=1)
    assert decoded.tokens.numpy().ravel().tolist() == [0] * 50
