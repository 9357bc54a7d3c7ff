"""Imports of TensorFlow's libraries without the lines that they print on standard error every time."""

import contextlib
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

# Lines that say nothing about this machine or program. TF_CPP_MIN_LOG_LEVEL does not apply to lines of the import.
_NOISE = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I\d{4} \d\d:\d\d:\d\d|\s*$")
# Functions of Keras and keras-zoo that are created once per model or pipeline, so that each is traced anew.
_TRACED = re.compile(r"<function (TensorFlowTrainer|_with_arguments|\w+\.measure|single)\.")
_DRIVER = Path("/proc/driver/nvidia/version")


def import_tensorflow(show: Callable[[TextIO], contextlib.AbstractContextManager] | None = None) -> None:
    """Imports TensorFlow; warns if TensorFlow can't use the GPU of the machine.

    Args:
        show: file -> context manager that shows on this file that TensorFlow is being imported.
    """
    logging.getLogger("tensorflow").addFilter(is_wanted)
    if "tensorflow" in sys.modules:
        return
    with held_back() as terminal, show(terminal) if show else contextlib.nullcontext():
        import tensorflow
    if _DRIVER.exists() and "CUDA_VISIBLE_DEVICES" not in os.environ:
        warn_without_gpu(tensorflow)


def warn_without_gpu(tensorflow) -> None:
    """Replaces TensorFlow's own warning, which TF_CPP_MIN_LOG_LEVEL hides."""
    if not tensorflow.config.list_physical_devices("GPU"):
        warnings.warn(
            "TensorFlow can't use the GPU of this machine: pip install 'keras-zoo[gpu]'; with TF_CPP_MIN_LOG_LEVEL=0 "
            "in the environment TensorFlow gives its reasons",
            stacklevel=3,
        )


def is_wanted(record: logging.LogRecord) -> bool:
    """False for advice about code that the user did not write: retraced functions, and TFDS's own use of TFDS."""
    message = record.getMessage()
    if message.startswith("`FeatureConnector.dtype` is deprecated"):
        return False
    return "triggered tf.function retracing" not in message or not _TRACED.search(message)


@contextlib.contextmanager
def held_back() -> Iterator[TextIO]:
    """Holds back standard error within the block, and afterwards prints what is not noise.

    Yields:
        A file that writes to standard error at once.
    """
    if sys.stderr:
        sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        try:
            terminal = stack.enter_context(open(os.dup(2), "w"))
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # no standard error, or no place for a file
            yield sys.stderr
            return
        os.dup2(held.fileno(), 2)
        try:
            yield terminal
        finally:
            if sys.stderr:
                sys.stderr.flush()
            terminal.flush()
            os.dup2(terminal.fileno(), 2)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)
