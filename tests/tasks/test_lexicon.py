"""Speech recognition with known words: where they come from, what is answered, and what is refused."""

import json
import re

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.contracts import CONTRACTS, chirp
from tests.helpers.models import make
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import lexicons, task_of

PAIRS = lexicons.pairs_of(["a ba", "ba", "a ba bb"])
TONE = np.concatenate([chirp(pitch, 0.3) for pitch in (300, 900, 2_700)]).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = make("blstm_ctc")
    model.origin.assets = {"alphabet.txt": b"' abc", "word_pairs.tsv": PAIRS}
    model.origin.settings |= CONTRACTS["speech_recognition"].settings
    model.head.kernel.assign(20 * model.head.kernel)  # so that it writes something
    return model


@pytest.fixture
def old():
    """A model of an earlier version, whose training did not keep the words."""
    model = make("blstm_ctc")
    model.origin.settings |= CONTRACTS["speech_recognition"].settings
    return model


def given_task(model, *paths: str, **settings):
    """A task whose model writes paths, one character per step and "-" for the blank, almost certainly."""
    numbers = np.array([["-' abc".index(letter) for letter in path] for path in paths])
    logits = tf.constant(7 * np.eye(6, dtype="float32")[numbers])
    task = task_of(model, decoder="lexicon", **settings)
    answers = task.answer(task.run(lambda inputs, training: {"logits": logits}, {}))
    answers = {name: value.numpy() for name, value in answers.items()}
    return [task.to_python({name: value[row] for name, value in answers.items()}) for row in range(len(paths))]


def test_training_keeps_the_pairs_of_words(model, tmp_path):
    """Also in training that starts from a preset: the words are those of the new transcripts."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", TONE, 16_000)
    (tmp_path / "transcripts.tsv").write_text("0.wav\tb  a\n1.wav\tb\n2.wav\tb a\n")
    task = task_of(model)
    source = open_source(tmp_path, "all", task.fields, task.layout)
    pairs = b"\tb\t3\na\t\t2\nb\t\t1\nb\ta\t2\n"
    assert type(task).adapt(source, {}, {})[1]["word_pairs.tsv"] == pairs
    assert type(task).adapt(source, {}, {"alphabet.txt": b"xyz"}) == ({}, {"word_pairs.tsv": pairs}, {})


def test_the_bigram_model_of_the_pairs():
    """The beginning is before a twice and ba once; the probabilities after each word sum to 1, and all are > 0."""
    words, following = lexicons.of_pairs(PAIRS, "' abc")
    assert words.words == ["a", "ba", "bb"]
    table = np.exp([following(word) for word in range(4)])
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table.min() > 0
    begin, end = 3, 3
    assert table[begin, 0] > table[begin, 1] > table[begin, 2]
    assert table[0, 1] > 0.5
    assert table[1, end] > table[1, 2] > table[1, 0]
    assert lexicons.pairs_of(["", "a"]) == b"\t\t1\n\ta\t1\na\t\t1\n"


def test_known_words_have_the_times_of_the_alignment(model):
    rows = given_task(model, "-aa-c -ba-", "----------", " bb--a----", lexicon_weight=0.0)
    assert [row["transcript"] for row in rows] == ["a ba", "", "ba"]
    first = 0.0075  # seconds at which the first frame of 25 ms begins, if each has the 10 ms around its centre
    assert rows[0]["words"] == [
        {"word": "a", "start": pytest.approx(first + 0.02), "end": pytest.approx(first + 0.06)},
        {"word": "ba", "start": pytest.approx(first + 0.14), "end": pytest.approx(first + 0.18)},
    ]
    assert rows[1] == {"transcript": "", "score": pytest.approx(0, abs=0.1), "words": []}
    assert rows[0]["score"] == pytest.approx(-7, abs=1)  # a blank in the place of c


def test_the_settings_weigh_the_words(model, tmp_path):
    (tmp_path / "words.txt").write_text("bc\r\n\nab\nbc\n")
    [plain] = given_task(model, "--a--", lexicon_weight=0.0)
    assert plain["transcript"] == "a"
    [generous] = given_task(model, "--a--", lexicon_weight=0.0, word_bonus=30.0)
    assert generous["transcript"] == "a a a"
    [likely] = given_task(model, "--a--", lexicon_weight=30.0)  # after a comes ba
    assert likely["transcript"] == "ba"
    [own] = given_task(model, "-a-b-", lexicon=tmp_path / "words.txt", lexicon_weight=9.0)
    assert own["transcript"] == "ab"
    assert own["score"] == pytest.approx(0, abs=0.1)  # without a language model
    [wide] = given_task(model, "-a-b-", lexicon=str(tmp_path / "words.txt"), lexicon_beam=500, word_bonus=2.0)
    assert wide["score"] == pytest.approx(own["score"] + 2.0, abs=0.01)


def test_a_preset_answers_with_known_words(model, tmp_path):
    zoo.save(model, tmp_path / "preset")
    soundfile.write(tmp_path / "tone.wav", TONE, 16_000, "FLOAT")
    assert set(zoo.pipeline(tmp_path / "preset")(TONE)["transcript"].split()) - {"a", "ba", "bb"}
    command = ["predict", tmp_path / "preset", tmp_path / "tone.wav", "--set", "decoder=lexicon", "--json"]
    [row] = json.loads(run_zoo(*command)[1])
    assert set(row["transcript"].split()) <= {"a", "ba", "bb"}
    assert row["transcript"]
    pipeline = zoo.pipeline(tmp_path / "preset", decoder="lexicon")
    for answer in (pipeline(TONE), *pipeline([TONE, TONE])):
        assert answer["transcript"] == row["transcript"]
        assert answer["score"] == pytest.approx(row["score"], abs=1e-3)


def test_known_words_are_measured(model, tmp_path):
    zoo.save(model, tmp_path / "preset")
    text = zoo.pipeline(model, decoder="lexicon")(TONE)["transcript"]
    for number in range(10):
        soundfile.write(tmp_path / f"{number}.wav", TONE, 16_000, "FLOAT")
    lines = [f"{number}.wav\t{text}\n" for number in range(10)]
    (tmp_path / "transcripts.tsv").write_text("".join(lines))
    assert zoo.evaluate(tmp_path / "preset", tmp_path, decoder="lexicon")["metrics"]["word_error_rate"] == 0.0
    assert zoo.evaluate(tmp_path / "preset", tmp_path)["metrics"]["word_error_rate"] > 0.0


NONE_KEPT = "blstm_ctc does not have the words of its training transcripts: set lexicon to the path of a list of words"


def test_without_the_words_of_training_there_is_one_line(old, tmp_path):
    soundfile.write(tmp_path / "tone.wav", TONE, 16_000)
    assert zoo.pipeline(old)(TONE)["score"] < 0
    with pytest.raises(ZooError, match=f"^{NONE_KEPT}, one per line$"):
        zoo.pipeline(old, decoder="lexicon")
    zoo.save(old, tmp_path / "preset")
    data = CONTRACTS["speech_recognition"].training_data(old, tmp_path / "data")
    for command in (
        ["predict", tmp_path / "preset", tmp_path / "tone.wav"],
        ["evaluate", tmp_path / "preset", "--dataset", data],
    ):
        status, _, error = run_zoo(*command, "--set", "decoder=lexicon")
        assert (status, error) == (2, f"zoo: {NONE_KEPT}, one per line\n")
    (tmp_path / "words.txt").write_text("a\nba")
    answer = zoo.pipeline(old, decoder="lexicon", lexicon=tmp_path / "words.txt")(TONE)
    assert set(answer["transcript"].split()) <= {"a", "ba"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the lexicon {path}: the file does not exist"),
        (b"\n \n", "the lexicon {path}: the list of words is empty"),
        (
            b"a\nbx!",
            "the lexicon {path}: the word 'bx!' has characters that are not in the alphabet \"' abc\": '!' 'x'",
        ),
        (b"a\nb a\n", "the lexicon {path}: line 2 has several words, 'b a': write one word per line"),
        (b"a\n\xff\xfea", "the lexicon {path} is not a text in UTF-8"),
    ],
    ids=["missing", "empty", "unknown", "several", "bytes"],
)
def test_a_bad_list_of_words_is_one_line(model, tmp_path, content, message):
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ZooError, match=f"^{re.escape(message.format(path=path))}$"):
        task_of(model, decoder="lexicon", lexicon=path).check_complete()


def test_a_list_of_words_needs_its_decoder(model, tmp_path):
    with pytest.raises(ZooError, match="^speech_recognition: a lexicon needs decoder='lexicon'$"):
        task_of(model, lexicon="words.txt")
    with pytest.raises(ZooError, match=r"the lexicon .*: a folder without files of its own, not a list of words$"):
        task_of(model, decoder="lexicon", lexicon=tmp_path).check_complete()


@pytest.mark.parametrize("format", ["saved_model", "onnx", "litert"])
def test_exports_are_refused(model, tmp_path, format):
    with pytest.raises(
        ZooError, match="^decoder=lexicon is not part of an export, because it is Python: set decoder=beam$"
    ):
        zoo.export(model, tmp_path / "exports", format=format, decoder="lexicon")
    assert not (tmp_path / "exports").exists()


def test_listening_is_refused():
    model = make("blstm_ctc_streaming")
    model.origin.settings |= {"decoder": "lexicon"}
    with pytest.raises(ZooError, match="can't answer while sound arrives with decoder=lexicon: use `zoo predict`$"):
        zoo.listen(model, [])
