"""The training loop: one step for every strategy, and the epochs around it."""

import math
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.watching import leaves
from zoo.training.recipe import Training

STATISTICS = 100  # batches


def make_optimizer(settings: Training, total_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule over `total_steps`."""
    rate = settings.optimizer.learning_rate
    warmup = settings.schedule.warmup_steps
    if warmup >= total_steps:
        raise ZooError(f"training.schedule.warmup_steps={warmup} is not less than the run's {total_steps} steps")
    if settings.schedule.name == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, total_steps - warmup, warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    elif warmup:
        rate = keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    chosen = settings.optimizer
    if chosen.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, chosen.momentum, chosen.nesterov, chosen.weight_decay or None)
    elif chosen.name == "adam":
        return keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=chosen.weight_decay)
    if chosen.weight_decay:
        optimizer.exclude_from_weight_decay([weight for weight in model.trainable_weights if len(weight.shape) < 2])
    return optimizer


class Loop:
    """Trains a compiled model on a stream.

    A step: each replica's mean loss, weighted by its share of the global batch; the gradients summed over replicas;
    then clipped and applied. So the same global batch gives the same step on one device and on many (Keras's
    optimizers clip before they sum).

    Args:
        model: compiled, made under the strategy's scope.
        settings: the recipe's training section.
        strategy: of tf.distribute.
    """

    def __init__(self, model: keras.Model, settings: Training, strategy: tf.distribute.Strategy):
        self.model, self.settings, self.strategy = model, settings, strategy
        self.step = 0
        self.averages = None
        if settings.weight_averaging:
            with strategy.scope():
                self.averages = [tf.Variable(weight, trainable=False) for weight in model.trainable_variables]

    @tf.function(reduce_retracing=True)
    def _train_step(self, x, y, weight, step):
        return self.strategy.run(self._replica_step, (x, y, weight, step))

    def _replica_step(self, x, y, weight, step):
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        count = tf.reduce_sum(weight) if weight is not None else tf.cast(tf.shape(tf.nest.flatten(y)[0])[0], tf.float32)
        share = count / context.all_reduce("sum", count)
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            # Keras divides a loss by the number of replicas; our share is the truer weight.
            loss = self.model.compute_loss(x, y, outputs, weight) * tf.cast(replicas, tf.float32) * share
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients = context.all_reduce("sum", gradients)
        loss = context.all_reduce("sum", loss)
        if self.settings.global_clipnorm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.global_clipnorm)
        # Keras's optimizers sum over replicas by themselves: hand each its equal part.
        self.model.optimizer.apply([gradient / replicas for gradient in gradients], variables)
        if self.averages:
            step = tf.cast(step, tf.float32)
            # The first steps count for less than the decay says, so that the start is forgotten.
            decay = tf.minimum(self.settings.weight_averaging, (1.0 + step) / (10.0 + step))
            for average, variable in zip(self.averages, variables, strict=True):
                average.assign(decay * average + (1.0 - decay) * tf.convert_to_tensor(variable))
        return loss

    def epoch(self, stream: Stream, number: int, last_step: int, report: Callable) -> float:
        """One epoch, ended early at `last_step`; returns the mean training loss.

        Raises:
            ZooError: the loss is not finite; the message names the step.
        """
        losses = []
        batches = stream.epoch(number)
        if self.strategy.num_replicas_in_sync > 1:
            batches = self.strategy.experimental_distribute_dataset(batches)
        for batch in batches:
            x, y, weight = (*batch, None)[:3]
            loss = self._train_step(x, y, weight, tf.constant(self.step, tf.int64))
            loss = float(self.strategy.experimental_local_results(loss)[0])
            self.step += 1
            if not math.isfinite(loss):
                raise ZooError(f"the loss is {loss} at step {self.step} (epoch {number + 1}): lower the learning rate")
            losses.append(loss)
            report(self.step, loss)
            if self.step >= last_step:
                break
        return float(np.mean(losses))

    def weights(self) -> list[np.ndarray]:
        """What the preset will hold: the averages where there are any."""
        values = {id(weight): weight for weight in self.model.weights}
        if self.averages:
            pairs = zip(self.model.trainable_variables, self.averages, strict=True)
            values |= {id(variable): average for variable, average in pairs}
        return [np.array(value) for value in values.values()]

    def evaluate(self, stream: Stream) -> dict[str, float]:
        """The figures of the weights that the preset will hold; training's own come back afterwards."""
        own = self.model.get_weights()
        self.model.set_weights(self.weights())
        figures = self.model.evaluate(stream.epoch(0), verbose=0, return_dict=True)
        self.model.set_weights(own)
        return {name: float(value) for name, value in figures.items()}

    def renew_statistics(self, stream: Stream, number: int) -> bool:
        """Batch normalisation's moving statistics anew, for the weights that the model has now; False without any.

        Averaged weights make other activations than those that training measured (Izmailov et al. 2018, arXiv
        1803.05407, section 3.2). The mean over the first batches of an epoch takes the place of what was kept.
        """
        norms = [layer for _, layer in leaves(self.model) if isinstance(layer, keras.layers.BatchNormalization)]
        norms = [layer for layer in norms if layer.trainable]
        if not norms:
            return False
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.momentum = 0.0  # a batch's own statistics are kept
        forward = tf.function(lambda x: self.strategy.run(lambda part: self.model(part, training=True), (x,)))
        batches = stream.epoch(number).take(STATISTICS).map(lambda x, *_: x)
        if self.strategy.num_replicas_in_sync > 1:
            batches = self.strategy.experimental_distribute_dataset(batches)
        told = []
        for inputs in batches:
            forward(inputs)
            told.append([[np.array(layer.moving_mean), np.array(layer.moving_variance)] for layer in norms])
        for layer, momentum, values in zip(norms, momenta, zip(*told, strict=True), strict=True):
            layer.momentum = momentum
            layer.moving_mean.assign(np.mean([mean for mean, _ in values], axis=0))
            layer.moving_variance.assign(np.mean([variance for _, variance in values], axis=0))
        return True


def run(
    loop: Loop, train: Stream, validation: Stream | None, epochs: int, last_step: int, report: Callable
) -> Iterator[dict]:
    """Epoch after epoch, a row of history each; whoever consumes it keeps what it wants of the weights."""
    started = time.perf_counter()
    for number in range(epochs):
        loss = loop.epoch(train, number, last_step, report)
        row = {"epoch": number + 1, "step": loop.step, "loss": loss}
        if validation is not None:
            row |= {f"val_{name}": value for name, value in loop.evaluate(validation).items()}
        row |= {"learning_rate": float(loop.model.optimizer.learning_rate)}
        yield row | {"seconds": round(time.perf_counter() - started, 1)}
        if loop.step >= last_step:
            return
