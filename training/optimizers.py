"""Optimizers and learning-rate schedules, as recipes name them; Keras's own, but for one-cycle and warm-up."""

import math

import keras
from keras import ops

from zoo.errors import ZooError
from zoo.training.recipe import Training


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up to the peak rate and down to almost nothing, both along half a cosine.

    Smith & Topin 2017, arXiv 1708.07120, whose straight lines are cosines here, as is usual today.

    Args:
        peak: greatest learning rate.
        steps: of the whole cycle.
        share: of the steps that go up.
        start, end: the first rate is peak / start, the last peak / end.
    """

    def __init__(self, peak: float, steps: int, share: float = 0.3, start: float = 25.0, end: float = 1e5):
        self.peak, self.steps, self.share, self.start, self.end = peak, steps, share, start, end

    def __call__(self, step):
        done = ops.cast(step, "float32") / max(self.steps - 1, 1)
        up = ops.minimum(done / self.share, 1.0)
        down = ops.clip((done - self.share) / (1.0 - self.share), 0.0, 1.0)
        rise = self.peak / self.start + (self.peak - self.peak / self.start) * 0.5 * (1.0 - ops.cos(math.pi * up))
        fall = self.peak / self.end + (self.peak - self.peak / self.end) * 0.5 * (1.0 + ops.cos(math.pi * down))
        return ops.where(done < self.share, rise, fall)


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """From nothing to `rate` in a straight line over `steps`, then `after`, a schedule or a number, counted from 0."""

    def __init__(self, rate: float, steps: int, after):
        self.rate, self.steps, self.after = rate, steps, after

    def __call__(self, step):
        step = ops.cast(step, "float32")
        later = ops.maximum(step - self.steps, 0.0)
        after = self.after(later) if callable(self.after) else self.after
        return ops.where(step < self.steps, self.rate * step / self.steps, after)


def learning_rate(settings: Training, total_steps: int):
    """The recipe's schedule over `total_steps`: a number, or a Keras schedule.

    Raises:
        ZooError: a warm-up as long as the run, or one before a cycle, which has its own.
    """
    peak, chosen = settings.optimizer.learning_rate, settings.schedule
    warmup = chosen.warmup_steps or round(chosen.warmup_share * total_steps)
    schedules = keras.optimizers.schedules
    if warmup >= total_steps:
        given = "warmup_steps" if chosen.warmup_steps else "warmup_share"
        raise ZooError(
            f"training.schedule.{given}={getattr(chosen, given)}: a warm-up of {warmup} steps is not less than the "
            f"run's {total_steps}; lower it"
        )
    left = total_steps - warmup
    if chosen.name == "one_cycle":
        if warmup:
            raise ZooError("training.schedule: one_cycle rises by itself; leave warmup_steps and warmup_share out")
        return OneCycle(peak, total_steps)
    if chosen.name == "cosine":
        if warmup:
            return schedules.CosineDecay(0.0, left, warmup_target=peak, warmup_steps=warmup)
        return schedules.CosineDecay(peak, left)
    if chosen.name == "step":
        places = [round(share * total_steps) - warmup for share in chosen.drops]
        values = [peak * chosen.factor**number for number in range(len(places) + 1)]
        after = schedules.PiecewiseConstantDecay([place - 1 for place in places], values)
    else:
        after = peak
    return WarmUp(peak, warmup, after) if warmup else after


def make_optimizer(settings: Training, total_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule over `total_steps`; biases and norms are left without decay."""
    chosen, rate = settings.optimizer, learning_rate(settings, total_steps)
    decay = chosen.weight_decay or None
    if chosen.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, chosen.momentum, chosen.nesterov, decay)
    elif chosen.name == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay([weight for weight in model.trainable_weights if len(weight.shape) < 2])
    return optimizer
