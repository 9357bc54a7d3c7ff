"""The builder orl_faces on portraits that are drawn here."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.portraits import draw_portrait
from zoo.data import faces
from zoo.data.sources import open_source
from zoo.errors import ZooError

SIZE = (9, 11)


@pytest.fixture
def manual(tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "WIDTH", SIZE[0])
    monkeypatch.setattr(faces, "HEIGHT", SIZE[1])
    folder = tmp_path / "downloads" / "manual" / "orl_faces"
    for person in range(1, 41):
        (folder / f"s{person}").mkdir(parents=True)
        for number in range(1, 11):
            draw_portrait(person, number, SIZE).save(folder / f"s{person}" / f"{number}.pgm")
    return folder


def opened(folder, fold, split):
    return open_source(f"orl_faces/fold_{fold}", split, ("image", "person"), data_dir=folder.parents[2])


def test_folds_have_all_people_once_as_test():
    splits = [faces.people_of(fold) for fold in range(4)]
    assert [person for own in splits for person in own["test"]] == [*range(1, 41)]
    for own in splits:
        assert sorted(sum(own.values(), [])) == [*range(1, 41)]
        assert [len(people) for people in own.values()] == [24, 6, 10]
    assert splits[3]["validation"] == [*range(25, 31)]
    assert splits[0]["validation"] == [*range(35, 41)]


def test_examples_are_the_portraits_of_the_people_of_a_split(manual):
    for split, people in (("train", range(1, 25)), ("validation", range(25, 31)), ("test", range(31, 41))):
        source = opened(manual, 3, split)
        assert source.labels is None  # names of people are not stored
        assert "Olivetti Research Laboratory" in source.terms
        rows = list(source.dataset.as_numpy_iterator())
        expected = [(person, number) for person in people for number in range(1, 11)]
        for row, (person, number) in zip(rows, expected, strict=True):
            assert row["person"] == person
            pixels = np.asarray(Image.open(io.BytesIO(row["image"])))
            np.testing.assert_array_equal(pixels, np.asarray(draw_portrait(person, number, SIZE)))


def test_a_missing_portrait_is_named(manual):
    (manual / "s7" / "10.pgm").unlink()
    with pytest.raises(ZooError, match=r"there is no .*s7/10.pgm: into orl_faces/ put the folders s1 to s40"):
        opened(manual, 0, "train")


def test_a_portrait_of_another_size_is_refused(manual):
    draw_portrait(2, 3, (8, 11)).save(manual / "s2" / "3.pgm")
    with pytest.raises(ZooError, match=r"s2/3.pgm must be 9 x 11 pixels, got 8 x 11"):
        opened(manual, 0, "test")
