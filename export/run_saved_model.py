"""Runs a SavedModel's signature like a server: on TensorFlow alone, in a process of its own.

    python run_saved_model.py EXPORT INPUTS.npz OUTPUTS.npz

It imports neither keras-zoo nor Keras. INPUTS holds the signature's arguments by name; strings are arrays of bytes
objects. Operations of tensorflow-text that the export's manifest names are loaded without importing tensorflow-text.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def load_operations(export: str | Path) -> list[Path]:
    """Loads the operations that an export needs beside TensorFlow's own; TensorFlow Serving has them built in."""
    manifest = Path(export) / "assets.extra" / "zoo.json"
    names = json.loads(manifest.read_text("utf-8")).get("op_libraries", []) if manifest.is_file() else []
    if not names:
        return []
    package = importlib.util.find_spec("tensorflow_text")
    if package is None:
        raise RuntimeError("the export needs the operations of tensorflow-text: pip install tensorflow-text")
    paths = [Path(package.submodule_search_locations[0]) / "python" / "ops" / name for name in names]
    for path in paths:
        if path.name not in names or not path.is_file():
            raise RuntimeError(f"tensorflow-text has no file {path.name} of operations")
        tf.load_op_library(str(path))
    return paths


def main(export: str, inputs: str, outputs: str) -> None:
    load_operations(export)
    call = tf.saved_model.load(export).signatures["serving_default"]
    with np.load(inputs, allow_pickle=True) as arrays:
        arguments = {name: tf.constant(arrays[name]) for name in arrays.files}
    answers = {name: value.numpy() for name, value in call(**arguments).items()}
    np.savez(outputs, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
