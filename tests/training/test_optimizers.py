"""Learning rate schedules by number, and which variables decay."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.errors import ZooError
from zoo.training.optimizers import learning_rate, make_optimizer
from zoo.training.recipe import Optimizer, Schedule, Training


def rates(steps, **schedule) -> np.ndarray:
    settings = Training(epochs=1, batch_size=1, optimizer={"learning_rate": 0.2}, schedule=schedule)
    rate = learning_rate(settings, steps)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps)])


def test_constant_rates_by_number():
    np.testing.assert_allclose(rates(4), [0.2] * 4)
    np.testing.assert_allclose(rates(5, warmup_steps=2), [0, 0.1, 0.2, 0.2, 0.2], rtol=1e-6)


def test_a_share_of_the_steps_for_warming_up_is_a_number_of_steps():
    np.testing.assert_array_equal(rates(8, warmup_share=0.25), rates(8, warmup_steps=2))
    np.testing.assert_array_equal(rates(8, warmup_share=0.5, warmup_steps=2), rates(8, warmup_steps=2))


def test_step_schedules_by_number():
    np.testing.assert_allclose(rates(8, name="step", factor=0.5), [0.2] * 4 + [0.1] * 2 + [0.05] * 2, rtol=1e-6)
    np.testing.assert_allclose(
        rates(8, name="step", warmup_steps=2, drops=[0.5]), [0, 0.1, 0.2, 0.2, 0.02, 0.02, 0.02, 0.02], rtol=1e-6
    )


def test_cosine_schedules_by_number():
    cosine = 0.1 * (1 + np.cos(np.pi * np.arange(6) / 6))
    np.testing.assert_allclose(rates(6, name="cosine"), cosine, rtol=1e-5)
    np.testing.assert_allclose(rates(8, name="cosine", warmup_steps=2)[2:], cosine, rtol=1e-5)


def test_one_cycle_by_number():
    cycle = rates(101, name="one_cycle")
    assert cycle[0] == pytest.approx(0.2 / 25)
    assert cycle[15] == pytest.approx((0.2 + 0.2 / 25) / 2, rel=1e-5)  # half of the way up
    assert cycle.argmax() == 30
    assert cycle[30] == pytest.approx(0.2)
    assert cycle[65] == pytest.approx((0.2 + 2e-6) / 2, rel=1e-4)  # half of the way down
    assert cycle[-1] == pytest.approx(2e-6, rel=1e-2)


def test_one_cycle_has_no_other_warm_up():
    with pytest.raises(ZooError, match="one_cycle rises by itself"):
        rates(8, name="one_cycle", warmup_share=0.25)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_leaves_biases_and_norms_alone(name):
    """One step without any gradient: kernels shrink by rate times decay, nothing else moves."""
    model = zoo.create_model("resnet_cifar20", depth=8)
    model.set_weights([value + 0.5 for value in model.get_weights()])
    chosen = Optimizer(name=name, learning_rate=0.1, momentum=0.9, weight_decay=0.02)
    settings = Training(epochs=1, batch_size=1, optimizer=chosen, schedule=Schedule())
    optimizer = make_optimizer(settings, 10, model)
    before = [weight.numpy() for weight in model.trainable_weights]
    optimizer.apply([tf.zeros(weight.shape) for weight in model.trainable_weights], model.trainable_weights)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_allclose(weight, old * (1 - 0.1 * 0.02) if weight.ndim > 1 else old, rtol=1e-6)


def test_a_task_without_updates_refuses_them(digits_folder, tmp_path):
    with pytest.raises(ZooError, match="image_classification has no updates of its own"):
        zoo.train(
            "mlp", tmp_path / "run", data={"folder": str(digits_folder)}, model_overrides={"hidden_units": (4,)},
            training={"optimizer": {"name": "task"}},
        )  # fmt: skip
