"""Short replacements for what takes most of the time of a small run and is tested elsewhere."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from zoo import plotting
from zoo.tasks.inputs import image


def _once(function):
    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def _header_error(encoded):
    head = tf.strings.substr(encoded, 0, 4)
    return tf.where((head == b"\x89PNG") | (tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff"), "", "not an image")


_SHORT = {
    "_header_error": _once(_header_error),
    "_read": _once(lambda encoded: tf.io.decode_image(encoded, 3, expand_animations=False)),
}

_WHOLE = {name: getattr(image, name) for name in _SHORT}
_CURVES = plotting.curves


@contextlib.contextmanager
def short_reader() -> Iterator[pytest.MonkeyPatch]:
    """Inside the block, image files are read by one operation: plain PNG and JPEG files, and damaged ones.

    TensorFlow sets the graph of the reader up for each pipeline, export and run, which takes seconds. Its thousand
    operations walk through the headers of other formats, of turned pictures and of transparent ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, function in _SHORT.items():
            patch.setattr(image, name, function)
        yield patch


@contextlib.contextmanager
def short_runs() -> Iterator[None]:
    """Inside the block, runs read images with `short_reader`, and an empty file replaces the picture of the curves."""
    with short_reader() as patch:
        patch.setattr(plotting, "curves", lambda history, path: Path(path).write_bytes(b""))
        yield


@contextlib.contextmanager
def whole_runs() -> Iterator[None]:
    """Inside the block, runs are those of the package, also within `short_runs`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, function in _WHOLE.items():
            patch.setattr(image, name, function)
        patch.setattr(plotting, "curves", _CURVES)
        yield
