"""VGG: Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition".

arXiv 1409.1556, Table 1, configurations A, B, D and E: 3x3 convolutions throughout, five poolings, three dense layers.
"""

import keras
from keras import layers

from zoo.registry import register_model

MAPS = (64, 128, 256, 512, 512)


@register_model(
    task="image_classification",
    paper="Simonyan & Zisserman 2014, Very deep convolutional networks for large-scale image recognition, "
    "arXiv 1409.1556, Table 1",
    variants={
        "vgg11": {"convolutions": (1, 1, 2, 2, 2)},
        "vgg13": {"convolutions": (2, 2, 2, 2, 2)},
        "vgg16": {"convolutions": (2, 2, 3, 3, 3)},
        "vgg19": {"convolutions": (2, 2, 4, 4, 4)},
    },
    parameters={  # Table 2: 133, 133, 138 and 144 million
        "vgg11": 132_863_336,
        "vgg13": 133_047_848,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
    },
    # The paper subtracts the mean colour of ImageNet. Here it is the middle of the range, about the same: +-128.
    settings={"low": -128.0, "high": 127.0, "fraction": 0.875},
    tiny={"input_shape": (32, 32, 3), "convolutions": (1, 1, 1, 1, 1), "width": 0.125, "units": 32, "dropout": 0.0},
)
def vgg(
    input_shape: tuple[int, ...] = (224, 224, 3),
    classes: int = 1000,
    convolutions: tuple[int, ...] = (2, 2, 3, 3, 3),
    width: float = 1.0,
    units: int = 4096,
    dropout: float = 0.5,
) -> keras.Model:
    """Very deep plain ConvNet of small filters.

    Args:
        input_shape: (H, W, C), H and W at least 32.
        classes: number of classes; 0 gives the second dense layer's outputs as `embeddings`.
        convolutions: the number of convolutions before each of the five poolings.
        width: factor of the numbers of maps.
        units: units of the two hidden dense layers.
        dropout: fraction of the hidden dense layers' outputs dropped in training (section 3.1).

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: not five numbers of convolutions, or an image smaller than 32x32.
    """
    if len(convolutions) != len(MAPS):
        raise ValueError(f"convolutions must be five numbers, got {convolutions}")
    if min(input_shape[:2]) < 32:
        raise ValueError(f"VGG needs images of 32x32 or more, got input_shape {tuple(input_shape)}")
    # He initialisation: with the paper's deviation of 0.01, deep networks had to start from a shallow one's weights.
    start = {"activation": "relu", "kernel_initializer": "he_normal"}
    image = keras.Input(tuple(input_shape), name="image")  # (B, 224, 224, C)
    x = image
    for block, (count, maps) in enumerate(zip(convolutions, MAPS, strict=True), start=1):
        for number in range(1, count + 1):
            x = layers.Conv2D(int(width * maps), 3, padding="same", name=f"block{block}_conv{number}", **start)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)  # (B, 7 * 7 * 512)
    for name in ("fc1", "fc2"):
        x = layers.Dense(units, name=name, **start)(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="vgg")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="vgg")
