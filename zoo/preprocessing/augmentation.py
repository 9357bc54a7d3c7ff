"""Random changes of images in training: stateless, with random numbers per image, applied to a whole batch.

Applied to single images, the small operations would take longer than a step of a small network. Functions take
(B, H, W, C) float32; `draw`, `draw_crop` and `draw_mix` make the random numbers of one image from its seed.
"""

import math

import tensorflow as tf

# No branch here depends on a tensor, and AutoGraph takes almost a second to convert the functions.
_unconverted = tf.autograph.experimental.do_not_convert


@_unconverted
def draw(seed, elastic: float = 0.0):
    """The random numbers of one image's `distort`: (2,) integers -> (7,) float32, (79,) if elastic is not 0."""
    seed = tf.convert_to_tensor(seed)
    numbers = tf.random.stateless_uniform((7,), seed, -1.0, 1.0)
    if not elastic:
        return numbers
    return tf.concat([numbers, tf.random.stateless_normal((72,), seed + [0, 1], stddev=elastic)], axis=0)


@_unconverted
def distort(images, draws, rotate=0.0, zoom=0.0, shear=0.0, shift=0.0, elastic=0.0, masks=None):
    """A random affine map and a random bending of each image; pixels outside the image are 0.

    The affine map is that of LeCun et al. 1998, section III.C (shift, scaling, squeezing, shearing); the bending
    follows Simard, Steinkraus & Platt 2003, with a coarse random grid in place of their blurred noise.

    Args:
        images: (B, H, W, C).
        draws: (B, 7) or (B, 79), one row of `draw` per image.
        rotate: greatest turn, degrees.
        zoom: greatest change of scale, separate for each axis.
        shear: greatest slant.
        shift: greatest move, pixels.
        elastic: standard deviation of the bending, pixels.
        masks: (B, H, W, M), moved like the images, with the value of the nearest pixel.

    Returns:
        The images; with masks, the images and the masks.
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
    if masks is None:
        return _sample(images, y, x)
    return _sample(images, y, x), _sample(masks, tf.round(y), tf.round(x))


@_unconverted
def distorted_window(draws, size, zoom=0.0, shift=0.0):
    """The part of an image that `distort` shows with these arguments alone, which may reach over its border.

    Args:
        draws: (7,), a result of `draw`.
        size: (height, width) of the image, pixels.

    Returns:
        (4,), top, left, bottom and right in fractions of the image.
    """
    scale = tf.exp(draws[1:3] * math.log1p(zoom))
    move = shift * draws[4:6] / tf.constant(size, tf.float32)
    return tf.concat([0.5 - scale / 2.0 + move, 0.5 + scale / 2.0 + move], axis=0)


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


@_unconverted
def draw_crop(seed):
    """The random numbers of one image for everything below: (2,) integers -> (8,) float32 in [0, 1)."""
    return tf.random.stateless_uniform((8,), tf.convert_to_tensor(seed) + [0, 2])


@_unconverted
def mirror(images, draws):
    """Mirrors about half of the images left to right, by draws[:, 0]."""
    return tf.where(draws[:, 0, tf.newaxis, tf.newaxis, tf.newaxis] < 0.5, images[:, :, ::-1], images)


@_unconverted
def upend(images, draws):
    """Turns about half of the images upside down, by draws[:, 0], independent of `mirror`."""
    return tf.where(draws[:, 0, tf.newaxis, tf.newaxis, tf.newaxis] * 2.0 % 1.0 < 0.5, images[:, ::-1], images)


@_unconverted
def turn(images, draws):
    """Turns each square image by a multiple of 90 degrees, by draws[:, 0], independently of `mirror`."""
    quarters = tf.cast(draws[:, 0] * 8.0, tf.int32) % 4  # 0 to 3, below a draw of 0.5 and above it
    quarters = quarters[:, tf.newaxis, tf.newaxis, tf.newaxis]
    images = tf.where(quarters % 2 == 1, tf.transpose(images, (0, 2, 1, 3))[:, ::-1], images)
    return tf.where(quarters >= 2, images[:, ::-1, ::-1], images)


@_unconverted
def pad_and_crop(images, draws, pad: int, margin: int = 0):
    """A window of each image, up to `pad` pixels from the middle in each direction, by draws[:, 1:3]; zeros outside.

    With a margin this is the random window of Krizhevsky, Sutskever & Hinton 2012, section 4.1; without, that of
    He et al. 2015, section 4.2, after Lee et al. 2014, "Deeply-supervised nets".

    Args:
        images: (B, H, W, C).
        draws: (B, 8).
        pad: greatest move, pixels.
        margin: pixels on each side by which the window is smaller than the image.
    """
    height, width = images.shape[1] - 2 * margin, images.shape[2] - 2 * margin
    moves = tf.cast(draws[:, 1:3, tf.newaxis] * (2 * pad + 1), tf.int32) + max(margin - pad, 0)  # (B, 2, 1)
    zeros = (max(pad - margin, 0),) * 2
    padded = tf.pad(images, ((0, 0), zeros, zeros, (0, 0)))
    padded = tf.gather(padded, tf.range(height) + moves[:, 0], axis=1, batch_dims=1)
    return tf.gather(padded, tf.range(width) + moves[:, 1], axis=2, batch_dims=1)


@_unconverted
def resized_crop(images, draws, fraction: float, aspect: float = 4 / 3):
    """A window of random area, shape and place, resized to full size, by draws[:, 1:5].

    Szegedy et al. 2014, arXiv 1409.4842, section 6. The paper draws again until a window fits; here a side that is too
    long is cut to the image's.

    Args:
        images: (B, H, W, C).
        draws: (B, 8).
        fraction: the least area of the window over that of the image; the greatest is 1.
        aspect: greatest ratio of width to height, and of height to width.
    """
    boxes = _crop_boxes(draws, fraction, aspect)
    return tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), images.shape[1:3])


@_unconverted
def cropped_window(draws, size, fraction: float, aspect: float = 4 / 3):
    """The part of an image that `resized_crop` shows.

    Args:
        draws: (8,), a result of `draw_crop`.
        size: (height, width) of the image, pixels.

    Returns:
        (4,), top, left, bottom and right in fractions of the image.
    """
    box, size = _crop_boxes(draws[tf.newaxis], fraction, aspect)[0], tf.constant(size, tf.float32)
    extent = box[2:] - box[:2]
    # `crop_and_resize` places the corners of a box in the middle of pixels.
    origin = (box[:2] * (size - 1.0) + 0.5 * (1.0 - extent)) / size
    return tf.concat([origin, origin + extent], axis=0)


def _crop_boxes(draws, fraction: float, aspect: float):
    """draws (B, 8) -> (B, 4), top, left, bottom and right, as `crop_and_resize` takes them."""
    area = fraction + (1.0 - fraction) * draws[:, 1]
    ratio = tf.exp((2.0 * draws[:, 2] - 1.0) * math.log(aspect))
    height, width = tf.minimum(tf.sqrt(area / ratio), 1.0), tf.minimum(tf.sqrt(area * ratio), 1.0)
    top, left = draws[:, 3] * (1.0 - height), draws[:, 4] * (1.0 - width)
    return tf.stack([top, left, top + height, left + width], axis=1)


@_unconverted
def colour(images, draws, strength: float):
    """Multiplies brightness, contrast and saturation by 1 - strength to 1 + strength, by draws[:, 5:8]; in [0, 1].

    Howard 2013, arXiv 1312.5402, section 2.
    """
    brightness, contrast, saturation = tf.unstack(
        1.0 + strength * (2.0 * draws[:, 5:8, tf.newaxis, tf.newaxis, tf.newaxis] - 1.0), axis=1
    )  # (B, 1, 1, 1) each
    images = images * brightness
    images = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True) * (1.0 - contrast) + images * contrast
    images = tf.reduce_mean(images, axis=3, keepdims=True) * (1.0 - saturation) + images * saturation
    return tf.clip_by_value(images, 0.0, 1.0)


@_unconverted
def draw_mix(seed, mixup: float = 0.0, cutmix: float = 0.0):
    """The random numbers of one image's `mix`: (2,) integers -> (4,): its own weight, whether it is cut, and where.

    Args:
        seed: of the image.
        mixup: alpha of Zhang et al. 2017, arXiv 1710.09412, equation 2; 0 leaves it out.
        cutmix: alpha of Yun et al. 2019, arXiv 1905.04899, section 3.1; 0 leaves it out. With
            both, each has half of the images.
    """
    seed = tf.convert_to_tensor(seed) + [0, 3]
    switch, *place = tf.unstack(tf.random.stateless_uniform((3,), seed))
    is_cut = switch < (0.5 if mixup and cutmix else 1.0 if cutmix else 0.0)
    alpha = tf.where(is_cut, cutmix or 1.0, mixup or 1.0)
    first, second = tf.unstack(tf.random.stateless_gamma((2,), seed + [0, 1], alpha))
    own = first / tf.maximum(first + second, 1e-30)  # Beta(alpha, alpha)
    return tf.stack([own, tf.cast(is_cut, tf.float32), *place])


@_unconverted
def mix(images, draws):
    """Mixes each image with the image before it in the batch: a weighted sum, or a rectangle that is pasted in.

    Args:
        images: (B, H, W, C).
        draws: (B, 4), one row of `draw_mix` per image.

    Returns:
        The images, and (B,) the weight of each image's own class.
    """
    height, width = images.shape[1:3]
    own, is_cut, down, right = tf.unstack(draws[:, :, tf.newaxis], axis=1)  # (B, 1)
    half = tf.sqrt(1.0 - own) / 2.0
    rows = (tf.range(height, dtype=tf.float32) + 0.5) / height  # (H,), centres of the pixels in [0, 1]
    columns = (tf.range(width, dtype=tf.float32) + 0.5) / width
    in_rows, in_columns = tf.abs(rows - down) < half, tf.abs(columns - right) < half  # (B, H), (B, W)
    window = tf.cast(in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :], tf.float32)  # (B, H, W)
    taken = tf.where(is_cut[..., tf.newaxis] > 0.5, window, 1.0 - own[..., tf.newaxis])
    other = taken[..., tf.newaxis]
    mixed = images * (1.0 - other) + tf.roll(images, 1, axis=0) * other
    return mixed, 1.0 - tf.reduce_mean(taken, axis=(1, 2))
