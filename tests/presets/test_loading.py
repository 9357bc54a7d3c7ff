"""Loading: other classes, damaged or foreign weights, and nothing that executes code."""

import hashlib
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

import zoo
from tests.helpers.presets import edit, error_of, put
from zoo import preset
from zoo.registry import entries


@pytest.mark.parametrize(
    "arguments", [{"classes": 5}, {"labels": list("abcde")}, {"classes": 5, "labels": list("abcde")}]
)
def test_load_with_other_classes(tiny_preset, arguments):
    before = {layer.name: layer.get_weights() for layer in zoo.load(tiny_preset).layers}
    model = zoo.load(tiny_preset, **arguments)
    assert model.output.shape == (None, 5)
    assert model.origin.labels == arguments.get("labels")
    assert model.origin.overrides["classes"] == 5
    for layer in model.layers:
        if layer.name != "head":
            for a, b in zip(layer.get_weights(), before[layer.name], strict=True):
                np.testing.assert_array_equal(a, b)
    kernel, bias = model.get_layer("head").get_weights()
    assert kernel.shape == (12, 5)
    assert np.abs(kernel).min() > 0
    assert (bias == 0).all()
    assert np.abs(kernel[:, :3] - before["head"][0]).min() > 0
    other = zoo.load(tiny_preset, **arguments).get_layer("head").get_weights()[0]
    assert np.abs(kernel - other).max() > 0  # fresh, each time


def test_load_keeps_the_head_of_as_many_classes(tiny_preset):
    before, model = zoo.load(tiny_preset), zoo.load(tiny_preset, labels=["a", "b", "c"])
    for a, b in zip(before.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.origin.labels == ["a", "b", "c"]
    assert before.origin.labels == ["zero", "one", "seven"]
    assert before.loss is not None  # compiled
    assert "classes must be the number of labels, 3, got 2" in error_of(
        zoo.load, tiny_preset, classes=2, labels=["a", "b", "c"]
    )
    assert "classes must be an integer >= 1, got -1" in error_of(zoo.load, tiny_preset, classes=-1)
    assert "labels must be distinct and not empty, got []" in error_of(zoo.load, tiny_preset, labels=[])


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def replace_weights(path, content):
    """Other bytes as weights, with the hash that fits."""
    (path / "model.weights.h5").write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    edit(path, put("files", "model.weights.h5", value=facts))
    preset.open_preset(path).verify()


def test_loading_executes_nothing(mine, tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    replace_weights(mine, bomb)
    assert f"the weights in {mine / 'model.weights.h5'} do not fit" in error_of(zoo.load, mine)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file["layers/head/vars/0"] = np.frombuffer(bomb, "uint8")
    replace_weights(mine, (tmp_path / "bomb.h5").read_bytes())
    assert "do not fit the model mlp" in error_of(zoo.load, mine)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()  # it would have shown


def test_weights_of_another_model_are_refused(mine, tmp_path):
    other = zoo.create_model("mlp", classes=3, hidden_units=(5, 12), input_shape=(16, 16, 1))
    other.save_weights(tmp_path / "other.weights.h5")
    replace_weights(mine, (tmp_path / "other.weights.h5").read_bytes())
    assert f"{mine / 'model.weights.h5'} do not fit the model mlp: " in error_of(zoo.load, mine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("model", "name", value="mlq"), "unknown model 'mlq'; did you mean mlp?"),
        (put("model", "overrides", "units", value=3), "unknown argument of mlp 'units'; "),
        (put("model", "overrides", "name", value="mlp"), ""),
        (
            put("model", "overrides", "activation", value="os.system"),
            "activation must be one of 'relu', 'tanh', 'sigmoid', got 'os.system'",
        ),
        (put("model", "overrides", "hidden_units", value="ab"), ""),
    ],
)
def test_a_plan_that_cannot_be_built_names_the_preset(mine, change, message):
    edit(mine, change)
    error = error_of(zoo.load, mine)
    assert error.startswith(f"{mine / 'preset.json'} can't be used: ")
    assert message in error


def test_setting_names_of_earlier_versions_are_understood(tmp_path):
    """`share` and `views` are now called `fraction` and `windows`."""
    model = zoo.create_model("cifar_convnet", classes=3, **entries()["cifar_convnet"].tiny)
    model.origin.settings |= {"fraction": 0.6}
    path = zoo.save(model, tmp_path / "old").path
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    expected = zoo.pipeline(path)(picture)

    def rename(content):
        settings = content["task"]["settings"]
        settings["share"], settings["views"] = settings.pop("fraction"), settings.pop("windows")

    edit(path, rename)
    assert {"share", "views"} <= set(preset.open_preset(path).record["task"]["settings"])
    assert zoo.pipeline(path)(picture) == expected
    # Both settings matter for this picture.
    for other in ({"fraction": 1.0}, {"windows": 1}):
        scores = zoo.pipeline(path, **other)(picture)["scores"]
        assert np.abs(np.subtract(scores, expected["scores"])).max() > 1e-6
    zoo.save(path, tmp_path / "again")
    assert zoo.pipeline(tmp_path / "again")(picture) == expected
