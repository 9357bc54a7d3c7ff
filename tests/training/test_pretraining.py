"""Layer-wise pretraining of a run."""

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.preset import load_model, open_preset
from zoo.training import pretraining, session, setup
from zoo.training.recipe import Pretraining, read_recipe

CONTRACT = CONTRACTS["frame_classification"]
SIZES = {"features": 20, "context": 1, "units": 8, "depth": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return CONTRACT.training_data(None, tmp_path_factory.mktemp("frames") / "data")


def train(folder, out, **overrides):
    options = {
        "data": {"folder": str(folder)}, "model_overrides": SIZES, "task": CONTRACT.training_settings,
        "training": {"epochs": 1, "batch_size": 8, "optimizer": {"learning_rate": 1e-12}},
        "pretraining": {"first_epochs": 3, "epochs": 2, "batch_size": 16},
    }  # fmt: skip
    return zoo.train("dnn_acoustic", out, **{**options, **overrides})


@pytest.mark.slow  # the plain tests train the recipe with pretraining
def test_a_run_pretrains_layer_by_layer_and_once(folder, tmp_path, monkeypatch):
    """Only the kernels and biases of the sigmoid layers change; a continued run does not change them again."""
    weights, rows = [], []

    def recorded(model, *arguments):
        weights.append(model.get_weights())
        pretraining.pretrain(model, *arguments)
        weights.append(model.get_weights())

    monkeypatch.setattr(session, "pretrain", recorded)
    preset = train(folder, tmp_path / "run", steps=1, report=lambda step, total, row: rows.append(row))
    before, after = weights
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [False] * 4 + [True] * 2
    # The rate of the training is too small to change a weight.
    for own, other in zip(load_model(open_preset(preset.path)).get_weights(), after, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)
    errors = [row for row in rows if "layer" in row]
    assert [(row["layer"], row["pretraining_epoch"]) for row in errors] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert errors[2]["reconstruction_error"] < errors[0]["reconstruction_error"]
    monkeypatch.setattr(session, "pretrain", lambda *_: pytest.fail("pretrains again"))
    train(folder, tmp_path / "run", steps=2)


def test_a_split_with_test_examples_is_refused(folder):
    changes = {"data.folder": str(folder), "pretraining.split": "test"}
    _, recipe = read_recipe("dnn_acoustic", changes)
    sources = setup.open_sources(recipe)
    with pytest.raises(ZooError, match="pretraining.split = 'test' and data.test = 'test' have examples in common"):
        setup.pretraining_source(recipe, sources)
    _, recipe = read_recipe("dnn_acoustic", {**changes, "pretraining.split": "train"})
    assert setup.pretraining_source(recipe, sources).examples == sources["train"].examples == 28


def test_refused(tmp_path):
    with pytest.raises(ZooError, match="has no fully connected sigmoid layers, which pretraining needs"):
        pretraining.sigmoid_layers(make("dnn_acoustic", activation="relu"))
    with pytest.raises(ZooError, match=r"unknown key pretraining.epoch; did you mean epochs\?"):
        read_recipe("dnn_acoustic", {"data.name": "an4_frames", "pretraining.epoch": 3})
    with pytest.raises(ZooError, match="pretraining is for new weights: leave out start_from"):
        read_recipe("efficientnet_lite0.flowers", {"pretraining": {}})


def test_padding_is_not_learned():
    """The rows of a layer are the frames of items alone."""

    class Batches:
        @staticmethod
        def epoch(number):
            inputs = CONTRACT.inputs(model, 4)
            is_frame = np.arange(9) < inputs["frame_count"][:, None]
            yield (
                {**inputs, "frames": keras.ops.convert_to_tensor(inputs["frames"])},
                None,
                keras.ops.cast(is_frame, "float32"),
            )

    model = make("dnn_acoustic", context=1)
    layer = pretraining.sigmoid_layers(model)[0]
    rows = pretraining._inputs(model, layer, Batches())
    frames = CONTRACT.inputs(model, 4)["frames"]
    expected = np.concatenate([item[:count] for item, count in zip(frames, [5, 9, 1, 6], strict=True)])
    np.testing.assert_allclose(rows[:, 20:40], expected, atol=2e-3)  # between its neighbours
    seen = []
    before = layer.get_weights()[0]
    pretraining.pretrain(model, Batches(), Pretraining(first_epochs=2, epochs=0, batch_size=5), 0, seen.append)
    assert len(seen) == 2
    assert not np.allclose(layer.get_weights()[0], before)


def test_the_defaults_are_those_of_the_paper():
    _, recipe = read_recipe("dnn_acoustic", {"data.name": "an4_frames", "pretraining": {}})
    chosen = recipe.pretraining
    assert (chosen.first_epochs, chosen.first_learning_rate) == (225, 0.002)
    assert (chosen.epochs, chosen.learning_rate) == (75, 0.02)
    assert (chosen.batch_size, chosen.momentum, chosen.weight_decay) == (128, 0.9, 0.0002)
