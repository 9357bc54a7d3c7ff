"""Grids: feature maps of an image model, as vectors of places in the image."""

from collections.abc import Sequence

import keras


def grid_model(encoder: keras.Model) -> keras.Model:
    """The part of an image model up to its last feature maps: {"image": (B, h, w, C)} -> {"grid": (B, H, W, D)}.

    The new model has the name and the layers of `encoder`.

    Raises:
        ValueError: no layer of the model has an output with an extent, H * W > 1.
    """
    tensors = list(_maps(encoder).values())
    if not tensors:
        raise ValueError(f"{encoder.name} has no feature maps with an extent; choose a convolutional model")
    return keras.Model(encoder.input, {"grid": tensors[-1]}, name=encoder.name)


def maps_model(encoder: keras.Model, names: Sequence[str] | None, count: int) -> keras.Model:
    """The part of an image model up to several feature maps: {"image": (B, h, w, C)} -> {layer: (B, H, W, D)}.

    The new model has the name and the layers of `encoder`.

    Args:
        names: layers whose outputs are the maps, in this order. With None, the last maps of each size are chosen.
        count: with names=None, the number of maps, of the smallest sizes.

    Raises:
        ValueError: a layer does not exist or has no feature maps, or the model has fewer sizes of them.
    """
    known = _maps(encoder)
    if names is None:
        last = {tensor.shape[1:3]: name for name, tensor in known.items()}  # of each size
        if len(last) < count or count < 1:
            raise ValueError(f"{encoder.name} has feature maps of {len(last)} sizes, wanted {count}")
        names = list(last.values())[-count:]
    for name in names:
        if name not in known:
            raise ValueError(f"{encoder.name} has no layer {name!r} with feature maps; it has {', '.join(known)}")
    return keras.Model(encoder.input, {name: known[name] for name in names}, name=encoder.name)


def _maps(encoder: keras.Model) -> dict[str, keras.KerasTensor]:
    """The outputs of layers that are feature maps with an extent, H * W > 1, in the order of the layers."""
    others = keras.layers.InputLayer, keras.layers.ZeroPadding2D
    tensors = {layer.name: layer.output for layer in encoder.layers if not isinstance(layer, others)}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4 and tensor.shape[1] * tensor.shape[2] > 1
    }


def grid_of(encoder: keras.Model, inputs: dict):
    """The feature maps (B, H, W, D) of `inputs["image"]`, or `inputs["frozen"]`, the maps that were computed before."""
    return inputs["frozen"] if "frozen" in inputs else encoder({"image": inputs["image"]})["grid"]
