"""Layer-wise pretraining of a run."""

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.preset import load_model, open_preset
from zoo.training import pretraining, session
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


def weights_of(preset):
    return load_model(open_preset(preset.path)).get_weights()


def test_a_run_pretrains_layer_by_layer(folder, tmp_path):
    """The rate of the training is too small to change a weight, so the layers are those of the pretraining."""
    rows = []
    first = weights_of(train(folder, tmp_path / "a", report=lambda step, total, row: rows.append(row)))
    errors = [row for row in rows if "layer" in row]
    assert [(row["layer"], row["pretraining_epoch"]) for row in errors] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert errors[2]["reconstruction_error"] < errors[0]["reconstruction_error"]
    plain = weights_of(train(folder, tmp_path / "b", pretraining=None))
    same = [np.allclose(a, b, atol=1e-6) for a, b in zip(first, plain, strict=True)]
    assert same == [False, False, False, False, True, True]  # the head is new
    again = weights_of(train(folder, tmp_path / "c"))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_continued_run_does_not_pretrain_again(folder, tmp_path, monkeypatch):
    train(folder, tmp_path / "a", steps=1)
    monkeypatch.setattr(session, "pretrain", lambda *_: pytest.fail("pretrains again"))
    train(folder, tmp_path / "a")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"pretraining": {"split": "test"}}, "pretraining.split = 'test' and data.test = 'test' have examples in comm"),
        ({"model_overrides": {**SIZES, "activation": "relu"}}, "has no fully connected sigmoid layers"),
        ({"pretraining": {"epoch": 3}}, "unknown key pretraining.epoch; did you mean epochs"),
    ],
)
def test_refused(folder, tmp_path, overrides, message):
    with pytest.raises(ZooError, match=message):
        train(folder, tmp_path / "a", **overrides)


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

    model = make("dnn_acoustic", context=0)
    layer = pretraining.sigmoid_layers(model)[0]
    rows = pretraining._inputs(model, layer, Batches())
    frames = CONTRACT.inputs(model, 4)["frames"]
    expected = np.concatenate([item[:count] for item, count in zip(frames, [5, 9, 1, 6], strict=True)])
    np.testing.assert_allclose(rows, expected, atol=2e-3)
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
