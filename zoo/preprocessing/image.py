"""Pixels to a model's input, in the graph: grey, polarity, centring and resizing.

Every function takes one image, (H, W, C) float32 in [0, 1] unless its docstring says otherwise.
"""

from fractions import Fraction

import tensorflow as tf

WORKING_SIDE = 160  # larger images are reduced to this before the ink is measured


def to_float(pixels, colour: str):
    """(H, W, 3) uint8 -> (H, W, 3) for colour "rgb", (H, W, 1) luma (ITU-R BT.601) for "grey"; in [0, 1]."""
    if colour == "rgb":
        return tf.cast(pixels, tf.float32) / 255.0
    luma = tf.tensordot(tf.cast(pixels, tf.float32), [0.299, 0.587, 0.114], axes=1)
    return luma[..., tf.newaxis] / 255.0


def reduce(image, longest: int = WORKING_SIDE):
    """Makes the longer side at most `longest`, with anti-aliasing; smaller images stay as they are."""
    height, width = tf.unstack(tf.shape(image, tf.int64)[:2])

    def smaller():
        size = tf.stack(reduced_size(height, width, longest))
        return tf.image.resize(image, tf.cast(size, tf.int32), antialias=True)

    return tf.cond(tf.maximum(height, width) > longest, smaller, lambda: image)


def reduced_size(height, width, longest: int = WORKING_SIDE):
    """Height and width, int64, of an image whose longer side becomes `longest`.

    In integers, as in `crop_size`: in floats, the kernels of two graphs round a half up in one and down in the other,
    and the image gets two answers.
    """
    longer = tf.maximum(height, width)
    return tuple(tf.maximum(_divided(side * longest, longer), 1) for side in (height, width))


def _divided(dividend, divisor):
    """Integers of 64 bits, rounded to the nearest; a half is rounded to the even one."""
    nearest, rest = (2 * dividend + divisor) // (2 * divisor), (2 * dividend + divisor) % (2 * divisor)
    return nearest - tf.where(rest == 0, nearest % 2, 0)


def ink(image, polarity: str | None):
    """Strength of the drawing over its ground, 0 to 1: (H, W, 1) -> (H, W, 1).

    The ground is the median of the border. With polarity "light_on_dark" the drawing may be lighter or darker than
    its ground, whichever stands out more, and becomes light; with None it is lighter. An even image has strength 0.
    """
    border = tf.concat([image[0, :, 0], image[-1, :, 0], image[:, 0, 0], image[:, -1, 0]], axis=0)
    ground = tf.sort(border)[tf.size(border) // 2]
    lighter = tf.reduce_max(image) - ground
    darker = ground - tf.reduce_min(image)
    if polarity is None:
        darker = tf.zeros_like(darker)
    strength = tf.where(darker > lighter, ground - image, image - ground)
    reach = tf.maximum(lighter, darker)
    # The lowest fifth is shadow, paper and the camera's noise; so is all of an image without contrast.
    relative = strength / tf.maximum(reach, 0.04)
    return tf.clip_by_value((relative - 0.2) / 0.8, 0.0, 1.0)


def centre_ink(image, size: tuple[int, int], fraction: float):
    """Scales the drawing's box to `fraction` of the frame and moves its centre of mass into the middle.

    This is how the digits of MNIST were made (LeCun et al. 1998, section III.A: a box of 20, centred by mass).

    Args:
        image: (H, W, 1), 0 where nothing is drawn.
        size: height and width of the frame.
        fraction: longer side of the drawing over the frame's shorter side.

    Returns:
        (*size, 1) in [0, 1].
    """
    weights = image[..., 0]
    rows = tf.reduce_max(weights, axis=1) > 0.2
    columns = tf.reduce_max(weights, axis=0) > 0.2

    def extent(mask):
        places = tf.where(mask)
        return tf.cond(tf.size(places) > 0, lambda: places[-1, 0] - places[0, 0] + 1, lambda: tf.size(mask, tf.int64))

    longer = tf.cast(tf.maximum(extent(rows), extent(columns)), tf.float32)
    scale = tf.minimum(min(size) * fraction / longer, 8.0)  # a speck stays a speck
    height, width = tf.unstack(tf.cast(tf.shape(weights), tf.float32))
    mass = tf.reduce_sum(weights)

    def centre(of_axis, length):
        by_mass = tf.reduce_sum(of_axis * (tf.range(length) + 0.5)) / tf.maximum(mass, 1e-6)
        return tf.where(mass > 0.0, by_mass, length / 2.0)

    middle = tf.stack([centre(tf.reduce_sum(weights, 1), height), centre(tf.reduce_sum(weights, 0), width)])
    placed = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=list(size),
        scale=tf.stack([scale, scale]),
        translation=[size[0] / 2.0, size[1] / 2.0] - scale * middle,
        kernel_type="keyscubic",
        antialias=True,
    )[0]
    return tf.clip_by_value(placed, 0.0, 1.0)


def crop_and_resize(image, size: tuple[int, int], fraction: float = 1.0):
    """The middle of the image in the frame's shape, resized with anti-aliasing: (H, W, C) -> (*size, C).

    It is `fraction` of the largest part that fits.
    """
    shape = tf.shape(image)
    crop_height, crop_width = crop_size(*tf.unstack(tf.cast(shape[:2], tf.int64)), size, fraction)
    crop_height, crop_width = tf.cast(crop_height, tf.int32), tf.cast(crop_width, tf.int32)
    top, left = (shape[0] - crop_height) // 2, (shape[1] - crop_width) // 2
    image = image[top : top + crop_height, left : left + crop_width]
    return tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0.0, 1.0)


def crop_size(height, width, size: tuple[int, int], fraction: float):
    """Height and width, int64, of the part of an image that `crop_and_resize` takes.

    The fraction is taken as the nearest ratio of integers with a divisor of up to a million, such as 7/8, so that all
    computation is exact. `crop_size` in export/runner.py is the same.
    """
    ratio = Fraction(fraction).limit_denominator(1_000_000)
    # The part is `size` times the smaller of height / size[0] and width / size[1], times the fraction. This is that
    # number times the product of the three divisors; up to 5e7 * 1e4 * 1e6 it fits.
    unit = tf.minimum(height * size[1], width * size[0]) * ratio.numerator
    crop_height = _divided(unit, size[1] * ratio.denominator)
    crop_width = _divided(unit, size[0] * ratio.denominator)
    return tf.clip_by_value(crop_height, 1, height), tf.clip_by_value(crop_width, 1, width)


def window(images, margin: int, down: int = 0, right: int = 0):
    """A part of each image, smaller by `margin` pixels on each side: (..., H, W, C) -> (..., h, w, C).

    `down` and `right` move it from the middle, by -margin to margin.
    """
    height, width = images.shape[-3] - 2 * margin, images.shape[-2] - 2 * margin
    top, left = margin + down, margin + right
    return images[..., top : top + height, left : left + width, :]
