"""Runs a SavedModel's signature as a server would: on TensorFlow alone, in a process of its own.

    python checker.py EXPORT INPUTS.npz OUTPUTS.npz [SIGNATURE]

It imports nothing of keras-zoo, and no Keras by name. INPUTS holds the signature's arguments by name; strings are
arrays of bytes objects. `libraries.txt` beside the SavedModel names operation libraries that it needs.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def main(export: str, inputs: str, outputs: str, signature: str = "serving_default") -> None:
    needed = Path(export) / "assets.extra" / "libraries.txt"
    for line in needed.read_text(encoding="utf-8").split() if needed.exists() else ():
        package, _, library = line.partition("/")
        folder = Path(next(path for path in sys.path if (Path(path) / package).is_dir())) / package
        tf.load_op_library(str(folder / library))
    call = tf.saved_model.load(export).signatures[signature]
    with np.load(inputs, allow_pickle=True) as arrays:
        given = {name: tf.constant(arrays[name]) for name in arrays.files}
    answers = {name: value.numpy() for name, value in call(**given).items()}
    np.savez(outputs, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
