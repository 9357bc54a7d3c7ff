"""Image classification: an encoded image in, labels and their scores out."""

import functools

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.errors import ZooError, unknown
from zoo.preprocessing import augmentation
from zoo.preprocessing import image as image_ops
from zoo.preprocessing import image_files
from zoo.tasks.image_inputs import encoded_image, is_plain_png
from zoo.tasks.task import CrossEntropy, FunctionLoss, Task, read_safely

DISTORTIONS = ("rotate", "zoom", "shear", "shift", "elastic")
VIEWS = ("flip", "pad", "crop", "colour")


class ImageClassification(Task):
    """Images of any size to a model of one size.

    Settings:
        colour: "rgb" or "grey".
        polarity: "light_on_dark" turns dark drawings on light ground round; None takes pictures as they are.
        centre: "ink" frames the drawing itself (digits, characters); None takes the middle of the picture.
        share: with centre "ink" the longer side of the drawing over the frame's; else the part of the middle kept.
        low, high: the values that black and white (ground and full ink) become.
        augment: in training, by name: the arguments of preprocessing.augmentation.distort; flip = true, left to right
            every second time; pad, pixels to move by; crop, the least share of the area that a random window has;
            colour, greatest change of brightness, contrast and saturation.
        top: how many labels an answer gives, best first.
    """

    name = "image_classification"
    fields = ("image", "label")
    keys = ("labels", "scores")
    defaults = {
        "colour": "rgb",
        "polarity": None,
        "centre": None,
        "share": 1.0,
        "low": 0.0,
        "high": 1.0,
        "augment": {},
        "top": 5,
    }

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        choices = {"colour": ("rgb", "grey"), "polarity": ("light_on_dark", None), "centre": ("ink", None)}
        for key, known in choices.items():
            if self.settings[key] not in known:
                raise ZooError(f"{self.name}: {key}={self.settings[key]!r} is none of {known}")
        if self.settings["centre"] and self.settings["colour"] != "grey":
            raise ZooError(f"{self.name}: centre='ink' needs colour='grey'")
        checked_augmentation(self.settings["augment"])
        if not isinstance(self.settings["top"], int) or self.settings["top"] < 1:
            raise ZooError(f"{self.name}: top={self.settings['top']!r} is no number of labels; give 1 or more")
        height, width, channels = model.input["image"].shape[1:]
        self.size = (height, width)
        if channels != (1 if self.settings["colour"] == "grey" else 3):
            raise ZooError(f"{model.name} takes {channels} channels, which is not colour={self.settings['colour']!r}")
        outputs = model.output
        self.classes = outputs["logits"].shape[-1] if "logits" in outputs else None
        if self.classes and labels is not None and len(labels) != self.classes:
            raise ZooError(f"{model.name} has {self.classes} classes, {len(labels)} labels are given")

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
        """Pixels (H, W, 3) uint8 -> framed picture (h, w, C) float32 in [0, 1]."""
        picture = image_ops.to_float(raw["pixels"], self.settings["colour"])
        if self.settings["centre"] == "ink":
            strength = image_ops.ink(image_ops.reduce(picture), self.settings["polarity"])
            picture = image_ops.centre_ink(strength, self.size, self.settings["share"])
        else:
            picture = image_ops.crop_and_resize(picture, self.size, self.settings["share"])
            if self.settings["polarity"]:
                picture = image_ops.ink(picture, self.settings["polarity"])
        return {"picture": tf.ensure_shape(picture, self.model.input["image"].shape[1:])}

    def augment(self, prepared, seed):
        chosen = self.settings["augment"]
        if any(key in chosen for key in DISTORTIONS):
            prepared = {**prepared, "draw": augmentation.draw(seed, chosen.get("elastic", 0.0))}
        if any(key in chosen for key in VIEWS):
            prepared = {**prepared, "view": augmentation.draw_view(seed)}
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
        pictures = low + (high - low) * pictures
        if view is not None and "pad" in chosen:
            pictures = augmentation.pad_and_crop(pictures, view, chosen["pad"])
        return {"image": pictures}

    def targets(self, example):
        return example["label"]

    def loss(self, label_smoothing=0.0):
        entry = registry.entries().get(self.model.origin.model)
        if entry is None or entry.loss is None:
            return CrossEntropy(label_smoothing)
        if label_smoothing:
            raise ZooError(f"{self.model.origin.model} has a loss of its own, which knows no label_smoothing")
        return FunctionLoss(entry.loss_function())

    def metrics(self):
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if self.classes > 20:
            metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_accuracy"))
        return metrics

    def names(self) -> list[str]:
        """The labels, or the classes' numbers where there are none."""
        return self.labels or [str(number) for number in range(self.classes)]

    def answer(self, outputs):
        """logits (B, classes) -> labels (B, k) strings and scores (B, k), best first; a score is a softmax share."""
        scores = tf.nn.softmax(tf.cast(outputs["logits"], tf.float32))
        scores, places = tf.math.top_k(scores, min(self.settings["top"], self.classes))
        return {"labels": tf.gather(tf.constant(self.names()), places), "scores": scores}

    def _picture(self, encoded):
        return self.preprocess({"pixels": image_files.read(encoded)})["image"]

    def _neutral(self):
        return tf.zeros(self.model.input["image"].shape[1:])

    def _images(self, encoded):
        return read_safely(encoded, image_files.header_error, self._picture, image_files.damaged, self._neutral())

    def signatures(self):
        if self.classes is None:
            raise ZooError(f"{self.model.name} has no head (classes=0): it gives embeddings, and no labels")
        encoded = {"image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")}
        image = {"image": tf.TensorSpec((None, *self.model.input["image"].shape[1:]), tf.float32, name="image")}

        def serving_default(image_bytes):
            images, error = self._images(image_bytes)
            answers = self.answer(self.model({"image": images}, training=False))
            good = (error == "")[:, tf.newaxis]
            labels = tf.where(good, answers["labels"], "")
            return {"labels": labels, "scores": tf.where(good, answers["scores"], 0.0), "error": error}

        def tensors(image):
            return self.model({"image": image}, training=False)

        signatures = {"serving_default": (serving_default, encoded), "tensors": (tensors, image)}
        body = self.body()
        if body is not None:

            def embeddings(image_bytes):
                images, error = self._images(image_bytes)
                values = body({"image": images}, training=False)
                return {"embeddings": tf.where((error == "")[:, tf.newaxis], values, 0.0), "error": error}

            signatures["embeddings"] = (embeddings, encoded)
        return signatures

    def body(self) -> keras.Model | None:
        """The model up to its head, giving embeddings (B, D); None where the head has no flat input."""
        heads = [layer for layer in self.model.layers if registry.is_head(layer.name)]
        if not heads or not hasattr(heads[0], "input") or len(heads[0].input.shape) != 2:
            return None
        return keras.Model(self.model.input, heads[0].input)

    def one(self):
        spec = [tf.TensorSpec((), tf.string, name="image_bytes")]

        def whole(image_bytes):
            error = image_files.header_error(image_bytes)
            image = tf.cond(error == "", lambda: self._picture(image_bytes), self._neutral)
            return {**first(self.answer(self.model({"image": image[tf.newaxis]}, training=False))), "error": error}

        def short(image_bytes):
            image = self.preprocess({"pixels": tf.io.decode_png(image_bytes, channels=3)})["image"]
            return {**first(self.answer(self.model({"image": image[tf.newaxis]}, training=False))), "error": ""}

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

    def encode(self, item):
        return encoded_image(item)

    def collate(self, encoded):
        return {"image_bytes": tf.constant(np.array(encoded, object), tf.string)}

    def told(self, answers):
        labels = [label.decode() for label in answers["labels"]]
        return {"labels": labels, "scores": [float(score) for score in answers["scores"]]}


def checked_augmentation(chosen: dict) -> None:
    """Refuses what `augment` does not know."""
    for key, value in chosen.items():
        if key not in DISTORTIONS + VIEWS:
            raise unknown("augmentation", key, DISTORTIONS + VIEWS)
        kind = {"flip": bool, "pad": int}.get(key, (int, float))
        good = isinstance(value, kind) and (key == "flip" or not isinstance(value, bool)) and value >= 0
        if not good or key == "crop" and not 0 < value <= 1:
            wanted = {"flip": "true or false", "pad": "whole number of pixels", "crop": "share in 0 ... 1"}
            raise ZooError(f"augment: {key} = {value!r} is no {wanted.get(key, 'number')}")
