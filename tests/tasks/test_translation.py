"""The translation task: training, answers, refused sentences, and settings of the search."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from tests.helpers.contracts import SYMBOLS
from tests.helpers.resumable_runs import assert_same_run
from tests.helpers.texts import SENTENCES
from zoo import decoding, preset
from zoo.errors import InputError, ZooError
from zoo.preprocessing import text
from zoo.tasks import task_of
from zoo.training import setup
from zoo.training.recipe import read_recipe


def test_batches(speller, tmp_path):
    """Padded to their longest item, of about the same length, with weights of 0 on padding."""
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


@pytest.fixture(scope="module")
def spell(speller):
    """The preset's pipeline, which is traced once for all tests of this module."""
    return zoo.pipeline(str(speller))


@pytest.fixture(scope="module")
def spell_greedily(speller):
    return zoo.pipeline(str(speller), beam=1)


def test_it_has_learned(speller, spell):
    assert spell("fade")["translation"] == "F A D E"
    assert preset.open_preset(speller).record["task"]["settings"] == {"tokens": "spelling", "longest": 12}


def test_evaluation_measures_errors_and_draws_them_by_length(speller, tmp_path):
    figures = zoo.evaluate(str(speller), picture=tmp_path / "by_length.png")["metrics"]
    assert figures["phoneme_error_rate"] < 0.1
    assert (tmp_path / "by_length.png").stat().st_size > 5000


def test_evaluation_by_other_settings_is_not_recorded(speller):
    with pytest.raises(ZooError, match="metrics with other settings can't be recorded: leave out beam"):
        zoo.evaluate(str(speller), beam=1, record=True)


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_to_the_bit(speller, tmp_path):
    """Cut within an epoch of batches by length, with recurrent dropout and averaged weights; without validation, whose
    figures follow from the weights."""
    options = {
        "data": {"folder": str(speller.parent / "words.tsv"), "validation": ""},
        "model_overrides": {"embedding": 8, "units": 8, "depth": 1, "dropout": 0.2, "recurrent_dropout": 0.2},
        "task": {"tokens": "spelling", "longest": 12},
        "training": {"epochs": 2, "batch_size": 128},
    }
    zoo.train("lstm_seq2seq", tmp_path / "cut", steps=3, **options)
    resumed = zoo.train("lstm_seq2seq", tmp_path / "cut", **options)
    whole = zoo.train("lstm_seq2seq", tmp_path / "whole", **options)
    assert resumed.record["provenance"]["steps"] == whole.record["provenance"]["steps"] > 6
    assert_same_run(whole.path, resumed.path)


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
    turned = preset.load_model(again)
    assert turned.origin.assets == model.origin.assets == zoo.load(str(speller)).origin.assets
    for saved, fitted in zip(turned.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, fitted)


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("", "empty text"),
        ("  \t ", "empty text"),
        ("zebra", "not in the vocabulary: 'z' 'r'"),
        ("\u0421\u043b", "not in the vocabulary: '\u0421' '\u043b'"),
        ("a\0b", "not in the vocabulary: '\0'"),
        ("a" * 12, "12 tokens: the limit is 11; split the text"),
        ("a " * 60_000, "120000 bytes: the limit is 100000"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a\xed\xa0\x80", "not UTF-8"),
        ("a\ud800", "not UTF-8"),
    ],
)
def test_bad_sentences(spell, sentence, error):
    """Each has its own error, and the good sentences beside it keep their answers."""
    alone = spell("cab")
    answers = spell(["cab", sentence, "cab"], errors="return")
    assert answers[1]["error"] == error
    for good in (answers[0], answers[2]):
        assert good["translation"] == alone["translation"]
        assert math.isclose(good["score"], alone["score"], abs_tol=1e-5)
    with pytest.raises(InputError):
        spell(sentence)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=12))
def test_only_utf8_is_taken(spell_greedily, content):
    """The graph refuses the same bytes as Python."""
    answer = spell_greedily(content, errors="return")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        assert answer["error"] == "not UTF-8"
    else:
        assert answer.get("error") != "not UTF-8"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beam": 0}, "beam must be an integer >= 1 and <= 1000, got 0"),
        ({"beam": 2, "n_best": 3}, "n_best=3 must be <= beam=2"),
        ({"shortest": 13}, "shortest=13 must be <= longest=12"),
        ({"length_penalty": -1.0}, "length_penalty must be a finite number >= 0 and <= 10, got -1.0"),
        ({"length_penalty": 1e300}, "length_penalty must be a finite number >= 0 and <= 10, got 1e.300"),
        ({"coverage_penalty": 1e300}, "coverage_penalty must be a finite number >= 0 and <= 100, got 1e.300"),
        ({"width": 5}, "unknown setting of translation 'width'"),
    ],
)
def test_wrong_settings(speller, wrong, message):
    with pytest.raises(ZooError, match=message):
        task_of(zoo.load(str(speller)), **wrong)


def test_a_number_is_not_a_sentence(spell):
    with pytest.raises(InputError, match="an item of type int is not a text"):
        spell(3)


@pytest.fixture
def bare():
    """A translator without attention and without a vocabulary."""
    return zoo.create_model("lstm_seq2seq", units=4, embedding=4, depth=1, source_vocabulary=9, target_vocabulary=9)


def test_a_model_without_a_vocabulary(bare):
    with pytest.raises(ZooError, match="lstm_seq2seq has no vocabulary: load a preset, or make one with zoo train"):
        zoo.pipeline(bare)


def test_a_vocabulary_of_another_size_than_the_model(bare, speller):
    bare.origin.assets, bare.origin.settings = dict(SYMBOLS), {"tokens": "spelling"}
    message = "lstm_seq2seq was built for 9 tokens of the (source|target), but its vocabulary has (40|30)"
    with pytest.raises(ZooError, match=message):
        zoo.pipeline(bare)
    with pytest.raises(ZooError, match=message):  # as plainly from a data set
        zoo.dataset(str(speller.parent / "words.tsv"), model=bare)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coverage_penalty": 0.2}, "coverage_penalty needs attention, which lstm_seq2seq does not have"),
        ({"tokens": "words"}, "tokens must be one of 'pieces', 'spelling', got 'words'"),
    ],
)
def test_settings_that_do_not_fit_the_model(bare, wrong, message):
    bare.origin.assets, bare.origin.settings = dict(SYMBOLS), {"tokens": "spelling"}
    with pytest.raises(ZooError, match=message):
        zoo.pipeline(bare, **wrong)


@pytest.mark.slow
def test_sentences_by_pieces(tmp_path):
    """A recipe learns a vocabulary of pieces, which is exported with the model."""
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{sentence}\t{sentence.lower()}\n" for sentence in SENTENCES))
    zoo.train(
        "lstm_seq2seq",
        tmp_path / "mine",
        data={"folder": str(path)},
        model_overrides={"embedding": 12, "units": 12, "depth": 1, "tied": "all"},
        task={"vocabulary_size": 330, "longest": 30, "beam": 1},
        training={"epochs": 1, "batch_size": 16},
    )
    pipeline = zoo.pipeline(tmp_path / "mine")
    answers = pipeline(["A man sees nothing.", "", "\U0001f600 \u732b"], errors="return")
    assert ["error" in row for row in answers] == [False, True, False]
    (tmp_path / "sentence.txt").write_text("Two women eat.\n")
    saved = zoo.save(str(tmp_path / "mine"), tmp_path / "kept", samples=[tmp_path / "sentence.txt"])
    assert [row["answer"].keys() >= {"translation", "score"} for row in saved.record["samples"]] == [True]
    zoo.export(tmp_path / "kept", tmp_path / "out")
    result = zoo.verify(tmp_path / "out", saved.path, ["A dog.", "", "\U0001f600", "word " * 40])
    assert result["equal"], result
    figures = zoo.evaluate(saved.path, str(path), "test", record=True)["metrics"]
    assert set(figures) == {"bleu", "chrf"}
    card = (saved.path / "README.md").read_text()
    assert "- bleu: sacrebleu nrefs:1|case:mixed|eff:no|tok:13a" in card
    assert "- Needs: tensorflow-text" in card


def test_refused_sentences_count_as_empty_and_the_card_says_so(speller, tmp_path):
    path = tmp_path / "more.tsv"
    path.write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in ("bad", "zoo", "face", "ox", "fed")))
    zoo.save(str(speller), tmp_path / "kept")
    zoo.evaluate(tmp_path / "kept", str(path), "all", record=True)
    assert "2 were refused and count as empty" in (tmp_path / "kept" / "README.md").read_text()


def test_settings_reach_the_search(speller, spell, spell_greedily):
    """`shortest`, greedy search and the penalties of the score, each against its own rule."""
    model = zoo.load(speller)
    word = ["bad"]
    inputs = task_of(model).checked({"sentence": tf.constant(word)})[0]
    ends = {"start": text.START, "end": text.END, "max_length": 12}
    greedy = decoding.greedy(model, inputs, **ends)
    [one] = spell_greedily(word)
    assert one["score"] == pytest.approx(float(greedy.scores[0]), abs=1e-5)
    [longer] = zoo.pipeline(speller, shortest=7)(word)
    assert len(longer["translation"].split()) >= 7
    assert spell.task.settings.coverage_penalty == 0.0
    plain, penalised = (each(word)[0]["score"] for each in (spell, zoo.pipeline(speller, coverage_penalty=0.5)))
    decoded = task_of(model, coverage_penalty=0.5).outputs(inputs)
    length = int(decoded["lengths"][0, 0]) + 1  # with the end
    covered = tf.reduce_sum(decoded["attention"][0, :length], axis=0)
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


def test_translators_have_no_classes_and_no_separate_head(speller):
    with pytest.raises(ZooError, match="attention_seq2seq has no classes: leave out classes and labels"):
        zoo.load(speller, labels=["a", "b"])
    with pytest.raises(ZooError, match="has no head of its own, as its output weights are its embeddings"):
        zoo.load("attention_seq2seq.multi30k_en_de", freeze="all but head")
    with pytest.raises(ZooError, match="beam must be an integer >= 1 and <= 1000, got 1001"):
        zoo.pipeline(speller, beam=1001)


@pytest.mark.parametrize(
    "search",
    [
        {"beam": 1},
        pytest.param({"beam": 3, "length_penalty": 0.0}, marks=pytest.mark.slow),
        {"beam": 3, "length_penalty": 1.5},
    ],
)
def test_the_threshold_of_warnings_does_not_depend_on_the_search(speller, spell_greedily, search):
    """The log probability per token of these searches, which find the same answer; alone and in a batch."""
    mean = spell_greedily("fade")["score"] / 5  # four letters and the end
    for warn_below, item in ((mean - 1e-3, ["a", "fade"]), (mean + 1e-3, "fade")):
        answers = zoo.pipeline(str(speller), warn_below=warn_below, **search)(item)
        answer = answers if item == "fade" else answers[1]
        assert answer["translation"] == "F A D E"
        assert ("warning" in answer) == (warn_below > mean)


def test_training_drops_a_threshold_that_was_measured_before(speller, tmp_path):
    model = zoo.load(str(speller))
    model.origin.settings["warn_below"] = -0.5
    start = zoo.save(model, tmp_path / "start")
    assert start.record["task"]["settings"]["warn_below"] == -0.5
    model = zoo.load(start.path)
    assert zoo.save(model, tmp_path / "same").record["task"]["settings"]["warn_below"] == -0.5
    model.weights[0].assign(2.0 * model.weights[0])
    assert "warn_below" not in zoo.save(model, tmp_path / "fitted").record["task"]["settings"]
    (tmp_path / "mine.toml").write_text(
        f'start_from = "{start.path}"\n[data]\nfolder = "{speller.parent / "words.tsv"}"\n'
    )
    for changes, expected in (({}, None), ({"task": {"warn_below": -0.7}}, -0.7)):
        _, recipe = read_recipe(tmp_path / "mine.toml", changes)
        source = setup.open_sources(recipe)["train"]
        model = setup.make_model(recipe, source, setup.adapt(recipe, source))
        assert model.origin.settings.get("warn_below") == expected


def test_capitals_are_read_like_small_letters(tmp_path):
    """By the served signature, the path of a single item, and the input pipeline."""
    text_of = {"TWO DOGS PLAY.": "Two dogs play.", "BMX": "BMX"}
    vocabulary = text.train_pieces([*text_of, *text_of.values(), *SENTENCES], 300)
    model = zoo.create_model("lstm_seq2seq", source_vocabulary=text.Pieces(vocabulary).size,
                             target_vocabulary=text.Pieces(vocabulary).size, embedding=4, units=4, depth=1)  # fmt: skip
    model.origin.assets = {"sentencepiece.model": vocabulary}
    task, plain = task_of(model, sentence_case=True), task_of(model)
    expected = plain.checked({"sentence": tf.constant([*text_of.values()])})[0]["source"].numpy()
    np.testing.assert_array_equal(task.checked({"sentence": tf.constant([*text_of])})[0]["source"], expected)
    for row, capitals in zip(expected, text_of, strict=True):
        source = task.prepare({"sentence": tf.constant(capitals)})["source"]
        np.testing.assert_array_equal(source, row[: len(source)])
    assert not np.array_equal(plain.checked({"sentence": tf.constant([*text_of])})[0]["source"], expected)
