"""Optimizers and learning-rate schedules of recipes: Keras's, plus one-cycle and warm-up."""

import math

import keras
from keras import ops

from zoo.errors import ZooError
from zoo.training.recipe import Training


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to the peak rate and falls to almost zero, both along half a cosine.

    Smith & Topin 2017, arXiv 1708.07120; their straight lines are cosines here, as is usual today.

    Args:
        peak: highest learning rate.
        steps: of the whole cycle.
        fraction: of the steps in which the rate rises.
        start, end: the first rate is peak / start, the last is peak / end.
    """

    def __init__(self, peak: float, steps: int, fraction: float = 0.3, start: float = 25.0, end: float = 1e5):
        self.peak, self.steps, self.fraction, self.start, self.end = peak, steps, fraction, start, end

    def __call__(self, step):
        done = ops.cast(step, "float32") / max(self.steps - 1, 1)
        up = ops.minimum(done / self.fraction, 1.0)
        down = ops.clip((done - self.fraction) / (1.0 - self.fraction), 0.0, 1.0)
        rise = self.peak / self.start + (self.peak - self.peak / self.start) * 0.5 * (1.0 - ops.cos(math.pi * up))
        fall = self.peak / self.end + (self.peak - self.peak / self.end) * 0.5 * (1.0 + ops.cos(math.pi * down))
        return ops.where(done < self.fraction, rise, fall)


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to `rate` over `steps`, then follows `after` (a number or a schedule) from its step 0."""

    def __init__(self, rate: float, steps: int, after):
        self.rate, self.steps, self.after = rate, steps, after

    def __call__(self, step):
        step = ops.cast(step, "float32")
        later = ops.maximum(step - self.steps, 0.0)
        after = self.after(later) if callable(self.after) else self.after
        return ops.where(step < self.steps, self.rate * step / self.steps, after)


def learning_rate(settings: Training, total_steps: int):
    """The recipe's learning rate over `total_steps`: a number or a Keras schedule.

    Raises:
        ZooError: a warm-up as long as the run, or a warm-up before one_cycle, which rises by itself.
    """
    peak, chosen = settings.optimizer.learning_rate, settings.schedule
    warmup = chosen.warmup_steps or round(chosen.warmup_share * total_steps)
    schedules = keras.optimizers.schedules
    if warmup >= total_steps:
        key = "warmup_steps" if chosen.warmup_steps else "warmup_share"
        raise ZooError(
            f"training.schedule.{key}={getattr(chosen, key)}: a warm-up of {warmup} steps must be shorter than the "
            f"run of {total_steps} steps"
        )
    left = total_steps - warmup
    if chosen.name == "one_cycle":
        if warmup:
            raise ZooError("training.schedule: one_cycle rises by itself; leave out warmup_steps and warmup_share")
        return OneCycle(peak, total_steps)
    if chosen.name == "cosine":
        if warmup:
            return schedules.CosineDecay(0.0, left, warmup_target=peak, warmup_steps=warmup)
        return schedules.CosineDecay(peak, left)
    if chosen.name == "linear":
        after = schedules.PolynomialDecay(peak, left, 0.0)
    elif chosen.name == "step":
        places = [round(fraction * total_steps) - warmup for fraction in chosen.drops]
        values = [peak * chosen.factor**number for number in range(len(places) + 1)]
        after = schedules.PiecewiseConstantDecay([place - 1 for place in places], values)
    else:
        after = peak
    return WarmUp(peak, warmup, after) if warmup else after


def make_optimizer(settings: Training, total_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule over `total_steps`; biases and normalisation weights do not decay."""
    chosen, rate = settings.optimizer, learning_rate(settings, total_steps)
    decay = chosen.weight_decay or None
    if chosen.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, chosen.momentum, chosen.nesterov, decay)
    elif chosen.name == "task":  # it applies no gradients, but holds the rate and the number of steps
        optimizer = keras.optimizers.SGD(rate)
    elif chosen.name == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay([weight for weight in model.trainable_weights if len(weight.shape) < 2])
    return optimizer
