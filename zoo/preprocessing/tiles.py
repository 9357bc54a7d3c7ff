"""Pictures of any size as tiles of one size, in the graph: Ronneberger, Fischer & Brox 2015, Figure 2.

The parts of a picture that tiles answer lie beside each other without a gap. A tile also has the pixels around its part
that its answer depends on; beyond the edges of the picture they are its mirror image.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Tiling(NamedTuple):
    """How pictures are divided.

    Args:
        size: height and width of a tile.
        context: pixels above and below, and left and right, of the part that a tile answers.
    """

    size: tuple[int, int]
    context: tuple[int, int]

    @property
    def part(self) -> tuple[int, int]:
        """Height and width of the part of a picture that a tile answers."""
        return tuple(side - 2 * around for side, around in zip(self.size, self.context, strict=True))

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """The first row and column of each part of a picture, row by row."""
        rows, columns = self.part
        return [(row, column) for row in range(0, height, rows) for column in range(0, width, columns)]


def window(picture, corner, size: tuple[int, int]):
    """A part of a picture, mirrored beyond its edges: (H, W, C) -> (*size, C).

    Args:
        picture: (H, W, C).
        corner: (2,) int32, the first row and column, which may lie outside the picture.
        size: height and width of the part.
    """
    for axis in (0, 1):
        places = mirrored(corner[axis] + tf.range(size[axis]), tf.shape(picture)[axis])
        picture = tf.gather(picture, places, axis=axis)
    return picture


def mirrored(places, length):
    """Places on an axis, inside or outside the picture -> places inside, by mirroring it again and again."""
    places = places % (2 * length)  # the edge pixels occur twice, so that even one pixel can be mirrored
    return tf.minimum(places, 2 * length - 1 - places)


def mapped(picture, tiling: Tiling, function: Callable, channels: tuple[int, ...], dtype: tf.DType):
    """Puts the answers of all tiles of a picture together, one tile at a time: (H, W, C) -> (H, W, *channels).

    Args:
        picture: (H, W, C).
        tiling: how it is divided.
        function: a tile (h, w, C) -> the answer for its part, (*tiling.part, *channels).
        channels: the further axes of an answer.
        dtype: of an answer.
    """
    height, width = tf.unstack(tf.shape(picture)[:2])
    part, around = tiling.part, tf.constant(tiling.context)
    rows, columns = -(-height // part[0]), -(-width // part[1])

    def answer(number):
        corner = tf.stack([number // columns * part[0], number % columns * part[1]])
        return function(window(picture, corner - around, tiling.size))

    spec = tf.TensorSpec((*part, *channels), dtype)
    answers = tf.map_fn(answer, tf.range(rows * columns), fn_output_signature=spec, parallel_iterations=1)
    answers = tf.reshape(answers, tf.concat([[rows, columns], spec.shape], axis=0))
    further = range(4, 4 + len(channels))
    answers = tf.transpose(answers, (0, 2, 1, 3, *further))  # (rows, h, columns, w, ...)
    whole = tf.reshape(answers, tf.concat([[rows * part[0], columns * part[1]], spec.shape[2:]], axis=0))
    return whole[:height, :width]


def orientations(tiles):
    """Square tiles in eight orientations: (B, h, h, C) -> (8, B, h, h, C)."""
    turned = [tf.image.rot90(tiles, quarters) for quarters in range(4)]
    return tf.stack(turned + [each[:, :, ::-1] for each in turned])


def upright(oriented):
    """The inverse of `orientations` for each of its results: (8, B, h, h, C) -> (8, B, h, h, C)."""
    turned = [*tf.unstack(oriented[:4]), *tf.unstack(oriented[4:, :, :, ::-1])]
    return tf.stack(
        [tf.image.rot90(each, -quarters % 4) for each, quarters in zip(turned, [*range(4)] * 2, strict=True)]
    )
