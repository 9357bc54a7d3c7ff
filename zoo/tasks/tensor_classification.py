"""Tensor classification: an array in (a signal, a volume, a video, a row of a table), labels and their scores out."""

import numpy as np
import tensorflow as tf

from zoo.errors import InputError, ZooError
from zoo.tasks import tensor_inputs
from zoo.tasks.classification import Classification


class TensorClassification(Classification):
    """Arrays of exactly the model's shape.

    Settings:
        mean, deviation: the model gets (x - mean) / deviation. Training learns both from its data, over all values
            of all arrays, where neither is given.
        top: how many labels an answer gives, best first.
    """

    name = "tensor_classification"
    fields = ("tensor", "label")
    defaults = {"mean": 0.0, "deviation": 1.0, "top": 5}

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if self.settings["deviation"] <= 0:
            raise ZooError(f"{self.name}: deviation={self.settings['deviation']!r} is not above 0")
        self.shape = tuple(model.input["tensor"].shape[1:])

    @classmethod
    def adapt(cls, source, settings, assets):
        """Mean and deviation of the training data. Files that can't be read are left for `read` to name."""
        if "mean" in settings or "deviation" in settings:
            return {}, {}, {}
        count, mean, squares = 0, 0.0, 0.0
        for example in source.dataset.as_numpy_iterator():
            try:
                values = tensor_inputs.tensor_of(example["tensor"], None).astype("float64")
            except InputError:
                continue
            values = values[np.isfinite(values)]
            if values.size:  # joined as in Chan, Golub & LeVeque 1979: sums of squares would cancel
                count, delta = count + values.size, values.mean() - mean
                mean += delta * values.size / count
                squares += ((values - values.mean()) ** 2).sum()
                squares += delta**2 * values.size * (count - values.size) / count
        deviation = (squares / max(count, 1)) ** 0.5 or 1.0  # values that are all the same are only moved
        return {"mean": float(f"{mean:.6g}"), "deviation": float(f"{deviation:.6g}")}, {}, {}

    def read(self, example):
        """A .npy file's bytes, or an array -> (*shape) float32; a bad file is named and ends the run."""
        tensor, where = example["tensor"], example.get("file", "an example")
        value, error = tf.numpy_function(self._decoded, [tensor], (tf.float32, tf.string), stateful=False)
        value = tf.ensure_shape(value, self.shape)
        error = tf.where(error == "", self._not_finite(value[tf.newaxis])[0], error)
        with tf.control_dependencies([tf.debugging.Assert(error == "", [where, error])]):
            return {"tensor": tf.identity(value)}

    def _decoded(self, item: bytes | np.ndarray) -> tuple[np.ndarray, bytes]:
        """The array and "", or zeros and what is wrong with the item."""
        try:
            return tensor_inputs.tensor_of(item, self.shape), b""
        except InputError as error:
            return np.zeros(self.shape, "float32"), str(error).encode()

    def prepare(self, raw):
        """(*shape) float32, or a batch of them -> the same, scaled."""
        return {"tensor": (raw["tensor"] - self.settings["mean"]) / self.settings["deviation"]}

    def _not_finite(self, tensor):
        """(B, *shape) -> (B,), the error of items with values that are no numbers."""
        axes = list(range(1, tensor.shape.rank))
        count = tf.reduce_sum(tf.cast(~tf.math.is_finite(tensor), tf.int64), axes)  # (B,)
        total = np.prod(self.shape, dtype=int)
        told = tf.strings.join([tf.as_string(count), f" of {total} values are NaN or infinite as float32"])
        return tf.where(count > 0, told, "")

    def _run(self, model, tensor):
        """(B, *shape) -> the model's outputs by name and `error` (B,); zeros stand for what is not finite."""
        error = self._not_finite(tensor)
        good = tf.reshape(error == "", [-1] + [1] * len(self.shape))
        inputs = self.preprocess({"tensor": tf.where(good, tensor, 0.0)})
        outputs = model(inputs, training=False)
        for value in (*inputs.values(), *outputs.values()):
            overflow = tf.reduce_any(~tf.math.is_finite(value), list(range(1, value.shape.rank)))  # (B,)
            error = tf.where((error == "") & overflow, "values too large for the model: they overflow", error)
        return outputs, error

    def signatures(self):
        self.check_head()
        spec = {"tensor": tf.TensorSpec((None, *self.shape), tf.float32, name="tensor")}

        def serving_default(tensor):
            return self.served(*self._run(self.model, tensor))

        def tensors(tensor):
            return self.model({"tensor": tensor}, training=False)

        signatures = {"serving_default": (serving_default, spec), "tensors": (tensors, spec)}
        body = self.body()
        if body is not None:

            def embeddings(tensor):
                outputs, error = self._run(lambda inputs, training: {"values": body(inputs, training=training)}, tensor)
                return {"embeddings": tf.where((error == "")[:, tf.newaxis], outputs["values"], 0.0), "error": error}

            signatures["embeddings"] = (embeddings, spec)
        return signatures

    def portable(self, rounded):
        """`tensor`, as it comes, to `scores` (B, classes)."""
        self.check_head()
        mean, deviation = self.settings["mean"], self.settings["deviation"]
        spec = {"tensor": tf.TensorSpec((None, *self.shape), tf.float32, name="tensor")}

        def scores(tensor):
            return self.shares(self.outputs(self.preprocess({"tensor": tensor})))

        def inputs(prepared):
            return {"tensor": prepared["tensor"] * deviation + mean}

        return scores, spec, inputs

    def one(self):
        serve, spec = self.signatures()["serving_default"]
        traced = tf.function(serve, input_signature=list(spec.values()), autograph=False)

        def answer(encoded):
            return {key: value[0].numpy() for key, value in traced(tf.constant(encoded[np.newaxis])).items()}

        return answer

    def is_batch(self, x):
        return tensor_inputs.is_batch(x, len(self.shape))

    def blank(self):
        return np.full(self.shape, self.settings["mean"], "float32")

    def encode(self, item):
        return tensor_inputs.tensor_of(item, self.shape)

    def collate(self, encoded):
        return {"tensor": tf.constant(np.stack(encoded))}  # (B, *shape)
