"""Storage of weights: rounding to float16 and int8, and the round trip."""

import h5py
import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies

import zoo
from tests.helpers.presets import Fake, error_of
from zoo import preset
from zoo.preset import weights


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(
    hypothesis.extra.numpy.arrays(
        "float32",
        strategies.one_of(
            hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=4, max_side=5),
            strategies.tuples(*[strategies.integers(1, 3)] * 3, strategies.just(1)),
        ),
        elements=strategies.one_of(
            strategies.floats(-10, 10, width=32), strategies.floats(-(2.0**100), 2.0**100, width=32)
        ),
    )
)
def test_int8_is_within_half_a_scale_of_its_channel(values):
    rounded, scale = weights.quantize(values)
    channel = values.ndim - 1 if values.shape[-1] > 1 else values.ndim - 2
    assert rounded.dtype == np.int8
    assert rounded.shape == values.shape
    assert rounded.min() >= -127
    assert scale.dtype == np.float32
    assert scale.shape == tuple(size if axis == channel else 1 for axis, size in enumerate(values.shape))
    assert (scale > 0).all()
    again = rounded.astype("float64") * scale
    assert (np.abs(again - values) <= 0.5001 * scale.astype("float64")).all()
    greatest = np.abs(values).max(tuple(axis for axis in range(values.ndim) if axis != channel), keepdims=True)
    normal = greatest > 1e-30
    np.testing.assert_allclose(scale[normal], greatest[normal] / 127, rtol=1e-6)  # no coarser than it must be
    twice, same = weights.quantize(rounded.astype("float32") * scale)
    np.testing.assert_array_equal(twice, rounded)
    np.testing.assert_array_equal(same, scale)


def test_each_channel_of_a_depthwise_kernel_has_its_own_scale():
    values = np.ones((3, 3, 4, 1), "float32") * np.array([1, 10, 100, 0], "float32")[:, None]
    rounded, scale = weights.quantize(values)
    np.testing.assert_allclose(scale.ravel()[:3], np.array([1, 10, 100]) / 127, rtol=1e-6)
    assert (rounded[..., :3, :] == 127).all()
    assert (rounded[..., 3, :] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_int8_refuses_what_is_no_number(tmp_path, value):
    values = np.array([[1.0, 2.0], [value, 3.0]], "float32")
    assert "int8 can't hold" in error_of(weights.write, Fake(values), tmp_path / "a.weights.h5", "int8")
    weights.write(Fake(values), tmp_path / "b.weights.h5", "float16")  # which has infinities of its own
    assert "float16 can't hold" in error_of(weights.write, Fake([[1.0, 7e4]]), tmp_path / "c.weights.h5", "float16")
    assert "storage must be one of float32, float16, int8, got 'int4'" in error_of(
        weights.write, Fake(values), tmp_path / "d.weights.h5", "int4"
    )


@pytest.mark.parametrize("storage", weights.STORAGES)
def test_round_trip(tmp_path, storage):
    """A loaded preset has the weights to the bit, after the rounding of its storage; and again after another save."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(16, 12), input_shape=(16, 16, 1))
    for number, weight in enumerate(model.weights):
        random = np.random.default_rng(number)
        weight.assign(random.normal(0, 0.1, weight.shape) * 10.0 ** random.integers(-3, 3, weight.shape[-1]))
    zoo.save(model, tmp_path / "one", storage=storage)
    one = preset.open_preset(tmp_path / "one")
    zoo.save(tmp_path / "one", tmp_path / "two")
    assert one.record["storage"] == preset.open_preset(tmp_path / "two").record["storage"] == storage
    loaded = zoo.load(tmp_path / "one").get_weights()
    for exact, first, second in zip(model.get_weights(), loaded, zoo.load(tmp_path / "two").get_weights(), strict=True):
        expected = exact
        if storage == "float16":
            expected = exact.astype("float16").astype("float32")
        elif storage == "int8" and exact.ndim > 1:
            rounded, scale = weights.quantize(exact)
            expected = rounded.astype("float32") * scale
            assert np.abs(expected - exact).max() > 0
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, expected)
        np.testing.assert_array_equal(first, second)
    with h5py.File(one.file("model.weights.h5")) as file:
        kinds = {str(file[name].dtype) for name in weights._arrays(file)}
    assert kinds == {"float32": {"float32"}, "float16": {"float16"}, "int8": {"int8", "float32"}}[storage]
    assert one.record["parameters"] == sum(weight.size for weight in model.get_weights())
    least = {"float32": 4.0, "float16": 2.0, "int8": 1.0}[storage] * 4096
    assert least < one.record["files"]["model.weights.h5"]["size"] < least + 25_000


@pytest.mark.parametrize("storage", weights.STORAGES)
def test_an_array_of_one_value_takes_no_space(tmp_path, storage):
    """The value returns exactly; an array with a single other value is stored whole."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(100, 100), input_shape=(32, 32, 1))
    first, second = (model.get_layer(name) for name in ("hidden1", "hidden2"))
    first.kernel.assign(np.full(first.kernel.shape, 0.1))
    second.kernel.assign(np.where(np.arange(10_000).reshape(100, 100) == 7, 0.5, 0.25))
    zoo.save(model, tmp_path / "model", storage=storage)
    size = {"float32": 4, "float16": 2, "int8": 1}[storage]
    assert (tmp_path / "model" / "model.weights.h5").stat().st_size < 10_000 * size + 25_000
    loaded = zoo.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.get_layer("hidden1").kernel, first.kernel)
    np.testing.assert_allclose(loaded.get_layer("hidden2").kernel, second.kernel, atol=0.002)
