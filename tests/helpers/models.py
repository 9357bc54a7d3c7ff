"""Every registered model, and each of them with random weights at a tiny size."""

import keras
import numpy as np

import zoo
from tests.helpers.contracts import contract_of
from zoo.registry import entries

ENTRIES = entries()

BUILDERS = sorted({(entry.module, entry.builder): name for name, entry in reversed(ENTRIES.items())}.values())


def make(name: str, **overrides) -> keras.Model:
    """A tiny model with weights that a seed decides, biases too, so that none hides behind a zero.

    Batch normalisation has the statistics of a batch: with its initial ones, signals fade from layer to layer.
    """
    keras.utils.set_random_seed(0)
    model = zoo.create_model(name, **{**ENTRIES[name].tiny, **overrides})
    contract_of(model).complete(model)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        noise = random.normal(0, 0.02, weight.shape)
        weight.assign(weight.numpy() + noise.astype("float32"))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(contract_of(model).inputs(model, 8), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model
