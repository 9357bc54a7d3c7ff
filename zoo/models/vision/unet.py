"""U-Net: Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image segmentation".

arXiv 1505.04597, Figure 1: a path that halves the resolution and doubles the maps, and a path back that joins each
resolution with the maps of the way down. The convolutions have no padding, so the maps of a tile do not depend on what
lies around it, and a picture of any size is segmented tile by tile (Figure 2).
"""

import keras
from keras import layers

from zoo.layers.bias import Bias
from zoo.layers.normalization import BatchNormalization
from zoo.registry import register_model


@register_model(
    task="segmentation",
    paper="Ronneberger, Fischer & Brox 2015, U-Net: convolutional networks for biomedical image segmentation, arXiv "
    "1505.04597",
    variants={"unet": {}},
    parameters=31_030_658,  # of the network as built here; the paper does not state it
    settings={"colour": "grey", "low": -1.0, "high": 1.0},
    tiny={"input_shape": (56, 56, 1), "filters": 4, "depth": 2, "dropout": 0.0},
)
def unet(
    input_shape: tuple[int, ...] = (572, 572, 1),
    classes: int = 2,
    filters: int = 64,
    depth: int = 4,
    padding: str = "valid",
    normalization: bool = False,
    dropout: float = 0.5,
) -> keras.Model:
    """U-Net of 2015: a class for each pixel, from what is near it and what is far.

    Args:
        input_shape: (H, W, C). At each of the `depth` poolings the height and width must be even: 572, 188 or 316, say.
        classes: number of classes; 0 gives the last maps, averaged over the pixels, as `embeddings`.
        filters: maps at full resolution; each pooling doubles them.
        depth: number of poolings.
        padding: "valid" as in the paper; "same" pads with zeros, so that the logits have the size of the image. The
            setting `context` of the task then says how far the padding is seen.
        normalization: whether batch normalisation follows each convolution of 3x3; the paper has none.
        dropout: fraction of the maps dropped in training after the two lowest resolutions of the way down.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, h, w, classes)}; with "valid" h is smaller than H, by 184 at
        a depth of 4.

    Raises:
        ValueError: an image of a size that does not fit, or an unknown padding.
    """
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    _check_sides(input_shape, depth, padding)

    def convolutions(x, maps, name):
        """Two convolutions of 3x3."""
        for number in (1, 2):
            x = layers.Conv2D(
                maps,
                3,
                padding=padding,
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{name}_conv{number}",
            )(x)
            if normalization:
                x = BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm{number}")(x)
            else:
                x = Bias(name=f"{name}_bias{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    x, before = image, []
    for level in range(depth):
        x = convolutions(x, filters * 2**level, f"down{level + 1}")
        if level == depth - 1:
            x = layers.Dropout(dropout, name=f"down{level + 1}_dropout")(x)
        before.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level + 1}_pool")(x)
    x = convolutions(x, filters * 2**depth, "bottom")
    x = layers.Dropout(dropout, name="bottom_dropout")(x)
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        x = layers.Conv2DTranspose(
            filters * 2**level, 2, 2, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv0"
        )(x)
        x = Bias(name=f"{name}_bias0")(x)
        skip = before.pop()
        if padding == "valid":
            skip = _middle(skip, x.shape[1:3], f"{name}_crop")
        x = layers.Concatenate(name=f"{name}_join")([skip, x])
        x = convolutions(x, filters * 2**level, name)
    if classes == 0:
        pooled = layers.GlobalAveragePooling2D(name="average")(x)  # (B, filters)
        return keras.Model({"image": image}, {"embeddings": pooled}, name="unet")
    logits = layers.Conv2D(classes, 1, dtype="float32", name="head")(x)  # (B, h, w, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="unet")


def _middle(x, size: tuple[int, int], name: str):
    """The middle of maps, of another size: (B, H, W, C) -> (B, *size, C)."""
    edges = [(own - wanted, (own - wanted) // 2) for own, wanted in zip(x.shape[1:3], size, strict=True)]
    return layers.Cropping2D([(before, total - before) for total, before in edges], name=name)(x)


def _check_sides(input_shape: tuple[int, ...], depth: int, padding: str) -> None:
    lost = 4 if padding == "valid" else 0  # pixels that two convolutions take away
    for side in input_shape[:2]:
        rest = side
        for _ in range(depth):
            rest -= lost
            if rest % 2 or rest <= 0:
                raise ValueError(
                    f"input_shape {tuple(input_shape)} does not fit: at a depth of {depth} with padding {padding!r}, a "
                    f"side may be {_fitting(side, depth, lost)}"
                )
            rest //= 2
        rest -= lost
        for _ in range(depth):
            rest = 2 * rest - lost
        if rest <= 0:
            raise ValueError(f"input_shape {tuple(input_shape)} is too small for a depth of {depth}")


def _fitting(side: int, depth: int, lost: int) -> int:
    """The next side from `side` on that is even at every pooling."""
    shift = sum(lost * 2**level for level in range(depth)) % 2**depth
    return side + (shift - side) % 2**depth
