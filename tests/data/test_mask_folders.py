"""Folders of pictures and masks."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.masks import draw_cells, draw_mask_folder
from zoo.data.mask_folders import MaskFolder
from zoo.errors import NoSplitError, ZooError

LAYOUT = MaskFolder(frozenset({".png", ".jpg", ".tif"}))


@pytest.fixture
def folder(tmp_path):
    return draw_mask_folder(tmp_path / "cells", 10)


def read(path, split="all"):
    """{(file name, page): (picture, mask)} of a split."""
    source = LAYOUT.open(path, split)
    rows = []
    for stub in source.stubs:
        example = {name: value.numpy() for name, value in source.load(stub).items()}
        arrays = [np.asarray(Image.open(io.BytesIO(example[name]))) for name in ("image", "mask")]
        rows.append(((example["file"].decode().rsplit("/")[-1], int(stub["page"])), arrays))
    assert len(rows) == source.examples
    return dict(rows)


def test_pictures_have_their_masks_and_one_split(folder):
    parts = [read(folder, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [7, 1, 2]
    assert len({name for part in parts for name in part}) == 10
    for (name, _), (picture, mask) in {**parts[0], **parts[1], **parts[2]}.items():
        expected = draw_cells((40, 40), int(name[:2]))
        np.testing.assert_array_equal(picture, expected[0])
        np.testing.assert_array_equal(mask, expected[1])
    assert LAYOUT.open(folder, "train").labels == ["membrane", "cell"]


def test_numbers_are_names_without_classes_txt_and_255_is_no_class(folder):
    (folder / "classes.txt").unlink()
    mask = np.full((40, 40), 255, "uint8")
    mask[0, 0] = 2
    Image.fromarray(mask).save(folder / "masks" / "03.png")
    assert LAYOUT.open(folder, "all").labels == ["0", "1", "2"]
    np.testing.assert_array_equal(read(folder)["03.png", 0][1], mask)


def test_black_and_white_masks_are_two_classes(folder):
    for number in range(10):
        mask = draw_cells((40, 40), number)[1]
        Image.fromarray(mask * 255).convert("1" if number % 2 else "L").save(folder / "masks" / f"{number:02}.png")
    for (name, _), (_, mask) in read(folder).items():
        np.testing.assert_array_equal(mask, draw_cells((40, 40), int(name[:2]))[1])


def test_palette_masks_have_the_numbers_of_the_palette(folder):
    mask = draw_cells((40, 40), 4)[1]
    picture = Image.fromarray(mask).convert("P")
    picture.putdata(mask.ravel().tolist())
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.save(folder / "masks" / "04.png")
    np.testing.assert_array_equal(read(folder)["04.png", 0][1], mask)


def test_coloured_masks_are_read_by_the_colours_of_classes_txt(folder):
    (folder / "classes.txt").write_text("cell\t#ff0080\nground\t#00ff00\n")
    colours = np.array([[0, 255, 0], [255, 0, 128]], "uint8")
    for number in range(10):
        pixels = colours[draw_cells((40, 40), number)[1]]
        pixels[0, 0] = 0  # black: no class
        Image.fromarray(pixels).save(folder / "masks" / f"{number:02}.png")
    expected = 1 - draw_cells((40, 40), 6)[1]
    expected[0, 0] = 255
    np.testing.assert_array_equal(read(folder)["06.png", 0][1], expected)
    pixels[5, 5] = (0, 0, 7)
    Image.fromarray(pixels).save(folder / "masks" / "09.png")
    with pytest.raises(ZooError, match=r"09.png has the colour #000007, which is not in .*classes.txt"):
        LAYOUT.open(folder, "train")


def test_pages_of_a_stack_are_divided_in_blocks(tmp_path):
    pairs = [draw_cells((20, 24), number) for number in range(10)]
    for place, name in enumerate(("images", "masks")):
        (tmp_path / name).mkdir()
        first, *others = [Image.fromarray(pair[place]) for pair in pairs]
        first.save(tmp_path / name / "stack.tif", save_all=True, append_images=others)
    parts = {split: read(tmp_path, split) for split in ("train", "validation", "test")}
    assert [[page for _, page in part] for part in parts.values()] == [[0, 1, 2, 3, 4, 5, 6], [7], [8, 9]]
    for page in (8, 9):
        picture, mask = parts["test"]["stack.tif", page]
        np.testing.assert_array_equal(picture, pairs[page][0])
        np.testing.assert_array_equal(mask, pairs[page][1])


def test_a_divided_folder_keeps_its_splits(tmp_path):
    draw_mask_folder(tmp_path / "train", 3)
    draw_mask_folder(tmp_path / "val", 2)
    assert [LAYOUT.open(tmp_path, split).examples for split in ("train", "validation", "all")] == [3, 2, 5]
    with pytest.raises(NoSplitError, match="has no split 'test'; it has train, validation, all"):
        LAYOUT.open(tmp_path, "test")


def test_a_turned_photo_has_an_upright_mask(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(folder / "images" / "turned.jpg", exif=exif)
    Image.new("L", (20, 30), 1).save(folder / "masks" / "turned.png")
    assert read(folder)["turned.jpg", 0][1].shape == (30, 20)


def test_suffixes_in_capital_letters(folder):
    for name in ("images", "masks"):
        (folder / name / "05.png").rename(folder / name / "05.PNG")
    np.testing.assert_array_equal(read(folder)["05.PNG", 0][1], draw_cells((40, 40), 5)[1])


def cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])


def stack(folder):
    """Makes picture 05 and its mask stacks of three pages."""
    for name in ("images", "masks"):
        (folder / name / "05.png").unlink()
        page = Image.new("L", (40, 40), 1)
        page.save(folder / name / "05.tif", save_all=True, append_images=[page, page])
    return folder


def numbers(folder, value):
    (folder / "masks" / "05.png").unlink()
    Image.fromarray(np.full((40, 40), value)).save(folder / "masks" / "05.tif")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: Image.new("L", (40, 39)).save(f / "masks/05.png"), "05.png is 40 x 40 pixels, .*40 x 39"),
        (lambda f: (f / "masks/05.png").unlink(), "05.png has no mask: expected .*masks/05.png, or .tif"),
        (lambda f: Image.new("L", (40, 40), 7).save(f / "masks/05.png"), "05.png has the class number 7, .*2 classes"),
        (lambda f: Image.new("RGB", (40, 40), "red").save(f / "masks/05.png"), "05.png is a mask in colours: name the"),
        (lambda f: (f / "masks/05.png").write_bytes(b"no"), "05.png is not an image that can be read"),
        (lambda f: (f / "classes.txt").write_text("cell\ncell"), "must name two or more different classes"),
        (lambda f: (f / "classes.txt").write_text("a\t#12\nb"), "every line, or none, must have a colour such as"),
        (lambda f: (f / "masks").rename(f / "labels"), "needs the subfolders images and masks"),
        (lambda f: (f / "classes.txt").write_bytes(b"F\xe4che\nb"), "classes.txt: byte 1 is not UTF-8"),
        (lambda f: cut(f / "images/05.png"), "images/05.png can't be read: .*; repair or remove it"),
        (lambda f: cut(f / "masks/05.png"), "masks/05.png can't be read: .*; repair or remove it"),
        (lambda f: cut(stack(f) / "masks/05.tif"), "masks/05.tif can't be read: .*; repair or remove it"),
        (lambda f: cut(stack(f) / "images/05.tif"), "images/05.tif can't be read: .*; repair or remove it"),
        (lambda f: numbers(f, np.float32(0.5)), "05.tif has values that are not integers: class numbers must be 0 to"),
        (lambda f: numbers(f, np.float32("nan")), "05.tif has values that are not integers"),
        (lambda f: numbers(f, np.int32(-3)), "05.tif has the class number -3: class numbers must be 0 to 254"),
    ],
)  # fmt: skip
def test_bad_folders_are_refused_by_name(folder, change, message):
    change(folder)
    with pytest.raises(ZooError, match=message):
        LAYOUT.open(folder, "train")
