"""Objects: labels, probabilities and boxes out, in pixels of the original image."""

import collections
import functools

import numpy as np
import tensorflow as tf

from zoo import average_precision
from zoo.errors import ZooError
from zoo.preprocessing import boxes
from zoo.tasks.losses import BoxLoss, ObjectLoss
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.task import Criterion, Measured

# What is measured: of each picture, this number of objects of each class with at least this probability, as in COCO.
MEASURED, LEAST = 100, 0.01


def counted(objects: list[dict]) -> str:
    """The number of objects of each label: "2 disc, 1 square"."""
    counts = collections.Counter(each["label"] for each in objects)
    return ", ".join(f"{count:,} {label}" for label, count in sorted(counts.items())) or "no objects"


class Objects(Classification):
    """Reads `logits` (B, N, classes) and `offsets` (B, N, 4): those of N default boxes of an image.

    The model has a layer `offsets` with the attribute `default_boxes` (N, 4) (see `zoo.preprocessing.boxes`). The
    logit of the background is 0. The input kind adds `picture_size` (B, 2) to the outputs: height and width in pixels.

    The targets of an example are its objects (M, 5): rows of a class and a box. Those of a batch are matched with the
    default boxes: (B, N, 5), a class from 1 or 0 for the background, and offsets.
    """

    criterion = Criterion("loss", "min")
    answer_layout = {"objects": [{"label": "labels", "score": "scores", "box": "boxes"}, "object_count"]}
    label_field = "objects"
    padding = {"y": boxes.PADDING}

    @functools.cached_property
    def default_boxes(self) -> np.ndarray:
        """The model's default boxes (N, 4)."""
        return self.model.get_layer("offsets").default_boxes

    def aligned(self, source):
        if (numbers := self._numbers(source)) is None:
            return lambda example: example
        numbers = tf.constant(numbers, tf.int64)

        def align(example):
            objects = example["objects"]
            return {**example, "objects": {**objects, "label": tf.gather(numbers, objects["label"])}}

        return align

    def remarks(self, source):
        """Counts the objects that differ from every default box: few boxes are then matched with them."""
        far = total = 0
        for example in source.dataset.map(lambda example: example["objects"]["bbox"]).as_numpy_iterator():
            overlap = boxes.overlaps(boxes.corners(tf.constant(self.default_boxes)), example)
            far += int(np.sum(np.max(overlap, axis=0, initial=0.0) <= 0.5))
            total += len(example)
        if far <= 0.05 * total:
            return []
        return [
            f"{far:,} of {total:,} boxes overlap no default box by more than half: choose model_overrides.scales "
            "nearer to their sizes, in fractions of the image's shorter side"
        ]

    def targets(self, example):
        objects = example["objects"]
        return tf.concat([tf.cast(objects["label"], tf.float32)[:, tf.newaxis], objects["bbox"]], axis=1)

    def join(self, inputs, y):
        """Each image has a weight, the number of its matched default boxes, by which its losses are divided."""
        matched = boxes.match(y, tf.constant(self.default_boxes))
        count = tf.reduce_sum(tf.cast(matched[:, :, 0] > 0.0, tf.float32), axis=1)
        return inputs, matched, tf.maximum(count, 1.0)

    def loss(self, label_smoothing=0.0):
        if label_smoothing:
            raise ZooError(f"{self.name} has no label_smoothing: set it to 0")
        return {"logits": ObjectLoss(), "offsets": BoxLoss()}

    def metrics(self):
        return {}

    def probabilities(self, outputs):
        """logits (B, N, classes) -> the probabilities of the classes; the rest of 1 is that of the background."""
        logits = tf.cast(outputs["logits"], tf.float32)
        return tf.nn.softmax(tf.pad(logits, [[0, 0], [0, 0], [1, 0]]))[..., 1:]

    def boxes(self, outputs):
        """offsets (B, N, 4) -> boxes (B, N, 4) in fractions of the image."""
        return boxes.boxes_of(tf.cast(outputs["offsets"], tf.float32), tf.constant(self.default_boxes))

    def suppressed(self, outputs, most: int, least: float) -> tuple:
        """Boxes (B, most, 4), probabilities and classes (B, most), and number of objects (B,), best first."""
        return boxes.suppress(self.boxes(outputs), self.probabilities(outputs), most, self.settings.overlap, least)

    def measure(self, source, batch_size, report):
        """Mean average precision at an overlap of 0.5 and from 0.5 to 0.95, and the average precision of each class.

        The definition is that of COCO. The settings `threshold` and `most` do not matter.
        """
        from zoo.tasks.dataset import stream

        batches = stream(self, source, min(batch_size, 32), augment=False, shuffle=False, finish=self.windows)
        most = MEASURED * self.classes
        forward = tf.function(
            lambda inputs: self.suppressed(self.outputs(inputs), most, LEAST), reduce_retracing=True, autograph=False
        )
        truths, found = [], []
        for inputs, y in batches.epoch(0):
            truths += [rows[rows[:, 0] >= 0] for rows in y.numpy()]
            for corners, scores, classes, count in zip(*(value.numpy() for value in forward(inputs)), strict=True):
                columns = [classes[:count, np.newaxis], scores[:count, np.newaxis], corners[:count]]
                found.append(np.concatenate(columns, axis=1))
            if report:
                report(len(truths), batches.examples)
        values = average_precision.figures(truths, found, self.names())
        return Measured(values, None, dict.fromkeys(values, "COCO's definition, 100 objects per class"))

    def answer(self, outputs):
        """`labels` and `scores` (B, most), `boxes` (B, most, 4) in pixels, x0, y0, x1, y1; `object_count` (B,)."""
        found, scores, classes, count = self.suppressed(outputs, self.settings.most, self.settings.threshold)
        sizes = tf.tile(outputs["picture_size"], [1, 2])[:, tf.newaxis]
        is_object = tf.sequence_mask(count, self.settings.most)
        labels = tf.gather(tf.constant(self.names()), classes)
        return {
            "labels": tf.where(is_object, labels, ""),
            "scores": scores,
            "boxes": tf.gather(found * sizes, [1, 0, 3, 2], axis=-1),
            "object_count": count,
        }

    def portable_manifest(self):
        """The labels; and that images are stretched, so that boxes are fractions of the original image."""
        return {**super().portable_manifest(), "boxes": "stretched"}

    def pictures(self, inputs, y, outputs):
        return {}

    def lines(self, row):
        objects = [
            f"  {each['label']} {each['score']:.1%} at {' '.join(f'{value:.0f}' for value in each['box'])}"
            for each in row["objects"]
        ]
        return [f"{row['input']}: {self.summary(row)}", *objects]

    def csv_columns(self):
        return ("objects", "answer")

    def csv_values(self, row):
        texts = [
            f"{each['label']} {each['score']:.6f} {' '.join(f'{value:.2f}' for value in each['box'])}"
            for each in row["objects"]
        ]
        return (len(texts), "; ".join(texts))

    def summary(self, row):
        return counted(row["objects"])

    def best(self, answer):
        return None  # an object near the threshold may be missing at a lower precision

    def comparable(self, answer, other):
        """{label: the greatest probability}; the threshold for a label that only the other answer has.

        Which of two boxes that overlap is left out may depend on the last digit of their probabilities.
        """
        if "objects" not in answer or "objects" not in other:
            return answer
        best = dict.fromkeys(sorted(each["label"] for each in other["objects"]), self.settings.threshold)
        best |= {each["label"]: each["score"] for each in reversed(answer["objects"])}  # the best one comes first
        return dict(sorted(best.items()))
