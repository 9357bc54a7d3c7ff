"""Embedding: a point on the unit sphere out; the distance of two says whether they are of the same person."""

import functools

import numpy as np
import tensorflow as tf

from zoo import pairs
from zoo.errors import ZooError
from zoo.tasks.task import Criterion, Measured, Task
from zoo.tasks.triplets import EqualErrorRate, TripletLoss

FALSE_ACCEPT_RATE = 0.01  # at which `true_accept_rate` is measured
SHOWN = 4  # numbers of an embedding that are printed


class Embedding(Task):
    """Reads the output `embeddings` (B, D), rows of length 1; settings are those of `VerificationSettings`.

    The field `person` of an example has the number of the person.
    """

    criterion = Criterion("equal_error_rate", "min")
    answer_layout = {"embedding": "embeddings"}
    embeds = True

    @staticmethod
    def group(item):
        """A prepared item and its target -> the number of the person."""
        return item[1]

    @property
    def group_size(self):
        return self.settings.pictures

    def targets(self, example):
        return example["person"]

    def loss(self, label_smoothing=0.0):
        if label_smoothing:
            raise ZooError(f"{self.name} has no classes for label_smoothing: leave it out")
        return TripletLoss(self.settings.triplet_margin)

    def metrics(self):
        return [EqualErrorRate()]

    # Evaluation of pairs.

    def pair_distances(self, source, batch_size: int, report=None) -> tuple[np.ndarray, np.ndarray]:
        """The distances of all pairs of a split: those of the same person, and those of different people."""
        from zoo.tasks.dataset import stream

        if source.examples > pairs.MOST:
            raise ZooError(
                f"{source.name} has {source.examples:,} pictures in {source.split}, too many to compare each pair: set "
                f"a limit of {pairs.MOST:,} or less"
            )
        batches = stream(self, source, batch_size, augment=False, shuffle=False, finish=self.windows)
        forward = tf.function(lambda inputs: self.answer(self.outputs(inputs))["embeddings"], autograph=False)
        points, people = [], []
        for inputs, y in batches.epoch(0):
            points.append(forward(inputs).numpy())
            people.append(y.numpy())
            if report:
                report(sum(map(len, people)), batches.examples)
        return pairs.distances(np.concatenate(points), np.concatenate(people))

    def measure(self, source, batch_size, report):
        """equal_error_rate, area_under_curve, true_accept_rate, and accuracy at the threshold; and a histogram."""
        from zoo import plotting

        same, different = self.pair_distances(source, batch_size, report)
        rate, where = pairs.equal_error_rate(same, different)
        accepted, rejected = pairs.error_rates(same, different, self.settings.threshold)
        values = {
            "equal_error_rate": rate,
            "area_under_curve": pairs.area_under_curve(same, different),
            "true_accept_rate": pairs.accept_rate(same, different, FALSE_ACCEPT_RATE),
            "accuracy": 1.0 - float(accepted + rejected) / 2.0,
        }
        counted = f"{len(same):,} pairs of the same person, {len(different):,} of different people"
        notes = {
            "equal_error_rate": f"{counted}; at a distance of {where:.3f}",
            "true_accept_rate": f"at a false accept rate of {FALSE_ACCEPT_RATE:g}",
            "accuracy": f"at the threshold {self.settings.threshold:g}, both kinds of pairs weighted alike: false "
            f"accept rate {accepted:.4f}, false reject rate {rejected:.4f}",
        }
        draw = functools.partial(plotting.pair_distances, same, different, self.settings.threshold)
        return Measured(values, draw, notes)

    def measured_settings(self, source, batch_size):
        """The threshold at which both kinds of errors are equally frequent."""
        _, threshold = pairs.equal_error_rate(*self.pair_distances(source, batch_size))
        return {"threshold": round(threshold, 4)}

    # Answers.

    def answer(self, outputs):
        """embeddings (B, D) float32."""
        return {"embeddings": tf.cast(outputs["embeddings"], tf.float32)}

    def compared(self, first, second):
        """{"distance", "same"} of two answers: the Euclidean distance, and whether it is at most the threshold."""
        distance = float(np.linalg.norm(np.subtract(first["embedding"], second["embedding"])))
        return {"distance": distance, "same": distance <= self.settings.threshold}

    def comparison(self, row):
        verdict = "the same person" if row["same"] else "different people"
        return f"{verdict}, distance {row['distance']:.3f} (threshold {self.settings.threshold:g})"

    def lines(self, row):
        return [f"{row['input']}: {self.summary(row)}"]

    def csv_columns(self):
        return tuple(f"embedding_{number}" for number in range(1, self.model.output["embeddings"].shape[-1] + 1))

    def csv_values(self, row):
        return tuple(f"{value:.6f}" for value in row["embedding"])

    def summary(self, row):
        first = ", ".join(f"{value:.3f}" for value in row["embedding"][:SHOWN])
        return f"embedding of {len(row['embedding'])} numbers: {first}, ..."

    def portable(self, is_rounded):
        """`pixels`, the framed picture with its margin, 0 to 255 -> `embeddings` (B, D)."""
        self.check_complete()
        dtype = tf.uint8 if is_rounded else tf.float32
        shape = (None, *self.whole, self.model.input["image"].shape[-1])
        specs = {"pixels": tf.TensorSpec(shape, dtype, "pixels")}

        def embeddings(pixels):
            picture = tf.cast(pixels, tf.float32) / 255.0
            return self.answer(self.outputs(self.windows({"picture": picture})))

        def inputs(prepared):
            pixels = 255.0 * prepared["picture"]
            return {"pixels": tf.cast(tf.round(pixels), tf.uint8) if is_rounded else pixels}

        return embeddings, specs, inputs

    def portable_manifest(self):
        return {"embedding": self.model.output["embeddings"].shape[-1]}
