"""Pictures with boxes from folders in the formats of PASCAL VOC and COCO, and the builder of blood cells."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from tests.helpers.box_folders import draw_scene, voc, write_coco, write_voc
from zoo.data.box_folders import BoxFolder
from zoo.data.sources import open_source
from zoo.errors import NoSplitError, ZooError

LAYOUT = BoxFolder(frozenset({".png", ".jpg"}))
LABELS = ["disc", "square"]


def read(folder, split="all", layout=LAYOUT) -> dict[str, list]:
    """Picture -> [class, xmin, ymin, xmax, ymax] of each object in pixels of 48 x 36, and checks of the source."""
    source = open_source(folder, split, ("image", "objects"), layout)
    rows = {}
    for example in source.dataset.as_numpy_iterator():
        boxes = example["objects"]["bbox"][:, [1, 0, 3, 2]] * [48, 36, 48, 36]
        names = [source.labels[number] for number in example["objects"]["label"]]
        assert example["image"].startswith(b"\x89PNG")
        rows[example["file"].decode().rpartition("/")[2]] = [
            (name, *box) for name, box in zip(names, np.round(boxes, 4).tolist(), strict=True)
        ]
    assert source.examples == len(rows)
    assert source.labels == LABELS
    return rows


def expected(numbers) -> dict[str, list]:
    return {f"{number}.png": draw_scene(number)[1] for number in numbers}


@pytest.mark.parametrize("write", [write_voc, write_coco])
def test_the_boxes_of_a_folder(write, tmp_path):
    folder = write(tmp_path / "data")
    assert read(folder) == expected(range(20))
    parts = [read(folder, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [14, 2, 4]
    assert {**parts[0], **parts[1], **parts[2]} == expected(range(20))
    first, again = (open_source(folder, "train", ("objects",), LAYOUT).fingerprint for _ in range(2))
    assert first == again


def test_a_change_of_a_box_changes_the_fingerprint(tmp_path):
    folder = write_voc(tmp_path / "data", 3)
    first = open_source(folder, "all", ("objects",), LAYOUT).fingerprint
    (folder / "Annotations" / "1.xml").write_text(voc((48, 36), [("disc", 1, 1, 9, 9)]))
    assert open_source(folder, "all", ("objects",), LAYOUT).fingerprint != first


def test_official_lists_of_voc(tmp_path):
    folder = write_voc(tmp_path / "data", 6)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name, numbers in {"train": "0 2 4", "val": "1", "test": "3 5"}.items():
        (lists / f"{name}.txt").write_text("\n".join(numbers.split()) + "\n")
    assert read(folder, "train") == expected((0, 2, 4))
    assert read(folder, "validation") == expected((1,))
    assert read(folder, "test") == expected((3, 5))
    (lists / "val.txt").write_text("9\n")
    with pytest.raises(ZooError, match=r"val\.txt names '9', which has no annotation"):
        read(folder, "train")


def test_lists_of_voc_with_spaces_repetitions_and_a_byte_order_mark(tmp_path):
    folder = write_voc(tmp_path / "data", 4)
    (folder / "JPEGImages" / "3.png").rename(folder / "JPEGImages" / "drei 3 ü.png")
    (folder / "Annotations" / "3.xml").rename(folder / "Annotations" / "drei 3 ü.xml")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n0\n1  1\ndrei 3 ü\n", "utf-8-sig")
    (lists / "val.txt").write_text("1\n2\n")
    spaced = {"drei 3 ü.png": draw_scene(3)[1]}
    assert read(folder, "train") == expected((0, 1)) | spaced
    assert read(folder, "all") == expected((0, 1, 2)) | spaced
    (lists / "val.txt").write_bytes(b"1\n\xfc")
    with pytest.raises(ZooError, match=r"val\.txt: byte 2 is not UTF-8"):
        read(folder)


@pytest.mark.parametrize("write", [write_voc, write_coco])
def test_subfolders_that_are_splits(write, tmp_path):
    write(tmp_path / "train", 4)
    write(tmp_path / "valid", 2, first=4)
    assert read(tmp_path, "train") == expected(range(4))
    assert read(tmp_path, "validation") == expected((4, 5))
    with pytest.raises(NoSplitError, match="no split 'test'; it has train, validation, all"):
        read(tmp_path, "test")


def test_a_json_file_per_split(tmp_path):
    write_coco(tmp_path, 3, file="annotations/instances_train2017.json")
    write_coco(tmp_path, 2, first=3, file="annotations/instances_val2017.json")
    assert read(tmp_path, "train") == expected(range(3))
    assert read(tmp_path, "validation") == expected((3, 4))
    (tmp_path / "annotations" / "instances_val2017.json").rename(tmp_path / "annotations" / "other.json")
    with pytest.raises(ZooError, match="several JSON files, instances_train2017.json, other.json: keep one"):
        read(tmp_path)


def test_boxes_outside_and_without_area(tmp_path):
    folder = write_voc(tmp_path / "data", 2)
    rows = [("disc", -4, 5, 12, 50), ("square", 60, 5, 70, 9), ("square", 7, 8, 7, 20), ("square", 9, 9, 2, 20)]
    (folder / "Annotations" / "0.xml").write_text(voc((48, 36), rows))
    with pytest.warns(UserWarning, match="boxes") as caught:
        found = read(folder)
    assert found["0.png"] == [("disc", 0, 5, 12, 36)]
    left_out, cut = sorted((str(each.message) for each in caught), key=lambda text: "are cut" in text)
    total = 4 + len(draw_scene(1)[1])
    assert left_out == (
        f"3 of {total} boxes have no area inside their picture and are left out: 0: square 60 5 70 9 in 48 x 36; "
        "0: square 7 8 7 20 in 48 x 36; 0: square 9 9 2 20 in 48 x 36"
    )
    assert cut.startswith(f"1 of {total} boxes reach over the border of their picture and are cut: 0: disc -4 5 12 50")


def test_a_picture_without_objects(tmp_path):
    folder = write_voc(tmp_path / "data", 3)
    (folder / "Annotations" / "1.xml").write_text(voc((48, 36), []))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(folder)["1.png"] == []


def test_a_picture_that_is_missing(tmp_path):
    folder = write_coco(tmp_path / "data", 4)
    (folder / "2.png").unlink()
    with pytest.raises(ZooError, match="1 of 4 annotations in .* have no picture: 2.png of annotations.json; add"):
        read(folder)
    with pytest.warns(UserWarning, match="1 of 4 annotations in .* have no picture and are left out"):
        source = open_source(folder, "all", ("image", "objects"), LAYOUT, skip_missing=True)
    assert source.examples == 3


def test_a_picture_of_another_size(tmp_path):
    folder = write_voc(tmp_path / "data", 2)
    Image.new("RGB", (24, 18)).save(folder / "JPEGImages" / "1.png")
    with pytest.raises(ZooError, match=r"1\.png has 24 x 18 pixels, but .*1\.xml says 48 x 36"):
        read(folder)


def test_a_turned_photo_has_the_size_of_the_upright_one(tmp_path):
    (tmp_path / "a.xml").write_text(voc((36, 48), [("disc", 1, 2, 30, 40), ("square", 1, 2, 30, 40)]))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 36)).save(tmp_path / "a.jpg", exif=exif)
    assert open_source(tmp_path, "all", ("image", "objects"), LAYOUT).examples == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.xml", "<annotation>", "a.xml is not an XML file"),
        ("a.xml", "<annotation></annotation>", "a.xml: the width of a picture must be an integer >= 1, got None"),
        ("a.xml", voc((9, 9), [("disc", "x", 1, 2, 3)]), "a.xml: bndbox/xmin must be a number, got 'x'"),
        ("a.xml", voc((9, 9), [("", 1, 1, 2, 3)]), "a.xml: an object has no name"),
        ("a.xml", voc((9, 9), []), "has 1 annotations, but no boxes"),
        ("a.xml", '<?xml version="1.0" encoding="x"?><a/>', "a.xml is not an XML file: unknown encoding: x"),
        ("a.xml", '<?xml version="1.0" encoding="gb2312"?><a/>', "a.xml is not an XML file: multi-byte encodings"),
        ("a.json", "[" * 200_000, "a.json is not a JSON file"),
        ("a.json", "[", "a.json is not a JSON file"),
        ("a.json", "[]", "a.json must be a JSON object with images, annotations and categories"),
        ("a.txt", "", "has no annotations: expected XML files"),
    ],
)
def test_annotations_that_cannot_be_read(file, content, message, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(ZooError, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(image_id=9), "the annotation 0 has the image_id 9, which does not exist"),
        (lambda row: row.update(category_id=9), "the annotation 0 has the category_id 9, which does not exist"),
        (lambda row: row.update(image_id=[9]), r"annotations\[0\]: image_id must be a number or a text, got \[9\]"),
        (lambda row: row.pop("bbox"), r"annotations\[0\] has no bbox"),
        (lambda row: row.update(bbox=[1, 2, "x", 4]), "the annotation 0 needs a bbox of four numbers"),
        (lambda row: row.update(bbox=[1, 2, 4]), "the annotation 0 needs a bbox of four numbers"),
        (lambda row: row.update(bbox=None), "the annotation 0 needs a bbox of four numbers: .*, got None"),
        (lambda row: row.update(bbox=[1, 2, float("nan"), 4]), "the annotation 0 needs a bbox of four numbers"),
        (lambda row: row.update(bbox=[1, 2, 10**400, 4]), "the annotation 0 needs a bbox of four numbers"),
    ],
)
def test_entries_of_coco_that_are_wrong(change, message, tmp_path):
    file = write_coco(tmp_path, 2) / "annotations.json"
    content = json.loads(file.read_text())
    change(content["annotations"][0])
    file.write_text(json.dumps(content))
    with pytest.raises(ZooError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["images"][1].update(id=100), "0.png and 1.png have the same id, 100"),
        (lambda content: content["images"].append("x"), r"images\[2\] must be an object with id, file_name, got x"),
        (lambda content: content.update(images=None), "images must be a list, got None"),
    ],
)
def test_images_of_coco_that_are_wrong(change, message, tmp_path):
    file = write_coco(tmp_path, 2) / "annotations.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ZooError, match=message):
        read(tmp_path)


def test_a_byte_order_mark_is_skipped(tmp_path):
    file = write_coco(tmp_path, 3) / "annotations.json"
    file.write_text(file.read_text(), "utf-8-sig")
    assert read(tmp_path) == expected(range(3))


def test_crowds_are_left_out(tmp_path):
    file = write_coco(tmp_path, 3) / "annotations.json"
    content = json.loads(file.read_text())
    content["annotations"].append({"image_id": 100, "category_id": 4, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    file.write_text(json.dumps(content))
    assert read(tmp_path) == expected(range(3))


def test_blood_cells(tmp_path):
    """The builder halves nothing and drops the boxes without area; splits are those of the lists."""
    folder = tmp_path / "downloads" / "manual" / "bccd" / "BCCD"
    for place in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / place).mkdir(parents=True)
    rows = [("RBC", 6, 4.5, 24, 18), ("WBC", 0, 0, 48, 36), ("RBC", 5, 5, 5, 5)]
    for name in "abc":
        Image.new("RGB", (48, 36)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(voc((48, 36), rows))
    for name, list_name in zip("abc", ("train", "val", "test"), strict=True):
        (folder / "ImageSets" / "Main" / f"{list_name}.txt").write_text(f"{name}\n")
    for split in ("train", "validation", "test"):
        source = open_source("bccd", split, ("image", "objects"), data_dir=tmp_path)
        [example] = source.dataset.as_numpy_iterator()
        assert source.labels == ["Platelets", "RBC", "WBC"]
        assert example["objects"]["label"].tolist() == [1, 2]
        np.testing.assert_allclose(example["objects"]["bbox"], [[0.125, 0.125, 0.5, 0.5], [0, 0, 1, 1]])


def test_blood_cells_that_are_not_there(tmp_path):
    with pytest.raises(ZooError, match="into bccd/ put the folder BCCD"):
        open_source("bccd", "train", ("image", "objects"), data_dir=tmp_path)
