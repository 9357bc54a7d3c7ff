"""Max pooling without a loss of resolution: every offset of the pooling grid becomes a fragment of its own.

Giusti, Ciresan, Masci, Gambardella & Schmidhuber 2013, "Fast image scanning with deep max-pooling convolutional neural
networks", arXiv 1302.1700. Fragments are items of the batch, so the convolutions after them are plain ones.
"""

import keras
from keras import layers, ops

OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))


@keras.saving.register_keras_serializable("zoo")
class FragmentPooling(layers.Layer):
    """Max pooling of 2x2 pixels at all four offsets: (B, H, W, C) -> (4 B, (H - 1) / 2, (W - 1) / 2, C).

    H and W must be odd, so that all fragments have the same size. Fragment f of item b becomes item f B + b.
    """

    def call(self, x):
        height, width = x.shape[1:3]
        shifted = [x[:, row : height - 1 + row, column : width - 1 + column] for row, column in OFFSETS]
        return ops.concatenate([ops.max_pool(each, 2, 2, "valid") for each in shifted], axis=0)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if not (height % 2 and width % 2):
            raise ValueError(f"{self.name} needs an odd height and width, got {height} x {width}")
        return (batch and 4 * batch, (height - 1) // 2, (width - 1) // 2, channels)


@keras.saving.register_keras_serializable("zoo")
class JoinedFragments(layers.Layer):
    """Puts the fragments of several poolings back into one map: (4^n B, H, W, C) -> (B, 2^n H, 2^n W, C).

    Args:
        poolings: number of poolings, n.
    """

    def __init__(self, poolings: int, **kwargs):
        super().__init__(**kwargs)
        self.poolings = poolings

    def call(self, x):
        for _ in range(self.poolings):  # the last pooling first
            height, width, channels = x.shape[1:]
            x = ops.reshape(x, (2, 2, -1, height, width, channels))
            x = ops.transpose(x, (2, 3, 0, 4, 1, 5))  # (B, H, row offset, W, column offset, C)
            x = ops.reshape(x, (-1, 2 * height, 2 * width, channels))
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch and batch // 4**self.poolings, *(side * 2**self.poolings for side in (height, width)), channels)

    def get_config(self):
        return {**super().get_config(), "poolings": self.poolings}
