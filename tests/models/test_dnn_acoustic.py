"""The network over context frames, against NumPy."""

import keras
import numpy as np
import pytest

from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.registry import create_model


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_logits_in_numpy(activation):
    model = make("dnn_acoustic", activation=activation)
    frames = np.random.default_rng(0).normal(size=(6, 20)).astype("float32")
    logits = np.array(model({"frames": frames[None], "frame_count": np.array([5], "int32")})["logits"])[0]
    weights = model.get_weights()
    for number in range(5):
        x = np.concatenate([frames[min(max(number + move, 0), 4)] for move in (-2, -1, 0, 1, 2)])
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = x @ kernel + bias
            x = np.maximum(x, 0) if activation == "relu" else 1 / (1 + np.exp(-x))
        np.testing.assert_allclose(logits[number], x @ weights[-2] + weights[-1], rtol=1e-4, atol=1e-5)


def test_dropout_follows_every_hidden_layer():
    model = create_model("dnn_acoustic", features=4, units=3, depth=2, dropout=0.3)
    drops = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert drops == [0.3, 0.3]


@pytest.mark.parametrize("wrong", [{"context": 0}, {"depth": 0}, {"classes": 0}, {"activation": "tanh"}])
def test_impossible_sizes(wrong):
    with pytest.raises(ZooError, match="must be"):
        create_model("dnn_acoustic", features=4, units=3, **wrong)
