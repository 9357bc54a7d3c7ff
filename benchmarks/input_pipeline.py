"""Whether training waits for its data: the rate of the input pipeline over that of the training loop.

    python benchmarks/input_pipeline.py [--recipe lenet5.mnist] [--data-dir DIR] [--limit 20000] [--rounds 5]

The recipe's own stream (TFDS, decoding, framing, shuffling, augmentation, batches) runs alone for its first epoch,
which decodes, and for later ones, which read from memory. The training loop runs with the same few batches again and
again. Later epochs and the loop alternate. If the ratio is above 1, the data are faster than the step; both use the
same cores, so a higher ratio makes training faster.
"""

import argparse
import itertools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import zoo
from zoo.data.sources import open_source
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.training.loop import Loop
from zoo.training.optimizers import make_optimizer
from zoo.training.recipe import read_recipe


class Cached:
    """A stream that repeats a few batches."""

    def __init__(self, batches: list, steps: int):
        self.batches, self.steps, self.batch_size = batches, steps, None

    def epoch(self, number, skip=0, wanted=None):
        return itertools.islice(itertools.cycle(self.batches), self.steps)


def timed(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="lenet5.mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--limit", type=int, default=20_000, help="examples per epoch")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    _, recipe = read_recipe(arguments.recipe, {})
    tf.config.experimental.enable_op_determinism()  # as training does
    keras.utils.set_random_seed(recipe.seed)
    model = zoo.create_model(recipe.model, **recipe.model_overrides)
    model.origin.settings |= recipe.task
    task = task_of(model)
    source = open_source(
        recipe.data.name, recipe.data.train, task.fields, task.layout, arguments.data_dir, arguments.limit
    )
    batches = stream(task, source, recipe.training.batch_size, recipe.seed, augment=True, shuffle=True)
    model.compile(make_optimizer(recipe.training, 100 * batches.steps, model), task.loss())
    model.optimizer.build(model.trainable_variables)
    loop = Loop(model, recipe.training, tf.distribute.get_strategy())
    number = itertools.count()

    def deliver():
        for _ in batches.epoch(next(number)):
            pass

    def consume():
        loop.losses.clear()
        loop.epoch(cached, 0, 10**9, lambda *_: None)

    first = source.examples / timed(deliver)
    ready = list(batches.epoch(next(number)).take(20))
    loop.epoch(Cached(ready, 20), 0, 10**9, lambda *_: None)  # tracing
    cached = Cached(ready, batches.steps)
    rates = source.examples / np.array([(timed(deliver), timed(consume)) for _ in range(arguments.rounds)])
    (later, taken), (low, high) = np.median(rates, axis=0), np.quantile(rates, (0.25, 0.75), axis=0)
    print(
        f"{arguments.recipe}, examples/s: first epoch {first:,.0f}, later {later:,.0f} ({low[0]:,.0f}-{high[0]:,.0f}); "
        f"the loop takes {taken:,.0f} ({low[1]:,.0f}-{high[1]:,.0f}); "
        f"ratio first {first / taken:.2f}, later {later / taken:.2f}"
    )


if __name__ == "__main__":
    main()
