"""Folders with one subfolder of pictures per person."""

import shutil

import pytest

from tests.helpers.portraits import draw_people
from zoo.data.person_folders import PersonFolders
from zoo.errors import NoSplitError, ZooError

LAYOUT = PersonFolders(frozenset({".png"}))


def people(path, split):
    """{name: (number, files)} of a split."""
    found = {}
    for stub in LAYOUT.open(path, split).stubs.as_numpy_iterator():
        *_, name, file = stub["file"].decode().split("/")
        number, files = found.setdefault(name, (int(stub["person"]), set()))
        assert number == stub["person"]
        files.add(file)
    return found


@pytest.fixture
def folder(tmp_path):
    return draw_people(tmp_path / "people", 10, 3, (8, 10))


def test_a_person_is_in_one_split_with_all_pictures(folder):
    (folder / "person0" / "._0.png").touch()  # macOS writes such files
    parts = [people(folder, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [6, 2, 2]
    together = {**parts[0], **parts[1], **parts[2]}
    assert sorted(together) == [f"person{number}" for number in range(10)]
    assert len({number for number, _ in together.values()}) == 10
    assert all(files == {"0.png", "1.png", "2.png"} for _, files in together.values())
    assert together == people(folder, "all")
    sources = [LAYOUT.open(folder, split) for split in ("train", "validation", "test", "all")]
    assert [source.overlaps(sources[3]) for source in sources] == [True] * 4
    assert not any(a.overlaps(b) for a in sources[:3] for b in sources[:3] if a is not b)


def test_subfolders_may_be_the_splits(folder, tmp_path):
    for number in range(10):
        split = "train" if number < 5 else "val" if number < 7 else "test"
        shutil.move(folder / f"person{number}", tmp_path / "divided" / split / f"person{number}")
    assert sorted(people(tmp_path / "divided", "validation")) == ["person5", "person6"]
    assert LAYOUT.counts(tmp_path / "divided")["person9"] == {"train": 0, "validation": 0, "test": 3}
    shutil.copytree(tmp_path / "divided" / "train" / "person0", tmp_path / "divided" / "test" / "person0")
    with pytest.raises(ZooError, match="test/person0 is the same person as .*train/person0: keep a person in one"):
        people(tmp_path / "divided", "train")


def test_people_with_one_picture_only(folder):
    for number in range(9):
        for name in ("1.png", "2.png"):
            (folder / f"person{number}" / name).unlink()
    with pytest.warns(UserWarning, match="9 of 10 people have one image only.*person0, person1.* and 4 more"):
        assert len(people(folder, "all")) == 10
    for name in ("1.png", "2.png"):
        (folder / "person9" / name).unlink()
    with pytest.raises(ZooError, match="each person of the split 'all' has one image only"):
        people(folder, "all")


def test_too_few_people(folder):
    for number in range(5, 10):
        shutil.rmtree(folder / f"person{number}")
    assert len(people(folder, "all")) == 5
    with pytest.raises(NoSplitError, match="has 5 people, too few for the split 'test': 6 or more are needed"):
        people(folder, "test")
    for number in range(1, 5):
        shutil.rmtree(folder / f"person{number}")
    with pytest.raises(ZooError, match="has one person in the split 'all': two or more"):
        people(folder, "all")
    (folder / "empty").mkdir()
    with pytest.raises(ZooError, match="empty has no images: fill it, or remove it"):
        people(folder, "all")
    shutil.rmtree(folder / "empty")
    with pytest.raises(NoSplitError, match="has no split 'dev'; it has all"):
        people(folder, "dev")
