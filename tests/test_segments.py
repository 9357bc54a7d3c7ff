"""Scores of segments against a computation over all pairs of pixels, and thinning against its definition."""

import itertools
import math

import numpy as np
import pytest

from zoo.segments import scores, segments, thinned


def by_pairs(answer: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The scores by going through all pixels and all ordered pairs of pixels inside objects of the truth."""
    pixels = [place for place in np.ndindex(truth.shape) if truth[place]]
    number = {place: int(answer[place]) or ("border", place) for place in pixels}
    pairs = list(itertools.product(pixels, repeat=2))
    same = [number[a] == number[b] for a, b in pairs]
    together = [truth[a] == truth[b] for a, b in pairs]
    rand = 2 * sum(a and b for a, b in zip(same, together, strict=True)) / (sum(same) + sum(together))

    def entropy(name):
        values = [name(place) for place in pixels]
        return -sum(values.count(v) / len(values) * math.log(values.count(v) / len(values)) for v in {*values})

    own, true = entropy(number.get), entropy(lambda place: truth[place])
    joint = entropy(lambda place: (number[place], truth[place]))
    return {"v_rand": rand, "v_info": 2 * (own + true - joint) / (own + true)}


@pytest.mark.parametrize("seed", range(6))
def test_scores_equal_those_of_all_pairs(seed):
    random = np.random.default_rng(seed)
    truth = segments(random.random((11, 13)) < 0.35)
    is_border = random.random((11, 13)) < random.uniform(0.2, 0.5)
    expected = by_pairs(segments(thinned(is_border)), truth)
    assert 0 < expected["v_rand"] < 1
    assert scores(is_border, truth) == pytest.approx(expected, abs=1e-12)


def walls(width: int, gap: int = 0) -> np.ndarray:
    """Two walls that divide 40x40 pixels in four, of a width, with a gap in one of them."""
    is_border = np.zeros((40, 40), bool)
    middle = slice(20 - width // 2, 20 + (width + 1) // 2)
    is_border[middle] = is_border[:, middle] = True
    is_border[:, 5 : 5 + gap] = False
    return is_border


def test_the_width_of_a_border_does_not_count():
    truth = segments(walls(5))
    assert truth.max() == 4
    for width in (1, 2, 5, 7):
        found = scores(walls(width), truth)
        assert found["v_rand"] > 0.95, width
        assert found["v_info"] > 0.9, width
    assert scores(walls(5), truth) == pytest.approx({"v_rand": 1.0, "v_info": 1.0}, abs=1e-2)


def test_one_gap_merges_two_objects():
    truth = segments(walls(1))
    assert scores(walls(1, gap=2), truth)["v_rand"] == pytest.approx(2 * 4 / (4 + 6), abs=0.01)


def test_no_objects_and_no_borders():
    assert scores(np.zeros((5, 5), bool), np.zeros((5, 5), int)) == {"v_rand": 1.0, "v_info": 1.0}
    assert scores(np.zeros((5, 5), bool), np.ones((5, 5), int)) == {"v_rand": 1.0, "v_info": 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_objects_apart_and_leaves_thin_borders(seed):
    random = np.random.default_rng(seed)
    coarse = np.kron(random.random((6, 6)) < 0.5, np.ones((6, 6), bool))
    thin = thinned(coarse)
    assert not (thin & ~coarse).any()
    assert thin.sum() < 0.4 * coarse.sum()
    assert segments(thin).max() >= 1
    np.testing.assert_array_equal(thinned(thin), thin)
    before, after = segments(coarse), segments(thin)
    for number in range(1, before.max() + 1):  # an object stays in one piece
        assert len({*after[before == number].tolist()}) == 1


def test_a_bar_becomes_a_line():
    bar = np.zeros((9, 30), bool)
    bar[3:6, 2:28] = True
    rows, columns = np.nonzero(thinned(bar))
    assert {*rows.tolist()} == {4}
    assert columns.max() - columns.min() >= 22
