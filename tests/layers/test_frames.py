"""Layers over frames, of which an item has its own number."""

import numpy as np

from zoo.layers.frames import FrameAverage, FrameMask

VALUES = np.arange(1, 13, dtype="float32").reshape(3, 4, 1) * [[[1.0, -1.0]]]  # (B, N, D)
NAN = np.where(np.arange(4)[:, None] >= np.array([3, 1, 0])[:, None, None], np.nan, VALUES).astype("float32")


def test_a_mask_sets_what_follows_an_item_to_zero():
    value = np.array(FrameMask()(NAN, np.array([3, 1, 0])))
    np.testing.assert_array_equal(value[..., 0], [[1, 2, 3, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(value[..., 1], -value[..., 0])


def test_frames_that_were_joined_count_from_the_first_of_them():
    value = np.array(FrameMask(stride=2)(VALUES, np.array([5, 4, 8])))
    np.testing.assert_array_equal(value[..., 0], [[1, 2, 3, 0], [5, 6, 0, 0], [9, 10, 11, 12]])
    np.testing.assert_array_equal(FrameMask(stride=2)(VALUES[..., None], np.array([5, 4, 8]))[..., 0], value)


def test_the_mean_is_over_the_item_alone():
    value = np.array(FrameAverage()(NAN, np.array([3, 1, 0])))
    np.testing.assert_array_equal(value, [[2, -2], [5, -5], [0, 0]])
    np.testing.assert_array_equal(FrameAverage(stride=2)(VALUES, np.array([3, 1, 8]))[:, 0], [1.5, 5, 10.5])
