"""What each layer of a functional model gives for an input, those of the models inside it too."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Seen:
    """A layer and what it gave.

    Args:
        name: the layer's; those of the models around it stand in front, as in "backbone/conv1".
        output: the tensor that it gave, (B, H, W, C) or of any other shape.
        stride: how far neighbours in the output are apart, in rows and columns of the model's input.
        has_weights: whether it has any.
        has_kernel: whether it has weights that mix what they read, unlike a normalisation's.
        is_local: whether these weights differ from place to place, so that a map has no one meaning.
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


def is_functional(model: keras.Model) -> bool:
    return hasattr(_graph(model), "_run_through_graph")


def _graph(operation):
    return getattr(operation, "_functional", None) or operation  # a Sequential keeps its graph there


def watch(model: keras.Model, inputs: dict) -> tuple[dict, list[Seen]]:
    """Runs a functional model as for an answer, one layer after the other.

    Returns:
        The model's outputs, and its layers in the order in which they ran, without those that hand on what they get,
        as dropout does.
    """
    seen: list[Seen] = []
    strides = {id(tensor): np.ones(2, int) for tensor in keras.tree.flatten(inputs)}
    kept = []  # a tensor's id is its own as long as it is there

    def watched(operation, prefix):
        def call(*args, **kwargs):
            if is_functional(operation):
                inner = f"{prefix}{operation.name}/"
                return _graph(operation)._run_through_graph(args, lambda part: watched(part, inner))
            outputs = operation(*args, **kwargs)
            before = keras.tree.flatten((args, kwargs))[0]
            if outputs is before:
                return outputs
            stride = strides.get(id(before), np.ones(2, int)) * _stride(operation, before, outputs)
            for output in keras.tree.flatten(outputs):
                kept.append(output)
                strides[id(output)] = stride
            if isinstance(operation, keras.layers.Layer) and keras.ops.is_tensor(outputs):
                has_kernel = any(len(weight.shape) > 1 for weight in operation.weights)
                is_local = getattr(operation, "is_local", False)
                facts = (tuple(map(int, stride)), bool(operation.weights), has_kernel, is_local)
                seen.append(Seen(prefix + operation.name, outputs, *facts))
            return outputs

        return call

    return _graph(model)._run_through_graph(inputs, lambda operation: watched(operation, "")), seen


def _stride(operation, before, after) -> np.ndarray:
    """How many rows and columns of its input an operation goes on from one output to the next."""
    if not all(keras.ops.is_tensor(tensor) and len(tensor.shape) == 4 for tensor in (before, after)):
        return np.ones(2, int)
    stated = getattr(operation, "strides", None)
    if stated is not None:
        return np.broadcast_to(stated, 2)
    return np.maximum(1, np.round(np.divide(before.shape[1:3], after.shape[1:3])).astype(int))


def stages(seen: list[Seen]) -> list[list[Seen]]:
    """The layers in groups of one shape: in each only the first may have a kernel."""
    groups: list[list[Seen]] = []
    for one in seen:
        if not groups or one.has_kernel or one.output.shape != groups[-1][-1].output.shape:
            groups.append([])
        groups[-1].append(one)
    return groups


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Each layer and its name, those of a nested model in its place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
