"""Images with captions in the layout of Flickr8k's publisher."""

import io

import pytest

from tests.helpers.drawings import draw_digit
from zoo.data.captions import read_captions
from zoo.data.sources import open_source
from zoo.errors import ZooError

SPLITS = {"train": ("a.jpg", "b.jpg"), "dev": ("c.jpg",), "test": ("d.jpg",)}


def encoded(name: str) -> bytes:
    file = io.BytesIO()
    draw_digit(str("abcd".index(name[0]) % 3), 24).convert("RGB").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def manual(tmp_path):
    """TFDS's folder with four photos."""
    folder = tmp_path / "tfds" / "downloads" / "manual" / "flickr8k"
    (folder / "Flicker8k_Dataset").mkdir(parents=True)
    lines = []
    for split, names in SPLITS.items():
        (folder / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            (folder / "Flicker8k_Dataset" / name).write_bytes(encoded(name))
            lines += [f"{name}#{number}\tCaption {number} of {name} .\n" for number in range(5)]
    (folder / "Flickr8k.token.txt").write_text("".join(lines))
    return folder


def test_splits_and_captions_are_the_publishers(manual, tmp_path):
    fields = ("image", "captions")
    for split, names in (("train", SPLITS["train"]), ("validation", SPLITS["dev"]), ("test", SPLITS["test"])):
        source = open_source("flickr8k", split, fields, data_dir=tmp_path / "tfds")
        rows = {row["captions"].decode(): row["image"] for row in source.dataset.as_numpy_iterator()}
        expected = {"\n".join(f"Caption {number} of {name} ." for number in range(5)): encoded(name) for name in names}
        assert rows == expected
        assert source.terms.startswith("research use")


@pytest.mark.parametrize("missing", ["Flickr8k.token.txt", "Flickr_8k.devImages.txt", "Flicker8k_Dataset/d.jpg"])
def test_a_missing_file_is_named(manual, tmp_path, missing):
    (manual / missing).unlink()
    with pytest.raises(ZooError, match=missing):
        open_source("flickr8k", "train", ("image", "captions"), data_dir=tmp_path / "tfds")


@pytest.mark.parametrize("line", ["a.jpg#0 without a tab", "a.jpg\tno number", "a.jpg#0\t "])
def test_a_line_that_is_not_a_caption_is_named(tmp_path, line):
    path = tmp_path / "captions.txt"
    path.write_text(f"b.jpg#0\tA bee .\n{line}\n")
    with pytest.raises(ZooError, match="line 2: expected a name with #, a tab and a caption"):
        read_captions(path)
