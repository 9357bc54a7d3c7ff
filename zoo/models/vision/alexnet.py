"""AlexNet: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks".

NIPS 25, section 3 and Figure 2: five convolutions, of which the second, fourth and fifth read only the half of the
maps on the same GPU; response normalisation and overlapping pooling; three dense layers with dropout. The
single tower is Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997,
footnote 1: every convolution reads all maps, their numbers differ, and nothing is normalised.
"""

import keras
from keras import layers, ops

from zoo.layers.normalization import LocalResponseNormalization
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class GroupedConvolution(layers.Layer):
    """A convolution in groups, each of which reads its own group of input maps: (B, H, W, C) -> (B, H, W, filters).

    Keras's Conv2D(groups=) is wrapped in XLA on a CPU, also in a SavedModel; here the groups are split, convolved and
    joined. Padding is SAME, and the stride is 1.

    Args:
        filters: output maps of all groups together.
        size: side of the filters.
        groups: number of groups; it divides the number of input maps and `filters`.
        kernel_initializer: a Keras initializer.
        bias_initializer: a Keras initializer.
    """

    def __init__(self, filters, size, groups, kernel_initializer="he_normal", bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.groups = filters, size, groups
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        if input_shape[-1] % self.groups or self.filters % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {input_shape[-1]} and {self.filters} maps")
        shape = (self.size, self.size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer=self.bias_initializer, name="bias")

    def call(self, x):
        parts = zip(ops.split(x, self.groups, -1), ops.split(self.kernel, self.groups, -1), strict=True)
        return ops.concatenate([ops.conv(part, kernel, padding="same") for part, kernel in parts], -1) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.filters)

    def get_config(self):
        own = {"filters": self.filters, "size": self.size, "groups": self.groups}
        own["kernel_initializer"] = keras.initializers.serialize(self.kernel_initializer)
        own["bias_initializer"] = keras.initializers.serialize(self.bias_initializer)
        return {**super().get_config(), **own}


@register_model(
    task="image_classification",
    paper="Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks, "
    "NIPS 25, Figure 2",
    variants={
        "alexnet": {},
        "alexnet_single": {"filters": (64, 192, 384, 256, 256), "groups": 1, "normalise": False},
    },
    parameters={
        "alexnet": 60_965_224,  # the paper's "60 million": 2,332,704 of the convolutions, the rest of the dense layers
        "alexnet_single": 61_100_840,
    },
    # The paper subtracts the mean image of ImageNet. Here it is the middle of the range, about the same: +-128.
    settings={"low": -128.0, "high": 127.0, "fraction": 0.875},
    tiny={"input_shape": (67, 67, 3), "filters": (8, 8, 12, 12, 8), "units": 32, "dropout": 0.0},
)
def alexnet(
    input_shape: tuple[int, ...] = (227, 227, 3),
    classes: int = 1000,
    filters: tuple[int, ...] = (96, 256, 384, 384, 256),
    units: int = 4096,
    groups: int = 2,
    normalise: bool = True,
    dropout: float = 0.5,
) -> keras.Model:
    """ConvNet that won ImageNet in 2012, as two towers, or as one.

    Args:
        input_shape: (H, W, C), H and W at least 67. The paper says 224, but its 55x55 maps come from 227.
        classes: number of classes; 0 gives the second dense layer's outputs as `embeddings`.
        filters: maps of the five convolutions.
        units: units of the two hidden dense layers.
        groups: 2, as on the paper's two GPUs, or 1, where every convolution reads all maps.
        normalise: response normalisation after the first two convolutions (section 3.3).
        dropout: fraction of the dense layers' inputs dropped in training (section 4.2).

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: not five numbers of filters, groups that do not divide them, or too small an image.
    """
    if len(filters) != 5:
        raise ValueError(f"filters must be five numbers, got {filters}")
    if any(count % groups for count in filters):
        raise ValueError(f"{groups} groups do not divide the filters {filters}")
    if min(input_shape[:2]) < 67:
        raise ValueError(f"AlexNet needs images of 67x67 or more, got input_shape {tuple(input_shape)}")
    # He initialisation in place of the paper's normal distribution of deviation 0.01. Section 5: biases start at 1 in
    # the second, fourth and fifth convolutions and in the dense layers.
    start = {"kernel_initializer": "he_normal"}
    image = keras.Input(tuple(input_shape), name="image")  # (B, 227, 227, C)
    x = layers.Conv2D(filters[0], 11, 4, name="conv1", **start)(image)  # (B, 55, 55, 96)
    x = layers.ReLU(name="conv1_relu")(x)
    x = LocalResponseNormalization(name="conv1_norm")(x) if normalise else x
    x = layers.MaxPooling2D(3, 2, name="conv1_pool")(x)  # (B, 27, 27, 96)
    x = GroupedConvolution(filters[1], 5, groups, bias_initializer="ones", name="conv2", **start)(x)
    x = layers.ReLU(name="conv2_relu")(x)
    x = LocalResponseNormalization(name="conv2_norm")(x) if normalise else x
    x = layers.MaxPooling2D(3, 2, name="conv2_pool")(x)  # (B, 13, 13, 256)
    x = layers.Conv2D(filters[2], 3, padding="same", activation="relu", name="conv3", **start)(x)
    x = GroupedConvolution(filters[3], 3, groups, bias_initializer="ones", name="conv4", **start)(x)
    x = layers.ReLU(name="conv4_relu")(x)
    x = GroupedConvolution(filters[4], 3, groups, bias_initializer="ones", name="conv5", **start)(x)
    x = layers.ReLU(name="conv5_relu")(x)
    x = layers.MaxPooling2D(3, 2, name="conv5_pool")(x)  # (B, 6, 6, 256)
    x = layers.Flatten(name="flatten")(x)  # (B, 9216)
    for name in ("fc6", "fc7"):
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        x = layers.Dense(units, activation="relu", bias_initializer="ones", name=name, **start)(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="alexnet")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="alexnet")
