"""Pretraining without labels: the sigmoid layers of a network, one by one, as restricted Boltzmann machines.

Hinton, Osindero & Teh 2006, "A fast learning algorithm for deep belief nets", Neural Computation 18(7); Mohamed, Dahl &
Hinton 2012, doi:10.1109/TASL.2011.2109382. The visible units of the first machine are Gaussian, so the inputs should
have a variance of about 1; those of the others are binary, and their data are the probabilities of the hidden units
below.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.model import foreign_names
from zoo.training.rbm import RBM
from zoo.training.recipe import Pretraining

SCALE = 0.01  # deviation of the kernel's first values (Hinton 2010, section 8)


def sigmoid_layers(model: keras.Model) -> list[keras.layers.Dense]:
    """The fully connected sigmoid layers of a model, in order.

    Raises:
        ZooError: it has none.
    """
    layers = [each for each in model.layers if isinstance(each, keras.layers.Dense)]
    layers = [each for each in layers if each.activation is keras.activations.sigmoid]
    if not layers:
        raise ZooError(f"{model.name} has no fully connected sigmoid layers, which pretraining needs")
    return layers


def pretrain(
    model: keras.Model, batches: Stream, settings: Pretraining, seed: int, report: Callable[[dict], None]
) -> None:
    """Trains the kernels and biases of a model's sigmoid layers, from the input up.

    Args:
        model: its other layers stay as they are.
        batches: of the training data, without augmentation. Of batches with weights (B, N), rows of weight 0 are left
            out.
        settings: the recipe's [pretraining].
        seed: the recipe's.
        report: called after each epoch with figures by name.
    """
    for number, layer in enumerate(sigmoid_layers(model)):
        visible = _inputs(model, layer, batches)
        is_first = number == 0
        epochs = settings.first_epochs if is_first else settings.epochs
        rate = settings.first_learning_rate if is_first else settings.learning_rate
        shape, bias = layer.kernel.shape, np.zeros(layer.units, "float32")
        kernel = SCALE * tf.random.stateless_normal(shape, [seed, number])
        machine = RBM(kernel, tf.zeros(shape[0]), bias, is_gaussian=is_first)
        epoch = tf.function(functools.partial(_epoch, machine, visible, settings, rate), autograph=False)
        for done in range(epochs):
            state = tf.constant([seed, (number + 1) * 1_000_000 + done], tf.int64)
            error = epoch(state)
            report({"layer": number + 1, "pretraining_epoch": done + 1, "reconstruction_error": float(error)})
        layer.set_weights([machine.kernel.numpy(), machine.hidden_bias.numpy()])


def _inputs(model: keras.Model, layer: keras.layers.Dense, batches: Stream) -> tf.Tensor:
    """The inputs of a layer for all examples, (rows, V) float16, which halves the memory."""
    with foreign_names():
        body = keras.Model(model.input, layer.input)
    forward = tf.function(lambda inputs: body(inputs, training=False), reduce_retracing=True, autograph=False)
    parts = []
    for inputs, _, *weights in batches.epoch(0):
        value = forward(inputs).numpy()
        if weights and value.ndim > 2:
            value = value[weights[0].numpy() > 0]
        parts.append(value.reshape(-1, value.shape[-1]).astype("float16"))
    return tf.constant(np.concatenate(parts))


def _epoch(machine: RBM, visible, settings: Pretraining, rate: float, seed):
    """CD-1 on all rows in a random order; returns the mean error of reconstructions. A part of a batch is left out."""
    count = tf.shape(visible)[0]
    size = tf.minimum(settings.batch_size, count)
    order = tf.argsort(tf.random.stateless_uniform([count], seed))
    steps = count // size

    def step(number, total):
        rows = tf.gather(visible, order[number * size : (number + 1) * size])
        own = tf.random.experimental.stateless_fold_in(seed, number)
        gradient = machine.contrastive_divergence(tf.cast(rows, tf.float32), own)
        machine.update(gradient, rate, settings.momentum, settings.weight_decay)
        return number + 1, total + gradient.error

    _, total = tf.while_loop(lambda number, _: number < steps, step, (0, 0.0), parallel_iterations=1)
    return total / tf.cast(steps, tf.float32)
