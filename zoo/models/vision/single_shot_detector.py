"""Single shot detector: Liu et al. 2016, "SSD: Single shot multibox detector", arXiv 1512.02325.

Section 2.1 and Figure 2: an encoder gives feature maps of several sizes, further convolutions give smaller ones, and at
each place of each map small convolutions predict, for a few default boxes of different shapes, the class of the object
in it and how its box differs from the default box.

Differences from the paper: the encoder is any convolutional image classifier of the registry (the paper: VGG-16), whose
maps need no L2 normalisation. As in SSDLite (Sandler et al. 2018, arXiv 1801.04381), by default the last maps of the
three smallest sizes are read. The logit of the background is 0, which a softmax permits: only differences of logits
matter. Default boxes of an image that is not a square have the paper's shapes in pixels.
"""

import itertools
import math

import keras
import numpy as np
from keras import layers, ops

from zoo.layers.grids import maps_model
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class BoxOffsets(layers.Layer):
    """Joins the offsets of the default boxes of several maps, and knows these boxes (section 2.2).

    Map k has a default box of scale s_k for the ratio 1 and each other ratio, and one of scale sqrt(s_k s_k+1).

    Args:
        image_size: height and width of the image, pixels.
        scales: of each map, and one more; in fractions of the image's shorter side.
        ratios: the ratios of width to height except 1.

    Attributes:
        default_boxes: (N, 4) float32, the boxes in the order of the output: y, x, height and width, the centre first,
            in fractions of the image. The order is that of the maps, their rows, their columns and their shapes.
    """

    def __init__(self, image_size, scales, ratios, **options):
        super().__init__(**options)
        self.image_size, self.scales, self.ratios = tuple(image_size), tuple(scales), tuple(ratios)

    def build(self, shapes):
        boxes = [
            default_boxes(shape[1:3], self.image_size, scale, next_scale, self.ratios)
            for shape, (scale, next_scale) in zip(shapes, itertools.pairwise(self.scales), strict=True)
        ]
        self.default_boxes = np.concatenate(boxes)

    def call(self, maps):
        """[(B, h, w, 4 shapes) ...] -> (B, N, 4)."""
        return ops.concatenate([ops.reshape(each, (-1, math.prod(each.shape[1:]) // 4, 4)) for each in maps], axis=1)

    def get_config(self):
        own = {"image_size": self.image_size, "scales": self.scales, "ratios": self.ratios}
        return {**super().get_config(), **own}


def default_boxes(map_size, image_size, scale: float, next_scale: float, ratios) -> np.ndarray:
    """The default boxes of a map, (h * w * shapes, 4): y, x, height and width in fractions of the image.

    A box of scale s and ratio a is s sqrt(a) wide and s / sqrt(a) high (equation 4 and the text after it), in fractions
    of the image's shorter side. The centres are in the middle of the places of the map.
    """
    shapes = [(scale, 1.0), (math.sqrt(scale * next_scale), 1.0), *((scale, ratio) for ratio in ratios)]
    shorter = min(image_size)
    sizes = np.array([(own / math.sqrt(ratio), own * math.sqrt(ratio)) for own, ratio in shapes])
    sizes = sizes * shorter / np.array(image_size)  # (shapes, 2)
    rows, columns = ((np.arange(length) + 0.5) / length for length in map_size)
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)  # (h * w, 1, 2)
    boxes = np.broadcast_arrays(centres, sizes[np.newaxis])
    return np.concatenate(boxes, axis=-1).reshape(-1, 4).astype("float32")


def _smaller(x, filters: int, name: str):
    """A map of half the size: a convolution over 1 x 1 places, and one over 3 x 3 with a stride of 2 (Figure 2)."""
    x = layers.Conv2D(filters // 2, 1, activation="relu", name=f"{name}_reduce")(x)
    return layers.Conv2D(filters, 3, 2, padding="same", activation="relu", name=name)(x)


@register_model(
    task="detection",
    paper="Liu et al. 2016, SSD: Single shot multibox detector, arXiv 1512.02325",
    parameters=9_736_800,  # with EfficientNet-Lite0; the paper does not state a number
    parts={"encoder": "image_classification"},
    settings={"fraction": 1.0, "centre": None, "margin": 0},
    settings_from="encoder",
    tiny={
        "encoder": {"model": "lenet5_modern", "overrides": {"classes": 0}},
        "classes": 3, "maps": 2, "extra_filters": [6], "ratios": [2.0],
    },
)  # fmt: skip
def single_shot_detector(
    encoder: str | keras.Model = "efficientnet_lite0",
    classes: int = 20,
    feature_layers: tuple[str, ...] | None = None,
    maps: int = 3,
    extra_filters: tuple[int, ...] = (512, 256, 256),
    scales: tuple[float, ...] | None = None,
    ratios: tuple[float, ...] = (2.0, 0.5, 3.0, 1 / 3),
) -> keras.Model:
    """A detector that predicts the objects of an image in one run: an image in, classes and boxes out.

    Args:
        encoder: an image classifier with feature maps. Its size is the size of the images: for others than those of a
            preset, {"preset": name, "overrides": {"input_shape": [240, 320, 3]}}.
        classes: number of classes without the background.
        feature_layers: names of the layers of the encoder whose outputs are read, from the largest map to the smallest.
        maps: without `feature_layers`, the number of maps: the last ones of each size, of the smallest sizes.
        extra_filters: number of filters of each further map.
        scales: the scale of the default boxes of each map and one more, in fractions of the image's shorter side. By
            default from 0.2 to 0.9 in even steps, as in the paper, and one step more.
        ratios: ratios of width to height of the default boxes, except 1.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, N, classes), "offsets": (B, N, 4)} with the values of N
        default boxes: the logits of the classes, where the logit of the background is 0, and offsets (see
        `zoo.preprocessing.boxes`). The layer `offsets` has the attribute `default_boxes` (N, 4).

    Raises:
        ValueError: no classes; the encoder has too few feature maps; or the number of scales does not fit.
    """
    if classes < 1:
        raise ValueError(f"classes must be an integer >= 1, got {classes}: a detector needs its head")
    if any(ratio <= 0 for ratio in ratios):
        raise ValueError(f"ratios must be > 0, got {list(ratios)}")
    encoder = maps_model(encoder, feature_layers, maps)
    image = keras.Input(encoder.input["image"].shape[1:], name="image")
    features = list(encoder({"image": image}).values())
    for number, filters in enumerate(extra_filters, start=1):
        features.append(_smaller(features[-1], filters, f"extra{number}"))
    scales = _scales(scales, len(features))
    shapes = 2 + len(ratios)
    logits, offsets = [], []
    for number, x in enumerate(features, start=1):  # (B, h, w, D)
        options = {"padding": "same", "dtype": "float32"}
        own = layers.Conv2D(shapes * classes, 3, name=f"head{number}", **options)(x)
        logits.append(layers.Reshape((-1, classes), name=f"head{number}_boxes")(own))  # (B, h * w * shapes, classes)
        offsets.append(layers.Conv2D(shapes * 4, 3, name=f"offsets{number}", **options)(x))
    outputs = {
        "logits": layers.Concatenate(axis=1, dtype="float32", name="logits")(logits),
        "offsets": BoxOffsets(image.shape[1:3], scales, ratios, dtype="float32", name="offsets")(offsets),
    }
    return keras.Model({"image": image}, outputs, name="single_shot_detector")


def _scales(scales: tuple[float, ...] | None, maps: int) -> list[float]:
    """The scale of each map, and one more: by default those of equation 4."""
    if scales is None:
        step = 0.7 / max(maps - 1, 1)
        return [0.2 + step * number for number in range(maps + 1)]
    if len(scales) != maps + 1 or any(scale <= 0 for scale in scales):
        raise ValueError(f"scales must be {maps + 1} numbers > 0, one per map and one more, got {list(scales)}")
    return list(scales)
