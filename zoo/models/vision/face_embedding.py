"""Embeddings of faces: after Schroff, Kalenichenko & Philbin 2015, "FaceNet: A unified embedding for face recognition".

arXiv 1503.03832, sections 3.1 and 3.2: a convolutional network maps a face to a point on the unit sphere, where the
points of a person are near each other. It is trained with triplets of an anchor, a picture of the same person and one
of another person. Taigman et al. 2014, "DeepFace", compare the outputs of a classifier of people instead.

Two things differ from the paper. The network is small and sees a small picture, because it has hundreds of pictures to
learn from instead of hundreds of millions: convolutions of 3x3 with batch normalisation on 28x23 pixels. The values of
each picture get the mean 0 and the variance 1, so that its light and contrast do not matter.
"""

import keras
from keras import layers

from zoo.layers.normalization import BatchNormalization
from zoo.registry import register_model


@register_model(
    task="verification",
    paper="After Schroff, Kalenichenko & Philbin 2015, FaceNet: A unified embedding for face recognition and "
    "clustering, arXiv 1503.03832, with a small network",
    parameters=191_200,
    settings={"colour": "grey", "low": -1.0, "high": 1.0},
    tiny={"input_shape": (16, 12, 1), "size": 6, "filters": 4, "depth": 2, "dropout": 0.0},
)
def face_embedding(
    input_shape: tuple[int, ...] = (28, 23, 1),
    size: int = 128,
    filters: int = 32,
    depth: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    """A small ConvNet from a portrait to a point on the unit sphere; points of a person are near each other.

    Args:
        input_shape: (H, W, C).
        size: numbers of an embedding.
        filters: maps of the first convolution; each of the next two has twice as many as the one before.
        depth: number of convolutions, each followed by max pooling over 2x2.
        dropout: fraction of the last maps that training drops.

    Returns:
        A model {"image": (B, H, W, C)} -> {"embeddings": (B, size)}, rows of length 1.

    Raises:
        ValueError: the picture is too small for the poolings.
    """
    if depth < 1 or min(input_shape[:2]) < 2**depth:
        raise ValueError(f"input_shape {tuple(input_shape)} must be {2**depth} or more on each side for depth {depth}")
    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    x = layers.GroupNormalization(1, epsilon=1e-3, center=False, scale=False, name="standardize")(image)
    for number in range(1, depth + 1):
        maps = filters * 2 ** min(number - 1, 2)
        x = layers.Conv2D(
            maps, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{number}"
        )(x)
        x = BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"conv{number}_norm")(x)
        x = layers.ReLU(name=f"conv{number}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"conv{number}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(size, use_bias=False, dtype="float32", name="head")(x)  # (B, size)
    embeddings = layers.UnitNormalization(dtype="float32", name="unit")(x)
    return keras.Model({"image": image}, {"embeddings": embeddings}, name="face_embedding")
