"""Layers over frames, of which an item has its own number."""

import numpy as np

from zoo.layers.frames import ContextFrames, FrameAverage, FrameMask

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


def test_context_repeats_the_first_and_the_last_frame_of_an_item():
    value = np.array(ContextFrames(1)(NAN, np.array([3, 1, 0])))
    assert value.shape == (3, 4, 6)
    np.testing.assert_array_equal(value[0, :3, ::2], [[1, 1, 2], [1, 2, 3], [2, 3, 3]])
    np.testing.assert_array_equal(value[0, :3, 1::2], -value[0, :3, ::2])
    np.testing.assert_array_equal(value[1, 0], [5, -5, 5, -5, 5, -5])
    # Frames after the end have no NaN of the padding either.
    np.testing.assert_array_equal(value[0, 3], [3, -3, 3, -3, 3, -3])
    np.testing.assert_array_equal(ContextFrames(0)(VALUES, np.array([4, 4, 4])), VALUES)
    wide = np.array(ContextFrames(5)(VALUES, np.array([4, 2, 4])))[1, 1, ::2]
    np.testing.assert_array_equal(wide, [5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6])
