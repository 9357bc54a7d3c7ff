"""Surprise and reach of language models, against values that are computed in another way."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.models import make
from zoo.errors import InputError
from zoo.preprocessing.text import UNKNOWN
from zoo.tasks import task_of

TEXT = "the cat is one zebra of"


@pytest.fixture(scope="module")
def model():
    return make("recurrent_language_model", tied="none", projection=0)


def test_surprise_adds_up_to_the_log_probability(model, tmp_path):
    (row, bad) = zoo.explain(model, [f"{TEXT} zebra", b"caf\xe9"], tmp_path / "surprise.png", errors="return")
    assert row["tokens"] == [*TEXT.split(), "zebra"]
    answer = zoo.pipeline(model)(f"{TEXT} zebra")
    assert sum(row["bits"]) == pytest.approx(-answer["log_probability"] / np.log(2), rel=1e-5)
    assert row["perplexity"] == pytest.approx(answer["perplexity"], rel=1e-5)
    assert bad == {"input": bad["input"], "error": "not UTF-8"}
    assert (tmp_path / "surprise.png").stat().st_size > 3000


def test_reach_is_the_gradient_of_each_vector(model, tmp_path):
    """In a text without a word twice, the gradient of a token's vector is that of its row of the embeddings."""
    task, known = task_of(model), TEXT.replace("zebra", "bird")
    numbers = np.array([UNKNOWN, *task.target_vocabulary.encode(tf.constant([known]))[0].numpy()])
    assert len(set(numbers)) == len(numbers)
    expected = np.full((len(numbers) - 1,) * 2, np.nan)
    for place in range(len(numbers) - 1):
        with tf.GradientTape() as tape:
            logits = model({"target": numbers[np.newaxis, :-1]})["logits"][0, place]
            loss = -tf.nn.log_softmax(logits)[numbers[place + 1]]
        gradient = tf.convert_to_tensor(tape.gradient(loss, model.target_embedding.embeddings)).numpy()
        rows = np.linalg.norm(gradient[numbers[:-1]], axis=1)
        expected[place, : place + 1] = rows[place::-1]
    (row,) = zoo.explain(model, known, tmp_path / "reach.svg", kind="reach")
    mean = np.nanmean(expected, axis=0)
    np.testing.assert_allclose(row["gradient"], mean / mean[0], rtol=1e-4)
    assert row["gradient"][0] == 1.0
    assert min(row["gradient"]) > 0


def test_reach_of_a_model_of_few_words(tmp_path):
    """Words before the context have no influence."""
    (row,) = zoo.explain(make("neural_language_model"), TEXT, tmp_path / "reach.png", kind="reach")
    assert [value > 0 for value in row["gradient"]] == [True] * 3 + [False] * 3
    with pytest.raises(InputError, match="^the: a text of one token: give at least two"):
        zoo.explain(make("neural_language_model"), "the", tmp_path / "x.png", kind="reach")
    assert not (tmp_path / "x.png").exists()
