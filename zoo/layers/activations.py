"""The output of each layer of a functional model for an input, including the layers of nested models."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.layers.keras_private import is_functional, run_graph


@dataclasses.dataclass(frozen=True)
class Activation:
    """The output of a layer.

    Args:
        name: the layer's name after the names of the models around it, as in "backbone/conv1".
        output: the tensor, (B, H, W, C) or of any other shape.
        stride: the distance between neighbours in the output, in rows and columns of the model's input.
        has_weights: whether the layer has weights.
        has_kernel: whether the layer has weights that mix its inputs, unlike the weights of a normalisation.
        is_local: whether these weights differ from place to place, so that a map has no single meaning.
    """

    name: str
    output: Any
    stride: tuple[int, int]
    has_weights: bool
    has_kernel: bool
    is_local: bool

    @property
    def has_extent(self) -> bool:
        return len(self.output.shape) == 4 and min(self.output.shape[1:3]) > 1


def record(model: keras.Model, inputs: dict) -> tuple[dict, list[Activation]]:
    """Runs a functional model in inference mode, layer by layer.

    Returns:
        The model's outputs, and the activations in the order in which the layers ran, without layers that return
        their input unchanged, as dropout does.
    """
    activations: list[Activation] = []
    strides = {id(tensor): np.ones(2, int) for tensor in keras.tree.flatten(inputs)}
    kept = []  # a tensor's id is unique only while the tensor exists

    def recorded(operation, prefix):
        def call(*args, **kwargs):
            if is_functional(operation):
                inner = f"{prefix}{operation.name}/"
                return run_graph(operation, args, lambda part: recorded(part, inner))
            outputs = operation(*args, **kwargs)
            before = keras.tree.flatten((args, kwargs))[0]
            if outputs is before:
                return outputs
            stride = strides.get(id(before), np.ones(2, int)) * _stride(operation, before, outputs)
            for output in keras.tree.flatten(outputs):
                kept.append(output)
                strides[id(output)] = stride
            if isinstance(operation, keras.layers.Layer) and keras.ops.is_tensor(outputs):
                activations.append(_activation(operation, prefix, outputs, stride))
            return outputs

        return call

    return run_graph(model, inputs, lambda operation: recorded(operation, "")), activations


def _activation(layer: keras.Layer, prefix: str, output, stride: np.ndarray) -> Activation:
    return Activation(
        name=prefix + layer.name,
        output=output,
        stride=tuple(map(int, stride)),
        has_weights=bool(layer.weights),
        has_kernel=any(len(weight.shape) > 1 for weight in layer.weights),
        is_local=getattr(layer, "is_local", False),
    )


def _stride(operation, before, after) -> np.ndarray:
    """The distance between neighbours in an operation's output, in rows and columns of its input."""
    if not all(keras.ops.is_tensor(tensor) and len(tensor.shape) == 4 for tensor in (before, after)):
        return np.ones(2, int)
    stated = getattr(operation, "strides", None)
    if stated is not None:
        return np.broadcast_to(stated, 2)
    return np.maximum(1, np.round(np.divide(before.shape[1:3], after.shape[1:3])).astype(int))


def stages(activations: list[Activation]) -> list[list[Activation]]:
    """Consecutive activations in groups of one shape; only the first of a group may have a kernel."""
    groups: list[list[Activation]] = []
    for activation in activations:
        if not groups or activation.has_kernel or activation.output.shape != groups[-1][-1].output.shape:
            groups.append([])
        groups[-1].append(activation)
    return groups


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """The name of each layer and the layer; the layers of a nested model stand in the model's place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
