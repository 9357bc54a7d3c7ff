"""Frame labels: the class of every frame out, as segments of frames of the same class."""

import functools

import keras
import numpy as np
import tensorflow as tf

from zoo.tasks.losses import accuracy
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.task import Criterion, Measured


class FrameLabels(Classification):
    """Reads the output `logits` (B, N, classes) of a model with the input `frame_count` (B,).

    Targets are the class numbers of an item's frames, (N,). The input kind has `seconds(frame, outputs)`, the time at
    which a frame begins, at most the length of the item.
    """

    criterion = Criterion("frame_accuracy", "max")
    answer_layout = {
        "segments": [{"phone": "phones", "start": "starts", "end": "ends", "score": "scores"}, "segment_count"]
    }
    label_field = "phones"
    padding = {"y": -1}

    def join(self, inputs, y):
        """Frames after an item's end have the weight 0."""
        is_frame = tf.sequence_mask(inputs["frame_count"], tf.shape(inputs["frames"])[1])  # (B, N)
        wanted = "an example must have one label per frame"
        counts = tf.reduce_sum(tf.cast(y >= 0, tf.int32), axis=1)
        with tf.control_dependencies([tf.debugging.assert_equal(counts, inputs["frame_count"], wanted)]):
            y = tf.maximum(y, 0)
        y = y[:, : tf.shape(is_frame)[1]]  # a batch may have fewer frames than labels to pad
        y = tf.pad(y, [[0, 0], [0, tf.shape(is_frame)[1] - tf.shape(y)[1]]])
        return inputs, y, tf.cast(is_frame, tf.float32)

    def metrics(self):
        return [keras.metrics.MeanMetricWrapper(accuracy, name="frame_accuracy")]

    def measure(self, source, batch_size, report):
        """The fraction of frames of the right class, and the confusion matrix."""
        from zoo import plotting
        from zoo.tasks.dataset import stream

        batches = stream(self, source, batch_size, augment=False, shuffle=False)
        counts, done = np.zeros((self.classes, self.classes), int), 0
        forward = tf.function(lambda inputs: self.outputs(inputs)["logits"], reduce_retracing=True, autograph=False)
        for inputs, y, weights in batches.epoch(0):
            best, is_frame = np.argmax(forward(inputs), axis=-1), weights.numpy() > 0
            np.add.at(counts, (y.numpy()[is_frame], best[is_frame]), 1)
            done += len(y)
            if report:
                report(done, batches.examples)
        right, total = int(np.trace(counts)), int(counts.sum())
        draw = functools.partial(plotting.confusion, counts, self.names())
        return Measured({"frame_accuracy": right / total}, draw, {"frame_accuracy": f"{right:,} of {total:,} frames"})

    def run(self, model, inputs):
        return {**model(inputs, training=False), "frame_count": inputs["frame_count"]}

    def answer(self, outputs):
        """`phones`, `starts` and `ends` in seconds, and `scores` (B, S) of the segments; `segment_count` (B,).

        A score is the mean probability of the phone over the frames of its segment.
        """
        probabilities = self.probabilities(outputs)
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)  # (B, N)
        batch, size = tf.unstack(tf.shape(best))
        is_frame = tf.sequence_mask(outputs["frame_count"], size)
        is_first = is_frame & (best != tf.pad(best, ((0, 0), (1, 0)), constant_values=-1)[:, :size])
        number = tf.cumsum(tf.cast(is_first, tf.int32), axis=1) - 1
        segment_count = tf.reduce_sum(tf.cast(is_first, tf.int32), axis=1)
        longest = tf.reduce_max(tf.concat([segment_count, [0]], axis=0))
        place = tf.where(is_frame, tf.range(batch)[:, tf.newaxis] * longest + number, -1)  # negative ones are left out
        frames = tf.tile(tf.range(size)[tf.newaxis], [batch, 1])

        def of_segments(reduce, values):
            return tf.reshape(reduce(values, place, batch * longest), [batch, longest])

        is_segment = tf.sequence_mask(segment_count, longest)
        first, last = (
            of_segments(tf.math.unsorted_segment_min, frames),
            of_segments(tf.math.unsorted_segment_max, frames),
        )
        classes = of_segments(tf.math.unsorted_segment_max, best)
        scores = of_segments(tf.math.unsorted_segment_mean, tf.reduce_max(probabilities, axis=-1))

        def times(frame):
            return tf.where(is_segment, self.seconds(tf.cast(frame, tf.float32), outputs), 0.0)

        return {
            "phones": tf.where(is_segment, tf.gather(tf.constant(self.names()), tf.where(is_segment, classes, 0)), ""),
            "starts": times(tf.where(is_segment, first, 0)),
            "ends": times(tf.where(is_segment, last, 0) + 1),
            "scores": tf.where(is_segment, scores, 0.0),
            "segment_count": segment_count,
        }

    def pictures(self, inputs, y, outputs):
        return {}

    def lines(self, row):
        return [f"{row['input']}: {self.summary(row)}"]

    def csv_columns(self):
        return ("answer",)

    def csv_values(self, row):
        return (self.summary(row),)

    def summary(self, row):
        return " ".join(segment["phone"] for segment in row["segments"])

    def best(self, answer):
        return None  # a frame on the border of two segments may change

    def comparable(self, answer, other):
        return answer
