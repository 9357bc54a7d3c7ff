"""Attention of translators, as numbers and as pictures."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import SYMBOLS
from tests.helpers.texts import SENTENCES
from zoo.errors import InputError, ZooError
from zoo.preprocessing import text
from zoo.tasks import task_of, vocabularies


def test_attention_of_a_trained_model(speller, tmp_path):
    """One row of weights per symbol of the answer, over the letters of the source."""
    rows = zoo.explain(str(speller), ["fade", "na\u00efve", "bed"], tmp_path / "attention.png", errors="return")
    assert ["error" in row for row in rows] == [False, True, False]
    row = rows[0]
    assert (row["source"], row["target"]) == ([*"fade", text.STOP], [*"FADE", text.STOP])
    np.testing.assert_allclose(row["attention"].sum(axis=1), 1.0, atol=1e-5)
    assert (tmp_path / "attention.png").stat().st_size > 5000
    model = zoo.load(str(speller))
    inputs, y, _ = next(iter(zoo.dataset(str(speller.parent / "words.tsv"), "test", model=model, batch_size=5)))
    drawn = task_of(model).pictures(inputs, y, model(inputs))  # as TensorBoard shows them
    drawn["attention"](tmp_path / "batch.png")
    assert (tmp_path / "batch.png").stat().st_size > 5000
    with pytest.raises(ZooError, match=r"kind must be attention for .* \(translation\), got 'heat'"):
        zoo.explain(str(speller), "bed", tmp_path / "x.png", kind="heat")
    with pytest.raises(ZooError, match="takes at most 4 inputs, got 5"):
        zoo.explain(str(speller), ["bed"] * 5, tmp_path / "x.png")
    with pytest.raises(InputError, match="not in the vocabulary: 'z'"):
        zoo.explain(str(speller), "z", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_bytes_are_joined_to_characters():
    """The mark of a word's beginning joins them; bytes that encode nothing are U+FFFD."""

    class Vocabulary:
        def names(self, ids):
            return ids

    bytes_of_a_character = ["<0xE6>", "<0x88>", "<0x91>"]
    crowded = ["\u2581", *bytes_of_a_character, "x", *bytes_of_a_character, "<0xFF>", "<0xE6>", text.STOP]
    expected = [("\u6211", 4), ("x", 1), ("\u6211", 3), ("\ufffd", 1), ("\ufffd", 1), (text.STOP, 1)]
    assert vocabularies.words(Vocabulary(), crowded) == expected
    spaced = ["\u2581na", "<0xC3>", "<0xAF>", "ve", "\u2581caf", "<0xC3>", "<0xA9>", text.STOP]
    assert vocabularies.words(Vocabulary(), spaced) == [("na\u00efve", 4), ("caf\u00e9", 3), (text.STOP, 1)]


def test_words_of_pieces(pieces, tmp_path):
    """The pieces of a word have a single column, with the sum of their weights."""
    ids = pieces.encode(tf.constant(["Two women reads"]))[0].numpy().tolist()
    model = zoo.create_model(
        "attention_seq2seq",
        source_vocabulary=pieces.size,
        target_vocabulary=pieces.size,
        embedding=4,
        units=4,
        maxout=4,
    )
    model.origin.assets = {"sentencepiece.model": text.train_pieces(SENTENCES, 330)}
    words = vocabularies.words(task_of(model).source_vocabulary, [*ids, text.END])
    assert [word for word, _ in words] == ["Two", "women", "reads", text.STOP]
    assert sum(count for _, count in words) == len(ids) + 1 > 4
    row = zoo.explain(model, "Two women reads", tmp_path / "attention.svg")[0]
    assert row["source"] == ["Two", "women", "reads", text.STOP]
    assert row["attention"].shape == (len(row["target"]), 4)
    np.testing.assert_allclose(row["attention"].sum(axis=1), 1.0, atol=1e-5)
    deep = zoo.create_model("lstm_seq2seq", source_vocabulary=40, target_vocabulary=30, embedding=4, units=4, depth=1)
    deep.origin.assets, deep.origin.settings = dict(SYMBOLS), {"tokens": "spelling"}
    with pytest.raises(ZooError, match="lstm_seq2seq has no attention to show: it encodes a text as a single vector"):
        zoo.explain(deep, "bed", tmp_path / "x.png")
