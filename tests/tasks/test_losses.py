"""Losses against Keras's own."""

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks import task_of
from zoo.tasks.losses import CrossEntropy

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_with_label_smoothing_is_keras_own(smoothing):
    logits, classes = RANDOM.normal(0, 3, (7, 4)).astype("float32"), RANDOM.integers(0, 4, 7)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = theirs(keras.ops.one_hot(classes, 4), logits)
    for targets in (classes, classes[:, np.newaxis]):
        np.testing.assert_allclose(CrossEntropy(smoothing)(targets, logits), expected, rtol=1e-5)
    weight = np.array([1, 0, 1, 0, 0, 2, 1], "float32")
    each = np.array([theirs(keras.ops.one_hot(classes[i : i + 1], 4), logits[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(CrossEntropy(smoothing)(classes, logits, weight), (each * weight).sum() / 5, rtol=1e-5)
    again = CrossEntropy.from_config(CrossEntropy(smoothing).get_config())
    assert again.label_smoothing == smoothing


def test_a_loss_of_its_own_takes_no_smoothing(digits_folder, tmp_path):
    settings = {"epochs": 1, "batch_size": 12, "label_smoothing": 0.1}
    with pytest.raises(ZooError, match="lenet5 has its own loss, which does not take label_smoothing"):
        zoo.train("lenet5", tmp_path / "run", data={"folder": str(digits_folder)}, training=settings)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZooError, match="lenet5 has its own loss, which does not take mixed classes"):
        zoo.dataset(digits_folder, model=zoo.create_model("lenet5", classes=3), augment={"mixup": 0.2})


@pytest.mark.parametrize("classes", [5, 25])
def test_metrics_take_mixed_classes(classes):
    """As the most probable class; without mixing they are Keras's own."""
    task = task_of(zoo.create_model("mlp", **{**entries()["mlp"].tiny, "classes": classes}))
    logits, numbers = RANDOM.normal(0, 3, (9, classes)).astype("float32"), RANDOM.integers(0, classes, 9)
    mixed = 0.7 * np.eye(classes)[numbers] + 0.3 * np.eye(classes)[np.roll(numbers, 1)]
    theirs = [keras.metrics.SparseCategoricalAccuracy(), keras.metrics.SparseTopKCategoricalAccuracy(5)]
    metrics = task.metrics()
    assert len(metrics) == (2 if classes > 20 else 1)
    for metric, other in zip(metrics, theirs, strict=False):
        other.update_state(numbers, logits)
        for targets in (numbers, numbers[:, np.newaxis], mixed.astype("float32")):
            metric.reset_state()
            metric.update_state(targets, logits)
            assert float(metric.result()) == float(other.result())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities_is_keras_own(smoothing):
    logits = RANDOM.normal(0, 3, (7, 4)).astype("float32")
    targets = RANDOM.dirichlet(np.ones(4), 7).astype("float32")
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    np.testing.assert_allclose(CrossEntropy(smoothing)(targets, logits), theirs(targets, logits), rtol=1e-5)
