"""Translation from texts to answers: vocabularies, pairs of texts, batches, the task, its figures and its command."""

import gzip
import json
import math
import random

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from tests.raw_inputs import SYMBOLS
from zoo import decoding, metrics, preset, terminal
from zoo.cli import main
from zoo.data import text_pairs
from zoo.data.sources import open_source
from zoo.errors import InputError, ZooError
from zoo.exporting import dev_server
from zoo.exporting.client import Client
from zoo.preprocessing import text
from zoo.tasks import task_of

SENTENCES = [
    f"{who} {does} {what}."
    for who in ("A man", "Two women", "Ein Mädchen", "L'enfant", "The dog")
    for does in ("sees", "eats", "reads", "hält", "regarde")
    for what in ("a red ball", "the book", "den Apfel", "une pomme", "nothing")
]

# Letters that are their own normal form: Latin, Cyrillic, Chinese, Arabic and faces.
LETTERS = [chr(code) for first, last in (
    (0x21, 0x7E), (0xC0, 0xFF), (0x410, 0x44F), (0x4E00, 0x4E80), (0x627, 0x63A), (0x1F600, 0x1F640)
) for code in range(first, last)]  # fmt: skip


@pytest.fixture(scope="module")
def pieces():
    return text.Pieces(text.train_pieces(SENTENCES, 330))


@pytest.fixture(scope="module")
def speller(tmp_path_factory):
    """A preset that has learned to say the letters of a word in capitals, and the pairs it learned from."""
    folder = tmp_path_factory.mktemp("speller")
    draw = random.Random(0)
    words = sorted({"".join(draw.choices("abcdef", k=draw.randint(1, 6))) for _ in range(900)})
    (folder / "words.tsv").write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))
    zoo.train(
        "attention_seq2seq",
        folder / "speller",
        data={"folder": str(folder / "words.tsv")},
        model_overrides={"embedding": 16, "units": 32, "attention_units": 16, "maxout": 16},
        task={"tokens": "spelling", "longest": 12},
        training={"epochs": 25, "batch_size": 32, "optimizer": {"learning_rate": 0.01}, "weight_averaging": None},
    )
    return folder / "speller"


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
    told = pieces.decode(pieces.encode(tf.constant(["\uff21 man\u00a0 sees \ufb01ve"]))).numpy()[0].decode()
    assert told == "A man sees five"


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


def test_held_out_pairs():
    """No sentence of validation and test, nor a translation of one, is trained on; and a pair is held out once."""
    draw = random.Random(1)
    pairs = [(f"e{draw.randrange(60)}", f"f{draw.randrange(80)}") for _ in range(200)]
    rows = text_pairs.split_pairs(pairs, 10)
    assert len(rows["test"]) == len(rows["validation"]) == 10
    held = rows["test"] + rows["validation"]
    assert len({one for one, _ in held}) == len({other for _, other in held}) == 20
    assert set(held) <= set(pairs)
    for side in (0, 1):
        known = {pair[side] for pair in rows["train"]}
        assert not known & {pair[side] for pair in held}
    near = {other for one, other in pairs if one in dict(held)}
    assert rows["train"] == [pair for pair in pairs if pair[0] not in dict(held) and pair[1] not in near]
    assert text_pairs.split_pairs(pairs[::-1], 10)["test"] != []
    assert [one for one, _ in text_pairs.split_pairs(pairs[::-1], 10)["test"]] == [one for one, _ in rows["test"]]


def test_pronunciations():
    lines = [
        ";;; a comment",
        "a AH0",
        "a(2) EY1",
        "A 3 EY1",
        "'BOUT 1 B AW1 T",
        "d'artagnan D AH0 R # name",
        "%PERCENT 1 P",
    ]
    assert text_pairs.pronunciations(lines) == {"a": ["AH", "EY"], "'bout": ["B AW T"], "d'artagnan": ["D AH R"]}


@pytest.fixture
def manual(tmp_path, monkeypatch):
    """TFDS's folder with files as their publishers have them, a few lines each."""
    folder = tmp_path / "tfds"
    for name in ("multi30k", "tatoeba", "cmudict"):
        (folder / "downloads" / "manual" / name).mkdir(parents=True)
    files = folder / "downloads" / "manual"
    for split, count in (("train", 5), ("val", 2), ("test_2016_flickr", 3)):
        for language in ("en", "de", "fr"):
            lines = "".join(f"{language} {split} {number}\n" for number in range(count))
            (files / "multi30k" / f"{split}.{language}.gz").write_bytes(gzip.compress(lines.encode()))
    lines = [f"Sentence {number}.\tPhrase {number // 2}.\tCC-BY\n" for number in range(30)]
    (files / "tatoeba" / "fra.txt").write_text("".join(lines))
    (files / "cmudict" / "cmudict.dict").write_text("".join(f"w{'x' * n} W{' EH1' * n}\n" for n in range(150)))
    monkeypatch.setattr(text_pairs, "HELD_OUT", 4)
    return folder


def test_builders(manual):
    fields = ("source", "target", "references")
    train = open_source("multi30k/de_en", "train", fields, manual)
    assert (train.examples, train.terms) == (5, "research and education (cite Elliott et al. 2016)")
    rows = {one["source"]: (one["target"], one["references"]) for one in train.dataset.as_numpy_iterator()}
    assert rows[b"de train 3"] == (b"en train 3", b"en train 3")
    assert open_source("multi30k/de_en", "test_2016_flickr", fields, manual).examples == 3
    test = open_source("tatoeba_pairs/fr_en", "test", fields, manual)
    for one in test.dataset.as_numpy_iterator():
        assert one["source"].startswith(b"Phrase")
        assert one["target"] in one["references"].split(b"\n")
        assert len(one["references"].split(b"\n")) == 2
    words = [open_source("cmudict", split, fields, manual) for split in ("train", "validation", "test")]
    assert sum(part.examples for part in words) == 150
    with pytest.raises(ZooError, match="cifar10 is not in"):
        open_source("cifar10", "train", fields, manual, download=False)


def test_files_that_do_not_match(manual):
    path = manual / "downloads" / "manual" / "multi30k" / "val.de.gz"
    path.write_bytes(gzip.compress(b"one line\n"))
    with pytest.raises(ZooError, match=r"multi30k/en_de is not in .*val.en.gz has 2 lines, .*val.de.gz 1: they must"):
        open_source("multi30k/en_de", "train", ("source",), manual)
    path.unlink()
    with pytest.raises(ZooError, match=r"there is no .*val.de.gz: into multi30k/ put train, val and .*github.com"):
        open_source("multi30k/en_de", "train", ("source",), manual)


def test_a_file_of_pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("\ufeff" + "".join(f"word {n // 2}\tWort {n}\tnoted\n\n" for n in range(40)), "utf-8")
    splits = {split: open_source(path, split, ("source", "references")) for split in ("train", "validation", "test")}
    found = {name: [one["source"] for one in split.dataset.as_numpy_iterator()] for name, split in splits.items()}
    assert {name: len(rows) for name, rows in found.items()} == {"train": 28, "validation": 2, "test": 4}
    assert len(set(found["train"]) | set(found["validation"]) | set(found["test"])) == 20
    assert not set(found["train"]) & set(found["test"])  # what is the same source lies in one share
    for content, message in (
        ("a\tb\nno tab\n", "line 2: a source, a tab and a target are expected"),
        ("a\t \n", "line 1: a source, a tab"),
        ("a\tb\n", "has too few pairs for a share called"),
    ):
        path.write_text(content)
        with pytest.raises(ZooError, match=message):
            open_source(path, "validation", ("source",))
    path.write_bytes(b"a\tb\n\xff\xfe\tc\n")
    with pytest.raises(ZooError, match="byte 4 is no UTF-8"):
        open_source(path, "train", ("source",))
    with pytest.raises(ZooError, match="is no file: pairs of texts come as lines"):
        open_source(tmp_path, "train", ("source",))
    with pytest.raises(ZooError, match="^missing.tsv is no file: pairs of texts"):  # a file's name, not one of TFDS
        open_source("missing.tsv", "train", ("source",))


def test_batches(speller, tmp_path):
    """Padded to their longest item, of about one length, and weights of 0 where there is nothing."""
    model = zoo.load(str(speller))
    words = str(speller.parent / "words.tsv")
    spread = {True: [], False: []}
    for shuffle in spread:
        for inputs, y, weights in zoo.dataset(words, "train", model=model, batch_size=16, shuffle=shuffle):
            assert y.shape == weights.shape == inputs["target"].shape
            assert inputs["source"].shape == (len(y), max(inputs["source_length"]))
            np.testing.assert_array_equal(weights, y != text.PADDING)
            np.testing.assert_array_equal(inputs["target"][:, 0], text.START)
            np.testing.assert_array_equal(inputs["target"][:, 1:], y[:, :-1])
            lengths = np.sum(weights, axis=1)
            for row, length in zip(y.numpy(), lengths.astype(int), strict=True):
                assert row[length - 1] == text.END
                assert (row[: length - 1] > text.UNKNOWN).all()
            np.testing.assert_array_equal(inputs["source_length"], lengths)  # as many letters as capitals
            spread[shuffle].append(np.ptp(lengths))
    assert np.mean(spread[True]) < 1.5 < np.mean(spread[False])


def test_it_has_learned(speller):
    told = zoo.pipeline(str(speller), n_best=2)("fade")
    assert told["translation"] == "F A D E"
    record = preset.open_preset(speller).record
    assert record["task"]["settings"] == {"tokens": "spelling", "longest": 12}
    figures = zoo.evaluate(str(speller), picture=speller.parent / "by_length.png")["metrics"]
    assert figures["phoneme_error_rate"] < 0.1
    assert (speller.parent / "by_length.png").stat().st_size > 5000
    with pytest.raises(ZooError, match="a figure by other settings is not recorded: leave out beam"):
        zoo.evaluate(str(speller), beam=1, record=True)


def test_a_run_that_was_cut_goes_on_to_the_bit(speller, tmp_path):
    """In the midst of an epoch of batches by length, with dropout in the recurrent products and averages."""
    options = {
        "data": {"folder": str(speller.parent / "words.tsv")},
        "model_overrides": {"embedding": 8, "units": 8, "depth": 1, "dropout": 0.2, "recurrent_dropout": 0.2},
        "task": {"tokens": "spelling", "longest": 12},
        "training": {"epochs": 2, "batch_size": 128},
    }
    zoo.train("lstm_seq2seq", tmp_path / "cut", steps=3, **options)
    found = zoo.train("lstm_seq2seq", tmp_path / "cut", **options)
    whole = zoo.train("lstm_seq2seq", tmp_path / "whole", **options)
    assert found.record["metrics"] == whole.record["metrics"]
    for one, other in zip(*(preset.load_model(each).get_weights() for each in (found, whole)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_goes_on_with_the_same_vocabulary(speller, tmp_path):
    path = tmp_path / "more.tsv"
    path.write_text("".join(f"{a}{b}\t{b.upper()} {a.upper()}\n" for a in "abcdef" for b in "abcdef"))
    model = zoo.load(str(speller))
    before = model.evaluate(zoo.dataset(str(path), model=model), verbose=0, return_dict=True)["loss"]
    model.fit(zoo.dataset(str(path), model=model, batch_size=8), epochs=5, verbose=0)
    after = model.evaluate(zoo.dataset(str(path), model=model), verbose=0, return_dict=True)["loss"]
    assert after < 0.7 * before
    again = zoo.save(model, tmp_path / "turned")
    assert again.record["provenance"]["started_from"] == "attention_seq2seq.mine"
    assert zoo.pipeline(str(tmp_path / "turned"))("ab") == zoo.pipeline(model)("ab")


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("", "empty: there is nothing to translate"),
        ("  \t ", "empty: there is nothing to translate"),
        ("zebra", "not in the vocabulary: 'z' 'r'"),
        ("\u0421\u043b", "not in the vocabulary: '\u0421' '\u043b'"),
        ("a\0b", "not in the vocabulary: '\0'"),
        ("a" * 12, "12 tokens: at most 11 are taken; give it in parts"),
        ("a " * 60_000, "120000 bytes: at most 100000 are taken"),
        (b"\xff\xfe", "no UTF-8"),
        (b"a\xed\xa0\x80", "no UTF-8"),
        ("a\ud800", "no UTF-8"),
    ],
)
def test_bad_sentences(speller, sentence, error):
    """An error of its own for each, beside good ones, whose answers stay as they are."""
    pipeline = zoo.pipeline(str(speller))
    alone = pipeline("cab")
    told = pipeline(["cab", sentence, "cab"], errors="return")
    assert told[1]["error"] == error
    for good in (told[0], told[2]):
        assert good["translation"] == alone["translation"]
        assert math.isclose(good["score"], alone["score"], abs_tol=1e-5)
    with pytest.raises(InputError):
        pipeline(sentence)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=12))
def test_only_utf8_is_taken(speller, content):
    """The graph's judgement of bytes is Python's."""
    if not hasattr(test_only_utf8_is_taken, "pipeline"):
        test_only_utf8_is_taken.pipeline = zoo.pipeline(str(speller), beam=1)
    told = test_only_utf8_is_taken.pipeline(content, errors="return")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        assert told["error"] == "no UTF-8"
    else:
        assert told.get("error") != "no UTF-8"


def test_wrong_settings_and_inputs(speller):
    model = zoo.load(str(speller))
    for wrong, message in (
        ({"beam": 0}, "beam=0 is no whole number from 1 on"),
        ({"beam": 2, "n_best": 3}, "n_best=3 is more than beam=2"),
        ({"shortest": 13}, "shortest=13 is more than longest"),
        ({"length_penalty": -1.0}, "length_penalty=-1.0 is less than 0"),
        ({"width": 5}, "unknown setting of translation 'width'"),
    ):
        with pytest.raises(ZooError, match=message):
            task_of(model, **wrong)
    with pytest.raises(InputError, match="an item of type int is no sentence"):
        zoo.pipeline(model)(3)
    bare = zoo.create_model("lstm_seq2seq", units=4, embedding=4, depth=1, source_vocabulary=9, target_vocabulary=9)
    with pytest.raises(ZooError, match="lstm_seq2seq has no vocabulary: load a preset, or make one with zoo train"):
        zoo.pipeline(bare)
    bare.origin.assets, bare.origin.settings = dict(SYMBOLS), {"tokens": "spelling"}
    with pytest.raises(ZooError, match=r"made for \(9, 9\) tokens of source and target, and not for \(40, 30\)"):
        zoo.pipeline(bare)
    with pytest.raises(ZooError, match="made for"):  # as plainly from a data set
        zoo.dataset(str(speller.parent / "words.tsv"), model=bare)
    with pytest.raises(ZooError, match="coverage_penalty needs attention, and lstm_seq2seq has none"):
        zoo.pipeline(bare, coverage_penalty=0.2)
    with pytest.raises(ZooError, match="tokens='words' is none of pieces, spelling"):
        zoo.pipeline(bare, tokens="words")


def test_sentences_by_pieces(tmp_path):
    """A recipe makes a vocabulary of pieces, and what it makes is exported with it."""
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{sentence}\t{sentence.lower()}\n" for sentence in SENTENCES))
    zoo.train(
        "lstm_seq2seq",
        tmp_path / "mine",
        data={"folder": str(path)},
        model_overrides={"embedding": 12, "units": 12, "depth": 1, "tied": "all"},
        task={"vocabulary_size": 330, "longest": 30, "beam": 2},
        training={"epochs": 1, "batch_size": 16},
    )
    pipeline = zoo.pipeline(tmp_path / "mine")
    told = pipeline(["A man sees nothing.", "", "\U0001f600 \u732b"], errors="return")
    assert ["error" in row for row in told] == [False, True, False]
    (tmp_path / "sentence.txt").write_text("Two women eat.\n")
    saved = zoo.save(str(tmp_path / "mine"), tmp_path / "kept", samples=[tmp_path / "sentence.txt"])
    out = zoo.export(tmp_path / "kept", tmp_path / "out")
    result = zoo.verify(tmp_path / "out", saved.path, ["A dog.", "", "\U0001f600", "word " * 40])
    assert result["equal"], result
    assert [row["difference"] is not None for row in zoo.verify(out, saved.path)["items"]] == [True]
    figures = zoo.evaluate(saved.path, str(path), "test", record=True)["metrics"]
    assert set(figures) == {"bleu", "chrf"}
    card = (saved.path / "README.md").read_text()
    assert "- bleu: sacrebleu nrefs:1|case:mixed|eff:no|tok:13a" in card
    assert "- Needs: tensorflow-text" in card


def test_what_it_looked_at(speller, tmp_path):
    """A row a symbol told, each over the letters; what it has learned is to look at the letter it tells."""
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
    with pytest.raises(ZooError, match="made for translation; kind='heat' explains models for image_classification"):
        zoo.explain(str(speller), "bed", tmp_path / "x.png", kind="heat")
    with pytest.raises(ZooError, match="shows 4 inputs, not 5"):
        zoo.explain(str(speller), ["bed"] * 5, tmp_path / "x.png")
    with pytest.raises(InputError, match="not in the vocabulary: 'z'"):
        zoo.explain(str(speller), "z", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_words_of_pieces(pieces, tmp_path):
    """A word's pieces have one column together, with the sum of their weights."""
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
    words = task_of(model).words(0, [*ids, text.END])
    assert [word for word, _ in words] == ["Two", "women", "reads", text.STOP]
    assert sum(count for _, count in words) == len(ids) + 1 > 4
    row = zoo.explain(model, "Two women reads", tmp_path / "attention.svg")[0]
    assert row["source"] == ["Two", "women", "reads", text.STOP]
    assert row["attention"].shape == (len(row["target"]), 4)
    np.testing.assert_allclose(row["attention"].sum(axis=1), 1.0, atol=1e-5)
    deep = zoo.create_model("lstm_seq2seq", source_vocabulary=40, target_vocabulary=30, embedding=4, units=4, depth=1)
    deep.origin.assets, deep.origin.settings = dict(SYMBOLS), {"tokens": "spelling"}
    with pytest.raises(ZooError, match="lstm_seq2seq has no attention to show: it keeps of a sentence one vector"):
        zoo.explain(deep, "bed", tmp_path / "x.png")


def test_a_client_gets_what_a_pipeline_gives(speller, tmp_path):
    """Sentences and bytes, good and bad, by gRPC and REST."""
    zoo.export(speller, tmp_path / "exports", name="speller", n_best=2)
    pipeline = zoo.pipeline(str(speller), n_best=2)
    items = ["fade", b"bed", "", "na\u00efve", b"\xff"]
    expected = pipeline(items, errors="return")
    running = dev_server.Server(tmp_path / "exports", 0, 0)
    running.start()
    try:
        for address in (f"grpc://localhost:{running.port}", f"http://localhost:{running.rest_port}"):
            told = Client("speller", address).predict(items, errors="return")
            assert [row.get("error") for row in told] == [row.get("error") for row in expected]
            for one, other in zip(told[:2], expected[:2], strict=True):
                assert one["translation"] == other["translation"]
                assert [each["translation"] for each in one["alternatives"]] == [
                    each["translation"] for each in other["alternatives"]
                ]
                assert math.isclose(one["score"], other["score"], abs_tol=1e-5)
    finally:
        running.stop()


def test_refused_sentences_count_as_empty_and_are_told(speller, tmp_path):
    path = tmp_path / "more.tsv"
    path.write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in ("bad", "zoo", "face", "ox", "fed")))
    zoo.save(str(speller), tmp_path / "kept")
    for split in ("train", "test"):
        zoo.evaluate(tmp_path / "kept", str(path), split, record=True)
    assert "1 were refused and count as empty" in (tmp_path / "kept" / "README.md").read_text()


def test_figures():
    figures, signatures = metrics.translation_figures(["The cat sat on the mat."], ["The cat sat on the mat."])
    assert figures == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert "nrefs:1|case:mixed" in signatures["bleu"]
    assert "tok:13a" in signatures["bleu"]
    told = metrics.pronunciation_figures(["K AE T", "D AO", ""], [["K AE T"], ["D AO G", "D AA"], ["AH B"]])
    # Right; one of two wrong, by the nearest of its references (1 of 2 against 1 of 3); two missing.
    assert told == {"phoneme_error_rate": (0 + 1 + 2) / (3 + 3 + 2), "word_error_rate": 2 / 3}
    points = metrics.by_length([5, 1, 3, 2, 4, 6, 7], lambda group: group.tolist(), bins=3)
    assert points == [(2.0, [1, 3, 2]), (4.5, [4, 0]), (6.5, [5, 6])]


def test_the_command(speller, tmp_path):
    """Lines in order, one an answer; those that can't be answered are told, and the status is 1."""
    (tmp_path / "lines").write_bytes(b"bad\n\n\xff\n  face \r\nzoo\nb\0e\n")
    run = CliRunner()
    told = run.invoke(main, ["predict", str(speller), "--file", str(tmp_path / "lines")])
    assert told.stdout.split("\n") == ["B A D", "", "", "F A C E", "", "", ""]
    errors = told.stderr.split("\n")
    assert errors[:2] == ["zoo: line 2: '': empty: there is nothing to translate", "zoo: line 3: \ufffd: no UTF-8"]
    assert errors[3] == "zoo: line 6: b\ufffde: not in the vocabulary: '\ufffd'"
    assert told.exit_code == 1
    told = run.invoke(main, ["predict", str(speller), "bad", str(tmp_path), "--json", "--n-best", "2", "--beam", "3"])
    rows = json.loads(told.stdout)
    assert rows[0]["input"] == "bad"
    assert rows[0]["translation"] == "B A D"
    assert len(rows[0]["alternatives"]) == 1
    assert rows[1]["error"].startswith("not in the vocabulary: '/'")  # a sentence, and never a path
    told = run.invoke(main, ["predict", str(speller), "bad", "--n-best", "2"])
    assert told.stdout.startswith("B A D\n    ")
    told = run.invoke(main, ["predict", str(speller), "bad", "--csv"])
    assert told.stdout.splitlines()[1].startswith("bad,B A D,-")
    told = run.invoke(main, ["predict", str(speller), "bad", "--csv", "--n-best", "2"])
    assert (told.exit_code, told.stdout) == (2, "")
    assert "leave out --n-best, or give --json" in told.stderr
    told = run.invoke(main, ["predict", str(speller), "\n\x1b[31m"])
    assert told.stderr.count("\n") == 1
    assert "\x1b" not in told.stderr
    narrow = CliRunner(charset="ascii")
    told = narrow.invoke(main, ["predict", str(speller), "bad", "\u4e2d", "--json"])
    assert [row["input"] for row in json.loads(told.stdout)] == ["bad", "\u4e2d"]
    told = narrow.invoke(main, ["predict", str(speller), "\u4e2d", "--csv"])
    assert told.stdout.splitlines()[1] == "?,,,not in the vocabulary: '?'"
    told = run.invoke(main, ["predict", str(speller), "bad", "--top", "2"])
    assert told.exit_code == 2
    assert "unknown setting of translation 'top'" in told.stderr


def test_of_an_endless_line_the_beginning_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "LINE", 10)
    (tmp_path / "lines").write_bytes(b"x" * 25 + b"\nbad\n" + b"y" * 9 + b"\n" + b"z" * 20)
    assert list(terminal.items([], str(tmp_path / "lines"), True)) == ["x" * 10, "bad", "y" * 9, "z" * 10]


def test_settings_reach_the_search(speller):
    """The shortest answer, the greedy one, and the score's penalties, each by its own rule."""
    model = zoo.load(speller)
    word = ["bad"]
    inputs = task_of(model).checked(tf.constant(word))[0]
    ends = {"start": text.START, "end": text.END, "max_length": 12}
    greedy = decoding.greedy(model, inputs, **ends)
    [one] = zoo.pipeline(speller, beam=1)(word)
    assert one["score"] == pytest.approx(float(greedy.scores[0]), abs=1e-5)
    [longer] = zoo.pipeline(speller, shortest=7)(word)
    assert len(longer["translation"].split()) >= 7
    plain, penalised = (zoo.pipeline(speller, coverage_penalty=beta)(word)[0]["score"] for beta in (0.0, 0.5))
    decoded = task_of(model, coverage_penalty=0.5).decode(inputs)
    length = int(decoded.lengths[0, 0]) + 1  # with the end
    covered = tf.reduce_sum(decoded.attention[0, :length], axis=0)
    penalty = 0.5 * tf.reduce_sum(tf.math.log(tf.minimum(covered, 1.0)))
    assert float(penalty) < -1e-3
    assert penalised == pytest.approx(plain + float(penalty), abs=1e-4)


def test_symbols_that_are_not_known_are_not_learned_from(speller, tmp_path):
    model = zoo.load(speller)
    (tmp_path / "own.tsv").write_text("".join(f"{word}\tF A1\n" for word in ("a", "b", "c", "d", "e", "f")))
    with pytest.raises(ZooError, match=r"own.tsv: target 'F A1': not in the vocabulary: 'A1'"):
        zoo.dataset(tmp_path / "own.tsv", model=model)
    with pytest.raises(ZooError, match=r"own.tsv: target 'F A1': not in the vocabulary: 'A1'"):
        zoo.train(_recipe_from(speller, tmp_path), tmp_path / "run", data={"folder": str(tmp_path / "own.tsv")})
    assert not (tmp_path / "run").exists()


def _recipe_from(start, folder):
    (folder / "mine.toml").write_text(f'start_from = "{start}"\n[data]\nname = "cmudict"\n')
    return folder / "mine.toml"


def test_what_a_translator_has_not(speller):
    with pytest.raises(ZooError, match="attention_seq2seq has no classes: leave out classes and labels"):
        zoo.load(speller, labels=["a", "b"])
    with pytest.raises(ZooError, match="has no head of its own, as its output weights are its embeddings"):
        zoo.load("attention_seq2seq.multi30k_en_de", freeze="all but head")
    with pytest.raises(ZooError, match="beam=1001 is more than 1000"):
        zoo.pipeline(speller, beam=1001)
