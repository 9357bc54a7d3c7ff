"""Vocabularies: pieces of SentencePiece and lists of symbols."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.texts import SENTENCES
from zoo.errors import ZooError
from zoo.preprocessing import text

# Letters that are their own normal form: Latin, Cyrillic, Chinese, Arabic and faces.
LETTERS = [chr(code) for first, last in (
    (0x21, 0x7E), (0xC0, 0xFF), (0x410, 0x44F), (0x4E00, 0x4E80), (0x627, 0x63A), (0x1F600, 0x1F640)
) for code in range(first, last)]  # fmt: skip


def test_pieces_are_undone(pieces):
    ids = pieces.encode(tf.constant(SENTENCES[:7]))
    assert tf.reduce_min(ids).numpy() > text.UNKNOWN  # no padding, no ends, nothing unknown
    assert [one.decode() for one in pieces.decode(ids).numpy()] == SENTENCES[:7]
    assert 256 < pieces.size < 330  # bytes and pieces; of so few texts not as many as asked for


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from(LETTERS), min_size=1, max_size=12))
def test_no_letter_is_unknown(pieces, word):
    """Whatever has no piece goes through as bytes."""
    ids = pieces.encode(tf.constant([word]))
    assert pieces.decode(ids).numpy()[0].decode() == word
    assert text.UNKNOWN not in ids.flat_values.numpy()


def test_a_seed_costs_no_vocabulary(pieces):
    """TensorFlow then throws its kernels away, and what they hold."""
    traced = tf.function(lambda texts: pieces.decode(pieces.encode(texts)))
    for _ in range(2):
        assert traced(tf.constant(["A man sees"])).numpy().tolist() == [b"A man sees"]
        assert pieces.decode(pieces.encode(tf.constant(["A man"]))).numpy().tolist() == [b"A man"]
        tf.random.set_seed(0)


def test_unicode_is_normalised(pieces):
    decoded = pieces.decode(pieces.encode(tf.constant(["\uff21 man\u00a0 sees \ufb01ve"]))).numpy()[0].decode()
    assert decoded == "A man sees five"


def test_too_small_a_vocabulary():
    with pytest.raises(ZooError, match="vocabulary_size=40: SentencePiece can't make such a vocabulary"):
        text.train_pieces(SENTENCES, 40)


def test_symbols():
    letters = text.Symbols(text.symbols_of(["Übung", "bag"], True), True)
    assert letters.symbols == sorted("abgnuü")
    ids = letters.encode(tf.constant(["BAG", "", " Ünx"]))
    assert ids.to_list()[0] == [4 + letters.symbols.index(letter) for letter in "bag"]
    assert ids.to_list()[2][-1] == text.UNKNOWN
    told = letters.problem(tf.constant(["BAG", "xaß", ""])).numpy()
    assert [one.decode() for one in told] == ["", "not in the vocabulary: 'x' 'ß'", ""]
    phonemes = text.Symbols(text.symbols_of(["HH AH", "L  OW AH\u2028"], False), False)
    assert phonemes.names([0, text.START, text.END, text.UNKNOWN, 4]) == ["-", "-", text.STOP, "?", "AH"]
    ids = phonemes.encode(tf.constant(["L  AH", "HH"]))
    assert phonemes.decode(ids).numpy().tolist() == [b"L AH", b"HH"]
