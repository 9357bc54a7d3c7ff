"""EfficientNet-Lite: Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks".

arXiv 1905.11946, Table 1, in the Lite form that its authors published for small machines (R. Liu 2020,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): no squeeze-and-excitation, ReLU6 in
place of swish, and a stem, a last convolution and first and last stages that do not grow with the network.
"""

import keras
from keras import layers

from zoo.layers.normalization import BatchNormalization
from zoo.registry import register_model

# Table 1, stages 2 to 8: blocks, kernel, stride, expansion, maps.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


# The reference's initial weights: normal, of variance 2 / fan-out, which for a depthwise kernel is its own size.
_START = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}


def _normalised(x, name: str, activation: bool = True):
    x = BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _convolution(x, filters: int, kernel: int, stride: int, name: str, activation: bool = True):
    options = {"padding": "same", "use_bias": False, "kernel_initializer": _START}
    x = layers.Conv2D(filters, kernel, stride, name=name, **options)(x)
    return _normalised(x, name, activation)


def _block(x, filters: int, kernel: int, stride: int, expansion: int, drop: float, name: str):
    """An inverted residual (Sandler et al. 2018, arXiv 1801.04381): expand, filter each map on its own, project."""
    before = x
    if expansion > 1:
        x = _convolution(x, expansion * x.shape[-1], 1, 1, f"{name}_expand")
    options = {"padding": "same", "use_bias": False, "depthwise_initializer": _START}
    x = layers.DepthwiseConv2D(kernel, stride, name=f"{name}_depthwise", **options)(x)
    x = _normalised(x, f"{name}_depthwise")
    x = _convolution(x, filters, 1, 1, f"{name}_project", activation=False)
    if stride > 1 or before.shape[-1] != filters:
        return x
    # Stochastic depth (Huang et al. 2016, arXiv 1603.09382): some images skip the block.
    x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return layers.Add(name=f"{name}_add")([x, before])


@register_model(
    task="image_classification",
    paper="Tan & Le 2019, EfficientNet: Rethinking model scaling for convolutional neural networks, arXiv 1905.11946, "
    "in its authors' Lite form",
    variants={
        "efficientnet_lite0": {},
        "efficientnet_lite1": {"depth": 1.1, "input_shape": (240, 240, 3)},
        "efficientnet_lite2": {"width": 1.1, "depth": 1.2, "input_shape": (260, 260, 3), "dropout": 0.3},
    },
    parameters={
        "efficientnet_lite0": 4_652_008,
        "efficientnet_lite1": 5_416_680,
        "efficientnet_lite2": 6_092_072,
    },
    # Pixels of 0 to 255 become (x - 127) / 128. The middle that is kept is size / (size + 32) of the picture: this is
    # the fraction of lite0; the converter writes the fractions of the others into their presets.
    settings={"low": -0.9921875, "high": 1.0, "fraction": 0.875},
    tiny={"input_shape": (32, 32, 3), "width": 0.3, "depth": 0.3, "top": 32, "dropout": 0.0, "drop_connect": 0.0},
)
def efficientnet_lite(
    input_shape: tuple[int, ...] = (224, 224, 3),
    classes: int = 1000,
    width: float = 1.0,
    depth: float = 1.0,
    top: int = 1280,
    dropout: float = 0.2,
    drop_connect: float = 0.2,
) -> keras.Model:
    """Small ImageNet classifier of inverted residuals that runs everywhere.

    Args:
        input_shape: (H, W, C).
        classes: number of classes; 0 gives the pooled maps of the last convolution as `embeddings`.
        width: factor of the maps of each stage, rounded to multiples of 8.
        depth: factor of the blocks of each stage except the first and the last, rounded up.
        top: maps of the last convolution.
        dropout: fraction of the pooled maps dropped in training.
        drop_connect: the probability that the last block is skipped in training; lower for the blocks before it, in
            proportion to their place.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: a width or depth that is not > 0.
    """
    if width <= 0 or depth <= 0:
        raise ValueError(f"width and depth must be > 0, got {width} and {depth}")
    repeats = [
        blocks if number in (0, len(STAGES) - 1) else _ceil(depth * blocks)
        for number, (blocks, *_) in enumerate(STAGES)
    ]
    image = keras.Input(tuple(input_shape), name="image")  # (B, 224, 224, C)
    x = _convolution(image, 32, 3, 2, "stem")  # (B, 112, 112, 32)
    done = 0
    for number, (count, (_, kernel, stride, expansion, filters)) in enumerate(zip(repeats, STAGES, strict=True), 1):
        for block in range(count):
            drop = drop_connect * done / sum(repeats)
            first = stride if block == 0 else 1
            name = f"stage{number}_block{block + 1}"
            x = _block(x, _eights(width * filters), kernel, first, expansion, drop, name)
            done += 1
    x = _convolution(x, top, 1, 1, "top")  # (B, 7, 7, 1280)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (B, 1280)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="efficientnet_lite")
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="efficientnet_lite")


def _ceil(value: float) -> int:
    return -int(-value // 1)


def _eights(filters: float) -> int:
    """To the nearest multiple of 8, but never less than nine tenths (the reference's rule)."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8
