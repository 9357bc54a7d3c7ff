"""Picture input: an encoded image of any size, answered pixel by pixel in tiles of the model's size."""

import dataclasses
import io
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from PIL import Image

from zoo.data.stream import readable
from zoo.errors import ZooError
from zoo.preprocessing import augmentation, image_files, tiles
from zoo.preprocessing import image as image_ops
from zoo.tasks.inputs import image
from zoo.tasks.inputs.image import ImageInput
from zoo.tasks.raw.image import pages_of
from zoo.tasks.reading import read_safely
from zoo.tasks.settings import DISTORTIONS


class PictureInput(ImageInput):
    """Reads `image`; settings are those of `zoo.tasks.settings.SegmentationSettings`.

    The model's input `image` is a tile (B, h, w, C). An example of training is a tile, too: the part of a picture that
    begins at `corner`, with what is around it. The result of `checked` is `pixels` (B,) strings, whole pictures as
    serialized tensors (H, W, 3) uint8, because the pictures of a batch differ in size.
    """

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        answered = model.output["logits"].shape[1:3] if "logits" in model.output else self.size
        around = [(own - left) // 2 + self.settings.context for own, left in zip(self.size, answered, strict=True)]
        self.tiling = tiles.Tiling(self.size, tuple(around))
        if min(self.tiling.part) < 1:
            raise ZooError(
                f"{self.name}: context={self.settings.context} leaves nothing of a tile of {self.size[0]} x "
                f"{self.size[1]} pixels: give a smaller context or a larger input_shape"
            )
        turns = self.settings.orientations == 8 or self.settings.augment.get("turn")
        if turns and self.size[0] != self.size[1]:
            raise ZooError(
                f"{self.name}: a tile must be square to be turned, got {self.size[0]} x {self.size[1]} pixels"
            )

    # Training.

    def examples(self, source, batch_size):
        """A tile for each part of each picture: with `corner` (2,), and `size` (2,) of the mask."""
        masks = source.dataset.map(lambda example: example["mask"]).as_numpy_iterator()
        sizes = [Image.open(io.BytesIO(mask)).size[::-1] for mask in masks]
        corners = [self.tiling.corners(*size) for size in sizes]
        ragged, sizes = tf.ragged.constant(corners, tf.int32, ragged_rank=1), tf.constant(sizes, tf.int32)

        @tf.autograph.experimental.do_not_convert
        def divided(number, stub):
            own = tf.data.Dataset.from_tensor_slices(ragged[number])
            return own.map(lambda corner: (stub, corner, sizes[number]))

        def load(stub):
            stub, corner, size = stub["stub"], stub["corner"], stub["size"]
            return {**source.load(stub), "corner": corner, "size": size}

        stubs = source.stubs.enumerate().flat_map(divided)
        stubs = stubs.map(lambda stub, corner, size: {"stub": stub, "corner": corner, "size": size})
        return dataclasses.replace(source, stubs=stubs, load=load, examples=sum(map(len, corners)), is_files=False)

    def read(self, example):
        raw = super().read(example)
        size = tf.shape(raw["pixels"])[:2]
        sides = [size[1], size[0], example["size"][1], example["size"][0]]
        text = tf.strings.format("{} x {} pixels, but its mask has {} x {}", sides)
        error = tf.where(tf.reduce_all(size == example["size"]), "", text)
        with tf.control_dependencies([readable(error, example.get("file", "an example"))]):
            return {"pixels": tf.identity(raw["pixels"]), "corner": example["corner"]}

    def prepare(self, raw):
        """Pixels (H, W, 3) uint8 and the corner of a part -> its tile with its margin, (h, w, C) in [0, 1]."""
        pixels = self.with_margin(raw["pixels"], raw["corner"])
        picture = image_ops.to_float(pixels, self.settings.colour)
        return {"picture": tf.ensure_shape(picture, (*self.whole, self.model.input["image"].shape[-1]))}

    def with_margin(self, picture, corner):
        """The tile of the part of a picture that begins at `corner`, with its margin: (H, W, C) -> (*whole, C)."""
        return tiles.window(picture, corner - tf.constant(self.tiling.context) - self.settings.margin, self.whole)

    def augment_inputs(self, prepared, seed):
        chosen = self.settings.augment
        if any(key in chosen for key in DISTORTIONS):
            prepared = {**prepared, "distortion": augmentation.draw(seed, chosen.get("elastic", 0.0))}
        return {**prepared, "crop": augmentation.draw_crop(seed)}

    def finish(self, prepared):
        return {"image": image_ops.window(self._scaled(prepared["picture"]), self.settings.margin)}

    def moved(self, prepared, masks):
        """The random changes of a batch: the model's `image`, and masks (B, *whole, M) moved alike to (B, h, w, M)."""
        chosen, pictures, draws = self.settings.augment, prepared["picture"], prepared["crop"]
        masks = tf.cast(masks, tf.float32)
        if "distortion" in prepared:
            distortions = {key: value for key, value in chosen.items() if key in DISTORTIONS}
            pictures, masks = augmentation.distort(pictures, prepared["distortion"], **distortions, masks=masks)
        if "colour" in chosen:
            pictures = augmentation.colour(pictures, draws, chosen["colour"])
        channels = prepared["picture"].shape[-1]
        both = tf.concat([self._scaled(pictures), masks], axis=-1)
        both = tf.ensure_shape(both, (None, *self.whole, channels + masks.shape[-1]))
        both = augmentation.pad_and_crop(both, draws, chosen.get("pad", 0), self.settings.margin)
        if chosen.get("flip"):
            both = augmentation.mirror(both, draws)
        if chosen.get("turn"):
            both = augmentation.turn(both, draws)
        return {"image": both[..., :channels]}, both[..., channels:]

    # Answers.

    def checked(self, raw):
        """Encoded images (B,) -> `pixels`, and error (B,); a bad image becomes one black pixel."""
        neutral = tf.io.serialize_tensor(tf.zeros((1, 1, 3), tf.uint8))
        read = read_safely(raw["image_bytes"], image._header_error, self._pixels, image_files.damaged, neutral)
        return {"pixels": read[0]}, read[1]

    @staticmethod
    def _pixels(encoded):
        return tf.io.serialize_tensor(image._read(encoded))

    def _any_image(self, raw):
        encoded = raw["image_bytes"]
        error = image._header_error(encoded)
        neutral = tf.io.serialize_tensor(tf.zeros((1, 1, 3), tf.uint8))
        return {"pixels": tf.cond(error == "", lambda: self._pixels(encoded), lambda: neutral)}, error

    def _plain_png(self, raw):
        pixels = tf.io.decode_png(raw["image_bytes"], channels=3)
        return {"pixels": tf.io.serialize_tensor(pixels)}, tf.constant("")

    @staticmethod
    def parsed(serialized):
        """One of `pixels` -> (H, W, 3) uint8."""
        return tf.ensure_shape(tf.io.parse_tensor(serialized, tf.uint8), (None, None, 3))

    def image_of(self, pixels):
        """Pixels (..., h, w, 3) uint8 -> the model's `image` (..., h, w, C)."""
        return self._scaled(image_ops.to_float(pixels, self.settings.colour))

    def model_inputs(self, checked):
        """The tile in the middle of each picture."""

        def middle(serialized):
            pixels = self.parsed(serialized)
            corner = (tf.shape(pixels)[:2] - tf.constant(self.size)) // 2
            return self.image_of(tiles.window(pixels, corner, self.size))

        spec = tf.TensorSpec(self.model.input["image"].shape[1:], tf.float32)
        return {"image": tf.map_fn(middle, checked["pixels"], fn_output_signature=spec)}

    @classmethod
    def parts(cls, item: Any) -> Iterable:
        """The pages of a TIFF file with several pages."""
        return pages_of(item)

    def neutral_input(self):
        return super().neutral_input()[:64, :64]
