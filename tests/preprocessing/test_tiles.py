"""Tiles of pictures of any size."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.preprocessing import tiles
from zoo.preprocessing.tiles import Tiling

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (8, 8), (17, 30)])
def test_tiles_put_a_picture_together_again(size):
    """A tile answers with its own middle, so the whole is the picture."""
    picture = RANDOM.random((*size, 2)).astype("float32")
    tiling = Tiling((14, 16), (3, 5))
    assert tiling.part == (8, 6)
    seen = []

    def middle(tile):
        seen.append(tile.shape)
        return tile[3:-3, 5:-5]

    whole = tiles.mapped(tf.constant(picture), tiling, middle, (2,), tf.float32)
    np.testing.assert_array_equal(whole, picture)
    assert {tuple(shape) for shape in seen} == {(14, 16, 2)}
    assert len(tiling.corners(*size)) == -(-size[0] // 8) * -(-size[1] // 6)


def test_beyond_its_edges_a_picture_is_mirrored():
    picture = RANDOM.random((3, 4, 1)).astype("float32")
    expected = np.pad(picture, ((5, 7), (6, 5), (0, 0)), "symmetric")
    np.testing.assert_array_equal(tiles.window(picture, tf.constant([-5, -6]), (15, 15)), expected)


def test_eight_orientations_are_different_and_turned_back():
    images = RANDOM.random((2, 4, 4, 3)).astype("float32")
    oriented = tiles.orientations(images)
    assert oriented.shape == (8, 2, 4, 4, 3)
    assert len({np.array(each).tobytes() for each in oriented}) == 8
    for each in tiles.upright(oriented):
        np.testing.assert_array_equal(each, images)
