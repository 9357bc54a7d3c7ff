"""Residual networks for small images: He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition".

arXiv 1512.03385, section 4.2 and Table 6: a 3x3 convolution, then three groups of n blocks with 16, 32 and 64 maps on
images of 32, 16 and 8 pixels, 6 n + 2 layers in all; shortcuts of option A, which have no weights.
"""

import keras
from keras import layers, ops

from zoo.layers.normalization import BatchNormalization
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class PaddedShortcut(layers.Layer):
    """Option A: every second pixel, and zeros in the additional maps. No weights.

    (B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), filters).

    Args:
        filters: the maps of the block, at least as many as the input maps.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def call(self, x):
        # x[:, ::2, ::2, :] followed by zeros, as one convolution with ones on a diagonal: the same numbers, and several
        # times as fast in training as a slice and its gradient.
        diagonal = ops.eye(x.shape[-1], self.filters, dtype=x.dtype)[None, None]
        return ops.conv(x, diagonal, 2, "valid")

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height and -(-height // 2), width and -(-width // 2), self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def _convolution(x, filters: int, stride: int, name: str):
    """A 3x3 convolution without bias and its batch normalisation."""
    # With one pixel of zero padding, a stride of 2 is centred on the pixels 0, 2, 4, ... as the shortcut is;
    # TensorFlow's SAME padding would centre it on 1, 3, 5, ...
    if stride == 2:
        x = layers.ZeroPadding2D(1, name=f"{name}_padding")(x)
    x = layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def _block(x, filters: int, stride: int, name: str):
    """Two convolutions and the shortcut around them (the paper's Figure 2)."""
    shortcut = x if stride == 1 else PaddedShortcut(filters, name=f"{name}_shortcut")(x)
    x = _convolution(x, filters, stride, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, filters, 1, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(x)


@register_model(
    task="image_classification",
    paper="He, Zhang, Ren & Sun 2015, Deep residual learning for image recognition, arXiv 1512.03385, section 4.2",
    variants={
        "resnet_cifar20": {"depth": 20},
        "resnet_cifar32": {"depth": 32},
        "resnet_cifar44": {"depth": 44},
        "resnet_cifar56": {"depth": 56},
        "resnet_cifar110": {"depth": 110},
    },
    parameters={  # Table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million
        "resnet_cifar20": 269_722,
        "resnet_cifar32": 464_154,
        "resnet_cifar44": 658_586,
        "resnet_cifar56": 853_018,
        "resnet_cifar110": 1_727_962,
    },
    # About zero mean and unit variance; the paper subtracts the mean of each pixel.
    settings={"low": -2.0, "high": 2.0},
    tiny={"depth": 8, "input_shape": (12, 12, 3)},
)
def resnet_cifar(input_shape: tuple[int, ...] = (32, 32, 3), classes: int = 10, depth: int = 20) -> keras.Model:
    """Residual network for images of 32x32, shortcuts without weights.

    Args:
        input_shape: (H, W, C).
        classes: number of classes; 0 gives the 64 pooled maps as `embeddings`.
        depth: layers with weights, 6 n + 2.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: a depth that is not 6 n + 2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6 n + 2, such as 20, 32, 44, 56 or 110, got {depth}")
    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    x = _convolution(image, 16, 1, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    for group, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            stride = 2 if group > 1 and block == 1 else 1
            x = _block(x, filters, stride, f"group{group}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (B, 64)
    name = f"resnet_cifar{depth}"
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name=name)
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name=name)
