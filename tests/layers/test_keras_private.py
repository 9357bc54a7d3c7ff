"""The functions on Keras's private API do what they say on the installed Keras."""

import ast

import keras
import numpy as np
import pytest
from keras import layers

from tests.helpers.paths import ROOT
from zoo.layers import keras_private

PRIVATE = {
    "_keras_history",
    "_inbound_nodes",
    "_outbound_nodes",
    "_run_through_graph",
    "_flatten_layers",
    "_all_reduce_sum_gradients",
    "_functional",
}
FILES = sorted(path for folder in ("zoo", "training", "export") for path in (ROOT / folder).rglob("*.py"))


def private_names(source: str) -> set[str]:
    """Keras's private names in a module, as attributes or as strings."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return names & PRIVATE


def test_only_one_module_uses_private_names():
    users = {path.relative_to(ROOT).as_posix() for path in FILES if private_names(path.read_text("utf-8"))}
    assert users == {"zoo/layers/keras_private.py"}


@pytest.mark.parametrize("source", ["x._keras_history", "getattr(x, '_functional')", "x._inbound_nodes[0] = 1"])
def test_a_private_name_is_noticed(source):
    assert len(private_names(source)) == 1


def nested() -> keras.Model:
    image = keras.Input((4,), name="image")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="first")], name="inner")
    x = inner(image)
    logits = layers.Add(name="sum")([layers.Dense(2, name="left")(x), layers.Dense(2, name="right")(x)])
    return keras.Model({"image": image}, {"logits": logits})


def test_the_graph():
    model = nested()
    left, add = model.get_layer("left"), model.get_layer("sum")
    assert [keras_private.is_functional(operation) for operation in (model, model.get_layer("inner"), left)] == [
        True,
        True,
        False,
    ]
    assert keras_private.producer(add.input[0]) is left
    assert keras_private.producer(left.input) is model.get_layer("inner")
    assert len(keras_private.inbound_nodes(left)) == len(keras_private.outbound_nodes(left)) == 1
    assert len(keras_private.outbound_nodes(add)) == 0
    left(keras.Input((3,)))
    assert len(keras_private.inbound_nodes(left)) == 2
    names = [layer.name for layer in keras_private.flatten_layers(model, include_self=False)]
    assert {"inner", "first", "left", "right", "sum"} <= set(names)
    assert model not in keras_private.flatten_layers(model, include_self=False)
    assert model in keras_private.flatten_layers(model)


def test_running_the_graph_with_other_operations():
    model, called = nested(), []

    def call_of(operation):
        called.append(operation.name)
        return operation if operation.name != "right" else lambda x: 0.0 * operation(x)

    inputs = {"image": np.ones((1, 4), "float32")}
    outputs = keras_private.run_graph(model, inputs, call_of)
    expected = model.get_layer("left")(model.get_layer("inner")(inputs["image"]))
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-6)
    assert sorted(called) == ["inner", "left", "right", "sum"]


def test_an_optimizer_leaves_gradients_as_they_are():
    optimizer = keras.optimizers.SGD()
    own = type(optimizer)._all_reduce_sum_gradients  # the method that is replaced exists
    keras_private.sum_gradients_ourselves(optimizer)
    pairs = [("gradient", "variable")]
    assert optimizer._all_reduce_sum_gradients(pairs) is pairs
    assert optimizer._all_reduce_sum_gradients is not own
