"""Answers of a portable export whose first label changed are not equal, however near their scores are."""

import json

import pytest

import zoo
from zoo.exporting import verifying


@pytest.fixture
def compare(tiny_preset, digit_file, tmp_path, monkeypatch):
    """Compares the answer of the preset with a changed one, at a tolerance of 1."""
    (tmp_path / verifying.PORTABLE_MANIFEST).write_text(json.dumps({"tolerance": 1.0}))
    pipeline = zoo.pipeline(tiny_preset)

    def rows(change):
        answer = {key: value for key, value in pipeline(digit_file).items() if key != "input"}
        monkeypatch.setattr(verifying, "_portable_answers", lambda *_: [change(answer)])
        return verifying.compare(tmp_path, pipeline, [digit_file])

    return rows


def swapped(labels: list, first: int, second: int) -> list:
    labels = list(labels)
    labels[first], labels[second] = labels[second], labels[first]
    return labels


def test_another_first_label_is_another_answer(compare):
    (row,) = compare(lambda answer: {**answer, "labels": swapped(answer["labels"], 0, 1)})
    assert row["equal"] is False
    assert 0 < row["difference"] < 1
    assert row["export"]["labels"][0] == row["pipeline"]["labels"][1]


def test_later_labels_may_change_places(compare):
    (row,) = compare(lambda answer: {**answer, "labels": swapped(answer["labels"], 1, 2)})
    assert row["equal"] is True


def test_an_error_has_no_first_label(compare):
    (row,) = compare(lambda _: {"error": "not an image"})
    assert row["equal"] is False
