"""A ConvNet on a window, run over a whole slice: Ciresan, Giusti, Gambardella & Schmidhuber 2012.

"Deep neural networks segment neuronal membranes in electron microscopy images", NIPS 25, network N4 (Table 1): the
class of a pixel from the window of 95x95 pixels around it, by four convolutions, each with max pooling, and a hidden
layer. A window per pixel would repeat almost all computation. Here every pooling keeps all offsets of its grid
(`zoo.layers.fragments`), so one pass gives what the windows give.

Training takes all pixels of a part of a slice; the paper takes windows of random pixels, as many of each class.
"""

import keras
from keras import layers

from zoo.layers.fragments import FragmentPooling, JoinedFragments
from zoo.registry import register_model

KERNELS = (4, 5, 4, 4)  # of the convolutions; a pooling of 2x2 follows each
WINDOW = 95  # pixels on each side that the class of a pixel depends on


@register_model(
    task="segmentation",
    paper="Ciresan, Giusti, Gambardella & Schmidhuber 2012, Deep neural networks segment neuronal membranes in "
    "electron microscopy images, NIPS 25",
    variants={"sliding_window_segmenter": {}},
    parameters=219_290,  # of N4 as built here; the paper does not state it
    settings={"colour": "grey", "low": -1.0, "high": 1.0},
    tiny={"input_shape": (110, 110, 1), "maps": 4, "hidden_units": 6},
)
def sliding_window_segmenter(
    input_shape: tuple[int, ...] = (222, 222, 1),
    classes: int = 2,
    maps: int = 48,
    hidden_units: int = 200,
    dropout: float = 0.0,
) -> keras.Model:
    """ConvNet of 2012 that classifies each pixel by the window around it, in one pass over a slice.

    Args:
        input_shape: (H, W, C), where H and W are 94 more than a multiple of 16.
        classes: number of classes; 0 gives the hidden layer, averaged over the pixels, as `embeddings`.
        maps: maps of each convolution.
        hidden_units: units of the hidden layer.
        dropout: fraction of the hidden layer's outputs dropped in training; the paper has none.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, H - 94, W - 94, classes)}: those of the pixels whose whole
        window lies in the image.

    Raises:
        ValueError: an image of another size.
    """
    if any(side < WINDOW + 15 or (side - WINDOW + 1) % 16 for side in input_shape[:2]):
        sizes = f"{WINDOW - 1 + 16}, {WINDOW - 1 + 32}, {WINDOW - 1 + 48}, ..."
        raise ValueError(f"the sides of input_shape must be {sizes}, got {tuple(input_shape)}")
    start = {"activation": "relu", "kernel_initializer": "he_normal"}
    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    x = image
    for number, kernel in enumerate(KERNELS, start=1):
        x = layers.Conv2D(maps, kernel, name=f"conv{number}", **start)(x)
        x = FragmentPooling(name=f"pool{number}")(x)
    x = layers.Conv2D(hidden_units, 3, name="hidden", **start)(x)  # (256 B, h / 16, w / 16, 200), h = H - 94
    x = JoinedFragments(len(KERNELS), name="joined")(x)  # (B, h, w, 200)
    x = layers.Dropout(dropout, name="hidden_dropout")(x)
    if classes == 0:
        pooled = layers.GlobalAveragePooling2D(name="average")(x)  # (B, 200)
        return keras.Model({"image": image}, {"embeddings": pooled}, name="sliding_window_segmenter")
    logits = layers.Conv2D(classes, 1, dtype="float32", name="head")(x)  # (B, h, w, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="sliding_window_segmenter")
