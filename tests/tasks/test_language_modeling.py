"""Language modeling: windows of a text, carried state, samples, and the score of a text."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.models import make
from zoo.data import texts
from zoo.data.sources import open_source
from zoo.data.windows import windows
from zoo.errors import InputError, ZooError
from zoo.preprocessing.text import START, UNKNOWN, Characters, Words, lower
from zoo.tasks import task_of, vocabularies
from zoo.tasks.language_modeling import LanguageModeling
from zoo.tasks.losses import BitsPerToken, Perplexity

MODELS = ("recurrent_language_model", "neural_language_model")


@pytest.fixture(scope="module")
def models():
    return {name: make(name) for name in MODELS}


@pytest.fixture(params=MODELS)
def model(request, models):
    return models[request.param]


@pytest.fixture(scope="module")
def recurrent(models):
    return models["recurrent_language_model"]


def ids(model, prompt: str) -> np.ndarray:
    return task_of(model).target_vocabulary.encode(tf.constant([prompt]))[0].numpy()


def test_words_and_signs():
    vocabulary = Words("\n".join(["don't", "go", ",", "naïve", "."]).encode())
    texts = tf.constant(["don't go, stay.", "naïve;naïve", ""])
    encoded = vocabulary.encode(texts).to_list()
    assert encoded == [[4, 5, 6, UNKNOWN, 8], [7, 7], []]  # the semicolon is not in the vocabulary
    decoded = vocabulary.decode(tf.ragged.constant([[4, 5, 6, 7, 8]], dtype=tf.int32)).numpy()
    assert [each.decode() for each in decoded] == ["don't go, naïve."]


def test_apostrophes_are_left_out_if_no_word_has_one():
    assert Words(b"dont\ngo").split(tf.constant(["Don't \u2018go\u2019, don\u2019t"])).to_list() == [
        [b"Dont", b"go", b"dont"]
    ]
    assert Words(b"don't\ngo").split(tf.constant(["don't"])).to_list() == [[b"don't"]]


def test_small_letters_of_a_text_with_nul():
    assert lower(tf.constant([b"KING\0 - MAN"])).numpy().tolist() == [b"king  - man"]


def test_characters():
    vocabulary = Characters(json.dumps(["a", " ", "\n", "é"]).encode())
    assert vocabulary.encode(tf.constant(["a é\n"])).to_list() == [[4, 5, 7, 6]]
    assert vocabulary.decode(tf.constant([[4, 5, 7, 6]])).numpy()[0].decode() == "a é\n"
    assert vocabulary.problem(tf.constant(["aé", "bac"])).numpy().tolist() == [b"", b"not in the vocabulary: 'b' 'c'"]


def test_the_most_frequent_tokens():
    """With the unknown one they are `size`; equally frequent ones are in the order of their bytes."""
    batches = [tf.constant(["b a b c", "d a"]), tf.constant(["b é"])]
    assert vocabularies.learn_frequent("words", 4, batches) == {"words.txt": b"b\na\nc"}
    assert vocabularies.learn_frequent("characters", 3, batches) == {"characters.json": b'[" ", "b"]'}
    assert vocabularies.learn_frequent("words", 4, [tf.constant(["  "])]) == {}


@pytest.mark.parametrize(("count", "rows", "span"), [(50, 3, 4), (2, 3, 4), (13, 3, 4), (14, 1, 1), (3, 8, 2)])
def test_windows_continue_row_by_row(count, rows, span):
    """Together they have each token once as a target; a row's window begins with the last token of the one before."""
    tokens = np.arange(1, count + 1, dtype=np.int32)
    stubs, examples, total = windows(np.array_split(tokens, 3), rows, span)
    found = np.stack([each["tokens"] for each in stubs.as_numpy_iterator()])
    assert (found.shape, total) == ((examples, span + 1), count)
    assert not examples % rows
    turns = found.reshape(-1, rows, span + 1)
    np.testing.assert_array_equal(turns[1:, :, 0], turns[:-1, :, -1])
    targets = turns[:, :, 1:].swapaxes(0, 1).reshape(-1)
    np.testing.assert_array_equal(targets[targets > 0], tokens[1:])
    inputs = turns[:, :, :-1].swapaxes(0, 1).reshape(-1)
    np.testing.assert_array_equal(inputs[: count - 1], tokens[:-1])


def test_metrics():
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    y, weights = np.array([[1, 2, 0], [4, 4, 3]]), np.array([[1, 1, 0], [1, 1, 1]], "float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    surprise = -np.log(np.take_along_axis(probabilities, y[..., None], -1)[..., 0])[weights > 0].mean()
    for metric, expected in ((Perplexity(), np.exp(surprise)), (BitsPerToken(), surprise / np.log(2))):
        metric.update_state(y[:1], logits[:1], weights[:1])
        metric.update_state(y[1:], logits[1:], weights[1:])
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_adapt(tmp_path):
    """The vocabulary, the size of the model, and whether the text has capitals."""
    path = tmp_path / "book.txt"
    for content, is_small in (("a cat and a dog " * 9, True), ("A cat and a dog " * 9, False)):
        path.write_text(content)
        source = open_source(path, "all", LanguageModeling.fields, LanguageModeling.layout)
        settings, files, arguments = LanguageModeling.adapt(source, {"vocabulary_size": 3}, {})
        assert settings == {"lower_case": is_small}
        assert files == {"words.txt": b"a\nand" if is_small else b"A\na"}
        assert arguments == {"vocabulary": 6}
        assert LanguageModeling.adapt(source, {}, files) == ({}, {}, {})
    settings, files, _ = LanguageModeling.adapt(source, {"vocabulary_size": 2, "lower_case": True}, {})
    assert (settings, files) == ({"lower_case": True}, {"words.txt": b"a"})


@pytest.mark.parametrize(
    ("content", "message"),
    [("\n \n " * 9, "has no words in all"), ("cat", "has 2 words in all; 4 rows need at least 5")],
)
def test_texts_that_are_too_short(tmp_path, content, message):
    path = tmp_path / "book.txt"
    path.write_text(content)
    with pytest.raises(ZooError, match=message):
        zoo.train("neural_language_model", tmp_path / "run", data={"folder": str(path), "train": "all",
                  "validation": "", "test": ""}, training={"epochs": 1, "batch_size": 4},
                  model_overrides={"units": 4, "embedding": 3})  # fmt: skip


def test_the_score_of_a_text_is_its_probability(model):
    """The sum of the log probabilities of its tokens; an unknown word stands before the first."""
    prompt = "one bird of zebra the picture"
    tokens = ids(model, prompt)
    assert UNKNOWN in tokens
    target = np.concatenate([[UNKNOWN], tokens[:-1]])[None].astype("int32")
    logits = np.array(model({"target": target})["logits"])[0]
    expected = np.array(tf.nn.log_softmax(logits))[np.arange(len(tokens)), tokens].sum()
    answer = zoo.pipeline(model)(prompt)
    assert answer["log_probability"] == pytest.approx(expected, rel=1e-4)
    assert answer["perplexity"] == pytest.approx(np.exp(-expected / len(tokens)), rel=1e-4)


def test_samples_follow_the_prompt_and_the_seed(model):
    """The same seed gives the same texts, also beside other items; the score is that of the text after the prompt."""
    pipeline = zoo.pipeline(model, samples=3, seed=4, length=6)
    answer = pipeline("the cat is")
    assert answer == zoo.pipeline(model, samples=3, seed=4, length=6)("the cat is")
    beside = pipeline(["one", "the cat is"])[1]
    texts = [each["text"] for each in (answer, *answer["alternatives"])]
    assert texts == [each["text"] for each in (beside, *beside["alternatives"])]
    assert len({*texts}) == 3
    assert texts[0] != zoo.pipeline(model, samples=3, seed=5, length=6)("the cat is")["text"]
    tokens = ids(model, f"the cat is {texts[0]}")
    target = np.concatenate([[UNKNOWN], tokens[:-1]])[None].astype("int32")
    logits = np.array(model({"target": target})["logits"])[0, 3:]
    logits[:, : UNKNOWN + 1] = -np.inf
    expected = np.array(tf.nn.log_softmax(logits))[np.arange(6), tokens[3:]].sum()
    assert answer["score"] == pytest.approx(expected, rel=1e-4)


def test_no_sample_has_the_unknown_word(model):
    drawn = zoo.pipeline(model, samples=50, length=30, temperature=9.0)("the")
    words = {word for each in (drawn, *drawn["alternatives"]) for word in each["text"].replace(".", " .").split()}
    assert words <= {*task_of(model).target_vocabulary.symbols}
    assert all(len(each["text"].replace(".", " .").split()) == 30 for each in (drawn, *drawn["alternatives"]))


def test_a_low_temperature_takes_the_likeliest_word(model):
    first, cold = (
        zoo.pipeline(model, length=8, **each)("a cat")["text"] for each in ({"top_k": 1}, {"temperature": 1e-6})
    )
    assert first == cold


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "empty text"),
        (b"caf\xe9", "not UTF-8"),
        ("the " * 12, "12 tokens: the limit is 11; split the text"),
        (3, "an item of type int is not a text"),
    ],
)
def test_bad_prompts(recurrent, prompt, message):
    with pytest.raises(InputError, match=message):
        zoo.pipeline(recurrent)(prompt)


def test_capitals_are_read_as_small_letters_if_the_model_has_none(recurrent):
    plain, small = (zoo.pipeline(recurrent, lower_case=each)("THE Cat")["log_probability"] for each in (False, True))
    assert small == zoo.pipeline(recurrent)("the cat")["log_probability"] != plain


def test_lines(recurrent):
    row = {"input": "the\ncat", "text": "is a\nbird", "score": -1.0, "alternatives": [{"text": "x", "score": -2.0}]}
    assert task_of(recurrent).lines(row) == ["the cat is a bird", "    the cat x"]
    assert task_of(recurrent, tokens="characters").lines(row) == ["the catis a bird", "    the catx"]


def test_measure_counts_every_token_once_and_needs_no_batch_size(model, tmp_path, monkeypatch):
    """The perplexity of a text in parts is near that of the whole text, which is the probability of its tokens."""
    from zoo.tasks import language_modeling

    random = np.random.default_rng(0)
    words = random.choice(task_of(model).target_vocabulary.symbols, 300)
    path = tmp_path / "book.txt"
    path.write_text(" ".join(words))
    monkeypatch.setattr(texts, "PIECE", 100)
    task = task_of(model, span=7)
    source = open_source(path, "all", task.fields, task.layout)
    figures = [task.measure(source, size, None) for size in (2, 64)]
    assert figures[0].metrics == figures[1].metrics
    assert figures[0].how == {"perplexity": "300 words, 0.0% of them unknown"}
    monkeypatch.setattr(language_modeling, "ROWS", 1)
    whole = task.measure(source, 1, None).metrics["perplexity"]
    target = np.concatenate([[START], ids(model, " ".join(words))])
    logits = model({"target": target[None, :-1].astype("int32")})["logits"]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target[1:], logits[0])
    assert whole == pytest.approx(float(np.exp(np.mean(loss))), rel=1e-4)
    assert figures[0].metrics["perplexity"] == pytest.approx(whole, rel=0.05)


def test_a_run_learns_and_its_figures_are_those_of_evaluate(tmp_path):
    """In the text, a word determines the next but one only through the state."""
    path = tmp_path / "book.txt"
    random = np.random.default_rng(0)
    path.write_text("".join(f"{word} is {word} . " for word in random.choice(["one", "two", "six"], 700)))
    out = tmp_path / "run"
    zoo.train(
        "recurrent_language_model",
        out,
        data={"folder": str(path)},
        model_overrides={"embedding": 8, "units": 12, "depth": 1, "dropout": 0.0, "cell": "gru"},
        task={"span": 5},
        training={"epochs": 8, "batch_size": 16, "optimizer": {"name": "adam", "learning_rate": 0.03}},
    )
    rows = list(csv.DictReader((out / "history.csv").open()))
    figure = zoo.evaluate(out, split="validation")["metrics"]["perplexity"]
    assert float(rows[-1]["val_perplexity"]) == pytest.approx(figure, rel=1e-4)  # 16 rows here and there
    assert figure < 1.5  # of four words, one is random of three: 3 ** (1 / 4) is 1.32
    code, printed, _ = run_zoo("predict", str(out), "two is", "--samples", "2", "--temperature", "0.1", "--length", "2")
    assert (code, printed) == (0, "two is two.\n    two is two.\n")


def test_keras_fits_the_same_batches(tmp_path):
    """`fit` does not carry the state: it is zero before each batch."""
    path = tmp_path / "book.txt"
    path.write_text("the cat is a bird . " * 60)
    model = make("recurrent_language_model")
    task = task_of(model, span=6)
    model.origin.settings["span"] = task.settings.span
    task.compile(model)
    batches = zoo.dataset(str(path), "all", model=model, batch_size=8)
    losses = model.fit(batches, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert model.evaluate(batches, verbose=0, return_dict=True)["perplexity"] < np.exp(losses[0])
