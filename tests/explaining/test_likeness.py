"""Likeness of two faces: the heat of occlusion on each of them."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers.models import make
from tests.helpers.portraits import draw_portrait
from tests.helpers.short_graphs import short_reader
from zoo.errors import InputError, ZooError
from zoo.explaining import likeness
from zoo.tasks import task_of

FACES = [np.asarray(draw_portrait(person, 0)) for person in range(3)]


@pytest.fixture(scope="module", autouse=True)
def reader():
    with short_reader():
        yield


@pytest.fixture(scope="module")
def model():
    return make("face_embedding")


def test_both_faces_have_heat_and_the_distance_of_the_answer(model, tmp_path):
    rows = zoo.explain(model, FACES[:2], tmp_path / "out.png")
    [expected] = zoo.pipeline(model).compare(FACES[:2])
    for row, other in zip(rows, rows[::-1], strict=True):
        assert row["distance"] == pytest.approx(expected["distance"], abs=1e-6)
        assert row["same"] == expected["same"]
        assert row["other"] == other["input"]
        assert row["heat"].shape == (32, 32)
        assert np.abs(row["heat"]).max() > 1e-3
    assert np.abs(rows[0]["heat"] - rows[1]["heat"]).max() > 1e-3
    assert Image.open(tmp_path / "out.png").width > 600
    assert likeness.line(rows[0]).startswith(f"{rows[0]['input']}: ")


def test_heat_is_the_mean_change_of_the_distance_over_covering_squares(model):
    """A pixel in the middle, against a loop over the squares that cover it."""
    task = task_of(model)
    image, other = (task.preprocess({"pixels": tf.constant(np.stack([face] * 3, -1))})["image"] for face in FACES[:2])
    heat = likeness.occlusion(task, image, other)
    point = model(other[None])[0]
    before = np.linalg.norm(model(image[None])[0] - point)
    side, row, column, changes = 5, 7, 5, []
    for top in (*range(0, 27, 2), 27):
        for left in (*range(0, 27, 2), 27):
            if top <= row < top + side and left <= column < left + side:
                covered = np.array(image)
                covered[top : top + side, left : left + side] = np.mean(image)
                changes.append(np.linalg.norm(model(covered[None])[0] - point) - before)
    assert len(changes) == 4
    assert heat[row, column] == pytest.approx(np.mean(changes), abs=1e-5)


def test_other_numbers_of_faces_and_bad_ones(model, tmp_path):
    with pytest.raises(ZooError, match="kind='likeness' compares two pictures, got 1"):
        zoo.explain(model, FACES[:1], tmp_path / "out.png")
    with pytest.raises(ZooError, match="kind='likeness' takes at most 2 inputs, got 3"):
        zoo.explain(model, FACES, tmp_path / "out.png")
    with pytest.raises(InputError, match="not an image"):
        zoo.explain(model, [FACES[0], b"no"], tmp_path / "out.png")
    rows = zoo.explain(model, [FACES[0], b"no"], tmp_path / "out.png", errors="return")
    assert rows[0]["error"] == "the other picture can't be read, so it is compared with nothing"
    assert rows[1]["error"].startswith("not an image")
    assert not (tmp_path / "out.png").exists()
