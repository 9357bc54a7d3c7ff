"""Boxes in the graph: overlap, offsets, matching, suppression, and changes along with a picture."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import average_precision
from zoo.preprocessing import augmentation, boxes

RANDOM = np.random.default_rng(0)


def random_boxes(count: int, least: float = 0.1) -> np.ndarray:
    corner = RANDOM.uniform(0, 0.6, (count, 2))
    return np.concatenate([corner, corner + RANDOM.uniform(least, 0.4, (count, 2))], axis=1).astype("float32")


def centred(corners: np.ndarray) -> np.ndarray:
    """Corners -> centre and size."""
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def test_overlaps():
    first, second = random_boxes(5), random_boxes(7)
    values = boxes.overlaps(first, second).numpy()
    np.testing.assert_allclose(values, average_precision.overlaps(first, second), atol=1e-6)
    assert 0 < values.max() < 1
    whole, moved, point = (tf.constant([box]) for box in ([0.0, 0, 1, 1], [0.0, 0.5, 1, 1.5], [0.2, 0.2, 0.2, 0.2]))
    assert boxes.overlaps(whole, moved).numpy().item() == pytest.approx(1 / 3)
    assert boxes.overlaps(point, point).numpy().item() == 0


def test_offsets_by_hand_and_back():
    default = np.array([[0.5, 0.5, 0.2, 0.4]], "float32")
    offsets = boxes.offsets_of(np.array([[0.4, 0.5, 0.8, 0.7]], "float32"), default).numpy()
    # The centre moves by (0.1, 0.1), half a height and a quarter of a width; the height doubles, the width halves.
    np.testing.assert_allclose(offsets, [[5.0, 2.5, np.log(2) / 0.2, -np.log(2) / 0.2]], rtol=1e-5)
    own, defaults = random_boxes(50), centred(random_boxes(50))
    np.testing.assert_allclose(boxes.boxes_of(boxes.offsets_of(own, defaults), defaults), own, atol=1e-5)
    assert np.isfinite(boxes.boxes_of(np.full((1, 4), 1e6, "float32"), defaults[:1]).numpy()).all()


def plain_match(objects: np.ndarray, defaults: np.ndarray) -> np.ndarray:
    """The number of the object of each default box, -1 for none."""
    corners = boxes.corners(defaults).numpy()
    overlap = average_precision.overlaps(corners, objects[:, 1:])
    chosen = np.where(overlap.max(axis=1) > 0.5, overlap.argmax(axis=1), -1)
    for number in np.argsort(overlap.max(axis=0)):  # of two that want the same one, the nearer comes last
        chosen[overlap[:, number].argmax()] = number
    return chosen


def test_matching():
    defaults = centred(random_boxes(300))
    pictures = [np.concatenate([RANDOM.integers(0, 4, (count, 1)), random_boxes(count)], 1) for count in (3, 6)]
    padded = np.full((3, 6, 5), boxes.PADDING, "float32")
    for row, own in zip(padded, pictures, strict=False):
        row[: len(own)] = own
    matched = boxes.match(tf.constant(padded), tf.constant(defaults)).numpy()
    for own, row in zip(pictures, matched, strict=False):
        chosen = plain_match(own, defaults)
        assert {*chosen} == {-1, *range(len(own))}  # each object has a default box
        np.testing.assert_array_equal(row[:, 0], np.where(chosen >= 0, own[chosen, 0] + 1, 0))
        is_matched = chosen >= 0
        offsets = boxes.offsets_of(own[chosen[is_matched], 1:].astype("float32"), defaults[is_matched])
        np.testing.assert_allclose(row[is_matched, 1:], offsets, rtol=1e-4, atol=1e-4)
        assert not row[~is_matched].any()
    assert not matched[2].any()  # a picture without objects
    assert not boxes.match(tf.zeros((2, 0, 5)), tf.constant(defaults)).numpy().any()


def plain_suppression(corners, probabilities, most, overlap, least) -> list[tuple]:
    """(class, probability, box) of a picture, best first."""
    found = []
    for number in range(probabilities.shape[1]):
        left = [place for place in np.argsort(-probabilities[:, number]) if probabilities[place, number] > least]
        while left:
            best, *left = left
            found.append((number, probabilities[best, number], corners[best]))
            shared = average_precision.overlaps(corners[[best]], corners[left])[0] if left else []
            left = [place for place, value in zip(left, shared, strict=True) if value <= overlap]
    return sorted(found, key=lambda each: -each[1])[:most]


@pytest.mark.parametrize(("most", "overlap", "least"), [(200, 0.45, 0.3), (5, 0.2, 0.01), (300, 0.8, 0.9)])
def test_suppression(most, overlap, least):
    corners = np.stack([random_boxes(80), random_boxes(80)]) * 1.4 - 0.1  # some reach over the border
    probabilities = RANDOM.random((2, 80, 3)).astype("float32")
    found, scores, classes, count = (
        value.numpy() for value in boxes.suppress(corners.astype("float32"), probabilities, most, overlap, least)
    )
    assert found.shape == (2, most, 4)
    for picture in range(2):
        expected = plain_suppression(np.clip(corners[picture], 0, 1), probabilities[picture], most, overlap, least)
        assert count[picture] == len(expected) > 0
        np.testing.assert_array_equal(classes[picture, : len(expected)], [row[0] for row in expected])
        np.testing.assert_allclose(scores[picture, : len(expected)], [row[1] for row in expected], rtol=1e-6)
        np.testing.assert_allclose(found[picture, : len(expected)], [row[2] for row in expected], atol=1e-6)
        assert not scores[picture, len(expected) :].any()


def drawn(box: np.ndarray) -> np.ndarray:
    """A picture (60, 80, 1) with a light rectangle, of which `box` gives the corners in pixels."""
    image = np.zeros((60, 80, 1), "float32")
    top, left, bottom, right = box
    image[top:bottom, left:right] = 1
    return image


def extent(image: np.ndarray) -> np.ndarray:
    """The corners of what is lighter than half, in fractions of the picture."""
    rows, columns = (np.flatnonzero(image[..., 0].max(axis=axis) > 0.5) for axis in (1, 0))
    return np.array([rows[0] / 60, columns[0] / 80, (rows[-1] + 1) / 60, (columns[-1] + 1) / 80])


BOX = np.array([20, 30, 38, 52])
OBJECT = np.array([[7.0, *(BOX / [60, 80, 60, 80])]], "float32")


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_flips(seed):
    draws = augmentation.draw_crop((3, seed))
    image = augmentation.upend(augmentation.mirror(drawn(BOX)[np.newaxis], draws[np.newaxis]), draws[np.newaxis])
    moved = boxes.upended(boxes.mirrored(tf.constant(OBJECT), draws), draws).numpy()
    assert moved[0, 0] == 7
    np.testing.assert_allclose(moved[0, 1:], extent(image[0].numpy()), atol=1e-6)


def test_the_two_flips_are_independent():
    draws = np.stack([augmentation.draw_crop((3, seed)) for seed in range(400)])
    images = np.broadcast_to(drawn(BOX), (400, 60, 80, 1))
    image = augmentation.upend(augmentation.mirror(images, draws), draws).numpy()
    kinds = {tuple(np.round(extent(own), 3)) for own in image}
    assert len(kinds) == 4
    counts = [sum(tuple(np.round(extent(own), 3)) == kind for own in image) for kind in kinds]
    assert min(counts) > 60


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_crops(seed):
    draws = augmentation.draw_crop((3, seed))
    image = augmentation.resized_crop(drawn(BOX)[np.newaxis], draws[np.newaxis], 0.5)[0].numpy()
    window = augmentation.cropped_window(draws, (60, 80), 0.5)
    moved = boxes.seen(tf.constant(OBJECT), window).numpy()
    assert len(moved) == 1
    np.testing.assert_allclose(moved[0, 1:], extent(image), atol=1 / 60)  # a pixel


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_zoom_and_shift(seed):
    draws = augmentation.draw((3, seed))
    image = augmentation.distort(tf.constant(drawn(BOX)[np.newaxis]), draws[np.newaxis], zoom=0.5, shift=6.0)[0].numpy()
    window = augmentation.distorted_window(draws, (60, 80), zoom=0.5, shift=6.0)
    moved = boxes.seen(tf.constant(OBJECT), window).numpy()
    np.testing.assert_allclose(moved[0, 1:], extent(image), atol=1 / 60)


def test_objects_beyond_a_window():
    rows = np.array([[1, 0.0, 0.0, 0.4, 0.4], [2, 0.3, 0.3, 0.9, 0.9], [3, 0.1, 0.6, 0.3, 1.0]], "float32")
    found = boxes.seen(tf.constant(rows), tf.constant([0.25, 0.25, 0.75, 0.75])).numpy()
    np.testing.assert_allclose(found, [[2, 0.1, 0.1, 1.0, 1.0]], atol=1e-6)  # the others have their centre outside
    assert boxes.seen(tf.zeros((0, 5)), tf.constant([0.0, 0, 1, 1])).shape == (0, 5)
