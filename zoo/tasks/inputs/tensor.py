"""Tensor input: an array of exactly the model's shape (a signal, a volume, a video, a row of a table)."""

import numpy as np
import tensorflow as tf

from zoo.data.layouts import ClassFolders
from zoo.data.stream import readable
from zoo.errors import InputError
from zoo.tasks.raw import RawInput
from zoo.tasks.raw.tensor import tensor_of
from zoo.tasks.task import Task


class TensorInput(Task):
    """Reads `tensor`; settings are those of `zoo.tasks.settings.TensorSettings`.

    NumPy opens .npy files outside the graph, after a check of their header. The graph refuses values that are not
    finite.
    """

    raw_kinds = {"tensor": "tensor"}
    input_name = "tensor"
    layout = ClassFolders("tensor", ".npy files", frozenset({".npy"}))

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        self.shape = tuple(model.input["tensor"].shape[1:])

    @classmethod
    def adapt(cls, source, settings, assets):
        """Mean and deviation of all values of the training data. Files that can't be read are skipped here."""
        learned, files, arguments = super().adapt(source, settings, assets)
        if "mean" in settings or "deviation" in settings:
            return learned, files, arguments
        count, mean, squares = 0, 0.0, 0.0
        for example in source.dataset.as_numpy_iterator():
            try:
                values = tensor_of(example["tensor"], None).astype("float64")
            except InputError:
                continue
            values = values[np.isfinite(values)]
            if values.size:  # as in Chan, Golub & LeVeque 1979, since sums of squares would cancel
                count, delta = count + values.size, values.mean() - mean
                mean += delta * values.size / count
                squares += ((values - values.mean()) ** 2).sum()
                squares += delta**2 * values.size * (count - values.size) / count
        deviation = (squares / max(count, 1)) ** 0.5 or 1.0  # constant data is only shifted
        measured = {"mean": float(f"{mean:.6g}"), "deviation": float(f"{deviation:.6g}")}
        return {**learned, **measured}, files, arguments

    def raw_inputs(self):
        return (RawInput("tensor", "tensor", self.shape),)

    def read(self, example):
        """A .npy file's bytes, or an array -> (*shape) float32. A bad file ends the run with an error that names it."""
        tensor, where = example["tensor"], example.get("file", "an example")
        value, error = tf.numpy_function(self._decoded, [tensor], (tf.float32, tf.string), stateful=False)
        value = tf.ensure_shape(value, self.shape)
        error = tf.where(error == "", self._not_finite(value[tf.newaxis])[0], error)
        with tf.control_dependencies([readable(error, where)]):
            return {"tensor": tf.identity(value)}

    def _decoded(self, item: bytes | np.ndarray) -> tuple[np.ndarray, bytes]:
        """The array and "", or zeros and the error."""
        try:
            return tensor_of(item, self.shape), b""
        except InputError as error:
            return np.zeros(self.shape, "float32"), str(error).encode()

    def prepare(self, raw):
        """(*shape) float32, or a batch -> the same, scaled."""
        return {"tensor": (raw["tensor"] - self.settings.mean) / self.settings.deviation}

    def _not_finite(self, tensor):
        """(B, *shape) -> (B,), the error of items with values that are not finite."""
        axes = list(range(1, tensor.shape.rank))
        count = tf.reduce_sum(tf.cast(~tf.math.is_finite(tensor), tf.int64), axes)  # (B,)
        total = np.prod(self.shape, dtype=int)
        text = tf.strings.join([tf.as_string(count), f" of {total} values are NaN or infinite as float32"])
        return tf.where(count > 0, text, "")

    def checked(self, raw):
        """(B, *shape) -> `tensor`, and error (B,); an item that is not finite becomes zeros."""
        tensor = raw["tensor"]
        error = self._not_finite(tensor)
        is_good = tf.reshape(error == "", [-1] + [1] * len(self.shape))
        return self.preprocess({"tensor": tf.where(is_good, tensor, 0.0)}), error

    def checked_outputs(self, inputs, outputs, error):
        for value in (*inputs.values(), *outputs.values()):
            has_overflow = tf.reduce_any(~tf.math.is_finite(value), list(range(1, value.shape.rank)))  # (B,)
            error = tf.where((error == "") & has_overflow, "values too large for the model: they overflow", error)
        return error

    def neutral_input(self):
        return np.full(self.shape, self.settings.mean, "float32")

    def preview(self, item):
        values = tensor_of(item, None)
        return f"{' x '.join(map(str, values.shape))} values from {values.min():.4g} to {values.max():.4g}"
