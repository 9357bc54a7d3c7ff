"""Pictures of a run for TensorBoard: its task draws them from the first validation batch."""

import io
import time

import tensorflow as tf

from zoo.data.stream import Stream
from zoo.tasks.task import Task
from zoo.training.loop import Loop

SECONDS = 20.0  # minimum time between two drawings


class Pictures:
    """Draws at the end of an epoch, at most every SECONDS.

    Args:
        task: draws the pictures.
        stream: of the data to draw.
    """

    def __init__(self, task: Task, stream: Stream):
        self.task, self.stream = task, stream
        self.last = time.monotonic()

    def draw(self, loop: Loop) -> None:
        """Draws into the default summary writer, if enough time has passed."""
        if time.monotonic() - self.last < SECONDS:
            return
        inputs, y, *_ = next(iter(self.stream.epoch(0)))
        with loop.kept_weights():
            pictures = self.task.pictures(inputs, y, loop.measured.outputs(inputs))
        for name, draw in pictures.items():
            file = io.BytesIO()
            draw(file)
            tf.summary.image(name, tf.io.decode_png(file.getvalue(), channels=3)[tf.newaxis])
        self.last = time.monotonic()
