"""Batch normalisation's statistics for averaged weights."""

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.layers.activations import leaves

BATCHES = 100  # that are looked at


def renew_statistics(model: keras.Model, stream: Stream, number: int) -> bool:
    """Batch normalisation's moving statistics anew, for the weights that the model has now; False without any.

    Averaged weights make other activations than those that training measured (Izmailov et al. 2018, arXiv
    1803.05407, section 3.2). The mean over the first batches of an epoch takes the place of what was kept.
    """
    norms = [layer for _, layer in leaves(model) if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [layer for layer in norms if layer.trainable]
    if not norms:
        return False
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # a batch's own statistics are kept
    forward = tf.function(lambda x: model(x, training=True))
    told = []
    for inputs, *_ in stream.epoch(number).take(BATCHES):
        forward(inputs)
        told.append([[np.array(layer.moving_mean), np.array(layer.moving_variance)] for layer in norms])
    for layer, momentum, values in zip(norms, momenta, zip(*told, strict=True), strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign(np.mean([mean for mean, _ in values], axis=0))
        layer.moving_variance.assign(np.mean([variance for _, variance in values], axis=0))
    return True
