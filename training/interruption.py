"""How a signal ends a run: it is recorded, and the run looks for it between two steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def catch_signals(signals: list[int]) -> Iterator[None]:
    """Appends SIGTERM and SIGINT to `signals`; a second signal of the same number has its usual effect."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield
        return

    def record(number, frame):
        signals.append(number)
        signal.signal(number, old[number])

    old = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
