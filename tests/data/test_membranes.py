"""The builder isbi2012 on a small stack."""

import io

import numpy as np
import pytest
from PIL import Image

from zoo.data import membranes
from zoo.data.sources import open_source
from zoo.errors import ZooError

SIDE = 16
IMAGES = np.random.default_rng(0).integers(0, 256, (30, SIDE, SIDE)).astype("uint8")
MASKS = np.random.default_rng(1).integers(0, 2, (30, SIDE, SIDE)).astype("uint8") * 255


def save_stack(path, pages):
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)


@pytest.fixture
def manual(tmp_path, monkeypatch):
    monkeypatch.setattr(membranes, "SIDE", SIDE)
    folder = tmp_path / "downloads" / "manual" / "isbi2012"
    folder.mkdir(parents=True)
    save_stack(folder / "train-volume.tif", IMAGES)
    save_stack(folder / "train-labels.tif", MASKS)
    return folder


def opened(folder, split):
    return open_source("isbi2012", split, ("image", "mask"), data_dir=folder.parents[2])


def test_splits_are_blocks_of_slices(manual):
    for split, numbers in (("train", range(20)), ("validation", range(20, 24)), ("test", range(24, 30))):
        source = opened(manual, split)
        assert source.labels == ["membrane", "cell"]
        rows = list(source.dataset.as_numpy_iterator())
        for row, number in zip(rows, numbers, strict=True):
            np.testing.assert_array_equal(Image.open(io.BytesIO(row["image"])), IMAGES[number])
            np.testing.assert_array_equal(Image.open(io.BytesIO(row["mask"])), MASKS[number] // 255)


def test_a_stack_of_another_size_is_refused(manual):
    save_stack(manual / "train-labels.tif", MASKS[:29])
    with pytest.raises(ZooError, match=r"train-labels.tif must have 30 pages of 16 x 16 pixels, got 29 of 16 x 16"):
        opened(manual, "train")


def test_grey_labels_are_refused(manual):
    save_stack(manual / "train-labels.tif", np.where(MASKS, 200, 0).astype("uint8"))
    with pytest.raises(ZooError, match="train-labels.tif must be black and white, but has the value 200"):
        opened(manual, "train")


def test_a_missing_file_is_named(manual):
    (manual / "train-labels.tif").unlink()
    with pytest.raises(ZooError, match="there is no .*train-labels.tif: into isbi2012/ put"):
        opened(manual, "train")
