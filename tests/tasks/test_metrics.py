"""Metrics of texts, computed by hand."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def edits(first: list, second: list) -> int:
    """The Levenshtein distance of two lists."""
    row = list(range(len(second) + 1))
    for place, item in enumerate(first, start=1):
        before, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (item != other))
    return row[-1]


@given(st.lists(st.tuples(st.text("ab ", max_size=9), st.text("ab ", max_size=9)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_error_rates_of_transcripts_are_those_of_edit_distances(pairs):
    hypotheses, references = (list(side) for side in zip(*pairs, strict=True))
    figures, _, notes = metrics.transcription_figures(hypotheses, references)
    words = [(a.split(), b.split()) for a, b in pairs]
    letters = [(" ".join(a), " ".join(b)) for a, b in words]
    for name, sides in (("word_error_rate", words), ("character_error_rate", letters)):
        total = sum(len(b) for _, b in sides)
        expected = sum(edits(list(a), list(b)) for a, b in sides)
        assert figures[name] == pytest.approx(expected / max(total, 1))
        numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", notes[name])]
        assert sum(numbers[:3]) == expected
        assert numbers[3] == total


def test_edits_of_transcripts_are_named():
    figures, _, notes = metrics.transcription_figures(["one too", "a b c", "x"], ["one two", "a c", ""])
    assert figures == {"word_error_rate": 3 / 4, "character_error_rate": 4 / 10}
    assert notes["word_error_rate"] == "1 substitutions, 2 insertions, 0 deletions in 4 words"
