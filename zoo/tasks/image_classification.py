"""Image classification: an encoded image in, labels and their probabilities out."""

import functools
import math

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.preprocessing import augmentation
from zoo.tasks.inputs.image import ImageInput
from zoo.tasks.losses import CrossEntropy
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.settings import MIXES, ImageClassificationSettings

PICTURES = 24  # in TensorBoard


class ImageClassification(ImageInput, Classification):
    """Classes of images of any size, for a model of a fixed size."""

    name = "image_classification"
    Settings = ImageClassificationSettings
    fields = ("image", "label")
    explanations = {
        "heat": "zoo.explaining.heat",
        "filters": "zoo.explaining.filters",
        "layers": "zoo.explaining.layers",
    }

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if set(MIXES) & set(self.settings.augment) and not isinstance(self.loss(), CrossEntropy):
            raise ZooError(f"{model.origin.model} has its own loss, which does not take mixed classes")

    def batch(self, prepared, y):
        """With mixup or cutmix, y becomes soft targets (B, classes)."""
        inputs = self.finish(prepared)
        if "mix" not in prepared:
            return self.join(inputs, y)
        images, own = augmentation.mix(inputs["image"], prepared["mix"])
        y, own = tf.one_hot(y, self.classes), own[:, tf.newaxis]  # (B, classes), (B, 1)
        return self.join({"image": images}, own * y + (1.0 - own) * tf.roll(y, 1, axis=0))

    def merge_windows(self, name, output):
        """Logits become the logarithms of the mean probabilities."""
        if name != "logits":
            return super().merge_windows(name, output)
        log_probabilities = tf.nn.log_softmax(tf.cast(output, tf.float32))  # (B, windows, classes)
        return tf.reduce_logsumexp(log_probabilities, axis=1) - math.log(self.settings.windows)

    def portable(self, is_rounded):
        """`pixels`, the framed image with its margin, 0 to 255 -> `scores` (B, classes)."""
        self.check_complete()
        dtype = tf.uint8 if is_rounded else tf.float32
        shape = (None, *self.whole, self.model.input["image"].shape[-1])
        specs = {"pixels": tf.TensorSpec(shape, dtype, "pixels")}

        def scores(pixels):
            picture = tf.cast(pixels, tf.float32) / 255.0
            return {"scores": self.probabilities(self.outputs(self.windows({"picture": picture})))}

        def inputs(prepared):
            pixels = 255.0 * prepared["picture"]
            return {"pixels": tf.cast(tf.round(pixels), tf.uint8) if is_rounded else pixels}

        return scores, specs, inputs

    def pictures(self, inputs, y, outputs):
        drawn = super().pictures(inputs, y, outputs)
        if "image" not in inputs:  # frozen outputs replace it
            return drawn
        from zoo import plotting

        answers, names = np.argmax(outputs["logits"][:PICTURES], axis=-1), self.names()
        pairs = [(names[truth], names[answer]) for truth, answer in zip(np.array(y[:PICTURES]), answers, strict=True)]
        images = self.displayed(inputs["image"][:PICTURES])
        return {**drawn, "examples": functools.partial(plotting.examples, images, pairs)}
