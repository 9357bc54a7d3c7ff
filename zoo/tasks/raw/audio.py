"""A user's sound (path, open file, bytes, samples) -> a waveform of float32 at the model's rate."""

import os

import numpy as np

from zoo.data import sound
from zoo.errors import InputError
from zoo.preprocessing.limits import LONGEST_SOUND
from zoo.tasks.raw.files import is_file_object


def waveform_of(item, rate: int, longest: float = LONGEST_SOUND) -> np.ndarray:
    """One item as a waveform, (T,) float32 in [-1, 1].

    Args:
        item: the path of a sound file of any rate and number of channels; such a file, open or as bytes; samples at
            `rate`, (T,): floats in [-1, 1], or arrays of int16, int32 or uint8, as WAV files have them; or samples at
            another rate, {"samples": (T,), "rate": integer}.
        rate: samples per second.
        longest: the greatest length, seconds.

    Raises:
        InputError: the item is missing, empty, damaged, too long, or not a sound.
    """
    if isinstance(item, (str, os.PathLike)) and not os.fspath(item):
        raise InputError("an empty string is not a path")
    if isinstance(item, (str, os.PathLike, bytes, bytearray, memoryview)) or is_file_object(item):
        return sound.read(item, rate, longest)
    if isinstance(item, dict):
        if item.keys() != {"samples", "rate"} or not isinstance(item["rate"], int | np.integer) or item["rate"] < 1:
            raise InputError('a dict of a sound has the keys "samples" and "rate", an integer >= 1')
        sound.check_rate(item["rate"])
        samples = _samples(item["samples"], int(item["rate"]), longest)
        return sound.resampled(samples, int(item["rate"]), rate)
    return _samples(item, rate, longest)


def _samples(item, rate: int, longest: float) -> np.ndarray:
    """Samples at `rate`, (T,), as float32 in [-1, 1]."""
    if not isinstance(item, (list, tuple)) and not hasattr(item, "__array__"):
        raise InputError(
            f"an item of type {type(item).__name__} is not a sound: give a path, an open file, bytes, or samples at "
            f"{rate:,} Hz"
        )
    try:
        samples = np.asarray(item)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError("lists of unequal lengths, or of other things than numbers, are not samples") from None
    if samples.ndim != 1 or samples.dtype.kind not in "iuf":
        raise InputError(f"expected samples of shape (T,), got an array of shape {samples.shape} of {samples.dtype}")
    if not samples.size:
        raise InputError(sound.NO_SAMPLES)
    if samples.size > longest * rate:
        raise sound.too_long(samples.size / rate, longest)
    if samples.dtype.kind in "iu" and not isinstance(item, (list, tuple)):
        return sound.of_integers(samples)
    samples = samples.astype("float32")
    sound.check(samples)
    return samples
