"""Signals and volumes to classify, a small network for them, and bad inputs with their errors."""

import io

import keras
import numpy as np

import zoo


def chirp(rising: bool, random) -> np.ndarray:
    """(128, 1): a tone that rises or falls in pitch, with noise, far from 0; its spectrum is the same."""
    time = np.arange(128) / 128
    begin, end = (6, 24) if rising else (24, 6)
    phase = 2 * np.pi * (begin * time + (end - begin) * time**2 / 2) + random.uniform(0, 2 * np.pi)
    return (100 + 20 * (np.sin(phase) + random.normal(0, 0.3, 128)))[:, np.newaxis]


def blob(down: bool, random) -> np.ndarray:
    """(6, 12, 12, 1): a spot that moves down or up over six frames, with noise; a single frame does not show which."""
    rows, columns = np.mgrid[:12, :12]
    start, column = random.uniform(1, 4), random.uniform(3, 9)
    frames = []
    for frame in range(6):
        row = start + 1.2 * frame
        row = row if down else 11 - row
        frames.append(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2))
    return (np.stack(frames) + random.normal(0, 0.1, (6, 12, 12)))[..., np.newaxis]


CASES = {
    "conv1d_classifier": (chirp, {"input_shape": [128, 1], "filters": [16, 32]}),
    "conv3d_classifier": (blob, {"input_shape": [6, 12, 12, 1], "filters": [8, 16]}),
}


def small(name: str = "conv1d_classifier", **overrides) -> keras.Model:
    """An untrained classifier of a few weights."""
    keras.utils.set_random_seed(0)
    shape = {"conv1d_classifier": (4, 2), "conv3d_classifier": (2, 2, 2, 1)}[name]
    return zoo.create_model(name, **{"classes": 3, "input_shape": shape, "filters": (4,), "pool_size": 2, **overrides})


def npy(array, version=None) -> bytes:
    """The content of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version=version)
    return buffer.getvalue()


def archive() -> bytes:
    """The content of a .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros((4, 2)))
    return buffer.getvalue()


def pickled() -> bytes:
    """A .npy file of Python objects, which only unpickling could read."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}, None], object), allow_pickle=True)
    return buffer.getvalue()


GOOD = np.arange(8.0).reshape(4, 2)

BAD = {
    "empty": (b"", "empty"),
    "text": (b"no array at all", "not a .npy file, as numpy.save writes it"),
    "archive": (archive(), "an archive such as .npz: give one array"),
    "pickled": (pickled(), "pickled objects are not opened: give numbers"),
    "magic only": (npy(GOOD)[:6], "damaged or truncated .npy file: its header can't be read"),
    "half a header": (npy(GOOD)[:40], "damaged or truncated .npy file: its header can't be read"),
    "other version": (npy(GOOD, (3, 0)), "damaged or truncated .npy file: its header can't be read"),
    "truncated": (npy(GOOD)[:-3], "damaged or truncated .npy file: 61 bytes of values, but 64 by its header"),
    "too long": (npy(GOOD) + b"\0", "65 bytes of values, but 64 by its header"),
    "shape of a file": (npy(np.zeros((3, 2))), "expected an array of shape (4, 2), got (3, 2)"),
    "text in a file": (npy(np.full((4, 2), "a")), "values of type <U1 are not a tensor"),
    "shape": (np.zeros((4, 3)), "expected an array of shape (4, 2), got (4, 3)"),
    "fewer axes": (np.zeros(8), "expected an array of shape (4, 2), got (8,)"),
    "no axis": (np.float32(1), "expected an array of shape (4, 2), got ()"),
    "complex": (np.zeros((4, 2), complex), "values of type complex128 are not a tensor"),
    "dates": (np.zeros((4, 2), "datetime64[s]"), "are not a tensor: give floats, integers or booleans"),
    "objects": (np.full((4, 2), None), "Python objects are not a tensor"),
    "unequal": ([[1.0, 2.0], [3.0]], "lists of unequal lengths"),
    "words": ([["1", "2"]] * 4, "values of type <U1 are not a tensor"),
    "a number": (1.0, "an item of type float is not a tensor: give an array of shape (4, 2)"),
    "nothing": (None, "an item of type NoneType is not a tensor"),
    "missing": ("missing.npy", "the file does not exist"),
    "an object": ('{"a": [[1, 2]]}', "a JSON object is not a tensor: give nested lists of numbers, or the path"),
    "no path": ("a\0b", "can't be read"),
    "NaN": (np.where(GOOD == 3, np.nan, GOOD), "1 of 8 values are NaN or infinite as float32"),
    "infinite": (npy(np.where(GOOD > 5, np.inf, GOOD)), "2 of 8 values are NaN or infinite as float32"),
    "beyond float32": (np.where(GOOD == 3, 1e300, GOOD), "1 of 8 values are NaN or infinite as float32"),
    "beyond the model": (np.full((4, 2), 3e38), "values too large for the model: they overflow"),
}
