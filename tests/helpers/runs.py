"""Short runs of a tiny network, and their weights."""

import zoo
from zoo import preset
from zoo.registry import entries

TINY = {"model_overrides": entries()["mlp"].tiny, "training": {"epochs": 3, "batch_size": 12}}


def train(folder, out, **overrides):
    """A run on a folder of images: three epochs of a network of a few units."""
    return zoo.train("mlp", out, **{**TINY, "data": {"folder": str(folder)}, **overrides})


def weights(path):
    """The weights of a preset in a folder."""
    return preset.load_model(preset.open_preset(path)).get_weights()
