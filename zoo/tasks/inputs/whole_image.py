"""Whole-image input: an encoded image of any size, stretched to the model's size, and its own size in pixels."""

import tensorflow as tf

from zoo.preprocessing import image as image_ops
from zoo.tasks.inputs.image import ImageInput


class WholeImageInput(ImageInput):
    """Stretches an image to the model's size, so that places in it are places in the image.

    The result of `windows` has `picture_size` (B, 2) beside `image`: the height and width of each image in pixels.
    `run` adds it to the outputs.
    """

    def prepare(self, raw):
        """Pixels (H, W, 3) uint8 -> stretched image (h, w, C) float32 in [0, 1], and the size (2,) of the pixels."""
        picture = image_ops.to_float(raw["pixels"], self.settings.colour)
        picture = tf.clip_by_value(tf.image.resize(picture, self.whole, antialias=True), 0.0, 1.0)
        if self.settings.polarity:
            picture = image_ops.ink(picture, self.settings.polarity)
        picture = tf.ensure_shape(picture, (*self.whole, self.model.input["image"].shape[-1]))
        return {"picture": picture, "picture_size": tf.cast(tf.shape(raw["pixels"])[:2], tf.float32)}

    def windows(self, prepared):
        return {**self.finish(prepared), "picture_size": prepared["picture_size"]}

    def neutral_windows(self):
        return {**super().neutral_windows(), "picture_size": tf.ones((2,))}

    def run(self, model, inputs):
        outputs = super().run(model, {"image": inputs["image"]})
        return {**outputs, "picture_size": inputs["picture_size"]} if "picture_size" in inputs else outputs
