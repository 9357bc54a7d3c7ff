"""Convolutional networks over one and three dimensions: LeCun, Bengio & Hinton 2015, "Deep learning", Nature 521.

https://doi.org/10.1038/nature14539, section "Convolutional neural networks": 1D for signals and sequences, 2D for
images, 3D for video or volumetric images. Stages of convolution, non-linearity and pooling are followed by a fully
connected layer. The review states no sizes. Here the maps of the last stage are averaged, so that the head has few
weights.
"""

import keras
from keras import layers

from zoo.registry import register_model

_LAYERS = {
    1: (layers.Conv1D, layers.MaxPooling1D, layers.GlobalAveragePooling1D),
    3: (layers.Conv3D, layers.MaxPooling3D, layers.GlobalAveragePooling3D),
}


def _network(name: str, dimensions: int, input_shape, classes, filters, kernel_size, pool_size, dropout) -> keras.Model:
    """The network of both builders; shapes in comments are those of one dimension."""
    convolution, pooling, average = _LAYERS[dimensions]
    if len(input_shape) != dimensions + 1 or not all(input_shape):
        raise ValueError(f"input_shape must be {dimensions} sizes and the channels, got {tuple(input_shape)}")
    if not filters or min(*filters, kernel_size, pool_size) < 1:
        values = f"{tuple(filters)}, {kernel_size} and {pool_size}"
        raise ValueError(f"filters, kernel_size and pool_size must be integers >= 1, got {values}")
    least = pool_size ** len(filters)
    if min(input_shape[:-1]) < least:
        stages = f"{len(filters)} stages"
        raise ValueError(f"{stages} need sizes of {least} or more in input_shape, got {tuple(input_shape)}")
    tensor = keras.Input(tuple(input_shape), name="tensor")  # (B, T, C)
    x = tensor
    for stage, maps in enumerate(filters, start=1):
        # oneDNN's bfloat16 gradient of a kernel deeper than its volume is wrong on processors with AVX512_BF16.
        dtype = "float32" if dimensions == 3 and x.shape[1] < kernel_size else None
        x = convolution(
            maps,
            kernel_size,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            dtype=dtype,
            name=f"conv{stage}",
        )(x)  # (B, T, maps)
        # TensorFlow lacks 3D pooling in float16 on a CPU; the maximum is the same in float32.
        x = pooling(pool_size, dtype="float32", name=f"pool{stage}")(x)  # (B, T // pool_size, maps)
    x = average(name="average")(x)  # (B, maps)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    if classes == 0:
        return keras.Model({"tensor": tensor}, {"embeddings": x}, name=name)
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"tensor": tensor}, {"logits": logits}, name=name)


@register_model(
    task="tensor_classification",
    paper="LeCun, Bengio & Hinton 2015, Deep learning, Nature 521, Convolutional neural networks, "
    "doi:10.1038/nature14539",
    parameters=23_946,  # the count of the defaults below
    tiny={"input_shape": (16, 4), "filters": (32, 64), "kernel_size": 5, "pool_size": 2},
)
def conv1d_classifier(
    input_shape: tuple[int, ...] = (1024, 1),
    classes: int = 10,
    filters: tuple[int, ...] = (16, 32, 64),
    kernel_size: int = 9,
    pool_size: int = 4,
    dropout: float = 0.0,
) -> keras.Model:
    """Convolutional network for signals and sequences.

    Args:
        input_shape: (T, C), samples in time and channels.
        classes: number of classes; 0 gives the averaged maps of the last stage as `embeddings`.
        filters: maps of each stage.
        kernel_size: size of the convolutions, in samples.
        pool_size: size of the max pooling, in samples.
        dropout: fraction of the averaged maps dropped in training.

    Returns:
        A model {"tensor": (B, T, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: a shape that is not (T, C), or too short for the pooling; no filters.
    """
    return _network("conv1d_classifier", 1, input_shape, classes, filters, kernel_size, pool_size, dropout)


@register_model(
    task="tensor_classification",
    paper="LeCun, Bengio & Hinton 2015, Deep learning, Nature 521, Convolutional neural networks, "
    "doi:10.1038/nature14539",
    parameters=70_314,  # the count of the defaults below
    tiny={"input_shape": (4, 6, 6, 1), "filters": (16, 32)},
)
def conv3d_classifier(
    input_shape: tuple[int, ...] = (16, 32, 32, 1),
    classes: int = 10,
    filters: tuple[int, ...] = (16, 32, 64),
    kernel_size: int = 3,
    pool_size: int = 2,
    dropout: float = 0.0,
) -> keras.Model:
    """Convolutional network for video and volumes.

    Args:
        input_shape: (D, H, W, C): frames or slices, rows, columns, channels.
        classes: number of classes; 0 gives the averaged maps of the last stage as `embeddings`.
        filters: maps of each stage.
        kernel_size: size of the convolutions in each direction, in voxels.
        pool_size: size of the max pooling in each direction, in voxels.
        dropout: fraction of the averaged maps dropped in training.

    Returns:
        A model {"tensor": (B, D, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: a shape that is not (D, H, W, C), or too small for the pooling; no filters.
    """
    return _network("conv3d_classifier", 3, input_shape, classes, filters, kernel_size, pool_size, dropout)
