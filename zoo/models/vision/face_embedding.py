"""Embeddings of faces: after Schroff, Kalenichenko & Philbin 2015, "FaceNet: A unified embedding for face recognition".

arXiv 1503.03832, sections 3.1 and 3.2: a convolutional network maps a face to a point on the unit sphere, where the
points of a person are near each other. It is trained with triplets of an anchor, a picture of the same person and one
of another person. Taigman et al. 2014, "DeepFace", compare the outputs of a classifier of people instead.

Difference from the paper, which trains a large network on hundreds of millions of faces: the encoder is a part of an
image classifier of the registry, and only the last layer is new. As it has hundreds of pictures to learn from, it may
start from the whitening of the differences between pictures of a person (`zoo.training.whitening`).
"""

import keras
from keras import layers

from zoo.layers.grids import maps_model
from zoo.registry import register_model


@register_model(
    task="verification",
    paper="After Schroff, Kalenichenko & Philbin 2015, FaceNet: A unified embedding for face recognition and "
    "clustering, arXiv 1503.03832, on an encoder of the registry",
    parameters=5_992_960,  # on all of EfficientNet-Lite0
    parts={"encoder": "image_classification"},
    settings={"fraction": 1.0, "centre": None, "margin": 0},
    settings_from="encoder",
    tiny={"encoder": {"model": "lenet5_modern", "overrides": {"classes": 0}}, "pool": 2, "size": 6, "dropout": 0.0},
)
def face_embedding(
    encoder: str | keras.Model = "efficientnet_lite0",
    feature_layer: str | None = None,
    pool: int = 4,
    size: int = 512,
    dropout: float = 0.3,
) -> keras.Model:
    """Feature maps of an encoder and a linear layer, from a portrait to a point on the unit sphere.

    Args:
        encoder: an image classifier with feature maps. Its size is the size of the portraits: for others than those of
            a preset, {"preset": name, "overrides": {"input_shape": [224, 184, 3]}}.
        feature_layer: name of the layer of the encoder whose output is read; by default the last feature maps.
        pool: the side of the squares of the feature maps that are averaged. At the right and at the bottom they may be
            smaller.
        size: numbers of an embedding.
        dropout: fraction of the averaged features that training drops.

    Returns:
        A model {"image": (B, H, W, C)} -> {"embeddings": (B, size)}, rows of length 1.

    Raises:
        ValueError: the encoder has no feature maps, or no layer of the name.
    """
    encoder = maps_model(encoder, feature_layer and [feature_layer], 1)
    image = keras.Input(encoder.input["image"].shape[1:], name="image")
    [x] = encoder({"image": image}).values()  # (B, h, w, D)
    x = layers.AveragePooling2D(pool, padding="same", name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(size, dtype="float32", name="head")(x)  # (B, size)
    embeddings = layers.UnitNormalization(dtype="float32", name="unit")(x)
    return keras.Model({"image": image}, {"embeddings": embeddings}, name="face_embedding")
