"""Image input: an encoded image of any size -> the model's image of a fixed size."""

import io
import itertools

import numpy as np
import tensorflow as tf

from zoo.data.layouts import ClassFolders
from zoo.data.stream import readable
from zoo.errors import InputError, ZooError
from zoo.preprocessing import augmentation, image_files
from zoo.preprocessing import image as image_ops
from zoo.tasks.raw.image import NOT_AN_IMAGE, encoded_image, is_plain_png
from zoo.tasks.reading import read_safely
from zoo.tasks.settings import CROPS, DISTORTIONS, MIXES
from zoo.tasks.task import Task

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif"})


def _traced_once(function):
    """A function of an encoded image that all graphs of the process share, because tracing it takes a second."""
    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


_header_error, _read = _traced_once(image_files.header_error), _traced_once(image_files.read)


def _converted(encoded: tf.Tensor) -> tf.Tensor:
    """A file that TensorFlow can't decode, such as a WebP, as a PNG; other files, and bytes of no image, unchanged."""

    def by_pillow(content: bytes) -> bytes:
        try:
            return encoded_image(content)
        except InputError:
            return content  # the graph reports it

    head = tf.strings.substr(encoded, 0, 4)
    is_readable = (tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff") | (head == b"\x89PNG") | (head == b"GIF8")
    return tf.cond(
        is_readable,
        lambda: encoded,
        lambda: tf.ensure_shape(tf.numpy_function(by_pillow, [encoded], tf.string, stateful=False), ()),
    )


class ImageInput(Task):
    """Reads `image`; settings are those of `zoo.tasks.settings.ImageSettings`.

    The model's input `image` is (B, h, w, C). With margin m, a prepared image is (h + 2m, w + 2m, C). With several
    windows per image, `windows` gives (B, windows, h, w, C).
    """

    raw_kinds = {"image_bytes": "image"}
    input_name = "image"
    layout = ClassFolders("image", "images", SUFFIXES)

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        height, width, channels = model.input["image"].shape[1:]
        margin = self.settings.margin
        self.size, self.whole = (height, width), (height + 2 * margin, width + 2 * margin)
        if channels != (1 if self.settings.colour == "grey" else 3):
            raise ZooError(f"{model.name} takes {channels} channels, which is not colour={self.settings.colour!r}")

    def raw_batch(self, examples):
        return {"image_bytes": examples["image"]}

    def read(self, example):
        """Encoded bytes -> pixels (H, W, 3) uint8. A bad file ends the run with an error that names it."""
        encoded, where = _converted(example["image"]), example.get("file", "an example")
        error = _header_error(encoded)
        error = tf.where(error == image_files.NOT_AN_IMAGE, NOT_AN_IMAGE, error)
        with tf.control_dependencies([readable(error, where)]):
            encoded = tf.identity(encoded)
        if "file" not in example:
            return {"pixels": _read(encoded)}
        # The decoder's error does not name the file. It is ignored, and an empty image marks the failure.
        pictures = tf.data.Dataset.from_tensors(encoded).map(_read).ignore_errors()
        pictures = pictures.concatenate(tf.data.Dataset.from_tensors(tf.zeros((0, 0, 3), tf.uint8)))
        pixels = pictures.take(1).get_single_element()
        error = tf.where(tf.size(pixels) > 0, "", image_files.damaged(encoded))
        with tf.control_dependencies([readable(error, where)]):
            return {"pixels": tf.identity(pixels)}

    def prepare(self, raw):
        """Pixels (H, W, 3) uint8 -> framed image (h, w, C) float32 in [0, 1], with its margin."""
        settings = self.settings
        picture = image_ops.to_float(raw["pixels"], settings.colour)
        if settings.centre == "ink":
            strength = image_ops.ink(image_ops.reduce(picture), settings.polarity)
            picture = image_ops.centre_ink(strength, self.whole, settings.fraction)
        else:
            picture = image_ops.crop_and_resize(picture, self.whole, settings.fraction)
            if settings.polarity:
                picture = image_ops.ink(picture, settings.polarity)
        return {"picture": tf.ensure_shape(picture, (*self.whole, self.model.input["image"].shape[-1]))}

    def augment_inputs(self, prepared, seed):
        """Draws the random numbers of one image; `finish` applies them to a whole batch, which is faster."""
        chosen = self.settings.augment
        if any(key in chosen for key in DISTORTIONS):
            prepared = {**prepared, "distortion": augmentation.draw(seed, chosen.get("elastic", 0.0))}
        if any(key in chosen for key in CROPS):
            prepared = {**prepared, "crop": augmentation.draw_crop(seed)}
        mixes = {key: chosen[key] for key in MIXES if chosen.get(key)}
        if mixes:
            prepared = {**prepared, "mix": augmentation.draw_mix(seed, **mixes)}
        return prepared

    def finish(self, prepared):
        """Pictures (B, h, w, C) or (h, w, C), and the random numbers of `augment_inputs` -> the model's `image`."""
        chosen, pictures = self.settings.augment, prepared["picture"]
        if "distortion" in prepared:
            distortions = {key: value for key, value in chosen.items() if key in DISTORTIONS}
            pictures = augmentation.distort(pictures, prepared["distortion"], **distortions)
            pictures = tf.ensure_shape(pictures, prepared["picture"].shape)
        crop = prepared.get("crop")
        if crop is not None and "crop" in chosen:
            pictures = augmentation.resized_crop(pictures, crop, chosen["crop"])
        if crop is not None and chosen.get("flip"):
            pictures = augmentation.mirror(pictures, crop)
        if crop is not None and chosen.get("upend"):
            pictures = augmentation.upend(pictures, crop)
        if crop is not None and "colour" in chosen:
            pictures = augmentation.colour(pictures, crop, chosen["colour"])
        pictures, margin = self._scaled(pictures), self.settings.margin
        if crop is not None and "pad" in chosen:
            return {"image": augmentation.pad_and_crop(pictures, crop, chosen["pad"], margin)}
        return {"image": image_ops.window(pictures, margin)}

    def _scaled(self, pictures):
        low, high = self.settings.low, self.settings.high
        return low + (high - low) * pictures

    def windows(self, prepared):
        """Like `finish`, but (..., windows, h, w, C) if an answer averages several windows."""
        if self.settings.windows == 1:
            return self.finish(prepared)
        margin, pictures = self.settings.margin, self._scaled(prepared["picture"])
        corners = itertools.product((-margin, margin), repeat=2) if self.settings.windows == 10 else ()
        moves = [(0, 0), *corners]
        windows = [image_ops.window(pictures, margin, *move) for move in moves]
        return {"image": tf.stack([*windows, *(window[..., ::-1, :] for window in windows)], axis=-4)}

    def run(self, model, inputs):
        """Runs a model with the input `image` on each window; `merge_windows` combines them to one output per image."""
        if self.settings.windows == 1:
            return super().run(model, inputs)
        images = inputs["image"]  # (B, windows, h, w, C)
        outputs = super().run(model, {"image": tf.reshape(images, (-1, *images.shape[2:]))})
        return {
            name: self.merge_windows(name, tf.reshape(output, (-1, self.settings.windows, *output.shape[1:])))
            for name, output in outputs.items()
        }

    def merge_windows(self, name, output):
        """An output (B, windows, ...) -> (B, ...)."""
        return tf.reduce_mean(output, axis=1)

    def checked(self, raw):
        """Encoded images (B,) -> the result of `windows`, and error (B,); a bad image becomes zeros."""
        neutral = self.neutral_windows()
        return read_safely(raw["image_bytes"], _header_error, self._windows_of, image_files.damaged, neutral)

    def neutral_windows(self) -> dict:
        """What replaces the result of `windows` for a bad image."""
        windows = (self.settings.windows,) if self.settings.windows > 1 else ()
        return {"image": tf.zeros((*windows, *self.model.input["image"].shape[1:]))}

    def _windows_of(self, encoded):
        return self.windows(self.prepare({"pixels": _read(encoded)}))

    def checked_single(self, encoded):
        """A single item needs no `read_safely`. For a plain PNG, Python has already checked the header."""
        return self._plain_png if is_plain_png(encoded["image_bytes"]) else self._any_image

    def _any_image(self, raw):
        encoded = raw["image_bytes"]
        error = _header_error(encoded)
        return tf.cond(error == "", lambda: self._windows_of(encoded), self.neutral_windows), error

    def _plain_png(self, raw):
        pixels = tf.io.decode_png(raw["image_bytes"], channels=3)
        return self.windows(self.prepare({"pixels": pixels})), tf.constant("")

    def damaged(self, raw):
        return image_files.damaged(raw["image_bytes"])

    def displayed(self, images) -> np.ndarray:
        """The model's `image` (..., h, w, C) -> values in [0, 1], for drawing."""
        low, high = self.settings.low, self.settings.high
        return np.clip((np.array(images) - low) / (high - low), 0.0, 1.0)

    def neutral_input(self):
        return np.full((*self.whole, 3), 127, np.uint8)

    def preview(self, item):
        """The image as characters, denser for lighter pixels. A character is taken as twice as high as wide."""
        from PIL import Image, ImageOps

        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(self.encode(item)["image_bytes"]))).convert("L")
        width, shades = 40, " .:-=+*#%@"
        height = max(1, round(width * picture.height / picture.width / 2))
        picture = picture.resize((width, height))
        rows = [
            "".join(shades[picture.getpixel((x, y)) * (len(shades) - 1) // 255] for x in range(width))
            for y in range(height)
        ]
        return "\n".join(row.rstrip() for row in rows).strip("\n")
