"""One training step: accumulation, clipping, half precision, gradients that are not finite."""

import gc
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.runs import train, weights
from tests.helpers.token_batches import stream, tokens, toy
from zoo.training.epochs import run
from zoo.training.loop import SCALE, Loop
from zoo.training.not_finite import NotFinite
from zoo.training.recipe import Training

EVERYTHING = {"epochs": 2, "batch_size": 16, "global_clipnorm": 0.5, "weight_averaging": 0.9, "accumulation": 3}


def test_a_batch_in_parts_gives_the_step_of_the_whole(digits_folder, tmp_path):
    """42 examples in batches of 16, the last of 10, each in three parts."""
    for name, training in (("parts", EVERYTHING), ("whole", {**EVERYTHING, "accumulation": 1})):
        train(digits_folder, tmp_path / name, training=training)
    for a, b in zip(weights(tmp_path / "parts"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_step_is_the_gradient_of_the_mean_over_tokens(accumulation):
    """Plain SGD by hand: weights less the rate times the gradient of the weighted mean of the batch."""
    model = toy()
    loop = Loop(model, Training(epochs=1, batch_size=2, accumulation=accumulation), tf.distribute.get_strategy())
    expected = [tf.Variable(weight) for weight in model.trainable_variables]
    x, y, weight = tokens()
    losses = []
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        with tf.GradientTape() as tape:
            hidden = tf.tensordot(x[rows], expected[0], 1) + expected[1]
            logits = tf.tensordot(hidden, expected[2], 1) + expected[3]
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(y[rows], logits)
            mean = tf.reduce_sum(each * weight[rows]) / tf.reduce_sum(weight[rows])
        losses.append(float(mean))
        for variable, gradient in zip(expected, tape.gradient(mean, expected), strict=True):
            variable.assign_sub(0.5 * gradient)
    loop.epoch(stream(), 0, 10, lambda *_: None)
    np.testing.assert_allclose(loop.losses, losses, rtol=1e-5)
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_run_leaves_no_graph_in_memory():
    """A search makes many runs in one process."""

    def graphs() -> int:
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" and each.name == "_train_step" for each in gc.get_objects())

    before = graphs()
    loop = Loop(toy(), Training(epochs=1, batch_size=2), tf.distribute.get_strategy())
    loop.epoch(stream(), 0, 10, lambda *_: None)
    assert graphs() > before
    del loop
    assert graphs() == before


def test_half_precision_recovers_from_an_overflow(monkeypatch):
    """A step whose gradients overflow changes no weight and halves the scale; the next ones learn."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = toy()
    finally:
        keras.config.set_dtype_policy("float32")
    settings = Training(epochs=1, batch_size=2, precision="mixed_float16")
    loop = Loop(model, settings, tf.distribute.get_strategy())
    loop.scale.assign(2.0**24)  # past float16's 65,504
    before = model.get_weights()
    loop.epoch(stream(), 0, 1, lambda *_: None)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert float(loop.scale) == 2.0**23
    while float(loop.scale) > 2.0**10:
        loop.scale.assign(float(loop.scale) / 2)
    first = None
    for number in range(1, 30):
        loop.losses = []
        loop.epoch(stream(), number, 100, lambda *_: None)
        first = first or loop.losses[0]
    assert loop.losses[0] < 0.9 * first
    assert np.isfinite(loop.norms[1:]).all()
    assert SCALE == 2.0**15


def test_half_precision_tries_the_lowest_scale():
    """An overflow at scale 2 is followed by a step at scale 1, and only an overflow there ends the run."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = toy()
    finally:
        keras.config.set_dtype_policy("float32")
    loop = Loop(model, Training(epochs=1, batch_size=2, precision="mixed_float16"), tf.distribute.get_strategy())
    loop.scale.assign(2.0)
    model.layers[-1].kernel.assign(np.full((8, 4), np.inf, "float32"))
    with pytest.raises(NotFinite, match=r"at step 2 \(epoch 1, batch 2 of 3\)"):
        loop.epoch(stream(), 0, 10, lambda *_: None)


def test_the_loss_of_an_epoch_is_the_mean_over_examples():
    """Batches of 2, 2 and 1 rows. Without a smaller batch it is the plain mean, to the bit; overflows are left out."""
    loop = Loop(toy(), Training(epochs=1, batch_size=2), tf.distribute.get_strategy())
    loop.losses, loop.norms = [1.0, 2.0, 6.0], [1.0, 2.0, 6.0]
    assert loop.means(stream()) == {"loss": 12.0 / 5.0, "gradient_norm": 3.0}
    loop.losses = [1.0, math.inf, 6.0]
    assert loop.means(stream())["loss"] == pytest.approx(8.0 / 3.0)
    loop.losses, loop.norms = [0.1, 0.7], [math.nan, math.nan]
    assert loop.means(stream())["loss"] == np.mean([0.1, 0.7])
    assert math.isnan(loop.means(stream())["gradient_norm"])


def test_an_epoch_that_is_continued_at_its_end_has_no_negative_rate():
    loop = Loop(toy(), Training(epochs=1, batch_size=2), tf.distribute.get_strategy())
    loop.epoch(stream(), 0, 10, lambda *_: None)  # a checkpoint after this step is continued with its evaluation
    [row] = run(loop, stream(), None, 0, 1, 10, lambda *_: None)
    assert row["examples_per_second"] == 0.0


def test_a_gradient_that_is_not_finite_changes_nothing_and_ends_the_run():
    model = toy()
    model.layers[-1].kernel.assign(np.full((8, 4), np.inf, "float32"))
    before = model.get_weights()
    loop = Loop(model, Training(epochs=1, batch_size=2), tf.distribute.get_strategy())
    with pytest.raises(NotFinite, match=r"not finite at step 1 \(epoch 1, batch 1 of 3\)"):
        loop.epoch(stream(), 0, 10, lambda *_: None)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


HALVES = ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]


@pytest.mark.parametrize("precision", HALVES)
def test_a_run_in_half_precision_learns_and_keeps_float32(precision, digits_folder, tmp_path):
    training = {"epochs": 5, "batch_size": 12, "precision": precision, "optimizer": {"learning_rate": 0.01}}
    losses = []
    train(digits_folder, tmp_path / "run", training=training, report=lambda *row: losses.append(row[2]["loss"]))
    assert losses[-1] < 0.6 * losses[0]
    assert {value.dtype for value in weights(tmp_path / "run")} == {np.dtype("float32")}
    assert keras.config.dtype_policy().name == "float32"
