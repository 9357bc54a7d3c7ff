"""Restricted Boltzmann machines against sums over all their states, and against NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from zoo.training.rbm import RBM

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(0, 0.7, (4, 3))  # (V, H)
VISIBLE_BIAS, HIDDEN_BIAS = RANDOM.normal(0, 0.5, 4), RANDOM.normal(0, 0.5, 3)
BITS = [np.array([*itertools.product([0.0, 1.0], repeat=size)]) for size in range(5)]  # all states of `size` units
DATA = BITS[4][[3, 5, 5, 12, 9, 3]]
REAL = RANDOM.normal(size=(6, 4))


def machine(is_gaussian: bool) -> RBM:
    return RBM(KERNEL, VISIBLE_BIAS, HIDDEN_BIAS, is_gaussian)


def energies(visible, is_gaussian):
    """E(v, h) of each row with each state of the hidden units: (B, 2 ** H), by the formulas of the module."""
    own = ((visible - VISIBLE_BIAS) ** 2).sum(axis=1) / 2 if is_gaussian else -visible @ VISIBLE_BIAS
    return own[:, None] - BITS[3] @ HIDDEN_BIAS - visible @ KERNEL @ BITS[3].T


def log_sum(values):
    return np.log(np.exp(values).sum(axis=-1))


@pytest.mark.parametrize("is_gaussian", [False, True])
def test_free_energy_and_hidden_probabilities_sum_over_the_hidden_states(is_gaussian):
    visible = REAL if is_gaussian else DATA
    energy = energies(visible, is_gaussian)
    free = machine(is_gaussian).free_energy(tf.constant(visible, tf.float32))
    np.testing.assert_allclose(free, -log_sum(-energy), rtol=1e-5, atol=1e-5)
    expected = np.exp(-energy - log_sum(-energy)[:, None]) @ BITS[3]
    np.testing.assert_allclose(machine(is_gaussian).hidden(tf.constant(visible, tf.float32)), expected, atol=1e-6)


def moments(visible, weights, is_gaussian):
    """Means of v h, v and h, where each row has a weight and hidden units their probabilities."""
    energy = energies(visible, is_gaussian)
    hidden = np.exp(-energy - log_sum(-energy)[:, None]) @ BITS[3]
    return (visible * weights[:, None]).T @ hidden, weights @ visible, weights @ hidden


def test_long_contrastive_divergence_has_the_gradient_of_the_likelihood():
    """The exact gradient is the difference of moments of the data and of the model, a sum over 16 states."""
    free = -log_sum(-energies(BITS[4], False))
    model = moments(BITS[4], np.exp(-free - log_sum(-free)), False)
    data = moments(DATA, np.full(6, 1 / 6), False)
    rows = tf.constant(np.tile(DATA, (5_000, 1)), tf.float32)
    gradient = machine(False).contrastive_divergence(rows, [1, 2], steps=25, sample_visible=True)
    for own, positive, negative in zip(gradient[:3], data, model, strict=True):
        np.testing.assert_allclose(own, positive - negative, atol=0.012)
        assert np.abs(positive - negative).max() > 0.1
    # One step, as in training, points the same way, but is shorter.
    first = machine(False).contrastive_divergence(rows, [1, 2])
    exact, near = data[0] - model[0], first.kernel.numpy()
    assert (exact * near).sum() > 0.8 * np.linalg.norm(exact) * np.linalg.norm(near)


def test_long_divergence_of_gaussian_units():
    """The model is a mixture of 8 Gaussians, one per state of the hidden units, with the means b + W h."""
    states, means = BITS[3], VISIBLE_BIAS + BITS[3] @ KERNEL.T
    weights = np.exp(states @ HIDDEN_BIAS + ((means**2).sum(axis=1) - (VISIBLE_BIAS**2).sum()) / 2)
    weights /= weights.sum()
    model = (means * weights[:, None]).T @ states, weights @ means, weights @ states
    data = moments(REAL, np.full(6, 1 / 6), True)
    rows = tf.constant(np.tile(REAL, (5_000, 1)), tf.float32)
    gradient = machine(True).contrastive_divergence(rows, [3, 4], steps=40, sample_visible=True)
    for own, positive, negative in zip(gradient[:3], data, model, strict=True):
        np.testing.assert_allclose(own, positive - negative, atol=0.04)
    assert [np.abs(positive - negative).max() > 0.3 for positive, negative in zip(data, model, strict=True)][:2] == [
        True
    ] * 2


@pytest.mark.parametrize("is_gaussian", [False, True])
def test_one_step_in_numpy(is_gaussian):
    """CD-1 with means as reconstructions, and an update with momentum and weight decay."""
    visible, own = (REAL if is_gaussian else DATA), machine(is_gaussian)
    seed = tf.constant([5, 6])
    seeds = tf.random.experimental.stateless_split(seed, 2)
    draws = tf.random.stateless_uniform((6, 3), seeds[0]).numpy()

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    first = sigmoid(visible @ KERNEL + HIDDEN_BIAS)
    mean = (draws < first) @ KERNEL.T + VISIBLE_BIAS
    mean = mean if is_gaussian else sigmoid(mean)
    second = sigmoid(mean @ KERNEL + HIDDEN_BIAS)
    gradient = own.contrastive_divergence(tf.constant(visible, tf.float32), seed)
    expected = (visible.T @ first - mean.T @ second) / 6, (visible - mean).mean(axis=0), (first - second).mean(axis=0)
    for value, other in zip(gradient[:3], expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)
    assert float(gradient.error) == pytest.approx(((visible - mean) ** 2).mean(), rel=1e-5)
    own.update(gradient, 0.1, 0.9, 0.01)
    own.update(gradient, 0.1, 0.9, 0.01)
    step = 0.1 * (expected[0] - 0.01 * KERNEL)
    after = KERNEL + step
    after = after + 0.9 * step + 0.1 * (expected[0] - 0.01 * after)
    np.testing.assert_allclose(own.kernel, after, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own.hidden_bias, HIDDEN_BIAS + 0.1 * 2.9 * expected[2], rtol=1e-4, atol=1e-5)
