"""Tensor classification: an array in, labels and their probabilities out."""

import tensorflow as tf

from zoo.tasks.inputs.tensor import TensorInput
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.settings import TensorClassificationSettings


class TensorClassification(TensorInput, Classification):
    """Classes of arrays of exactly the model's shape."""

    name = "tensor_classification"
    Settings = TensorClassificationSettings
    fields = ("tensor", "label")

    def portable(self, is_rounded):
        """`tensor`, not scaled -> `scores` (B, classes)."""
        self.check_complete()
        mean, deviation = self.settings.mean, self.settings.deviation
        specs = {"tensor": tf.TensorSpec((None, *self.shape), tf.float32, name="tensor")}

        def scores(tensor):
            return {"scores": self.probabilities(self.outputs(self.preprocess({"tensor": tensor})))}

        def inputs(prepared):
            return {"tensor": prepared["tensor"] * deviation + mean}

        return scores, specs, inputs
