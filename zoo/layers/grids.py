"""Grids: the last feature maps of an image model, as vectors of places in the image."""

import keras


def grid_model(encoder: keras.Model) -> keras.Model:
    """The part of an image model up to its last feature maps: {"image": (B, h, w, C)} -> {"grid": (B, H, W, D)}.

    The new model has the name and the layers of `encoder`.

    Raises:
        ValueError: no layer of the model has an output with an extent, H * W > 1.
    """
    for layer in reversed(encoder.layers):
        tensor = layer.output
        if isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4 and tensor.shape[1] * tensor.shape[2] > 1:
            if isinstance(layer, keras.layers.InputLayer):
                break
            return keras.Model(encoder.input, {"grid": tensor}, name=encoder.name)
    raise ValueError(f"{encoder.name} has no feature maps with an extent; choose a convolutional model")


def grid_of(encoder: keras.Model, inputs: dict):
    """The feature maps (B, H, W, D) of `inputs["image"]`, or `inputs["frozen"]`, the maps that were computed before."""
    return inputs["frozen"] if "frozen" in inputs else encoder({"image": inputs["image"]})["grid"]
