"""What a run does when it is told to end: it notes the signal, and looks at the note between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import keras


class EachBatch(keras.callbacks.Callback):
    """Calls after each batch of an evaluation, so that it can be ended."""

    def __init__(self, call: Callable[[], None]):
        super().__init__()
        self.call = call

    def on_test_batch_end(self, batch, logs=None):
        self.call()


@contextlib.contextmanager
def noted(told: list[int]) -> Iterator[None]:
    """Notes SIGTERM and SIGINT in `told`; a second one acts as it always does."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return

    def note(number, frame):
        told.append(number)
        signal.signal(number, old[number])

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
