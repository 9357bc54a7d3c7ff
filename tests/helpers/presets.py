"""Presets that are written without Keras, and changes of their preset.json."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from zoo import preset
from zoo.errors import ZooError

METRIC = {"name": "accuracy", "value": 0.5, "dataset": "drawn", "split": "test", "examples": 3, "final": True}


class Fake:
    """What `preset.write` needs of a model, without Keras."""

    name = "fake"

    def __init__(self, values):
        self.values = values

    def save_weights(self, path):
        with h5py.File(path, "w") as file:
            file["layers/dense/vars/0"] = np.asarray(self.values, "float32")


def write_preset(path, value=1.0, others=None, **changes):
    """A small preset, written without Keras."""
    facts = {
        "name": Path(path).name,
        "model": {"name": "mlp", "overrides": {}},
        "task": {"name": "image_classification", "settings": {"labels": ["a", "b"]}},
        "parameters": 4,
        "metrics": [METRIC],
        **changes,
    }
    others = {"assets/words.txt": b"one two", "samples/s.bin": b"\x00\x01"} if others is None else others
    return preset.write(Path(path), facts, Fake(np.full((2, 2), value)), "float32", others)


def edit(path, change):
    """Changes preset.json by a function of its content."""
    content = json.loads((path / "preset.json").read_text())
    content = change(content) or content
    (path / "preset.json").write_text(json.dumps(content))


def tree(folder):
    """The content of every file of a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def error_of(call, *arguments, **keywords):
    """The message of the ZooError that a call raises; one line."""
    with pytest.raises(ZooError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def put(*keys, value):
    """A change of preset.json: the value under the keys, or nothing there where it is `...`."""

    def change(content):
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        if value is ...:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value

    return change


def kept(made):
    """The parts of a preset's record that survive as long as its weights do."""
    return {key: made.record.get(key) for key in ("metrics", "terms", "data", "provenance", "samples", "name")}
