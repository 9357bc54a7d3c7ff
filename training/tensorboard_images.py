"""What TensorBoard shows of a run besides its figures: its task's pictures, drawn of the first validation batch."""

import io
import time

import tensorflow as tf

from zoo.data.stream import Stream
from zoo.tasks.task import Task
from zoo.training.loop import Loop

SECONDS = 20.0  # at least so long between two drawings


class Pictures:
    """Draws at epochs' ends, not too often.

    Args:
        task: whose pictures they are.
        stream: of the data they are drawn of.
    """

    def __init__(self, task: Task, stream: Stream):
        self.task, self.stream = task, stream
        self.last = time.monotonic()

    def draw(self, loop: Loop) -> None:
        """Into the summary writer that is the default, if it is time again."""
        if time.monotonic() - self.last < SECONDS:
            return
        inputs, y, *_ = next(iter(self.stream.epoch(0)))
        with loop.kept_weights():
            pictures = self.task.pictures(inputs, y, loop.plain(inputs, training=False))
        for name, draw in pictures.items():
            file = io.BytesIO()
            draw(file)
            tf.summary.image(name, tf.io.decode_png(file.getvalue(), channels=3)[tf.newaxis])
        self.last = time.monotonic()
