"""Image classification: an encoded image in, labels and their scores out."""

import functools
import itertools
import math

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError, unknown
from zoo.preprocessing import augmentation, image_files
from zoo.preprocessing import image as image_ops
from zoo.tasks.classification import Classification
from zoo.tasks.image_inputs import encoded_image, is_plain_png
from zoo.tasks.task import CrossEntropy, read_safely

DISTORTIONS = ("rotate", "zoom", "shear", "shift", "elastic")
VIEWS = ("flip", "pad", "crop", "colour")
MIXES = ("mixup", "cutmix")


class ImageClassification(Classification):
    """Images of any size to a model of one size.

    Settings:
        colour: "rgb" or "grey".
        polarity: "light_on_dark" turns dark drawings on light ground round; None takes pictures as they are.
        centre: "ink" frames the drawing itself (digits, characters); None takes the middle of the picture.
        share: with centre "ink" the longer side of the drawing over the frame's; else the part of the middle kept.
        low, high: the values that black and white (ground and full ink) become.
        margin: pixels all around by which the picture is larger than what the model sees of it: the middle, and in
            training, with pad, a window at a random place.
        views: how many windows of the picture an answer is the mean of: 1, the middle, or 10, the four corners, the
            middle, and the mirror images of these (Krizhevsky, Sutskever & Hinton 2012, section 4.1).
        augment: in training, by name: the arguments of preprocessing.augmentation.distort; flip = true, left to right
            every second time; pad, pixels to move by, with zeros beyond the margin; crop, the least share of the area
            that a random window has; colour, greatest change of brightness, contrast and saturation; mixup and
            cutmix, the alpha of each.
        top: how many labels an answer gives, best first.
    """

    name = "image_classification"
    fields = ("image", "label")
    defaults = {
        "colour": "rgb",
        "polarity": None,
        "centre": None,
        "share": 1.0,
        "low": 0.0,
        "high": 1.0,
        "margin": 0,
        "views": 1,
        "augment": {},
        "top": 5,
    }

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        choices = {"colour": ("rgb", "grey"), "polarity": ("light_on_dark", None), "centre": ("ink", None)}
        for key, known in choices.items():
            if self.settings[key] not in known:
                raise ZooError(f"{self.name}: {key}={self.settings[key]!r} is none of {known}")
        if not 0 < self.settings["share"] <= 1:
            raise ZooError(f"{self.name}: share={self.settings['share']!r} is not in 0 ... 1")
        margin, views = self.settings["margin"], self.settings["views"]
        if not isinstance(margin, int) or margin < 0:
            raise ZooError(f"{self.name}: margin={margin!r} is no whole number of pixels")
        if views not in (1, 10) or views == 10 and not margin:
            raise ZooError(f"{self.name}: views={views!r}; give 1, or 10 and a margin for them to lie in")
        if self.settings["centre"] and self.settings["colour"] != "grey":
            raise ZooError(f"{self.name}: centre='ink' needs colour='grey'")
        checked_augmentation(self.settings["augment"])
        if set(MIXES) & set(self.settings["augment"]) and not isinstance(self.loss(), CrossEntropy):
            raise ZooError(f"{model.origin.model} has a loss of its own, which takes no mixed classes")
        height, width, channels = model.input["image"].shape[1:]
        self.size = (height, width)
        self.whole = (height + 2 * self.settings["margin"], width + 2 * self.settings["margin"])
        if channels != (1 if self.settings["colour"] == "grey" else 3):
            raise ZooError(f"{model.name} takes {channels} channels, which is not colour={self.settings['colour']!r}")

    def read(self, example):
        """Encoded bytes -> pixels (H, W, 3) uint8; a bad file is named and ends the run."""
        encoded, where = example["image"], example.get("file", "an example")
        error = image_files.header_error(encoded)
        with tf.control_dependencies([tf.debugging.Assert(error == "", [where, error])]):
            encoded = tf.identity(encoded)
        if "file" not in example:
            return {"pixels": image_files.read(encoded)}
        # The decoder's own error names no file; here nothing comes out of a damaged one.
        pictures = tf.data.Dataset.from_tensors(encoded).map(image_files.read).ignore_errors()
        pictures = pictures.concatenate(tf.data.Dataset.from_tensors(tf.zeros((0, 0, 3), tf.uint8)))
        pixels = pictures.take(1).get_single_element()
        with tf.control_dependencies([tf.debugging.Assert(tf.size(pixels) > 0, [where, image_files.damaged(encoded)])]):
            return {"pixels": tf.identity(pixels)}

    def prepare(self, raw):
        """Pixels (H, W, 3) uint8 -> framed picture (h, w, C) float32 in [0, 1], with its margin."""
        picture = image_ops.to_float(raw["pixels"], self.settings["colour"])
        if self.settings["centre"] == "ink":
            strength = image_ops.ink(image_ops.reduce(picture), self.settings["polarity"])
            picture = image_ops.centre_ink(strength, self.whole, self.settings["share"])
        else:
            picture = image_ops.crop_and_resize(picture, self.whole, self.settings["share"])
            if self.settings["polarity"]:
                picture = image_ops.ink(picture, self.settings["polarity"])
        return {"picture": tf.ensure_shape(picture, (*self.whole, self.model.input["image"].shape[-1]))}

    def augment(self, prepared, seed):
        chosen = self.settings["augment"]
        if any(key in chosen for key in DISTORTIONS):
            prepared = {**prepared, "draw": augmentation.draw(seed, chosen.get("elastic", 0.0))}
        if any(key in chosen for key in VIEWS):
            prepared = {**prepared, "view": augmentation.draw_view(seed)}
        mixes = {key: chosen[key] for key in MIXES if chosen.get(key)}
        if mixes:
            prepared = {**prepared, "mix": augmentation.draw_mix(seed, **mixes)}
        return prepared

    def finish(self, prepared):
        chosen, pictures = self.settings["augment"], prepared["picture"]  # (B, h, w, C), or one of them
        low, high = self.settings["low"], self.settings["high"]
        if "draw" in prepared:
            distortions = {key: value for key, value in chosen.items() if key in DISTORTIONS}
            pictures = augmentation.distort(pictures, prepared["draw"], **distortions)
            pictures = tf.ensure_shape(pictures, prepared["picture"].shape)
        view = prepared.get("view")
        if view is not None and "crop" in chosen:
            pictures = augmentation.resized_crop(pictures, view, chosen["crop"])
        if view is not None and chosen.get("flip"):
            pictures = augmentation.mirror(pictures, view)
        if view is not None and "colour" in chosen:
            pictures = augmentation.colour(pictures, view, chosen["colour"])
        pictures, margin = low + (high - low) * pictures, self.settings["margin"]
        if view is not None and "pad" in chosen:
            return {"image": augmentation.pad_and_crop(pictures, view, chosen["pad"], margin)}
        return {"image": image_ops.window(pictures, margin)}

    def views(self, prepared):
        """What an answer is made from: as `finish`, but (..., views, h, w, C) where there are several."""
        if self.settings["views"] == 1:
            return self.finish(prepared)
        low, high, margin = (self.settings[key] for key in ("low", "high", "margin"))
        pictures = low + (high - low) * prepared["picture"]
        moves = [(0, 0), *itertools.product((-margin, margin), repeat=2)]
        windows = [image_ops.window(pictures, margin, *move) for move in moves]
        return {"image": tf.stack([*windows, *(window[..., ::-1, :] for window in windows)], axis=-4)}

    def outputs(self, inputs):
        """The model's outputs for what `views` gives; its logits are then the logarithms of the mean shares."""
        if self.settings["views"] == 1:
            return self.model(inputs, training=False)
        logits = self._each_view(self.model, inputs["image"])["logits"]  # (B, views, classes)
        shares = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        return {"logits": tf.reduce_logsumexp(shares, axis=1) - math.log(self.settings["views"])}

    def pictures(self, inputs, y, outputs):
        drawn = super().pictures(inputs, y, outputs)
        if "image" not in inputs:  # features that were kept
            return drawn
        from zoo import plotting

        low, high = self.settings["low"], self.settings["high"]
        shown = np.clip((np.array(inputs["image"][:24]) - low) / (high - low), 0.0, 1.0)
        answers = np.argmax(outputs["logits"][:24], axis=-1)
        names = self.names()
        pairs = [(names[truth], names[answer]) for truth, answer in zip(np.array(y[:24]), answers, strict=True)]
        return {**drawn, "examples": functools.partial(plotting.examples, shown, pairs)}

    def _each_view(self, model, images):
        """A model's outputs for images (B, views, h, w, C), each (B, views, ...)."""
        outputs = model({"image": tf.reshape(images, (-1, *images.shape[2:]))}, training=False)
        return tf.nest.map_structure(
            lambda output: tf.reshape(output, (-1, self.settings["views"], *output.shape[1:])), outputs
        )

    def batch(self, prepared, y):
        inputs = self.finish(prepared)
        if "mix" not in prepared:
            return inputs, y
        images, own = augmentation.mix(inputs["image"], prepared["mix"])
        y, own = tf.one_hot(y, self.classes), own[:, tf.newaxis]  # (B, classes), (B, 1)
        return {"image": images}, own * y + (1.0 - own) * tf.roll(y, 1, axis=0)

    def _picture(self, encoded):
        return self._seen(image_files.read(encoded))

    def _seen(self, pixels):
        return self.views(self.prepare({"pixels": pixels}))["image"]

    def _neutral(self):
        views = (self.settings["views"],) if self.settings["views"] > 1 else ()
        return tf.zeros((*views, *self.model.input["image"].shape[1:]))

    def _images(self, encoded):
        return read_safely(encoded, image_files.header_error, self._picture, image_files.damaged, self._neutral())

    def signatures(self):
        self.check_head()
        encoded = {"image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")}
        image = {"image": tf.TensorSpec((None, *self.model.input["image"].shape[1:]), tf.float32, name="image")}

        def serving_default(image_bytes):
            images, error = self._images(image_bytes)
            return self.served(self.outputs({"image": images}), error)

        def tensors(image):
            return self.model({"image": image}, training=False)

        signatures = {"serving_default": (serving_default, encoded), "tensors": (tensors, image)}
        body = self.body()
        if body is not None:

            def embeddings(image_bytes):
                images, error = self._images(image_bytes)
                if self.settings["views"] > 1:
                    values = tf.reduce_mean(self._each_view(body, images), axis=1)
                else:
                    values = body({"image": images}, training=False)
                return {"embeddings": tf.where((error == "")[:, tf.newaxis], values, 0.0), "error": error}

            signatures["embeddings"] = (embeddings, encoded)
        return signatures

    def portable(self, rounded):
        """`pixels`, the framed picture with its margin, 0 to 255, to `scores` (B, classes)."""
        self.check_head()
        shape, dtype = (None, *self.whole, self.model.input["image"].shape[-1]), tf.uint8 if rounded else tf.float32
        spec = {"pixels": tf.TensorSpec(shape, dtype, "pixels")}

        def scores(pixels):
            return self.shares(self.outputs(self.views({"picture": tf.cast(pixels, tf.float32) / 255.0})))

        def inputs(prepared):
            pixels = 255.0 * prepared["picture"]
            return {"pixels": tf.cast(tf.round(pixels), tf.uint8) if rounded else pixels}

        return scores, spec, inputs

    def one(self):
        spec = [tf.TensorSpec((), tf.string, name="image_bytes")]

        def whole(image_bytes):
            error = image_files.header_error(image_bytes)
            image = tf.cond(error == "", lambda: self._picture(image_bytes), self._neutral)
            return {**first(self.answer(self.outputs({"image": image[tf.newaxis]}))), "error": error}

        def short(image_bytes):
            image = self._seen(tf.io.decode_png(image_bytes, channels=3))
            return {**first(self.answer(self.outputs({"image": image[tf.newaxis]}))), "error": ""}

        def first(answers):
            return {key: value[0] for key, value in answers.items()}

        @functools.cache
        def traced(function):
            return tf.function(function, input_signature=spec, autograph=False).get_concrete_function()

        def answer(encoded):
            try:
                answers = traced(short if is_plain_png(encoded) else whole)(tf.constant(encoded))
            except tf.errors.InvalidArgumentError:
                return {"error": image_files.damaged(tf.constant(encoded)).numpy()}
            return {key: value.numpy() for key, value in answers.items()}

        return answer

    def is_batch(self, x):
        return super().is_batch(x) or getattr(x, "ndim", 0) == 4

    def blank(self):
        return np.full((*self.whole, 3), 127, np.uint8)

    def encode(self, item):
        return encoded_image(item)

    def collate(self, encoded):
        return {"image_bytes": tf.constant(np.array(encoded, object), tf.string)}


def checked_augmentation(chosen: dict) -> None:
    """Refuses what `augment` does not know."""
    for key, value in chosen.items():
        if key not in DISTORTIONS + VIEWS + MIXES:
            raise unknown("augmentation", key, DISTORTIONS + VIEWS + MIXES)
        kind = {"flip": bool, "pad": int}.get(key, (int, float))
        good = isinstance(value, kind) and (key == "flip" or not isinstance(value, bool)) and value >= 0
        if not good or key == "crop" and not 0 < value <= 1:
            wanted = {"flip": "true or false", "pad": "whole number of pixels", "crop": "share in 0 ... 1"}
            raise ZooError(f"augment: {key} = {value!r} is no {wanted.get(key, 'number')}")
