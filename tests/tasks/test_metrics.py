"""Metrics of texts, computed by hand."""

import pytest

from zoo import metrics


def test_figures():
    figures, signatures = metrics.translation_figures(["The cat sat on the mat."], ["The cat sat on the mat."])
    assert figures == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert "nrefs:1|case:mixed" in signatures["bleu"]
    assert "tok:13a" in signatures["bleu"]
    rates = metrics.pronunciation_figures(["K AE T", "D AO", ""], [["K AE T"], ["D AO G", "D AA"], ["AH B"]])
    # Right; one of two wrong, by the nearest of its references (1 of 2 against 1 of 3); two missing.
    assert rates == {"phoneme_error_rate": (0 + 1 + 2) / (3 + 3 + 2), "word_error_rate": 2 / 3}
    points = metrics.by_length([5, 1, 3, 2, 4, 6, 7], lambda group: group.tolist(), bins=3)
    assert points == [(2.0, [1, 3, 2]), (4.5, [4, 0]), (6.5, [5, 6])]


def test_rank_correlation_by_hand():
    """Of 1 - 6 * sum of squared rank differences / (n (n^2 - 1)); equal numbers share their mean rank."""
    assert metrics.spearman([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]) == pytest.approx(1 - 6 * 2 / 60)
    assert metrics.spearman([1.0, 2.0, 2.0, 3.0], [1.0, 5.0, 5.0, 9.0]) == pytest.approx(1.0)
    assert metrics.spearman([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(0.8660254)
