"""A functional model cut at a tensor into two models on the same layers."""

import keras

from zoo.errors import ZooError, unknown
from zoo.layers.keras_private import node_of
from zoo.layers.model import foreign_names


def cut(model: keras.Model, tensor: keras.KerasTensor, name: str = "cut") -> tuple[keras.Model, keras.Model]:
    """Cuts a functional model, or a subclass with a functional graph, whose inputs are a dict.

    Both models use the layers of `model`, so training `rest` trains `model`.

    Args:
        tensor: a tensor inside the model.
        name: the name of the new input.

    Returns:
        body: a model from the inputs that the tensor depends on to the tensor.
        rest: a model from the tensor, as the input `name`, and the inputs that the outputs depend on in other ways, to
            the outputs.

    Raises:
        ZooError: `name` is an input that `rest` needs.
    """
    with foreign_names():
        body = keras.Model(_inputs_of(model, [tensor]), tensor, name=f"{model.name}_body")
    others = _inputs_of(model, model.outputs, without=tensor)
    if name in others:
        raise ZooError(f"can't cut {model.name}: it has an input named {name!r} already; choose another name")
    with foreign_names():
        rest = keras.Model({**others, name: tensor}, model.output, name=f"{model.name}_rest")
    return body, rest


def output_of(model: keras.Model, layer_name: str) -> keras.KerasTensor:
    """The output tensor of a layer, or of a nested model, in a functional model.

    Raises:
        ZooError: the layer does not exist, is called several times, or has several outputs.
    """
    names = [layer.name for layer in model.layers]
    if layer_name not in names:
        raise unknown(f"layer of {model.name}", layer_name, names)
    layer = model.get_layer(layer_name)
    outputs = [output for node in _nodes(model.outputs) if node.operation is layer for output in node.outputs]
    if len(outputs) != 1:
        raise ZooError(f"{model.name}: the layer {layer_name} must have one output tensor, got {len(outputs)}")
    return outputs[0]


def _inputs_of(model: keras.Model, tensors: list, without: keras.KerasTensor | None = None) -> dict:
    """The inputs that the tensors depend on, ignoring paths through `without`."""
    reached = {id(output) for node in _nodes(tensors, without) for output in node.outputs}
    return {name: tensor for name, tensor in model.input.items() if id(tensor) in reached}


def _nodes(tensors: list, without: keras.KerasTensor | None = None) -> list:
    """The calls of layers that the tensors depend on, ignoring paths through `without`."""
    waiting, nodes = [tensor for tensor in tensors if tensor is not without], {}
    while waiting:
        node = node_of(waiting.pop())
        if id(node) not in nodes:
            nodes[id(node)] = node
            waiting += [tensor for tensor in node.input_tensors if tensor is not without]
    return list(nodes.values())
