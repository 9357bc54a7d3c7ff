"""The epochs of a run: training, validation, and a row of history for each."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from zoo.data.stream import Stream
from zoo.training.loop import Loop


def run(
    loop: Loop,
    train: Stream,
    validation: Stream | None,
    first: int,
    epochs: int,
    last_step: int,
    report: Callable,
    stopping: Callable[[], bool] = lambda: False,
    after_batch: Callable[[], None] = lambda: None,
) -> Iterator[dict]:
    """Trains from epoch `first` on, and yields a row of history after each epoch.

    If `last_step` ends an epoch early, the epoch yields a row, too, and a later call continues this epoch.
    """
    for number in range(first, epochs):
        if loop.step >= last_step and not loop.losses:
            return
        started, before = time.perf_counter(), len(loop.losses)
        loop.epoch(train, number, last_step, report, stopping)
        seconds = time.perf_counter() - started
        # A continued run may begin at the end of an epoch, after its last and smaller batch.
        begin, end = (min(steps * train.batch_size, train.examples) for steps in (before, len(loop.losses)))
        row = {"epoch": number + 1, "step": loop.step, **loop.means(train)}
        if validation is not None:
            row |= {f"val_{name}": value for name, value in loop.evaluate(validation, after_batch).items()}
        if len(loop.losses) >= train.steps:
            loop.losses, loop.norms = [], []
        row |= {"learning_rate": float(np.array(loop.model.optimizer.learning_rate))}
        yield row | {"examples_per_second": round((end - begin) / seconds, 1)}
        if loop.step >= last_step:
            return
