"""The loss of CTC against the forward algorithm, written in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.tasks.losses import CTC, CharacterErrorRate, TooLong

AFTER_END = np.array([0.0, -1e4, -1e4, -1e4], "float32")  # a certain blank


def forward(logits: np.ndarray, labels: list[int]) -> float:
    """Minus the log probability of labels under (T, V) logits: Graves et al. 2006, section 4.1."""
    probabilities = np.exp(logits.astype("float64"))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    states = [0, *(state for label in labels for state in (label, 0))]
    alpha = np.zeros(len(states))
    alpha[:2] = probabilities[0, states[:2]]
    for row in probabilities[1:]:
        before = alpha.copy()
        alpha[1:] += before[:-1]
        for place in range(2, len(states)):
            if states[place] != 0 and states[place] != states[place - 2]:
                alpha[place] += before[place - 2]
        alpha *= row[states]
    with np.errstate(divide="ignore"):
        return -float(np.log(alpha[-2:].sum()))


def batch(counts: list[int], seed: int = 0) -> np.ndarray:
    """Logits (B, T, 4) of items of unequal lengths."""
    logits = np.random.default_rng(seed).normal(0, 2, (len(counts), max(counts) + 2, 4)).astype("float32")
    for row, count in zip(logits, counts, strict=True):
        row[count:] = AFTER_END
    return logits


LABELS = np.array([[1, 2, 1], [3, 3, 0], [0, 0, 0], [2, 0, 0], [1, 2, 3]], "int32")
COUNTS = [6, 3, 4, 1, 7]


def test_the_loss_is_that_of_the_forward_algorithm():
    logits = batch(COUNTS)
    expected = [
        forward(row[:count], [label for label in labels if label])
        for row, count, labels in zip(logits, COUNTS, LABELS.tolist(), strict=True)
    ]
    np.testing.assert_allclose(CTC().call(LABELS, logits), expected, rtol=1e-5)
    weight = np.array([1, 0, 1, 1, 0], "float32")
    np.testing.assert_allclose(CTC()(LABELS, logits, weight), (expected * weight).sum() / 3, rtol=1e-5)


def test_the_gradient_is_that_of_tensorflows_other_implementation():
    logits, sizes = tf.constant(batch(COUNTS)), tf.constant([3, 2, 0, 1, 3])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = tf.reduce_sum(CTC().call(LABELS, logits))
        theirs = tf.reduce_sum(
            tf.nn.ctc_loss(LABELS, logits, sizes, tf.constant(COUNTS), logits_time_major=False, blank_index=0)
        )
    gradient = tape.gradient(ours, logits).numpy()
    np.testing.assert_allclose(gradient, tape.gradient(theirs, logits), atol=2e-5)
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("counts", [[2, 4], [1, 0], [2, 3]])
def test_labels_that_need_more_steps_have_no_loss_and_are_counted(counts):
    """[1, 2, 1] needs 3 steps, [3, 3] needs 3 as well, with a blank between the two."""
    labels, logits = LABELS[:2], tf.constant(batch([*counts, 6])[:2])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = CTC().call(labels, logits)
    gradient = tape.gradient(losses, logits).numpy()
    has_path = np.array(counts) >= 3
    np.testing.assert_array_equal(losses.numpy() > 0, has_path)
    np.testing.assert_array_equal(np.abs(gradient).max(axis=(1, 2)) > 0, has_path)
    assert np.isfinite(gradient).all()
    metric = TooLong()
    metric.update_state(labels, logits)
    assert float(metric.result()) == 1 - has_path.mean()


def test_labels_of_size_zero():
    logits = batch([3, 2])
    expected = [forward(row[:count], []) for row, count in zip(logits, [3, 2], strict=True)]
    np.testing.assert_allclose(CTC().call(np.zeros((2, 0), "int32"), logits), expected, rtol=1e-5)


def test_character_error_rate():
    best = np.array([[1, 1, 0, 2, 0, 0], [3, 0, 3, 3, 2, 0], [0, 0, 0, 0, 0, 0]])  # "12", "332", ""
    labels = np.array([[1, 2, 1], [3, 3, 0], [1, 0, 0]], "int32")
    logits = 9 * np.eye(4, dtype="float32")[best]
    metric = CharacterErrorRate()
    metric.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx((1 + 1 + 1) / 6)
    metric.update_state(labels, logits, sample_weight=[0.0, 1.0, 0.0])
    assert float(metric.result()) == pytest.approx(4 / 8)
    metric.reset_state()
    metric.update_state(np.zeros((2, 0), "int32"), logits[:2])
    assert float(metric.result()) == 5  # insertions, over 1 in the place of no labels
