"""Answers as plain Python values."""

import json

import numpy as np
import pytest

from zoo.tasks.answers import as_json, plain, to_python

TEXTS = {"caption": "caption", "score": "score", "others": [{"caption": "other_texts", "score": "other_scores"}]}


def test_outputs_follow_the_layout():
    outputs = {
        "caption": "käse".encode(),
        "score": np.float32(-0.5),
        "other_texts": np.array([b"a", b"b"], object),
        "other_scores": np.array([-1.0, -2.5], "float32"),
        "error": b"",
    }
    answer = to_python(TEXTS, outputs)
    assert answer == {
        "caption": "käse",
        "score": -0.5,
        "others": [{"caption": "a", "score": -1.0}, {"caption": "b", "score": -2.5}],
    }
    assert [*answer] == ["caption", "score", "others"]
    assert json.loads(json.dumps(answer)) == answer


def test_an_empty_warning_is_left_out():
    layout = {"caption": "caption", "warning": "warning"}
    assert to_python(layout, {"caption": b"a", "warning": b""}) == {"caption": "a"}
    assert to_python(layout, {"caption": b"a", "warning": b"doubtful"}) == {"caption": "a", "warning": "doubtful"}


def test_no_rows_are_an_empty_list():
    outputs = {
        "caption": b"a",
        "score": np.float32(1),
        "other_texts": np.array([], object),
        "other_scores": np.zeros(0),
    }
    assert to_python(TEXTS, outputs)["others"] == []


def test_columns_of_unequal_length_are_refused():
    outputs = {"caption": b"a", "score": np.float32(1), "other_texts": np.array([b"a"]), "other_scores": np.zeros(2)}
    with pytest.raises(ValueError, match="zip"):
        to_python(TEXTS, outputs)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a\xff", "a\ufffd"),
        (np.array(b"abc", object), "abc"),
        (np.array([[1, 2], [3, 4]], "int64"), [[1, 2], [3, 4]]),
        (np.float32(0.5), 0.5),
        (np.array(0.25, "float32"), 0.25),
        (np.int64(7), 7),
        (np.True_, True),
        (np.array([b"a", b"b"], object), ["a", "b"]),
        (np.zeros((0, 3)), []),
        ("text", "text"),
        (3, 3),
    ],
)
def test_plain_values(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_bytes_stay_bytes_and_become_base64_in_json():
    layout = {"mask": {"bytes": "mask_bytes"}, "score": "score"}
    answer = to_python(layout, {"mask_bytes": np.array([b"\xff\x00"], object)[0], "score": np.float32(0.5)})
    assert answer == {"mask": b"\xff\x00", "score": 0.5}
    assert as_json(answer) == {"mask": "/wA=", "score": 0.5}
    assert json.loads(json.dumps(layout)) == layout


def test_rows_of_padding_are_left_out():
    layout = {"words": [{"word": "words", "start": "starts"}, "word_count"]}
    outputs = {"words": np.array([b"a", b"b", b""], object), "starts": np.array([0.5, 1.0, 0.0], "float32")}
    for count, expected in ((2, [{"word": "a", "start": 0.5}, {"word": "b", "start": 1.0}]), (0, [])):
        assert to_python(layout, {**outputs, "word_count": np.int32(count)}) == {"words": expected}
    assert json.loads(json.dumps(layout)) == layout
