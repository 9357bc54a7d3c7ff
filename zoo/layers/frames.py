"""Layers over frames of features, of which an item has its own number: what comes after its end is 0.

Shapes: B batch, N frames, D features.
"""

import keras
from keras import layers, ops


def _is_valid(values, frame_count, stride: int):
    """(B, N, ...), (B,) -> (B, N, 1, ...), true on the frames of an item, of which `stride` were joined to one each."""
    count = (ops.cast(frame_count, "int32") + stride - 1) // stride
    is_valid = ops.arange(ops.shape(values)[1]) < count[:, None]
    return ops.reshape(is_valid, (-1, ops.shape(values)[1], *[1] * (len(values.shape) - 2)))


@keras.saving.register_keras_serializable("zoo")
class FrameMask(layers.Layer):
    """Sets what is after an item's end to 0: (B, N, ...), frame_count (B,) -> (B, N, ...).

    Args:
        stride: number of the model's input frames in a frame here.
    """

    def __init__(self, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, values, frame_count):
        return ops.where(_is_valid(values, frame_count, self.stride), values, ops.zeros((), values.dtype))

    def compute_output_spec(self, values, frame_count):
        return keras.KerasTensor(values.shape, dtype=values.dtype)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("zoo")
class FrameAverage(layers.Layer):
    """The mean of an item's frames: (B, N, D), frame_count (B,) -> (B, D). Arguments are those of `FrameMask`."""

    def __init__(self, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, values, frame_count):
        is_valid = ops.cast(_is_valid(values, frame_count, self.stride), values.dtype)  # (B, N, 1)
        total = ops.sum(ops.where(is_valid > 0, values, ops.zeros((), values.dtype)), axis=1)
        return total / ops.maximum(ops.sum(is_valid, axis=1), 1)

    def compute_output_spec(self, values, frame_count):
        return keras.KerasTensor((values.shape[0], values.shape[2]), dtype=values.dtype)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("zoo")
class FrameMaximum(layers.Layer):
    """The greatest value of each feature over an item's frames: (B, N, D), frame_count (B,) -> (B, D).

    Args:
        more: an item has this number of frames more than `frame_count`, as after a convolution with padding.
    """

    def __init__(self, more: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.more = more

    def call(self, values, frame_count):
        is_valid = _is_valid(values, ops.cast(frame_count, "int32") + self.more, 1)
        lowest = -6e4 if keras.backend.standardize_dtype(values.dtype) == "float16" else -3e38
        return ops.max(ops.where(is_valid, values, ops.cast(lowest, values.dtype)), axis=1)

    def compute_output_spec(self, values, frame_count):
        return keras.KerasTensor((values.shape[0], values.shape[2]), dtype=values.dtype)

    def get_config(self):
        return {**super().get_config(), "more": self.more}


@keras.saving.register_keras_serializable("zoo")
class ContextFrames(layers.Layer):
    """Each frame between its neighbours: (B, N, D), frame_count (B,) -> (B, N, (2 context + 1) D).

    Before an item's first frame and after its last one, this frame repeats. The earliest frame comes first.

    Args:
        context: number of neighbours on each side.
    """

    def __init__(self, context: int, **kwargs):
        super().__init__(**kwargs)
        self.context = context

    def call(self, values, frame_count):
        count, size = ops.shape(values)[1], 2 * self.context + 1
        places = ops.arange(count)[:, None] + ops.arange(size) - self.context  # (N, size)
        last = ops.maximum(ops.cast(frame_count, "int32") - 1, 0)
        places = ops.minimum(ops.maximum(places, 0)[None], last[:, None, None])  # (B, N, size)
        window = ops.take_along_axis(values, ops.reshape(places, (-1, count * size, 1)), axis=1)
        return ops.reshape(window, (-1, count, size * values.shape[-1]))

    def compute_output_spec(self, values, frame_count):
        batch, count, width = values.shape
        return keras.KerasTensor((batch, count, (2 * self.context + 1) * width), dtype=values.dtype)

    def get_config(self):
        return {**super().get_config(), "context": self.context}
