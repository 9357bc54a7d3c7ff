"""The convolutional acoustic model: sizes, and frames that pooling joins."""

import numpy as np
import pytest

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make

SHAPES = {"filters": (4, 4), "kernel_sizes": ((3, 3), (3, 3)), "pool_sizes": ((3, 2), (2, 2)), "units": 8}


@pytest.mark.parametrize("frame_count", range(1, 8))
def test_pooling_in_time_does_not_depend_on_the_length_of_the_batch(frame_count):
    """A window that is part empty gives what it gives at the end of a batch."""
    model = make("conv_acoustic", **SHAPES)
    inputs = CONTRACTS["audio_classification"].inputs(model, 1)
    inputs["frame_count"][:] = frame_count
    cut = {**inputs, "frames": inputs["frames"][:, :frame_count]}
    np.testing.assert_allclose(model(inputs)["logits"], model(cut)["logits"], atol=1e-6)


def test_differences_are_maps_of_the_bands():
    """The first convolution sees the features and their differences of the same band."""
    model = zoo.create_model("conv_acoustic", bands=8, maps=3, **SHAPES)
    assert model.input["frames"].shape == (None, None, 24)
    frames = np.arange(24, dtype="float32").reshape(1, 1, 24)
    values = np.array(model.get_layer("bands")(model.get_layer("maps")(frames)))
    np.testing.assert_array_equal(values[0, 0, 2], [2, 10, 18])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"filters": (4,)},
            "^conv_acoustic: filters, kernel_sizes and pool_sizes must have the same length, got 1, 2 and 2$",
        ),
        ({"bands": 3}, "^conv_acoustic: stage 2 pools 2 bands, but only 1 are left$"),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.create_model("conv_acoustic", **{**SHAPES, **arguments})
