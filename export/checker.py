"""Runs a SavedModel's signature as a server would: on TensorFlow alone, in a process of its own.

    python checker.py EXPORT INPUTS.npz OUTPUTS.npz

It imports nothing of keras-zoo, and no Keras by name. INPUTS holds the signature's arguments by name; strings are
arrays of bytes objects.
"""

import sys

import numpy as np
import tensorflow as tf


def main(export: str, inputs: str, outputs: str) -> None:
    call = tf.saved_model.load(export).signatures["serving_default"]
    with np.load(inputs, allow_pickle=True) as arrays:
        given = {name: tf.constant(arrays[name]) for name in arrays.files}
    answers = {name: value.numpy() for name, value in call(**given).items()}
    np.savez(outputs, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
