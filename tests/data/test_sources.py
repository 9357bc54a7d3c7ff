"""Folders and TFDS as sources of examples."""

import collections
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.registering import distribution
from zoo.data import sources
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks.inputs.image import ImageInput

SPLITS = ("train", "validation", "test")


def open_images(path, split, fields, **options):
    return open_source(path, split, fields, ImageInput.layout, **options)


def files_of(source) -> list[str]:
    return [example["file"].numpy().decode() for example in source.dataset]


def test_splits_of_a_folder(digits_folder):
    sources = {split: open_images(digits_folder, split, ("image", "label")) for split in SPLITS}
    assert {split: source.examples for split, source in sources.items()} == {"train": 42, "validation": 6, "test": 12}
    files = {split: files_of(source) for split, source in sources.items()}
    assert {split: len(names) for split, names in files.items()} == {"train": 42, "validation": 6, "test": 12}
    together = sum(files.values(), [])
    assert sorted(together) == sorted(str(file) for file in digits_folder.rglob("*.png"))
    for split, source in sources.items():
        assert source.labels == ["0", "1", "7"]
        assert files_of(open_images(f"{digits_folder}/", split, ("image",))) == files[split]
        for example in source.dataset:
            name = example["file"].numpy().decode()
            assert source.labels[example["label"]] == name.split("/")[-2]
            with open(name, "rb") as file:
                assert example["image"].numpy() == file.read()
    assert len(collections.Counter(name.split("/")[-2] for name in files["train"])) == 3  # mixed, not sorted


def test_other_files_in_a_folder_are_ignored(tmp_path):
    for label in ("b", "a", ".hidden", "C"):
        (tmp_path / label / "deep").mkdir(parents=True)
        for number in range(5):
            draw_digit("7").save(tmp_path / label / "deep" / f"{number}.PNG")
        (tmp_path / label / "notes.txt").write_text("no image")
    (tmp_path / "loose.png").write_bytes(b"")
    sources = [open_images(tmp_path, split, ("label",)) for split in SPLITS]
    assert [source.labels for source in sources] == [["C", "a", "b"]] * 3
    assert [source.examples for source in sources] == [10, 2, 3]


def test_a_folder_with_two_validation_splits_is_refused(tmp_path):
    for split in ("train", "val", "validation"):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / "0.png").touch()
    with pytest.raises(ZooError, match="has val and validation, which are the same split: keep one of them"):
        open_source(tmp_path, "train", ("image",), ImageInput.layout)


def test_a_folder_that_is_divided_already(tmp_path, digits_folder):
    import shutil

    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for digit in "01":
            (tmp_path / split / digit).mkdir(parents=True)
            for file in sorted((digits_folder / digit).iterdir())[:count]:
                shutil.copy(file, tmp_path / split / digit)
    sources = {split: open_images(tmp_path, split, ("label",)) for split in SPLITS}
    assert [source.examples for source in sources.values()] == [10, 4, 6]
    assert all(source.labels == ["0", "1"] and source.name == str(tmp_path) for source in sources.values())
    assert sorted(row["label"] for row in sources["test"].dataset.as_numpy_iterator()) == [0, 0, 0, 1, 1, 1]
    assert not sources["train"].overlaps(sources["validation"])
    (tmp_path / "test" / "2").mkdir()
    with pytest.raises(ZooError, match="test/2 is not a class of .*train"):
        open_images(tmp_path, "test", ("label",))
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(ZooError, match="has no split 'test'; it has train, validation, all$"):
        open_images(tmp_path, "test", ("label",))


def test_splits_overlap_if_they_have_rows_in_common(digits_folder):
    sources = [open_images(digits_folder, split, ("label",)) for split in SPLITS]
    for source in sources:
        assert [source.overlaps(other) for other in sources] == [source is other for other in sources]


def test_folders_that_are_not_a_data_set(tmp_path, digits_folder):
    (tmp_path / "file").write_text("x")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    draw_digit("7").save(tmp_path / "one" / "cat" / "1.png")
    for label in "ab":
        (tmp_path / "none" / label).mkdir(parents=True)
    for folder, message in (
        (tmp_path / "one", "needs one subfolder of images per class; it has 1 with 1 images"),
        (tmp_path / "none", "it has 2 with 0 images"),
        (tmp_path / "missing", "there is no folder .*missing"),
        (tmp_path / "file", "file is a file; expected a folder with one subfolder of images per class"),
    ):
        for name in (folder, str(folder)):
            with pytest.raises(ZooError, match=message):
                open_images(name, "train", ("image",))
    with pytest.raises(ZooError, match="has no split 'validate'; it has train, validation, test"):
        open_images(digits_folder, "validate", ("image",))
    with pytest.raises(ZooError, match="has no field 'text'; it has image, file, label"):
        open_images(digits_folder, "train", ("text",))
    with pytest.raises(ZooError, match="has no field 'text' or 'frames'; it has image, file, label"):
        open_images(digits_folder, "train", (("text", "frames"),))
    assert open_images(digits_folder, "train", (("text", "image"), "label")).dataset.element_spec.keys() == {
        "image", "file", "label"}  # fmt: skip
    for limit in (0, -3):
        with pytest.raises(ZooError, match="must be an integer >= 1"):
            open_images(digits_folder, "train", ("image",), limit=limit)
    draw_digit("1").save(tmp_path / "none" / "a" / "1.png")
    draw_digit("1").save(tmp_path / "none" / "b" / "1.png")
    with pytest.raises(ZooError, match="too few images for the split 'test'"):
        open_images(tmp_path / "none", "test", ("image",))


def test_limit(digits_folder):
    whole = files_of(open_images(digits_folder, "train", ("image",)))
    for limit in (1, 5, 42, 1000):
        source = open_images(digits_folder, "train", ("image",), limit=limit)
        assert source.examples == min(limit, 42)
        assert files_of(source) == whole[:limit]


class ZooTinyDigits(tfds.core.GeneratorBasedBuilder):
    """Fifty drawn digits in one piece, made for these tests."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1)),
            "label": tfds.features.ClassLabel(names=["l", "o"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(50):
            picture = np.asarray(draw_digit("10"[number % 2], 20 + number % 7))[..., None]
            yield number, {"image": picture, "label": number % 2}


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    ZooTinyDigits(data_dir=folder).download_and_prepare()
    return folder


def test_tfds_by_name(tfds_folder):
    source = open_source("zoo_tiny_digits", "train", ("image", "label"), data_dir=tfds_folder)
    assert (source.name, source.version, source.examples, source.labels) == ("zoo_tiny_digits", "1.0.0", 50, ["l", "o"])
    examples = list(source.dataset.as_numpy_iterator())
    assert sum(example["label"] for example in examples) == 25
    assert all(example["image"].startswith(b"\x89PNG") for example in examples)  # still encoded
    half = open_source("zoo_tiny_digits", "train[:40%]", ("label",), data_dir=tfds_folder)
    assert half.examples == len(list(half.dataset)) == 20
    with pytest.raises(ZooError, match="unknown split of zoo_tiny_digits 'tran'; did you mean train"):
        open_source("zoo_tiny_digits", "tran", ("image",), data_dir=tfds_folder)
    with pytest.raises(ZooError, match="has no field 'text'; it has image, label"):
        open_source("zoo_tiny_digits", "train", ("text",), data_dir=tfds_folder)


def test_splits_of_a_data_set_in_one_piece(tfds_folder, monkeypatch):
    monkeypatch.setattr(sources, "_ONE_PIECE", ("zoo_tiny_digits",))
    everything = open_source("zoo_tiny_digits", "train[:100%]", ("image",), data_dir=tfds_folder)
    whole = [example["image"] for example in everything.dataset.as_numpy_iterator()]
    parts = []
    for split, count in (("train", 35), ("validation", 5), ("test", 10)):
        source = open_source("zoo_tiny_digits", split, ("image",), data_dir=tfds_folder)
        assert source.examples == count
        parts += [example["image"] for example in source.dataset.as_numpy_iterator()]
    assert parts == whole


def test_names_that_tfds_does_not_have(tmp_path):
    for name, message in (
        ("mnits", "unknown data set 'mnits'; did you mean mnist or"),
        ("tf_flower", "did you mean tf_flowers or"),
        ("no/such/folder", "there is no folder no/such/folder"),
        ("mnist/nope", "'mnist/nope' is not a data set"),
        ("bit_sequences/cop", "unknown data set of bit_sequences 'cop'; did you mean copy"),
        ("mnist:9.9.9", "'mnist:9.9.9' is not a data set"),
        ("", "'' is not a data set"),
        ("two words", "'two words' is not a data set"),
    ):
        with pytest.raises(ZooError, match=message) as raised:
            open_source(name, "train", ("image",), data_dir=tmp_path)
        assert "\n" not in str(raised.value)
    with pytest.raises(ZooError, match="to look for data sets in"):
        open_source("mnist", "train", ("image",), data_dir=tmp_path / "missing")


def test_a_folder_with_the_name_of_a_data_set_keeps_a_separator(digits_folder, tmp_path, monkeypatch):
    """So that a record of its name can't be read as the data set."""
    monkeypatch.chdir(tmp_path)
    for folder in ("mnist", "mine"):
        Path(folder).symlink_to(digits_folder)
    names = [open_images(place, "train", ("image",)).name for place in (Path("mnist"), "./mnist", "mine")]
    assert names == ["./mnist", "./mnist", "mine"]


def test_photos_of_every_format_are_trained_on(tmp_path):
    """TensorFlow can't decode the last ones; also if their names have another suffix."""
    picture = draw_digit("7", 20).convert("RGB")
    names = {"a.png": "PNG", "b.bmp": "BMP", "c.webp": "WEBP", "d.tiff": "TIFF", "e.jpg": "WEBP", "f.tif": "TIFF"}
    for label in ("x", "y"):
        (tmp_path / label).mkdir()
        for name, kind in names.items():
            picture.save(tmp_path / label / name, kind, **({"lossless": True} if kind == "WEBP" else {}))
    model = zoo.create_model("mlp", classes=2, hidden_units=(2,))
    model.compile("adam", "mse")
    [(pictures, _)] = list(zoo.dataset(tmp_path, "all", model=model, batch_size=20))
    assert len(pictures) == 12
    np.testing.assert_array_equal(pictures, np.repeat(pictures[:1], 12, axis=0))
    (tmp_path / "x" / "g.webp").write_bytes(b"RIFF????WEBP")
    with pytest.raises(ZooError, match=r"g.webp: not an image"):
        model.fit(zoo.dataset(tmp_path, "all", model=model), verbose=0)


def test_a_broken_package_of_data_sets_is_left_out_with_a_warning(tmp_path, monkeypatch):
    distribution(tmp_path, "acme-data", {"acme_data.py": "raise RuntimeError('boom')"}, {"x": "acme_data"}, "zoo.data")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(UserWarning, match=r"data sets of acme-data \(acme_data\) are left out: boom"):
        sources._register()
