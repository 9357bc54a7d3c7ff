"""Pixels to a model's input, in the graph: grey, polarity, centring, resizing, scaling and training's distortions.

Every function takes one image, (H, W, C) float32 in [0, 1] unless it says otherwise.
"""

import math

import tensorflow as tf

WORKING_SIDE = 160  # larger pictures are reduced to this before ink is looked for


def to_float(pixels, colour: str):
    """(H, W, 3) uint8 -> (H, W, 3) for colour "rgb", (H, W, 1) luma (ITU-R BT.601) for "grey"; in [0, 1]."""
    if colour == "rgb":
        return tf.cast(pixels, tf.float32) / 255.0
    luma = tf.tensordot(tf.cast(pixels, tf.float32), [0.299, 0.587, 0.114], axes=1)
    return luma[..., tf.newaxis] / 255.0


def reduce(image, longest: int = WORKING_SIDE):
    """Makes the longer side at most `longest`, with anti-aliasing; smaller images stay as they are."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = longest / tf.reduce_max(sides)

    def smaller():
        size = tf.cast(tf.maximum(tf.round(sides * scale), 1.0), tf.int32)
        return tf.image.resize(image, size, antialias=True)

    return tf.cond(scale < 1.0, smaller, lambda: image)


def ink(image, polarity: str | None):
    """Strength of the drawing over its ground, 0 to 1: (H, W, 1) -> (H, W, 1).

    The ground is the median of the border. With polarity "light_on_dark" the drawing may be lighter or darker than
    its ground, whichever stands out more, and comes out light; with None lighter is taken. An even picture has none.
    """
    border = tf.concat([image[0, :, 0], image[-1, :, 0], image[:, 0, 0], image[:, -1, 0]], axis=0)
    ground = tf.sort(border)[tf.size(border) // 2]
    lighter = tf.reduce_max(image) - ground
    darker = ground - tf.reduce_min(image)
    if polarity is None:
        darker = tf.zeros_like(darker)
    strength = tf.where(darker > lighter, ground - image, image - ground)
    reach = tf.maximum(lighter, darker)
    # The lowest fifth is shadow, paper and the camera's noise; a picture without contrast is all of that.
    share = strength / tf.maximum(reach, 0.04)
    return tf.clip_by_value((share - 0.2) / 0.8, 0.0, 1.0)


def centre_ink(image, size: tuple[int, int], share: float):
    """Scales the drawing's box to `share` of the frame and moves its centre of mass into the middle.

    This is how the digits of MNIST were made (LeCun et al. 1998, section III.A: a box of 20, centred by mass).

    Args:
        image: (H, W, 1), 0 where nothing is drawn.
        size: height and width of the frame.
        share: longer side of the drawing over the frame's shorter side.

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
    scale = tf.minimum(min(size) * share / longer, 8.0)  # a speck stays a speck
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


def crop_and_resize(image, size: tuple[int, int], share: float = 1.0):
    """The middle of the picture in the frame's shape, `share` of what fits, resized with anti-aliasing.

    (H, W, C) -> (*size, C).
    """
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    unit = tf.minimum(height / size[0], width / size[1]) * share
    crop_height = tf.clip_by_value(tf.cast(tf.round(unit * size[0]), tf.int32), 1, tf.shape(image)[0])
    crop_width = tf.clip_by_value(tf.cast(tf.round(unit * size[1]), tf.int32), 1, tf.shape(image)[1])
    top = (tf.shape(image)[0] - crop_height) // 2
    left = (tf.shape(image)[1] - crop_width) // 2
    image = image[top : top + crop_height, left : left + crop_width]
    return tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0.0, 1.0)


def draw(seed, elastic: float = 0.0):
    """The random numbers of one image's `distort`: (2,) integers -> (7,) float32, (79,) where elastic is not 0."""
    seed = tf.convert_to_tensor(seed)
    numbers = tf.random.stateless_uniform((7,), seed, -1.0, 1.0)
    if not elastic:
        return numbers
    return tf.concat([numbers, tf.random.stateless_normal((72,), seed + [0, 1], stddev=elastic)], axis=0)


def distort(images, draws, rotate=0.0, zoom=0.0, shear=0.0, shift=0.0, elastic=0.0):
    """A random affine map and a random bending of each image, for training; outside the picture is 0.

    The affine map is that of LeCun et al. 1998, section III.C (shift, scaling, squeezing, shearing); the bending
    follows Simard, Steinkraus & Platt 2003, with a coarse random grid in place of their blurred noise. A whole batch
    goes through at once: image by image the small operations would take longer than a small network's step.

    Args:
        images: (B, H, W, C).
        draws: (B, 7) or (B, 79), a row of `draw` an image.
        rotate: greatest turn, degrees.
        zoom: greatest change of scale, of each axis by itself.
        shear: greatest slant.
        shift: greatest move, pixels.
        elastic: standard deviation of the bending, pixels.
    """
    size = tf.shape(images)[1:3]
    height, width = tf.unstack(tf.cast(size, tf.float32))
    angle, scale_y, scale_x, slant, down, right = tf.unstack(draws[:, :6, tf.newaxis, tf.newaxis], axis=1)  # (B, 1, 1)
    zoom_y, zoom_x = tf.exp(scale_y * math.log1p(zoom)), tf.exp(scale_x * math.log1p(zoom))
    sine, cosine = tf.sin(angle * rotate * math.pi / 180.0), tf.cos(angle * rotate * math.pi / 180.0)
    # Output pixel -> input pixel, about the middle: turn, then slant, then scale.
    rows = tf.reshape(tf.range(height) - (height - 1.0) / 2.0, (1, -1, 1))  # (1, H, 1)
    columns = tf.reshape(tf.range(width) - (width - 1.0) / 2.0, (1, 1, -1))  # (1, 1, W)
    y = zoom_y * (cosine * rows + sine * columns)
    x = zoom_x * (cosine * columns - sine * rows) + shear * slant * y
    y = y + (height - 1.0) / 2.0 + shift * down
    x = x + (width - 1.0) / 2.0 + shift * right
    if elastic:
        bend = tf.image.resize(tf.reshape(draws[:, 7:], (-1, 6, 6, 2)), size, method="bicubic")  # (B, H, W, 2)
        y, x = y + bend[..., 0], x + bend[..., 1]
    return _sample(images, y, x)


def _sample(images, y, x):
    """Bilinear interpolation of (B, H, W, C) at y and x, each (B, H, W); 0 outside."""
    images = tf.pad(images, ((0, 0), (1, 2), (1, 2), (0, 0)))
    count, step = tf.shape(images)[1] * tf.shape(images)[2], tf.shape(images)[2]
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    y = tf.clip_by_value(y + 1.0, 0.0, height - 2.0)
    x = tf.clip_by_value(x + 1.0, 0.0, width - 2.0)
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., tf.newaxis], (x - left)[..., tf.newaxis]
    first = tf.reshape(tf.range(tf.shape(images)[0]) * count, (-1, 1, 1))  # of each image in the flat batch
    corner = first + tf.cast(top, tf.int32) * step + tf.cast(left, tf.int32)  # (B, H, W)
    flat = tf.reshape(images, (-1, tf.shape(images)[3]))
    upper = tf.gather(flat, corner) * (1.0 - right) + tf.gather(flat, corner + 1) * right
    lower = tf.gather(flat, corner + step) * (1.0 - right) + tf.gather(flat, corner + step + 1) * right
    return upper * (1.0 - down) + lower * down
