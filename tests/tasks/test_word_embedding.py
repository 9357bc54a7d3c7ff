"""Word embedding: its segments, loss and updates, its answers, and its training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from zoo import preset
from zoo.data.source import Source
from zoo.errors import ZooError
from zoo.tasks import negative_sampling, task_of

TINY = {"size": 4, "window": 2, "segment": 6, "negatives": 3}


def segments(chunks, segment=4, window=2):
    words, is_word = negative_sampling.segments(tf.constant(chunks), segment, window)
    return words.numpy(), is_word.numpy()


def pairs_of(words, is_word, window=2):
    """The pairs (word, context) within the window, as they are in segments, sorted."""
    found = []
    for row, mask in zip(words, is_word, strict=True):
        for centre in range(window, len(row) - window):
            for place in range(centre - window, centre + window + 1):
                if place != centre and mask[centre] and mask[place]:
                    found.append((row[centre], row[place]))
    return sorted(found)


def test_segments_have_every_pair_once():
    """Words that are left out do not count as places, and no window reaches into another chunk."""
    chunks = [[1, 2, -1, 3, 4, 5, 6, -1, -1, 7], [8, 9, 10, -1, 11, 12, 13, 14, -1, 15]]
    expected = []
    for chunk in chunks:
        kept = [word for word in chunk if word >= 0]
        expected += [(a, b) for i, a in enumerate(kept) for j, b in enumerate(kept) if 0 < abs(i - j) <= 2]
    assert pairs_of(*segments(chunks)) == sorted(expected)


def test_segments_without_words():
    words, is_word = segments([[-1, -1]])
    assert words.shape == (negative_sampling.PORTION, 8)
    assert is_word.sum() == 0


def test_pair_weights_by_hand():
    """Window 2: weight 1 for neighbours, 1/2 at distance 2; 3 negatives share twice the weight of a whole window, 3."""
    weights = negative_sampling.pair_weights(2, 2, 3, 2.0)
    np.testing.assert_allclose(weights[0], [0.5, 1, 0, 1, 0.5, 0, 2, 2, 2])
    np.testing.assert_allclose(weights[1], [0, 0.5, 1, 0, 1, 0.5, 2, 2, 2])


def test_masks_by_hand():
    rows, columns = negative_sampling.masks(tf.constant([[0.0, 1, 1, 0, 0, 1]]), 2, 3)
    assert rows.numpy().tolist() == [[1, 0]]
    assert columns.numpy().tolist() == [[0, 1, 1, 0, 0, 1, 1, 1, 1]]


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_an_alias_table_has_the_probabilities(weights):
    expected = np.array(weights) / np.sum(weights)
    chance, other = negative_sampling.alias_table(expected)
    found = (chance + np.bincount(other, 1.0 - chance, len(other))) / len(other)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_negatives_have_the_probabilities():
    table = negative_sampling.alias_table([0.5, 0.3, 0.2, 0.0])
    words = negative_sampling.draw(tf.constant([1, 2]), table, 1000, 20).numpy()
    assert words.shape == (1000, 20)
    np.testing.assert_allclose(np.bincount(words.ravel(), minlength=4) / 20_000, [0.5, 0.3, 0.2, 0.0], atol=0.012)
    again = negative_sampling.draw(tf.constant([1, 3]), table, 1000, 20).numpy()
    assert np.mean(words == again) < 0.5


def test_the_loss_by_hand():
    """Equation 4: all scores zero give log 2 for a pair and for each of its k negatives."""
    loss = negative_sampling.NegativeSampling(window=2, weight=5.0)
    full, scores = tf.ones((2, 100)), tf.zeros((2, 96, 103))
    assert float(loss(full, scores)) == pytest.approx(6 * np.log(2), rel=1e-5)
    again = negative_sampling.NegativeSampling.from_config(loss.get_config())
    assert float(again(full, scores)) == float(loss(full, scores))


def test_an_update_is_a_step_along_the_gradient_of_the_loss():
    """A portion of segments: the tables change by `rate` times the gradient of Keras's loss, summed over the pairs."""
    model = make("skipgram")
    task, random = task_of(model), np.random.default_rng(0)
    inputs = {
        key: tf.constant(value)
        for key, value in CONTRACTS["word_embedding"].inputs(model, negative_sampling.PORTION).items()
    }
    is_word = tf.constant(random.integers(0, 2, inputs["words"].shape).astype("float32"))
    before = [weight.numpy() for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = task.loss()(is_word, model(inputs)["logits"])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    pairs = negative_sampling.PORTION * negative_sampling.pairs_of(6, 2)
    measured, norm = task.update(model, inputs, is_word, tf.constant(0.1))
    assert float(measured) == pytest.approx(float(loss), rel=1e-5)
    for weight, old, gradient in zip(model.trainable_weights, before, gradients, strict=True):
        expected = old - 0.1 * pairs * tf.convert_to_tensor(gradient).numpy()
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-4, atol=1e-6)
        assert np.abs(weight.numpy() - old).max() > 1e-4


def test_the_halves_of_a_batch_have_twice_the_rate_and_are_averaged():
    size = negative_sampling.PORTION
    model = make("skipgram")
    task, first = task_of(model), [weight.numpy() for weight in model.trainable_weights]
    inputs = {key: tf.constant(value) for key, value in CONTRACTS["word_embedding"].inputs(model, 4 * size).items()}

    def updated(begin, end, rate):
        """The tables after an update, or after one for each of several portions."""
        model.set_weights(first)
        for start in range(begin, end, size):
            part = {key: value[start : start + size] for key, value in inputs.items()}
            task.update(model, part, tf.ones(part["words"].shape), tf.constant(rate))
        return [weight.numpy() for weight in model.trainable_weights]

    results = zip(updated(0, 2 * size, 0.2), updated(2 * size, 4 * size, 0.2), strict=True)
    model.set_weights(first)
    task.update(model, inputs, tf.ones(inputs["words"].shape), tf.constant(0.1))
    for weight, halves in zip(model.trainable_weights, results, strict=True):
        np.testing.assert_allclose(weight.numpy(), np.mean(halves, axis=0), rtol=1e-4, atol=1e-6)


def words_of(*lines) -> dict[str, bytes]:
    return {"words.tsv": "".join(f"{line}\t10\n" for line in lines).encode()}


@pytest.fixture(scope="module")
def royal():
    """A model whose vectors are places: (woman, royal)."""
    places = {"king": (-1, 1), "queen": (1, 1), "man": (-1, 0.1), "woman": (1, 0.1), "cat": (0, -1), "dog": (0.3, -1)}
    places |= {f"other{number}": (0.1 * number, -2) for number in range(6)}
    model = zoo.create_model("skipgram", vocabulary=len(places), **{**TINY, "size": 2})
    model.origin.assets = words_of(*places)
    model.get_layer("embedding").set_weights([np.array(list(places.values()), "float32")])
    return model


@pytest.fixture(scope="module")
def answer(royal):
    return zoo.pipeline(royal, top=3)


def test_arithmetic_by_hand(answer):
    """The nearest words to the sum of unit vectors; without the words of the expression."""
    row = answer("king - man + woman")
    assert row["neighbours"][0]["word"] == "queen"
    unit = [np.array(place) / np.linalg.norm(place) for place in ((-1, 1), (-1, 0.1), (1, 0.1), (1, 1))]
    query = unit[0] - unit[1] + unit[2]
    assert row["neighbours"][0]["score"] == pytest.approx(query @ unit[3] / np.linalg.norm(query), abs=1e-5)
    assert not {"king", "man", "woman"} & {pair["word"] for pair in row["neighbours"]}
    for same in ("  KING -  man + woman ", "king \u2212 man + woman", "king \u2013 man + woman"):
        assert answer(same)["neighbours"] == row["neighbours"]


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ("", "empty text"),
        ("   ", "empty text"),
        (b"\xff", "not UTF-8"),
        ("quen", "unknown word 'quen'; the nearest spellings are queen, man, "),
        ("king + quen - man", "unknown word 'quen'; the nearest"),
        ("king-man", "; an expression has spaces around + and -"),
        ("king man", "'king man' is not an expression: put + or - between its words, as in king - man + woman"),
        ("king -", "'king -' is not an expression"),
        ("- king", "'- king' is not an expression"),
        ("king + - man", "'king + - man' is not an expression"),
        ("+", "'+' is not an expression"),
        ("king * man", "'king * man' is not an expression"),
        ("king - king", "the words of the expression cancel each other"),
        ("a" * 20_000, "20000 bytes: the limit is 10000"),
    ],
)
def test_bad_expressions(answer, item, error):
    assert error in answer(item, errors="return")["error"]


def test_a_bad_item_leaves_the_others(answer):
    rows = answer(["king", "quen", "man"], errors="return")
    assert ["error" in row for row in rows] == [False, True, False]
    alone = answer("king")["neighbours"]
    assert [pair["word"] for pair in rows[0]["neighbours"]] == [pair["word"] for pair in alone]
    scores = [[pair["score"] for pair in pairs] for pairs in (rows[0]["neighbours"], alone)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def source_of(rows) -> Source:
    columns = dict(zip(("text", "questions", "score"), map(list, zip(*rows, strict=True)), strict=True))
    stubs = tf.data.Dataset.from_tensor_slices(columns)
    return Source("questions", "", "test", len(rows), None, stubs, dict, "")


def test_metrics_by_hand(royal):
    analogies = ["man king woman queen", "man king woman cat", "Man king woman unheard"]
    pairs = {"king queen": 3.0, "king man": 5.0, "king cat": 4.0, "king lion": 4.0}
    rows = [(text, "analogy", 0.0) for text in analogies] + [(text, "men", score) for text, score in pairs.items()]
    measured = task_of(royal).measure(source_of(rows), 32, None)
    assert measured.metrics == {"analogy_accuracy": 0.5, "men": pytest.approx(0.5)}  # cosines 0, 0.77, -0.71
    assert measured.how == {"analogy_accuracy": "2 of 3 have known words", "men": "3 of 4 have known words"}
    with pytest.raises(ZooError, match="no questions about words in test: evaluate on word_similarity"):
        task_of(royal).measure(source_of([("king", "", 0.0)]), 32, None)


def write_text(path, count=20_000):
    """Words of two topics that never meet: a0 ... a9, b0 ... b9, in stretches of 50."""
    random = np.random.default_rng(0)
    stretches = [[f"{random.choice(list('ab'))}"] for _ in range(count // 50)]
    path.write_text(" ".join(f"{topic}{random.integers(10)}" for [topic] in stretches for _ in range(50)))
    return path


def train(folder, out, **options):
    return zoo.train(
        "skipgram", out, data={"folder": str(folder / "text.txt")}, task={"sample": 0.0}, model_overrides=TINY,
        training={"epochs": 6, "batch_size": 1, "checkpoint_seconds": 0.0}, **options,
    )  # fmt: skip


def test_training_is_resumable_and_learns(tmp_path):
    """A run that was cut has the same weights to the bit; words of a topic become neighbours."""
    write_text(tmp_path / "text.txt")
    whole = train(tmp_path, tmp_path / "whole")
    train(tmp_path, tmp_path / "cut", steps=7)
    cut = train(tmp_path, tmp_path / "cut")
    assert whole.record["provenance"]["steps"] == 18  # 20,000 words are three chunks
    first, second = (preset.load_model(each).get_weights() for each in (whole, cut))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    neighbours = zoo.pipeline(whole.path, top=9)("a3")["neighbours"]
    assert {pair["word"][0] for pair in neighbours} == {"a"}
    assert b"a3" in whole.assets()["words.tsv"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is empty: expected a text"),
        (b"word " * 100, "has 1 words that occur at least 5 times"),
        (b"few words", "has 0 words that occur at least 5 times"),
        (b"good \xff", "byte 5 is not UTF-8"),
    ],
)
def test_texts_that_cannot_be_learned(tmp_path, content, error):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ZooError, match=error):
        train(tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"optimizer.momentum": 0.9}, "neither weight_decay nor momentum"),
        ({"global_clipnorm": 1.0}, "global_clipnorm must be left out"),
        ({"precision": "mixed_bfloat16"}, "precision must be left out"),
    ],
)
def test_own_updates_refuse_what_they_ignore(tmp_path, change, error):
    write_text(tmp_path / "text.txt", 100)
    changes = {f"training.{key}": value for key, value in change.items()}
    with pytest.raises(ZooError, match=error):
        zoo.train("skipgram", tmp_path / "run", data={"folder": str(tmp_path / "text.txt")}, **changes)


def test_keras_fit(tmp_path):
    """zoo.dataset gives Keras the same segments; its loss starts at that of scores of zero."""
    write_text(tmp_path / "text.txt", 2000)
    keras.utils.set_random_seed(0)
    model = zoo.create_model("skipgram", vocabulary=20, **TINY)
    model.origin.assets = words_of(*(f"{topic}{number}" for topic in "ab" for number in range(10)))
    model.origin.settings = {"sample": 0.0}
    model.compile(keras.optimizers.Adam(0.1), task_of(model).loss())
    losses = model.fit(zoo.dataset(str(tmp_path / "text.txt"), model=model, augment=True), epochs=10, verbose=0)
    losses = losses.history["loss"]
    assert losses[0] == pytest.approx(6 * np.log(2), rel=0.05)
    assert losses[-1] < 0.99 * losses[0]
