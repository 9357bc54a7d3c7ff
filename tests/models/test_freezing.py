"""Which layers `freeze` holds still, which layer is the head, and how many classes it has."""

import numpy as np
import pytest

import zoo
from zoo.errors import ZooError

TINY = {"hidden_units": (4, 3), "input_shape": (4, 4, 1)}

NAMES = ["image", "flatten", "hidden1", "hidden2", "head"]


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        (None, {*NAMES}),
        ("all", set()),
        ("all but head", {"head"}),
        ("up to image", {*NAMES[1:]}),
        ("up to hidden1", {"hidden2", "head"}),
        ("up to head", set()),
    ],
)
def test_freeze(freeze, trained):
    model = zoo.create_model("mlp", freeze=freeze, **TINY)
    assert [layer.name for layer in model.layers] == NAMES
    assert {layer.name for layer in model.layers if layer.trainable} == trained
    assert len(model.trainable_weights) == 2 * len(trained & {"hidden1", "hidden2", "head"})


def test_every_head_layer_is_the_head():
    model = zoo.create_model("lenet5", freeze="all but head")
    assert {layer.name for layer in model.layers if layer.trainable} == {"head_f6", "head_codes"}


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("up to hidden9", "unknown layer of mlp 'hidden9'; did you mean hidden"),
        ("head", "freeze must be one of 'all', 'all but head', 'up to LAYER', got 'head'"),
        ("up to", "freeze must be one of 'all', 'all but head', 'up to LAYER', got 'up to'"),
        (True, "freeze must be one of 'all', 'all but head', 'up to LAYER', got True"),
    ],
)
def test_freeze_that_is_unknown(freeze, message):
    with pytest.raises(ZooError) as caught:
        zoo.create_model("mlp", freeze=freeze, **TINY)
    assert message in str(caught.value)


def test_classes():
    assert zoo.create_model("mlp", **TINY).output.shape == (None, 10)
    model = zoo.create_model("mlp", classes=26, **TINY)
    assert model.output.shape == (None, 26)
    assert model.origin.overrides == {**TINY, "classes": 26}
    model = zoo.create_model("mlp", classes=0, **TINY)
    assert model.output_names == ["embeddings"]
    assert model.output.shape == (None, 3)
    assert model({"image": np.zeros((1, 4, 4, 1), "float32")}).shape == (1, 3)
