"""Detection: an image in, its objects with their boxes out."""

import functools

import tensorflow as tf

from zoo.data.box_folders import BoxFolder
from zoo.preprocessing import augmentation, boxes
from zoo.tasks.inputs.image import SUFFIXES
from zoo.tasks.inputs.whole_image import WholeImageInput
from zoo.tasks.outputs.objects import Objects
from zoo.tasks.settings import DISTORTIONS, DetectionSettings

PICTURES = 6  # in TensorBoard


class Detection(WholeImageInput, Objects):
    """Objects of images of any size, for a model of a fixed size."""

    name = "detection"
    Settings = DetectionSettings
    fields = ("image", "objects")
    layout = BoxFolder(SUFFIXES)
    explanations = {"boxes": "zoo.explaining.boxes"}

    def augment(self, prepared, y, seed):
        """Draws the random numbers of one image, and moves its boxes (M, 5) as `finish` will move its pixels."""
        chosen, prepared = self.settings.augment, self.augment_inputs(prepared, seed)
        moves = {name: chosen[name] for name in DISTORTIONS if name in chosen}
        if moves:
            y = boxes.seen(y, augmentation.distorted_window(prepared["distortion"], self.whole, **moves))
        if "crop" in chosen:
            y = boxes.seen(y, augmentation.cropped_window(prepared["crop"], self.whole, chosen["crop"]))
        if chosen.get("flip"):
            y = boxes.mirrored(y, prepared["crop"])
        if chosen.get("upend"):
            y = boxes.upended(y, prepared["crop"])
        return prepared, y

    def portable(self, is_rounded):
        """`pixels`, the stretched image, 0 to 255 -> `boxes` (B, N, 4) and `scores` (B, N, classes).

        The boxes are fractions of the image, ymin, xmin, ymax, xmax. The runner leaves out those that overlap.
        """
        self.check_complete()
        shape = (None, *self.whole, self.model.input["image"].shape[-1])
        specs = {"pixels": tf.TensorSpec(shape, tf.uint8 if is_rounded else tf.float32, "pixels")}

        def predicted(pixels):
            outputs = self.run(self.model, self.finish({"picture": tf.cast(pixels, tf.float32) / 255.0}))
            return {"boxes": self.boxes(outputs), "scores": self.probabilities(outputs)}

        def inputs(prepared):
            pixels = 255.0 * prepared["picture"]
            return {"pixels": tf.cast(tf.round(pixels), tf.uint8) if is_rounded else pixels}

        return predicted, specs, inputs

    def pictures(self, inputs, y, outputs):
        """A few images with the boxes of their objects."""
        if "image" not in inputs:  # frozen outputs replace it
            return {}
        from zoo import overlays

        images = self.displayed(inputs["image"][:PICTURES])
        few = {name: value[:PICTURES] for name, value in outputs.items()}
        size = tf.constant([self.size] * len(images), tf.float32)
        answers = {name: value.numpy() for name, value in self.answer({**few, "picture_size": size}).items()}
        rows = [self.to_python({name: value[place] for name, value in answers.items()}) for place in range(len(images))]
        titles, found = [self.summary(row) for row in rows], [row["objects"] for row in rows]
        return {"objects": functools.partial(overlays.boxes, list(images), found, titles)}
