"""Sentences in capitals are read like sentences in small letters."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.preprocessing.text import sentence_case


def cased(*texts):
    return [text.decode() for text in sentence_case(tf.constant(texts)).numpy()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TWO DOGS PLAY IN THE SNOW.", "Two dogs play in the snow."),
        ('  "A MAN, 35, ON A BMX"', '  "A man, 35, on a bmx"'),
        ("3 M\u00c4DCHEN\n\u00dcBEN", "3 M\u00e4dchen\n\u00fcben"),
        ("\u041e\u041d \u0415\u0421\u0422", "\u041e\u043d \u0435\u0441\u0442"),
    ],
)  # fmt: skip
def test_capitals_become_a_sentence(text, expected):
    assert cased(text) == [expected]


@pytest.mark.parametrize(
    "text",
    ["", "BMX", "A", "U.S.", "I'm OK.", "A dog AND A CAT", "two dogs", "12 34", "\u4e00 \u7537\u4eba", "A\0B C"],
)
def test_other_texts_stay_as_they_are(text):
    assert cased(text, "NEXT TO IT") == [text, "Next to it"]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_a_text_with_a_small_letter_stays_as_it_is(text):
    text = text.encode("utf-8", "replace").decode()
    assert cased(f"{text} a") == [f"{text} a"]
    assert len(cased(text.upper())) == 1
