"""Convolutional networks for signals and volumes against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.tensors import CASES, small
from zoo.errors import ZooError
from zoo.tasks import task_of


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(sizes..., C) with zeros around -> (sizes..., maps): the sum over the kernel's places, then the rectifier."""
    sizes, kernels = x.shape[:-1], kernel.shape[:-2]
    padded = np.pad(x, [((k - 1) // 2, k // 2) for k in kernels] + [(0, 0)])
    total = np.zeros((*sizes, kernel.shape[-1])) + bias
    for place in np.ndindex(*kernels):
        window = tuple(slice(p, p + size) for p, size in zip(place, sizes, strict=True))
        total += padded[window] @ kernel[place]
    return np.maximum(total, 0)


def pooled(x: np.ndarray, size: int) -> np.ndarray:
    for axis in range(x.ndim - 1):
        count = x.shape[axis] // size
        x = np.take(x, np.arange(count * size), axis)
        x = x.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]).max(axis + 1)
    return x


@pytest.mark.parametrize(
    ("name", "shape", "kernel_size", "pool_size"),
    [("conv1d_classifier", (19, 2), 5, 3), ("conv3d_classifier", (4, 5, 7, 2), 3, 2)],
)
def test_the_network_equals_its_equations(name, shape, kernel_size, pool_size):
    model = zoo.create_model(name, 4, input_shape=shape, filters=(3, 5), kernel_size=kernel_size, pool_size=pool_size)
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape) for weight in model.weights]
    model.set_weights(weights)
    x = random.normal(size=shape)
    first, first_bias, second, second_bias, head, head_bias = weights
    y = pooled(convolved(x, first, first_bias), pool_size)
    y = pooled(convolved(y, second, second_bias), pool_size)
    want = y.mean(tuple(range(y.ndim - 1))) @ head + head_bias
    got = model(x[np.newaxis].astype("float32"))[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert np.abs(want).max() > 0.1


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("conv1d_classifier", {"input_shape": (64, 64, 3)}, r"must be integers >= 1 such as \(1024, 1\)"),
        ("conv1d_classifier", {"input_shape": (None, 1)}, "input_shape must be integers >= 1"),
        ("conv3d_classifier", {"input_shape": (64, 64, 3)}, "input_shape must be integers >= 1"),
        ("conv1d_classifier", {"input_shape": (63, 1)}, "3 stages need sizes of 64 or more in input_shape"),
        ("conv3d_classifier", {"input_shape": (16, 7, 16, 1)}, "3 stages need sizes of 8 or more in input_shape"),
        ("conv1d_classifier", {"filters": ()}, "must be integers >= 1"),
        ("conv3d_classifier", {"filters": (8, 0)}, "must be integers >= 1"),
        ("conv3d_classifier", {"pool_size": 0}, "must be integers >= 1"),
        ("conv1d_classifier", {"dropout": 1.5}, "conv1d_classifier: "),
    ],
)
def test_impossible_networks_are_refused(name, overrides, message):
    with pytest.raises(ZooError, match=message):
        zoo.create_model(name, **overrides)


@pytest.mark.parametrize("name", CASES)
def test_without_classes_it_gives_embeddings(name):
    model, whole = small(name), small(name, classes=0)
    whole.set_weights(model.get_weights()[:-2])
    x = np.random.default_rng(0).normal(size=(3, *model.input.shape[1:])).astype("float32")
    embeddings = task_of(model).signatures()["embeddings"][0](tf.constant(x))
    np.testing.assert_allclose(embeddings["embeddings"], whole(x), rtol=1e-5)
    assert embeddings["embeddings"].shape == (3, 4)
    np.testing.assert_allclose(zoo.pipeline(whole)(x[0])["embeddings"], whole(x[:1])[0], rtol=1e-5)


def test_dropout_acts_in_training_alone():
    model = small(dropout=0.5)
    x = {"tensor": np.ones((64, 4, 2), "float32")}
    np.testing.assert_array_equal(model(x), np.repeat(model(x)[:1], 64, 0))
    assert np.ptp(model(x, training=True), axis=0).max() > 1e-3
