"""The cuda-convnet for CIFAR-10: Krizhevsky 2012, https://code.google.com/archive/p/cuda-convnet.

The four-layer network of "11 % error" (its layers-conv-local-11pct.cfg) that Krizhevsky, Sutskever & Hinton 2012,
"ImageNet classification with deep convolutional neural networks", section 3.3, cite for the gain by local response
normalisation: two convolutions with overlapping pooling and normalisation across maps, two locally
connected layers, whose filters share no weights, and the classes.
"""

import keras
from keras import layers, ops

from zoo.layers.normalization import LocalResponseNormalization
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class LocallyConnected(layers.Layer):
    """A convolution with other filters at each place, zero padding: (B, H, W, C) -> (B, H, W, filters).

    Args:
        filters: output maps.
        size: side of the filters.
        stddev: standard deviation of the normally distributed initial weights; None: He initialisation.
    """

    is_local = True  # a map has another meaning at each place, so Grad-CAM uses the convolutions before

    def __init__(self, filters: int, size: int = 3, stddev: float | None = None, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.stddev = filters, size, stddev

    def build(self, input_shape):
        _, height, width, maps = input_shape
        reads = self.size**2 * maps
        stddev = (2.0 / reads) ** 0.5 if self.stddev is None else self.stddev
        initializer = keras.initializers.RandomNormal(stddev=stddev)
        self.kernel = self.add_weight(
            shape=(height * width, reads, self.filters), initializer=initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(height, width, self.filters), initializer="zeros", name="bias")

    def call(self, x):
        # Places come first, then the batch: the matrix product of a place reads contiguous memory, and a shift along
        # the leading axes copies whole rows.
        _, height, width, maps = x.shape
        around = self.size // 2
        x = ops.transpose(x, (1, 2, 0, 3))  # (H, W, B, C)
        x = ops.pad(x, ((around, self.size - 1 - around), (around, self.size - 1 - around), (0, 0), (0, 0)))
        shape = (height, width, ops.shape(x)[2], maps)
        shifts = [(row, column) for row in range(self.size) for column in range(self.size)]
        patches = ops.concatenate([ops.slice(x, (*shift, 0, 0), shape) for shift in shifts], axis=-1)
        kernel = ops.reshape(self.kernel, (height, width, len(shifts) * maps, self.filters))
        outputs = ops.matmul(patches, kernel)  # (H, W, B, filters)
        return ops.transpose(outputs, (2, 0, 1, 3)) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "size": self.size, "stddev": self.stddev}


@register_model(
    task="image_classification",
    paper="Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks, "
    "section 3.3, and cuda-convnet, https://code.google.com/archive/p/cuda-convnet",
    variants={"cifar_convnet": {}},
    parameters=2_112_970,  # of the network as built here; the source does not state it
    # About zero mean and unit variance; cuda-convnet subtracts the mean of each pixel. As there, the model sees
    # pictures of 32x32 through windows of 24x24.
    settings={"low": -2.0, "high": 2.0, "margin": 4, "windows": 10},
    tiny={"input_shape": (16, 16, 3), "filters": (8, 8, 8, 8)},
)
def cifar_convnet(
    input_shape: tuple[int, ...] = (24, 24, 3),
    classes: int = 10,
    filters: tuple[int, ...] = (64, 64, 64, 32),
    dropout: float = 0.0,
) -> keras.Model:
    """ConvNet of 2012 for small images: overlapping pooling, local response normalisation, local filters.

    Args:
        input_shape: (H, W, C) of the windows through which the model sees a picture.
        classes: number of classes; 0 gives the last local layer's outputs as `embeddings`.
        filters: maps of the two convolutions and of the two local layers.
        dropout: fraction of the local layers' outputs dropped in training (Krizhevsky 2012, section 4.2).

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: an image smaller than 8x8, or not four numbers of filters.
    """
    if len(filters) != 4:
        raise ValueError(f"filters must be four numbers, got {filters}")
    if min(input_shape[:2]) < 8:
        raise ValueError(f"cifar_convnet needs images of 8x8 or more, got input_shape {tuple(input_shape)}")
    # He initialisation in place of normal distributions of deviation 1e-4 to 0.04, which lose the first thousand steps.
    start = {"activation": "relu", "padding": "same", "kernel_initializer": "he_normal"}
    # The source's alpha is for pixels from 0 to 255; here black to white is 4, so alpha grows as the squares shrink.
    norm = {"size": 9, "bias": 1.0, "alpha": 0.001 / 9 * (255 / 4) ** 2, "beta": 0.75}
    image = keras.Input(tuple(input_shape), name="image")  # (B, 24, 24, C)
    x = layers.Conv2D(filters[0], 5, name="conv1", **start)(image)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)  # (B, 12, 12, 64)
    x = LocalResponseNormalization(**norm, name="rnorm1")(x)
    x = layers.Conv2D(filters[1], 5, name="conv2", **start)(x)
    x = LocalResponseNormalization(**norm, name="rnorm2")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)  # (B, 6, 6, 64)
    x = layers.ReLU(name="local3_relu")(LocallyConnected(filters[2], 3, name="local3")(x))
    x = layers.Dropout(dropout, name="local3_dropout")(x)
    x = layers.ReLU(name="local4_relu")(LocallyConnected(filters[3], 3, name="local4")(x))  # (B, 6, 6, 32)
    x = layers.Flatten(name="flatten")(x)  # (B, 1152)
    x = layers.Dropout(dropout, name="local4_dropout")(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="cifar_convnet")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="cifar_convnet")
