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
