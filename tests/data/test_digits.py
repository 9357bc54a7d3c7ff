"""MNIST's digits at random places of a larger image."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.data.digits import MnistTranslated, place
from zoo.data.sources import open_source

DIGITS = np.random.default_rng(0).integers(1, 256, (3, 28, 28, 1)).astype("uint8")


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A function split -> {label: image (60, 60)}; each split has the same three digits."""
    monkeypatch.setattr(MnistTranslated, "digits", lambda self, split: zip(DIGITS, (4, 7, 9), strict=True))

    def read(split):
        source = open_source("mnist_translated", split, ("image", "label"), data_dir=tmp_path)
        rows = source.dataset.as_numpy_iterator()
        return {int(row["label"]): tf.io.decode_png(row["image"]).numpy()[..., 0] for row in rows}

    return read


def test_each_split_has_its_own_places(opened):
    places = {}
    for split in ("train", "validation", "test", "centred"):
        images = opened(split)
        assert [*sorted(images)] == [4, 7, 9]
        for number, label in enumerate((4, 7, 9)):
            assert images[label].shape == (60, 60)
            top, left = (np.flatnonzero(images[label].any(axis=axis))[0] for axis in (1, 0))
            expected = np.zeros((60, 60), "uint8")
            expected[top : top + 28, left : left + 28] = DIGITS[number, ..., 0]
            np.testing.assert_array_equal(images[label], expected)
            places[split, number] = (int(top), int(left))
    assert {places["centred", number] for number in range(3)} == {(16, 16)}
    assert len({*places.values()}) == 10
    assert places["train", 2] == place(2, 0, 32)  # the same whenever it is built


def test_places_are_uniform():
    rows = np.array([place(number, 2, 32) for number in range(3000)])
    assert (rows.min(axis=0).tolist(), rows.max(axis=0).tolist()) == ([0, 0], [32, 32])
    assert np.abs(rows.mean(axis=0) - 16).max() < 0.6
    assert rows.std(axis=0) == pytest.approx([9.52, 9.52], rel=0.05)
