"""Statistics of batch normalisation for averaged weights."""

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.layers.activations import leaves
from zoo.training.carried import Carried

BATCHES = 100  # over which the statistics are averaged


def renew_statistics(model: keras.Model, stream: Stream, number: int, carried: Carried) -> bool:
    """Measures the moving statistics of batch normalisation again; returns False if the model has none to measure.

    The activations of averaged weights differ from those that training saw (Izmailov et al. 2018, arXiv 1803.05407,
    section 3.2). The new statistics are the mean over the first batches of epoch `number`.
    """
    norms = [layer for _, layer in leaves(model) if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [layer for layer in norms if layer.trainable]
    if not norms:
        return False
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # the moving statistics become those of the last batch

    def run(x, state):
        return carried.taken(model, model(carried.fed(x, state), training=True))

    forward = tf.function(run, autograph=False)
    state, measured = carried.zeros(model, stream.batch_size), []
    for inputs, *_ in stream.epoch(number).take(BATCHES):
        state = forward(inputs, state)
        measured.append([[np.array(layer.moving_mean), np.array(layer.moving_variance)] for layer in norms])
    for layer, momentum, values in zip(norms, momenta, zip(*measured, strict=True), strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign(np.mean([mean for mean, _ in values], axis=0))
        layer.moving_variance.assign(np.mean([variance for _, variance in values], axis=0))
    return True
