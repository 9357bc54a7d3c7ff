"""The photographs of tests/photos as arrays."""

import numpy as np
import tensorflow as tf

from tests.helpers.paths import PHOTOS


def photographs(size: int) -> np.ndarray:
    """The middle squares of the test's photographs, (3, size, size, 3), scaled as the original network takes them."""
    squares = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        pixels = tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE").numpy()
        top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
        squares.append(pixels[top : top + size, left : left + size])
    return (np.stack(squares).astype("float32") - 127) / 128
