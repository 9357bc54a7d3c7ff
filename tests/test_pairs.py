"""Figures of pairs against plain computations over all thresholds and pairs."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import pairs
from zoo.errors import ZooError

DISTANCES = st.lists(st.integers(0, 40).map(lambda value: value / 16), min_size=1, max_size=30)


def by_threshold(same, different):
    """(threshold, false accept rate, false reject rate) of each distance that occurs."""
    return [
        (
            each,
            Fraction(sum(d <= each for d in different), len(different)),
            Fraction(sum(d > each for d in same), len(same)),
        )
        for each in sorted({*same, *different})
    ]


@given(DISTANCES, DISTANCES)
def test_figures_equal_those_of_all_thresholds(same, different):
    own, other = np.sort(np.array(same, "float32")), np.sort(np.array(different, "float32"))
    rows = by_threshold(same, different)
    best = min(rows, key=lambda row: (abs(row[1] - row[2]), row[1] + row[2]))
    rate, threshold = pairs.equal_error_rate(own, other)
    assert rate == pytest.approx(float(best[1] + best[2]) / 2)
    assert pairs.error_rates(own, other, threshold) == pytest.approx([*map(float, best[1:])])
    wins = [(s < d) + 0.5 * (s == d) for s, d in itertools.product(same, different)]
    assert pairs.area_under_curve(own, other) == pytest.approx(np.mean(wins))
    for allowed in (0.0, 0.125, 0.5):
        accepts = [float(1 - rejected) for _, accepted, rejected in rows if accepted <= Fraction(allowed)]
        assert pairs.accept_rate(own, other, allowed) == pytest.approx(max(accepts, default=0.0))


def test_every_pair_is_compared_once():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, 2.0]])
    same, different = pairs.distances(points, np.array([7, 7, 3, 3]))
    np.testing.assert_allclose(same, [1.0, 5.0])
    np.testing.assert_allclose(different, np.sort([1.0, 2.0, np.hypot(3, 3), np.hypot(3, 2)]), rtol=1e-6)


@pytest.mark.parametrize(
    ("people", "message"),
    [([1, 2, 3], "no two pictures of the same person"), ([1, 1, 1], "pictures of one person only")],
)
def test_pairs_of_both_kinds_are_needed(people, message):
    with pytest.raises(ZooError, match=message):
        pairs.distances(np.zeros((3, 2)), np.array(people))


def test_too_many_pictures_are_refused():
    with pytest.raises(ZooError, match="10,001 pictures have too many pairs to compare: take 10,000 or fewer"):
        pairs.distances(np.zeros((10_001, 2)), np.zeros(10_001))
