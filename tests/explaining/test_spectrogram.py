"""The heat of a class over the features of a sound."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import chirp
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.tasks import task_of


@pytest.fixture(scope="module")
def model():
    return make("conv_acoustic")


def test_heat_and_features_of_sounds(model, tmp_path):
    """Each row has its own sound's frames; a single frame has no extent; a bad item gets its error."""
    sounds = [chirp(500, 0.3), [0.1] * 50, [np.nan]]
    rows = zoo.explain(model, sounds, tmp_path / "out.png", errors="return")
    assert rows[0].keys() == {"input", "label", "score", "layer", "heat", "features"}
    assert rows[0]["heat"].shape == rows[0]["features"].shape == (28, 40)
    assert rows[0]["heat"].max() == 1
    assert 0 <= rows[0]["heat"].min() < 0.1
    inputs = task_of(model).preprocess({"waveform": tf.constant(sounds[0], tf.float32)})
    np.testing.assert_allclose(rows[0]["features"], inputs["frames"], atol=1e-4)
    assert rows[0]["layer"] == "conv2"
    answer = zoo.pipeline(model)(sounds[0])
    assert rows[0]["label"] == answer["labels"][0]
    assert rows[0]["score"] == pytest.approx(answer["scores"][0], abs=1e-6)
    assert (rows[1]["heat"], rows[1]["layer"], rows[1]["features"].shape) == (None, None, (1, 40))
    assert rows[2]["error"] == "the sound has samples that are not finite"
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_heat_of_a_chosen_class_and_layer(model, tmp_path):
    (row,) = zoo.explain(model, [chirp(500, 0.3)], tmp_path / "out.png", label="3", layer="conv1")
    assert (row["label"], row["layer"]) == ("3", "conv1")
    with pytest.raises(ZooError, match="unknown label of conv_acoustic 'three'"):
        zoo.explain(model, [chirp(500, 0.3)], tmp_path / "out.png", label="three")
