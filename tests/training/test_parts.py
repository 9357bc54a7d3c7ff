"""Recipes whose model contains a preset."""

import sys

import h5py
import numpy as np
import pytest

import zoo
from tests.helpers.registering import distribution
from zoo import preset
from zoo.training.recipe import read_recipe

MODEL = '''
import keras
from keras import layers
from zoo.registry import register_model

@register_model(
    "headed",
    task="image_classification",
    paper="Nobody 2000",
    parts={"encoder": "image_classification"},
    settings={"colour": "grey"},
)
def headed(encoder="mlp", classes: int = 3):
    """A classifier on the embeddings of an encoder."""
    image = keras.Input(encoder.input["image"].shape[1:], name="image")
    x = encoder({"image": image})["embeddings"]
    return keras.Model({"image": image}, {"logits": layers.Dense(classes, name="head")(x)}, name="headed")
'''


@pytest.fixture
def recipe(tiny_preset, digits_folder, tmp_path, monkeypatch):
    """A recipe with the preset mlp.tiny as a part; the preset is found by name."""
    package = f"headed_{tmp_path.name}"
    distribution(tmp_path / "site", package, {f"{package}.py": MODEL}, {"headed": package})
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("ZOO_PRESETS", str(tiny_preset.parent))
    path = tmp_path / "headed.toml"
    path.write_text(
        f'model = "headed"\nfreeze = "encoder"\n[model_overrides]\nencoder = "mlp.tiny"\n'
        f'[data]\nfolder = "{digits_folder}"\n[training]\nepochs = 2\nbatch_size = 14\nweight_averaging = 0.9\n'
    )
    yield path
    sys.modules.pop(package, None)


def encoder(model) -> list[np.ndarray]:
    return model.get_layer("encoder").get_weights()


def head(model) -> np.ndarray:
    return np.array(model.get_layer("head").kernel)


def test_a_frozen_part_of_a_recipe_is_a_reference_in_the_preset(recipe, tiny_preset, tmp_path):
    """Also in the middle of the run, which is cut and continued."""
    cut = zoo.train(recipe, tmp_path / "run", steps=2)
    made = zoo.train(recipe, tmp_path / "run")
    source = preset.open_preset(tiny_preset)
    expected = {"encoder": {"preset": "mlp.tiny", "sha256": source.record["files"]["model.weights.h5"]["sha256"]}}
    assert cut.record["parts"] == made.record["parts"] == expected
    with h5py.File(tmp_path / "run" / "model.weights.h5") as file:
        stored = []
        file.visititems(lambda name, item: stored.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(stored) == 2  # the head's
    loaded = zoo.load(tmp_path / "run")
    for new, old in zip(encoder(loaded), zoo.load(tiny_preset, classes=0).get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert np.abs(head(loaded) - head(zoo.create_model("headed", encoder="mlp.tiny"))).max() > 1e-3
    assert read_recipe(tmp_path / "run" / "recipe.toml")[1].model_overrides == {"encoder": "mlp.tiny"}


def test_a_part_that_a_recipe_trains_is_stored(recipe, tiny_preset, tmp_path):
    made = zoo.train(recipe, tmp_path / "run", freeze="")
    assert "parts" not in made.record
    assert made.record["provenance"]["parts"] == {"encoder": "mlp.tiny, trained further"}
    start = zoo.load(tiny_preset, classes=0).get_weights()
    assert any(np.abs(new - old).max() > 1e-5 for new, old in zip(encoder(zoo.load(made.path)), start, strict=True))
