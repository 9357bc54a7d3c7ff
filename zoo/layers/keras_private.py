"""All uses of Keras's private API, where Keras has no public function. Check this module with each new Keras release.

A layer or model is an operation; a node is one call of an operation on symbolic tensors.
"""

from collections.abc import Callable
from typing import Any

import keras


def is_functional(operation) -> bool:
    """Whether an operation is a model with a graph of layers, Functional or Sequential.

    Stands in for isinstance(operation, keras.Functional): Keras exports no name for the class.
    """
    return hasattr(graph(operation), "_run_through_graph")


def graph(operation):
    """The functional model inside a Sequential model, which has inputs, outputs and their names; others unchanged."""
    return getattr(operation, "_functional", None) or operation


def run_graph(model: keras.Model, inputs: Any, call_of: Callable) -> Any:
    """Runs a functional model with `call_of(operation)` in place of each operation, and returns the outputs.

    Stands in for a public hook on a model's layers; `clone_model(call_function=...)` builds another model instead.

    Args:
        model: a model for which `is_functional` is true.
        inputs: the inputs of the model.
        call_of: operation -> a function with the operation's arguments and outputs.
    """
    return graph(model)._run_through_graph(inputs, call_of)


def inbound_nodes(layer: keras.Layer) -> list:
    """The calls of a layer; `layer.input` is defined only if there is exactly one."""
    return layer._inbound_nodes


def outbound_nodes(layer: keras.Layer) -> list:
    """The calls of other layers on a layer's outputs. Stands in for a public way to find a tensor's consumers."""
    return layer._outbound_nodes


def producer(tensor: keras.KerasTensor):
    """The operation whose output a symbolic tensor is. Stands in for a public attribute of KerasTensor."""
    return tensor._keras_history.operation


def node_of(tensor: keras.KerasTensor):
    """The node whose output a symbolic tensor is. Stands in for a public attribute of KerasTensor."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def flatten_layers(model: keras.Model, include_self: bool = True) -> list[keras.Layer]:
    """All layers of a model, also those inside other layers and models; `model.layers` has only the outer ones."""
    return list(model._flatten_layers(include_self=include_self))


def sum_gradients_ourselves(optimizer: keras.optimizers.Optimizer) -> None:
    """Stops an optimizer from summing gradients over replicas, because the caller has summed them.

    Stands in for tf.keras's `apply_gradients(..., skip_gradients_aggregation=True)`, which Keras 3 lacks.
    """
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
