"""Boxes around objects, in the graph: overlap, default boxes, changes along with a picture, suppression.

A box is (ymin, xmin, ymax, xmax), in fractions of the picture; a default box is (y, x, height, width) with the centre
first. An object is a row (class, ymin, xmin, ymax, xmax) float32; rows with the class -1 are padding.
"""

import math

import tensorflow as tf

# Offsets are divided by these, so that they vary about as much as the scores (the authors' implementation of Liu et al.
# 2016 does so; the paper does not mention it).
VARIANCES = (0.1, 0.1, 0.2, 0.2)
PADDING = -1.0  # the class of rows that are not objects


def corners(default_boxes):
    """(..., 4), centre and size -> (..., 4), corners."""
    centre, size = default_boxes[..., :2], default_boxes[..., 2:]
    return tf.concat([centre - size / 2.0, centre + size / 2.0], axis=-1)


def overlaps(boxes, others):
    """Intersection over union: (..., N, 4) and (..., M, 4) -> (..., N, M); 0 for boxes without an area."""
    boxes, others = boxes[..., :, tf.newaxis, :], others[..., tf.newaxis, :, :]
    low, high = tf.maximum(boxes[..., :2], others[..., :2]), tf.minimum(boxes[..., 2:], others[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)
    areas = tf.reduce_prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    areas += tf.reduce_prod(others[..., 2:] - others[..., :2], axis=-1)
    return tf.math.divide_no_nan(shared, areas - shared)


def offsets_of(boxes, default_boxes):
    """What a detector should predict: boxes (..., 4) relative to their default boxes (..., 4).

    Liu et al. 2016, equation 2: the move of the centre in sizes of the default box, and the logarithm of the ratio of
    the sizes, divided by VARIANCES.
    """
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2.0, boxes[..., 2:] - boxes[..., :2]
    move = (centre - default_boxes[..., :2]) / default_boxes[..., 2:]
    growth = tf.math.log(tf.maximum(size, 1e-6) / default_boxes[..., 2:])
    return tf.concat([move, growth], axis=-1) / tf.constant(VARIANCES)


def boxes_of(offsets, default_boxes):
    """The inverse of `offsets_of`. A size is at most 20 times that of the default box."""
    offsets = offsets * tf.constant(VARIANCES)
    centre = default_boxes[..., :2] + offsets[..., :2] * default_boxes[..., 2:]
    size = default_boxes[..., 2:] * tf.exp(tf.minimum(offsets[..., 2:], math.log(20.0)))
    return corners(tf.concat([centre, size], axis=-1))


def match(objects, default_boxes, least: float = 0.5):
    """Assigns objects to default boxes (Liu et al. 2016, section 2.2, "Matching strategy").

    Each object gets the default box of the greatest overlap, and every other default box whose overlap with it exceeds
    `least`. A default box that several objects want gets the one of the greatest overlap.

    Args:
        objects: (B, M, 5).
        default_boxes: (N, 4).
        least: an overlap.

    Returns:
        (B, N, 5): the class from 1, or 0 for the background; and the offsets of the object, 0 for the background.
    """
    # A row of padding at the end: a picture may have no objects.
    objects = tf.pad(objects, [[0, 0], [0, 1], [0, 0]], constant_values=PADDING)
    is_object = objects[:, :, 0] >= 0.0  # (B, M)
    overlap = overlaps(corners(default_boxes)[tf.newaxis], objects[:, :, 1:])  # (B, N, M)
    overlap = tf.where(is_object[:, tf.newaxis], overlap, -1.0)
    is_best = tf.one_hot(tf.argmax(overlap, axis=1), tf.shape(default_boxes)[0], axis=1)  # (B, N, M)
    overlap += 2.0 * is_best * tf.cast(is_object, tf.float32)[:, tf.newaxis]
    chosen = tf.argmax(overlap, axis=2)  # (B, N)
    is_matched = tf.reduce_max(overlap, axis=2) > least
    own = tf.gather(objects, chosen, batch_dims=1)  # (B, N, 5)
    matched = tf.concat([own[..., :1] + 1.0, offsets_of(own[..., 1:], default_boxes)], axis=-1)
    return tf.where(is_matched[..., tf.newaxis], matched, 0.0)


def suppress(boxes, probabilities, most: int, overlap: float, least: float):
    """Non-maximum suppression of each class on its own; the objects of a picture, best first.

    Args:
        boxes: (B, N, 4).
        probabilities: (B, N, classes).
        most: number of objects of a picture.
        overlap: of two boxes of a class with a greater overlap, the one with the lower probability is left out.
        least: probability of an object.

    Returns:
        boxes (B, most, 4), probabilities (B, most) and classes (B, most) int32 with zeros after the last object, and
        the number of objects (B,) int32.
    """
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        tf.clip_by_value(boxes, 0.0, 1.0)[:, :, tf.newaxis],
        probabilities,
        max_output_size_per_class=most,
        max_total_size=most,
        iou_threshold=overlap,
        score_threshold=least,
    )
    return boxes, scores, tf.cast(classes, tf.int32), count


def mirrored(objects, draws):
    """Objects (M, 5) of a picture that `augmentation.mirror` may mirror, by its draws (8,)."""
    number, ymin, xmin, ymax, xmax = tf.unstack(objects, axis=-1)
    other = tf.stack([number, ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=-1)
    return tf.where(draws[0] < 0.5, other, objects)


def upended(objects, draws):
    """Objects (M, 5) of a picture that `augmentation.upend` may turn upside down, by its draws (8,)."""
    number, ymin, xmin, ymax, xmax = tf.unstack(objects, axis=-1)
    other = tf.stack([number, 1.0 - ymax, xmin, 1.0 - ymin, xmax], axis=-1)
    return tf.where(draws[0] * 2.0 % 1.0 < 0.5, other, objects)


def seen(objects, window):
    """Objects (M, 5) in a window (4,) of the picture, in fractions of the window.

    An object whose centre lies outside is left out, the others are cut (Liu et al. 2016, section 2.2, "Data
    augmentation"). The window may be larger than the picture.
    """
    origin, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
    boxes = (objects[:, 1:] - origin) / size
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    is_seen = tf.reduce_all((centre > 0.0) & (centre < 1.0), axis=-1)
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    return tf.boolean_mask(tf.concat([objects[:, :1], boxes], axis=-1), is_seen)
