"""Text classification: words, sentences, vectors, a model of one's own, explanations."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from zoo.errors import InputError, ZooError
from zoo.preprocessing import text
from zoo.tasks import task_of

MODELS = ("attention_text_classifier", "conv_text_classifier", "lstm_text_classifier")


@pytest.fixture(scope="module")
def models():
    return {name: make(name) for name in MODELS}


def test_words():
    texts = tf.constant(["It isn't Tom\u2019s, is it?", "the flower 's", "they've o'clock a\0b", "  "])
    assert text.sentence_words_of(texts).to_list() == [
        [b"It", b"is", b"n't", b"Tom", b"'s", b",", b"is", b"it", b"?"], [b"the", b"flower", b"'s"],
        [b"they", b"'ve", b"o'clock", b"a", b"b"], [],
    ]  # fmt: skip


def test_words_and_their_numbers(models):
    task = task_of(models["conv_text_classifier"], longest=4)
    inputs, error = task.checked({"text": tf.constant(["A bird. One zebra, the cat", "", "\n ", "CAT"])})
    assert error.numpy().tolist() == [b"", b"empty text", b"empty text", b""]
    number = {name: place for place, name in enumerate(task.source_vocabulary.symbols, start=4)}
    first = [number["a"], number["bird"], number["."], number["one"]]
    assert inputs["tokens"].numpy().tolist() == [first, [3, 0, 0, 0], [3, 0, 0, 0], [number["cat"], 0, 0, 0]]
    assert inputs["token_count"].numpy().tolist() == [4, 1, 1, 1]
    prepared = task.prepare({"text": tf.constant("A bird. One zebra, the cat")})
    assert prepared["tokens"].numpy().tolist() == first


def test_sentences(models):
    task = task_of(models["attention_text_classifier"], sentence_longest=3)
    said = ["A bird ... one cat! is", "one boy one girl one dog .", "of"]
    words = [task.written(tf.constant(each)) for each in said]
    assert words[0] == [["a", "bird", "."], [".", "."], ["one", "cat", "!"], ["is"]]
    assert words[1] == [["one", "boy", "one"], ["girl", "one", "dog"], ["."]]
    assert words[2] == [["of"]]
    inputs, _ = task.checked({"text": tf.constant(said)})
    assert inputs["word_counts"].numpy().tolist() == [[3, 2, 3, 1], [3, 3, 1, 0], [1, 0, 0, 0]]
    names = np.array(["", "", "", "?", *task.source_vocabulary.symbols])
    for item, tokens, counts in zip(words, inputs["tokens"].numpy(), inputs["word_counts"].numpy(), strict=True):
        assert [names[row[:count]].tolist() for row, count in zip(tokens, counts, strict=True) if count] == item


@pytest.mark.parametrize("name", MODELS)
def test_a_long_text_is_cut(name, models):
    pipeline = zoo.pipeline(models[name], longest=30)
    start = "the bird is a cat . " * 5
    long = start + "boat car door " * 3400
    answers = pipeline([start, long, "", "x" * 1_000_001], errors="return")
    assert answers[0]["scores"] == pytest.approx(answers[1]["scores"], abs=1e-6)
    assert [answer.get("error") for answer in answers[2:]] == ["empty text", "1000001 bytes: the limit is 1000000"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return CONTRACTS["text_classification"].training_data(None, tmp_path_factory.mktemp("data") / "texts")


@pytest.fixture(scope="module")
def word_vectors(tmp_path_factory):
    """A preset of word vectors."""
    path = tmp_path_factory.mktemp("vectors") / "skipgram"
    zoo.save(make("skipgram"), path)
    return path


def test_words_start_from_vectors(data, word_vectors, tmp_path):
    from zoo.training import setup
    from zoo.training.recipe import read_recipe

    changes = {"data": {"folder": str(data)}, "task": {"vectors": str(word_vectors)}}
    overrides = {"maps": 4, "channels": "both"}
    _, read = read_recipe("conv_text_classifier", {**changes, "model_overrides": overrides})
    source = setup.open_sources(read)["train"]
    model = setup.make_model(read, source, setup.adapt(read, source))
    known = task_of(zoo.load(word_vectors))
    rows = dict(zip((word.decode() for word in known.vocabulary[0]), known.vectors(), strict=True))
    symbols = task_of(model).source_vocabulary.symbols
    assert {"bell", "bird", "b"} <= set(symbols)
    assert "b" not in rows
    for layer in ("embedding", "static_embedding"):
        table = model.get_layer(layer).get_weights()[0]
        assert table.shape == (4 + len(symbols), known.vectors().shape[1])
        for number, word in enumerate(symbols, start=4):
            assert np.array_equal(table[number], rows.get(word, ...)) == (word in rows)
        others = [number for number, word in enumerate(symbols, start=4) if word not in rows]
        assert 0.3 < table[others].std() / known.vectors().std() < 3
    assert not model.get_layer("static_embedding").trainable
    _, read = read_recipe("conv_text_classifier", {**changes, "model_overrides": {"embedding": 5}})
    with pytest.raises(ZooError, match="has vectors of 8 numbers, and conv_text_classifier was built for 5"):
        setup.make_model(read, source, setup.adapt(read, source))


def test_a_table_by_recipe_and_by_fit(data, tmp_path):
    """A run learns the vocabulary; a model of its preset with other classes keeps the vocabulary."""
    out = tmp_path / "run"
    sizes = {"maps": 4, "embedding": 6, "max_norm": 0.1}
    training = {"epochs": 1, "batch_size": 12, "weight_averaging": ""}
    zoo.train("conv_text_classifier", out, data={"folder": str(data)}, model_overrides=sizes, training=training)
    model = zoo.load(out)
    norms = np.linalg.norm(model.get_layer("head").get_weights()[0], axis=0)
    assert norms.max() <= 0.1 * 1.01
    assert set(zoo.pipeline(model)("bird bell a.")["labels"]) == {"a", "b", "c"}
    other = tmp_path / "other.csv"
    other.write_text("text,label\n" + "".join(f"bird {n},{'yes' if n % 2 else 'no'}\n" for n in range(20)))
    model = zoo.load(out, classes=2)
    model.fit(zoo.dataset(str(other), model=model, batch_size=7), verbose=0)
    assert set(zoo.pipeline(model)("a bird")["labels"]) == {"yes", "no"}
    changes = {"data": {"folder": str(other), "validation": "", "test": ""}, "training": training}
    further = zoo.train("conv_text_classifier", tmp_path / "further", model="", start_from=str(out), **changes)
    answer = zoo.pipeline(further.path)("a bird")
    assert set(answer["labels"]) == {"yes", "no"}
    assert task_of(zoo.load(further.path)).source_vocabulary.symbols == task_of(model).source_vocabulary.symbols


def test_explanations(models, tmp_path):
    said = "The bird is a zebra. A cat!"
    [row] = zoo.explain(models["attention_text_classifier"], said, tmp_path / "words.png")
    assert row["words"] == ["the", "bird", "is", "a", "zebra", ".", "a", "cat", "!"]
    assert sum(row["weights"]) == pytest.approx(1, abs=1e-5)
    assert [each["words"] for each in row["sentences"]] == [6, 3]
    assert sum(row["weights"][:6]) == pytest.approx(row["sentences"][0]["weight"], abs=1e-5)
    assert (tmp_path / "words.png").stat().st_size > 1000
    for name in ("conv_text_classifier", "lstm_text_classifier"):
        rows = zoo.explain(models[name], [said, ""], tmp_path / "words.png", errors="return")
        answer = zoo.pipeline(models[name])(said)
        assert (rows[0]["label"], rows[0]["score"]) == (answer["labels"][0], pytest.approx(answer["scores"][0]))
        assert rows[1] == {"input": "", "error": "empty text"}
        assert len(rows[0]["weights"]) == 9
        assert np.ptp(rows[0]["weights"]) > 1e-4
    with pytest.raises(InputError, match="empty text"):
        zoo.explain(models["conv_text_classifier"], "", tmp_path / "words.png")


def test_both_channels_add_the_results_of_each_filter():
    model = zoo.create_model("conv_text_classifier", vocabulary=9, embedding=4, widths=(2,), maps=3, channels="both")
    tokens = np.array([[4, 7, 5, 8]], "int32")
    tables = [model.get_layer(name).get_weights()[0] for name in ("embedding", "static_embedding")]
    kernel, _ = model.get_layer("conv2").get_weights()  # (2, D, M)
    padded = [np.pad(table[tokens[0, :3]], ((1, 1), (0, 0))) for table in tables]
    windows = sum(np.stack([np.einsum("wd,wdm->m", x[t : t + 2], kernel) for t in range(4)]) for x in padded)
    expected = np.maximum(windows, 0).max(axis=0) @ model.get_layer("head").get_weights()[0]
    logits = model({"tokens": tokens, "token_count": np.array([3], "int32")})
    np.testing.assert_allclose(logits["logits"][0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("state", "pool"), [("mean", np.mean), ("max", np.max)])
def test_states_of_the_lstm(state, pool):
    """The mean and the maximum over the words of the text alone, also of negative values."""
    model = make("lstm_text_classifier", state=state, classes=0, bidirectional=False)
    tokens, count = np.array([[5, 6, 7, 8]], "int32"), np.array([3], "int32")
    vectors = model.get_layer("embedding")(tokens)
    states, _ = model.get_layer("forward")(vectors[:, :3])
    found = model({"tokens": tokens, "token_count": count})
    np.testing.assert_allclose(found["embeddings"][0], pool(states[0], axis=0), rtol=1e-5, atol=1e-6)
