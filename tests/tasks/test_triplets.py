"""The triplet loss and the equal error rate of batches, against plain loops over pairs and triplets."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import pairs
from zoo.tasks.triplets import EqualErrorRate, TripletLoss


def unit(rows: int, seed: int) -> np.ndarray:
    """Random points on the unit sphere, (rows, 8)."""
    points = np.random.default_rng(seed).normal(size=(rows, 8))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype("float32")


def plain_losses(people, points, margin):
    """The loss of each anchor: a loop over its positives, and for each a loop over the negatives."""
    squared = ((points[:, None] - points[None]).astype("float64") ** 2).sum(-1)
    losses = []
    for anchor, person in enumerate(people):
        negatives = [squared[anchor, other] for other, name in enumerate(people) if name != person]
        each = []
        for other, name in enumerate(people):
            if name != person or other == anchor or not negatives:
                continue
            farther = [negative for negative in negatives if negative > squared[anchor, other]]
            chosen = min(farther) if farther else max(negatives)
            each.append(max(0.0, squared[anchor, other] - chosen + margin))
        losses.append(np.mean(each) if each else 0.0)
    return losses


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 1000), st.sampled_from([0.05, 0.2, 1.0]))
def test_losses_equal_those_of_loops(people, seed, margin):
    points, people = unit(len(people), seed), np.array(people)
    expected = plain_losses(people, points, margin)
    loss = TripletLoss(margin)
    np.testing.assert_allclose(loss.call(people, points), expected, atol=2e-6)
    np.testing.assert_allclose(loss.call(people[:, None], points), expected, atol=2e-6)  # as Keras passes it
    assert float(loss(people, points)) == pytest.approx(np.mean(expected), abs=2e-6)


def test_gradients_move_a_person_together_and_others_apart():
    points = tf.Variable(unit(12, 5))
    people = np.repeat([0, 1, 2], 4)
    first = float(TripletLoss()(people, points))
    before = pairs.area_under_curve(*pairs.distances(points.numpy(), people))
    for _ in range(100):
        with tf.GradientTape() as tape:
            value = TripletLoss()(people, points)
        points.assign(tf.math.l2_normalize(points - 0.3 * tape.gradient(value, points), axis=1))
    assert float(value) < 0.1 * first
    assert pairs.area_under_curve(*pairs.distances(points.numpy(), people)) > max(0.9, before + 0.3)


def test_the_loss_of_one_person_or_of_single_pictures_is_zero():
    for people in ([1, 1, 1], [1, 2, 3]):
        points = tf.Variable(unit(3, 0))
        with tf.GradientTape() as tape:
            value = TripletLoss()(np.array(people), points)
        assert float(value) == 0.0
        np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(value, points)), np.zeros((3, 8)))


def test_the_configuration_of_the_loss_is_kept():
    again = keras.losses.deserialize(keras.losses.serialize(TripletLoss(0.7)))
    assert isinstance(again, TripletLoss)
    assert again.margin == 0.7


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_equal_error_rate_of_a_batch_is_that_of_its_pairs(seed):
    points, people = unit(30, seed), np.repeat(np.arange(6), 5)
    metric = EqualErrorRate()
    metric.update_state(people, points)
    expected, _ = pairs.equal_error_rate(*pairs.distances(points, people))
    assert float(metric.result()) == pytest.approx(expected, abs=0.02)  # distances are counted in bins


def test_pairs_of_rows_without_weight_do_not_count():
    points = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], "float32")
    metric = EqualErrorRate()
    metric.update_state([0, 0, 1, 2], points)
    assert float(metric.result()) > 0.0  # the last row is another person at the same place
    metric.reset_state()
    assert float(metric.result()) == 1.0  # nothing is known
    metric.update_state([0, 0, 1, 2], points, sample_weight=[1.0, 1.0, 1.0, 0.0])
    assert float(metric.result()) == 0.0
