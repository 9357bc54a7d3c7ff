"""Classes of pixels: a map of classes out, as a PNG of class numbers."""

import base64
import io

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from zoo import segments
from zoo.errors import ZooError, unknown
from zoo.preprocessing import tiles
from zoo.tasks.losses import accuracy
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.task import Criterion, Measured

VOID = 255  # in a mask: a pixel without a class
# Targets are (..., 2) uint8: the class, and whether the pixel has a class and belongs to the part that a tile answers.
UNKNOWN, AROUND, INSIDE = 0, 1, 2
BLOCKS = 4  # rows and columns of a picture whose classes are compared between two exports


@keras.saving.register_keras_serializable("zoo")
def pixel_error(y_true, y_pred):
    """(B, h, w), 1 where the greatest logit is not that of the class."""
    return 1.0 - accuracy(y_true, y_pred)


def palette(classes: int) -> list[int]:
    """The colours of class numbers in masks, three numbers each: black and white, or those of PASCAL VOC."""
    if classes == 2:
        return [0, 0, 0, 255, 255, 255]
    bits = [[(number >> (3 * place + channel) & 1) << (7 - place) for place in range(3)]
            for number in range(classes) for channel in range(3)]  # fmt: skip
    return [sum(own) for own in bits]


class PixelClasses(Classification):
    """Reads the output `logits` (B, h, w, classes) of a model; the input kind is `PictureInput`.

    Settings are those of `zoo.tasks.settings.SegmentationSettings`.
    """

    criterion = Criterion("pixel_error", "min")
    answer_layout = {
        "classes": [{"label": "labels", "fraction": "fractions"}],
        "mask": {"bytes": "mask_bytes"},
    }
    label_field = "mask"

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        self.boundary = None
        if self.settings.boundary is not None and self.classes:
            if self.settings.boundary not in self.names():
                raise ZooError(f"{self.name}: boundary: {unknown('class', self.settings.boundary, self.names())}")
            self.boundary = self.names().index(self.settings.boundary)

    # Training.

    def aligned(self, source):
        """Adds the model's number of each class number of a mask: `numbers` (256,) uint8."""
        numbers = self._numbers(source) or range(self.classes or VOID)
        table = np.full(256, VOID, "uint8")
        table[: len(numbers)] = numbers
        return lambda example: {**example, "numbers": tf.constant(table)}

    def targets(self, example):
        """The mask of an example -> (*whole, 2) uint8, a tile with its margin: class, and UNKNOWN, AROUND or INSIDE."""
        classes, (rows, columns) = self.mask_of(example), self.tiling.part
        corner, (height, width) = example["corner"], tf.unstack(example["size"])
        is_row = (tf.range(height) >= corner[0]) & (tf.range(height) < corner[0] + rows)
        is_column = (tf.range(width) >= corner[1]) & (tf.range(width) < corner[1] + columns)
        # Mirrored pixels are not inside: they are outside the picture.
        inside = self._only_inside(is_row[:, tf.newaxis] & is_column, corner)
        window = self.with_margin(classes, corner)
        place = tf.where(inside, tf.constant(INSIDE, tf.uint8), tf.constant(AROUND, tf.uint8))
        place = tf.where(window == VOID, tf.constant(UNKNOWN, tf.uint8), place)
        y = tf.concat([tf.where(window == VOID, tf.zeros((), tf.uint8), window), place], axis=-1)
        return tf.ensure_shape(y, (*self.whole, 2))

    def _only_inside(self, is_inside, corner):
        """(H, W) bool of a picture -> (*whole, 1) bool of a tile, false outside the picture."""
        top, left = (self.tiling.context[axis] + self.settings.margin for axis in (0, 1))
        padded = tf.pad(is_inside, ((top, self.whole[0]), (left, self.whole[1])))
        return padded[corner[0] : corner[0] + self.whole[0], corner[1] : corner[1] + self.whole[1], tf.newaxis]

    def mask_of(self, example):
        """The mask of an example, with the model's class numbers: (H, W, 1) uint8."""
        mask = tf.io.decode_png(example["mask"], channels=1)
        return tf.gather(example["numbers"], tf.cast(mask, tf.int32))

    def batch(self, prepared, y):
        """With random changes the masks follow, and all pixels with a class count."""
        if "crop" not in prepared:
            return self.join(self.finish(prepared), y)
        inputs, masks = self.moved(prepared, y)
        has_class = masks[..., 1:] > UNKNOWN
        return self.join(inputs, tf.concat([masks[..., :1], tf.where(has_class, float(INSIDE), 0.0)], axis=-1))

    def join(self, inputs, y):
        """Masks (B, h', w', 2), of which the middle lies under the logits -> class numbers (B, h, w) and weights."""
        height, width = self.model.output["logits"].shape[1:3]
        top, left = (y.shape[1] - height) // 2, (y.shape[2] - width) // 2
        y = y[:, top : top + height, left : left + width]
        return inputs, tf.cast(y[..., 0], tf.int32), tf.cast(y[..., 1] == INSIDE, tf.float32)

    def _metrics(self):
        return [keras.metrics.MeanMetricWrapper(pixel_error, name="pixel_error")]

    def pictures(self, inputs, y, outputs):
        return {}

    # Evaluation of whole pictures.

    def measure(self, source, batch_size, report):
        """The fraction of pixels of the wrong class, and the confusion matrix; with a boundary, V_rand and V_info."""
        import functools

        from zoo import plotting

        counts, kept_apart = np.zeros((self.classes, self.classes), int), []
        for done, (probabilities, mask) in enumerate(self.answered(source), start=1):
            known = mask != VOID
            np.add.at(counts, (mask[known], np.argmax(probabilities, axis=-1)[known]), 1)
            if self.boundary is not None:
                is_boundary = probabilities[..., self.boundary] >= self.settings.boundary_threshold
                kept_apart.append(segments.scores(is_boundary, self.objects(mask)))
            if report:
                report(done, source.examples)
        values = {"pixel_error": 1.0 - float(np.trace(counts) / max(counts.sum(), 1))}
        names = ("v_rand", "v_info") if kept_apart else ()
        values |= {name: float(np.mean([own[name] for own in kept_apart])) for name in names}
        note = f"mean of {len(kept_apart)} pictures, probability of {self.settings.boundary} >= "
        notes = dict.fromkeys(names, f"{note}{self.settings.boundary_threshold:g}, thinned")
        return Measured(values, functools.partial(plotting.confusion, counts, self.names()), notes)

    def objects(self, mask: np.ndarray) -> np.ndarray:
        """The number of the object of each pixel of a mask (H, W), 0 on a boundary and without a class."""
        return segments.segments((mask == self.boundary) | (mask == VOID))

    def answered(self, source):
        """Yields the probabilities (H, W, classes) and the mask (H, W) of each picture of a source, in NumPy."""
        align = self.aligned(source)

        @tf.function(autograph=False, reduce_retracing=True)
        def answer(pixels):
            return self.map_of(self.model, pixels, lambda each: each, (self.classes,), tf.float32)

        @tf.autograph.experimental.do_not_convert
        def read(stub):
            example = align(source.load(stub))
            mask = self.mask_of(example)[..., 0]
            return self.read({**example, "size": tf.shape(mask), "corner": 0})["pixels"], mask

        for pixels, mask in source.stubs.map(read):
            yield answer(pixels).numpy(), mask.numpy()

    # From pictures to answers.

    def tile_probabilities(self, model, images):
        """Tiles (B, h, w, C) -> the probabilities of the classes (B, h', w', classes), those of `context` too."""
        if self.settings.orientations == 1:
            return self.probabilities(model({"image": images}, training=False))
        oriented = tiles.orientations(images)  # (8, B, h, h, C)
        logits = model({"image": tf.reshape(oriented, (-1, *images.shape[1:]))}, training=False)["logits"]
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        return tf.reduce_mean(tiles.upright(tf.reshape(probabilities, (8, -1, *logits.shape[1:]))), axis=0)

    def map_of(self, model, pixels, convert, channels, dtype):
        """Pixels (H, W, 3) uint8 -> (H, W, *channels): `convert` of the probabilities (h, w, classes) of each tile."""
        edge = self.settings.context

        def tile(own):
            probabilities = self.tile_probabilities(model, self.image_of(own)[tf.newaxis])[0]
            height, width = probabilities.shape[:2]
            return convert(probabilities[edge : height - edge, edge : width - edge])

        return tiles.mapped(pixels, self.tiling, tile, channels, dtype)

    def classes_of(self, probabilities):
        """Probabilities (..., classes) -> class numbers (...) uint8."""
        if self.settings.threshold is None or self.boundary is None:
            return tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8)
        is_boundary = probabilities[..., self.boundary] >= self.settings.threshold
        others = probabilities - 2.0 * tf.one_hot(self.boundary, self.classes)
        classes = tf.where(is_boundary, tf.cast(self.boundary, tf.int64), tf.argmax(others, axis=-1))
        return tf.cast(classes, tf.uint8)

    def run(self, model, inputs):
        """Pictures -> `mask_bytes` (B,), PNG files of class numbers, and `fractions` (B, classes) of the pixels.

        A model without logits answers on the tile in the middle of each picture.
        """
        if "logits" not in model.output:
            return super().run(model, self.model_inputs(inputs))

        def single(serialized):
            mask = self.map_of(model, self.parsed(serialized), self.classes_of, (), tf.uint8)
            counts = [tf.math.count_nonzero(mask == number) for number in range(self.classes)]
            fractions = tf.cast(tf.stack(counts) / tf.size(mask, tf.int64), tf.float32)
            return {"mask_bytes": tf.io.encode_png(mask[..., tf.newaxis]), "fractions": fractions}

        specs = {
            "mask_bytes": tf.TensorSpec((), tf.string),
            "fractions": tf.TensorSpec((self.classes,), tf.float32),
        }
        return tf.map_fn(single, inputs["pixels"], fn_output_signature=specs, parallel_iterations=1)

    def answer(self, outputs):
        """`mask_bytes` (B,), and `labels` and `fractions` (B, classes) in the order of the class numbers."""
        fractions = outputs["fractions"]
        labels = tf.broadcast_to(tf.range(self.classes), tf.shape(fractions))
        return {**outputs, "labels": tf.gather(tf.constant(self.names()), labels)}

    def portable(self, is_rounded):
        """`pixels`, a tile with values 0 to 255 -> `map` (B, h', w', classes), the probabilities of the classes."""
        self.check_complete()
        dtype = tf.uint8 if is_rounded else tf.float32
        specs = {"pixels": tf.TensorSpec((None, *self.model.input["image"].shape[1:]), dtype, "pixels")}

        def probabilities(pixels):
            images = self._scaled(tf.cast(pixels, tf.float32) / 255.0)
            return {"map": self.tile_probabilities(self.model, images)}

        def inputs(prepared):
            pixels = 255.0 * tiles_of(prepared["picture"], self.size)
            return {"pixels": tf.cast(tf.round(pixels), tf.uint8) if is_rounded else pixels}

        return probabilities, specs, inputs

    def portable_manifest(self):
        known = None if self.settings.threshold is None else self.boundary
        return {
            "labels": self.names(),
            "tiles": {"context": list(self.tiling.context), "edge": self.settings.context},
            "boundary": known,
            "palette": palette(self.classes),
        }

    def lines(self, row):
        place = f" -> {row['mask']}" if isinstance(row["mask"], str) else ""
        return [f"{row['input']}: {self.summary(row)}{place}"]

    def summary(self, row):
        return ", ".join(f"{own['label']} {own['fraction']:.1%}" for own in row["classes"])

    def csv_columns(self):
        return (*self.names(), "mask")

    def csv_values(self, row):
        fractions = [f"{own['fraction']:.6f}" for own in row["classes"]]
        return (*fractions, row["mask"] if isinstance(row["mask"], str) else base64.b64encode(row["mask"]).decode())

    def files(self, row):
        """The mask as a PNG with a palette of colours, whose indices are the class numbers."""
        mask = Image.open(io.BytesIO(row["mask"])).convert("L")
        coloured = Image.frombytes("P", mask.size, mask.tobytes())
        coloured.putpalette(palette(self.classes))
        buffer = io.BytesIO()
        coloured.save(buffer, "PNG")
        return {"mask": (".png", buffer.getvalue())}

    def best(self, answer):
        return [own["label"] for own in answer["classes"]]

    def comparable(self, answer, other):
        """The fractions of the classes in each of 4x4 blocks, because single pixels between two classes may change."""
        if "mask" not in answer:
            return answer
        content = answer["mask"]
        content = base64.b64decode(content) if isinstance(content, str) else content
        mask = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        rows = [part for row in np.array_split(mask, BLOCKS) for part in np.array_split(row, BLOCKS, axis=1)]
        return [
            [float(np.mean(part == number)) if part.size else 0.0 for number in range(self.classes)] for part in rows
        ]


def tiles_of(pictures, size: tuple[int, int]):
    """The middle of pictures with a margin: (..., H, W, C) -> (..., *size, C)."""
    top, left = (pictures.shape[-3] - size[0]) // 2, (pictures.shape[-2] - size[1]) // 2
    return pictures[..., top : top + size[0], left : left + size[1], :]
