"""Whitening of a head, against its definition."""

import numpy as np
import pytest

import zoo
from tests.helpers.models import make
from tests.helpers.portraits import draw_people
from tests.helpers.short_graphs import short_runs
from zoo.errors import ZooError
from zoo.preset import load_model
from zoo.registry import entries
from zoo.training import whitening
from zoo.training.recipe import Whitening, read_recipe

TINY = entries()["face_embedding"].tiny


class Batches:
    """Vectors in the place of pictures."""

    def __init__(self, people, dtype="int64"):
        self.people, self.dtype = people, dtype

    def epoch(self, number):
        import keras

        images = np.random.default_rng(number).random((len(self.people), 32, 32, 1), "float32")
        yield {"image": keras.ops.convert_to_tensor(images)}, keras.ops.convert_to_tensor(self.people, self.dtype)


def scatters(vectors, people):
    """By definition: within people, and in all."""
    centred = np.concatenate([vectors[people == each] - vectors[people == each].mean(0) for each in np.unique(people)])
    return np.cov(centred.T, bias=True), np.cov(vectors.T, bias=True)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 5)
    mixing = random.normal(size=(12, 12))
    vectors = (random.normal(size=(40, 12))[people] * 0.3 + random.normal(size=(200, 12))) @ mixing + 3.0
    scatter = whitening.Scatter(12)
    for rows in np.array_split(random.permutation(200), 7):
        scatter.add(vectors[rows].astype("float32"), people[rows])
    return vectors, people, scatter


def test_differences_within_people_are_equal_in_all_directions(data):
    vectors, people, scatter = data
    kernel, bias = scatter.projection(12, 1e-9)
    points = vectors @ kernel + bias
    within, _ = scatters(points, people)
    np.testing.assert_allclose(within, np.eye(12) * within[0, 0], atol=1e-4 * within[0, 0])
    np.testing.assert_allclose(points.mean(0), 0.0, atol=1e-5)
    assert np.mean(np.sum(points**2, axis=1)) == pytest.approx(1.0, abs=1e-4)


def test_few_directions_are_those_of_the_discriminant_analysis(data):
    """The first directions span the leading eigenvectors of inverse(within) total, shrunk as stated."""
    vectors, people, scatter = data
    kernel, _ = scatter.projection(3, 0.2)
    within, total = scatters(vectors, people)
    within += 0.2 * np.trace(within) / 12 * np.eye(12)
    values, axes = np.linalg.eig(np.linalg.solve(within, total))
    leading = axes[:, np.argsort(values.real)[::-1][:3]].real
    inside = leading @ np.linalg.lstsq(leading, kernel, rcond=None)[0]
    np.testing.assert_allclose(inside, kernel, atol=1e-4 * np.abs(kernel).max())


def test_a_run_whitens_before_it_trains(tmp_path):
    """Training by a tiny rate starts from the whitened head, and a continued run does not whiten again."""
    people = draw_people(tmp_path / "people", 10, 4)
    options = {
        "data": {"folder": str(people)}, "model_overrides": TINY, "freeze": "encoder",
        "training": {"epochs": 2, "batch_size": 12, "optimizer": {"learning_rate": 1e-12}}, "whitening": {"epochs": 2},
    }  # fmt: skip
    rows = []
    with short_runs():
        zoo.train("face_embedding", tmp_path / "run", **options, steps=1, report=lambda *row: rows.append(row[2]))
        run = zoo.train("face_embedding", tmp_path / "run", **options, report=lambda *row: rows.append(row[2]))
    counts = [row["pictures"] for row in rows if "whitening_epoch" in row]
    assert counts == [counts[0], 2 * counts[0]]
    assert np.abs(load_model(run).get_layer("head").bias).max() > 1e-3  # the rate of the training is too small for it


def test_refused():
    settings = Whitening(epochs=1)
    with pytest.raises(ZooError, match="unet has no linear layer 'head' with a bias, which whitening needs"):
        whitening.whiten(make("unet"), Batches(np.arange(4)), settings, print)
    model = make("face_embedding")
    with pytest.raises(ZooError, match="no person has two pictures in the training data"):
        whitening.whiten(model, Batches(np.arange(4)), settings, lambda row: None)
    with pytest.raises(ZooError, match="whitening needs targets that are numbers of people"):
        whitening.whiten(model, Batches(np.arange(4), "float32"), settings, print)
    large = make("face_embedding", size=5000)
    with pytest.raises(ZooError, match=r"has 5000 outputs: whitening needs \d+ or fewer, its inputs"):
        whitening.whiten(large, Batches(np.arange(4)), settings, print)
    with pytest.raises(ZooError, match=r"unknown key whitening.epoch; did you mean epochs\?"):
        read_recipe("face_embedding.orl", {"whitening.epoch": 3})
