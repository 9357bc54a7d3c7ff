"""Sequence transduction: vectors of bits in, vectors of bits out, such as a copy of them.

Graves, Wayne & Danihelka 2014, arXiv 1410.5401, section 4.

Shapes: B batch, T vectors of an input, D their size, A vectors of an answer, S = T + 1 + A steps.
"""

import keras
import numpy as np
import tensorflow as tf

from zoo.data.layouts import SequenceLines
from zoo.data.stream import readable
from zoo.errors import InputError, ZooError
from zoo.tasks.losses import REDUCTION, BitErrorRate, ItemAccuracy, SequenceErrorRate
from zoo.tasks.raw import RawInput
from zoo.tasks.raw.tensor import tensor_of
from zoo.tasks.settings import SequenceTransductionSettings
from zoo.tasks.task import Criterion, Task

NO_BIT = 2  # in targets, of steps without an answer


class SequenceTransduction(Task):
    """Binary sequences to binary sequences, by a model of steps: `sequence` (B, S, D + 1) -> `logits` (B, S, bits).

    The model first sees the input, one vector per step. Then it sees a vector whose last number alone is 1, the end
    mark, and after it zeros, while it writes its answer. Because a model of steps does not see what follows, it needs
    no lengths: padding changes nothing before it. The loss and the metrics count the steps of the answer only.
    """

    name = "sequence_transduction"
    writes = "sequences"
    Settings = SequenceTransductionSettings
    raw_kinds = {"sequence": "tensor"}
    input_name = "sequence"
    fields = ("input", "output")
    layout = SequenceLines()
    criterion = Criterion("bit_error_rate", "min")
    answer_layout = {"vectors": [{"bits": "bits", "score": "scores"}, "vector_count"]}
    explanations = {"memory": "zoo.explaining.memory"}
    padding = {"y": NO_BIT}
    keep_bytes = 1 << 32  # estimated from the longest sequence, but most are shorter

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        inputs, outputs = model.input, model.output
        if "sequence" not in inputs or "logits" not in outputs:
            raise ZooError(f"{model.name} is not a model for {self.name}: it must map `sequence` to `logits`")
        self.width = inputs["sequence"].shape[-1] - 1  # D
        self.bits = outputs["logits"].shape[-1]
        if self.settings.reals > self.width:
            raise ZooError(f"reals={self.settings.reals} must be at most the size of a vector, {self.width}")
        self.longest = 2 * self.settings.longest + 1

    # Training data.

    @classmethod
    def adapt(cls, source, settings, assets):
        """The sizes of the vectors."""
        learned, files, arguments = super().adapt(source, settings, assets)
        spec = source.dataset.element_spec
        sizes = {"width": spec["input"].shape[-1], "bits": spec["output"].shape[-1]}
        return learned, files, {**arguments, **sizes}

    def check_source(self, source):
        super().check_source(source)
        for field, size in (("input", self.width), ("output", self.bits)):
            if (own := source.dataset.element_spec[field].shape[-1]) not in (size, None):
                raise ZooError(f"{source.name} has vectors of {own} numbers as {field}, but {self.model.name} {size}")

    @staticmethod
    def length(item):
        return tf.shape(item[0]["sequence"])[0]

    def raw_inputs(self):
        return (RawInput("sequence", "tensor", (None, self.width), "length"),)

    def raw_batch(self, examples):
        length = tf.shape(examples["input"])[:2]
        return {"sequence": tf.cast(examples["input"], tf.float32), "length": tf.fill(length[:1], length[1])}

    def read(self, example):
        """(T, D) float32; a bad example ends the run with an error."""
        sequence = tf.ensure_shape(tf.cast(example["input"], tf.float32), (None, self.width))
        error = self._errors(sequence[tf.newaxis], tf.shape(sequence)[:1])[0]
        with tf.control_dependencies([readable(error, example.get("file", "an example"))]):
            return {"sequence": tf.identity(sequence)}

    def prepare(self, raw):
        """(T, D) -> `sequence` (S, D + 1), in bytes if all numbers are bits."""
        sequence = raw["sequence"][tf.newaxis]
        steps = self._steps(sequence, tf.shape(sequence)[1:2])[0]
        is_bits = not (self.settings.reals or self.settings.repeats)
        return {"sequence": tf.cast(steps, tf.uint8) if is_bits else steps}

    def targets(self, example):
        """(S, bits) bytes, NO_BIT before the answer."""
        given, output = (tf.cast(example[field], tf.float32) for field in ("input", "output"))
        length, count = tf.shape(given)[0], tf.shape(output)[0]
        wanted = self._answer_length(given[tf.newaxis], length[tf.newaxis])[0]
        texts = ["an output of ", tf.as_string(count), " vectors, but the answer has ", tf.as_string(wanted)]
        wrong = tf.strings.join([*texts, ": set task.answer_length or task.repeats"])
        is_bits = tf.reduce_all((output == 0.0) | (output == 1.0))
        error = tf.where(is_bits, tf.where(count == wanted, "", wrong), "values of an output must be 0 or 1")
        with tf.control_dependencies([readable(error, example.get("file", "an example"))]):
            before = tf.fill([length + 1, self.bits], tf.constant(NO_BIT, tf.uint8))
            return tf.concat([before, tf.ensure_shape(tf.cast(output, tf.uint8), (None, self.bits))], axis=0)

    def finish(self, prepared):
        return {"sequence": tf.cast(prepared["sequence"], tf.float32)}

    def join(self, inputs, y):
        """Steps without an answer have the weight 0."""
        is_answer = y[..., 0] < NO_BIT
        return inputs, tf.cast(tf.equal(y, 1), tf.float32), tf.cast(is_answer, tf.float32)

    def loss(self, label_smoothing=0.0):
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing, reduction=REDUCTION)

    def metrics(self):
        return [BitErrorRate(), SequenceErrorRate(), ItemAccuracy(self.settings.item)]

    # From a sequence to the steps of the model.

    def encode(self, item):
        encoded = super().encode(item)
        if (count := len(encoded["sequence"])) > self.settings.longest:  # a batch would be padded to its length
            raise InputError(f"{count} vectors are more than the limit of {self.settings.longest}")
        return encoded

    def checked(self, raw):
        """(B, T, D) and their lengths (B,) -> `sequence` (B, S, D + 1), and error (B,); a bad item becomes zeros."""
        sequence, length = raw["sequence"], raw["length"]
        error = self._errors(sequence, length)
        is_good = error == ""
        sequence = tf.pad(sequence, [[0, 0], [0, 1], [0, 0]])  # T may be 0
        sequence = tf.where(is_good[:, tf.newaxis, tf.newaxis], sequence, 0.0)
        return self.windows({"sequence": self._steps(sequence, tf.where(is_good, length, 1))}), error

    def _errors(self, sequence, length):
        """The error of each item, (B,): the first that applies."""
        size, limit = tf.shape(sequence)[1], self.settings.longest
        is_inside = tf.range(size) < length[:, tf.newaxis]  # (B, T)
        bits = self.width - max(self.settings.reals, int(self.settings.repeats))
        is_bit = tf.reduce_all((sequence[..., :bits] == 0.0) | (sequence[..., :bits] == 1.0), axis=-1)
        is_finite = tf.reduce_all(tf.math.is_finite(sequence), axis=-1)
        text = "values must be 0 or 1" if bits == self.width else f"the first {bits} values of a vector must be 0 or 1"
        error = tf.where(tf.reduce_any(is_inside & ~is_bit, axis=1), text, "")
        if self.settings.repeats:
            times = tf.where(is_inside, sequence[..., -1], 0.0)
            is_last = tf.one_hot(length - 1, size, on_value=True, off_value=False)
            is_times = tf.where(is_last, (times >= 1.0) & (times == tf.floor(times)) & (times <= limit), times == 0.0)
            text = "only the last vector has a number of repetitions, its last value, an integer >= 1"
            error = tf.where((error == "") & ~tf.reduce_all(is_times, axis=1), text, error)
        text = "values must be finite, got NaN or infinity"
        error = tf.where(tf.reduce_any(is_inside & ~is_finite, axis=1), text, error)
        too_long = tf.strings.join([tf.as_string(length), f" vectors are more than the limit of {limit}"])
        error = tf.where(length > limit, too_long, error)
        too_short = tf.strings.join(["length must be at most the size of sequence, ", tf.as_string(size)])
        error = tf.where(length > size, too_short, error)
        return tf.where(length < 1, "no vectors", error)

    def _answer_length(self, sequence, length):
        """The vectors of the answers to (B, T, D) with lengths (B,) -> A of each, (B,) int32."""
        if self.settings.answer_length is not None:
            return tf.fill(tf.shape(length), self.settings.answer_length)
        if not self.settings.repeats:
            return tf.identity(length)
        times = tf.gather(sequence[..., self.width - 1], length - 1, axis=1, batch_dims=1)
        return (length - 1) * tf.cast(times, tf.int32) + 1

    def _steps(self, sequence, length):
        """(B, T, D) and lengths (B,) -> (B, S, D + 1): the vectors, the end mark, and zeros for the answer."""
        size, total = tf.shape(sequence)[1], length + 1 + self._answer_length(sequence, length)
        steps = tf.reduce_max(tf.concat([total, [1]], axis=0))
        is_inside = tf.range(size) < length[:, tf.newaxis]
        sequence = tf.where(is_inside[..., tf.newaxis], sequence, 0.0)[:, :steps]
        sequence = tf.pad(sequence, [[0, 0], [0, steps - tf.shape(sequence)[1]], [0, 0]])
        return tf.concat([sequence, tf.one_hot(length, steps)[..., tf.newaxis]], axis=-1)

    # Answers.

    def run(self, model, inputs):
        """`logits` (B, A, bits) of the answers, and `vector_count` (B,)."""
        sequence = inputs["sequence"]
        logits = model(inputs, training=False)["logits"]
        length = tf.argmax(sequence[..., -1], axis=1, output_type=tf.int32)  # the place of the end mark
        count = self._answer_length(sequence[..., :-1], length)
        steps = tf.range(tf.reduce_max(tf.concat([count, [0]], axis=0)))
        places = tf.minimum(length[:, tf.newaxis] + 1 + steps, tf.shape(logits)[1] - 1)
        return {"logits": tf.gather(logits, places, axis=1, batch_dims=1), "vector_count": count}

    def checked_outputs(self, inputs, outputs, error):
        has_overflow = tf.reduce_any(~tf.math.is_finite(outputs["logits"]), axis=(1, 2))
        return tf.where((error == "") & has_overflow, "values too large for the model: they overflow", error)

    def answer(self, outputs):
        """`bits` (B, A, bits); `scores` (B, A), the probability of all bits of a vector; and `vector_count` (B,)."""
        logits, count = tf.cast(outputs["logits"], tf.float32), outputs["vector_count"]
        is_vector = tf.sequence_mask(count, tf.shape(logits)[1])
        bits = tf.cast((logits > 0.0) & is_vector[..., tf.newaxis], tf.int32)
        scores = tf.exp(-tf.reduce_sum(tf.math.softplus(-tf.abs(logits)), axis=-1))
        return {"bits": bits, "scores": tf.where(is_vector, scores, 0.0), "vector_count": count}

    def portable(self, is_rounded):
        """`sequence` (B, T, D) and `length` (B,) -> `logits` (B, S, bits), of which the last A steps are the answer."""
        specs = {
            "sequence": tf.TensorSpec((None, None, self.width), tf.float32, name="sequence"),
            "length": tf.TensorSpec((None,), tf.int32, name="length"),
        }

        def logits(sequence, length):
            return {"logits": self.model(self.windows({"sequence": self._steps(sequence, length)}))["logits"]}

        def inputs(prepared):
            steps = tf.cast(prepared["sequence"], tf.float32)
            return {"sequence": steps[..., :-1], "length": tf.argmax(steps[..., -1], axis=1, output_type=tf.int32)}

        return logits, specs, inputs

    def portable_manifest(self):
        """The sizes, for the runner, which finds the answer behind the input."""
        return {**super().portable_manifest(), "bits": self.bits}

    def neutral_input(self):
        item = np.zeros((1, self.width), "float32")
        item[0, -1] = self.settings.repeats
        return item

    def preview(self, item):
        sequence = tensor_of(item, None)
        rows = " ".join("".join(f"{value:g}" for value in row) for row in sequence[:6])
        return f"{len(sequence)} vectors: {rows}{' ...' if len(sequence) > 6 else ''}"

    def summary(self, row):
        return " ".join("".join(map(str, vector["bits"])) for vector in row["vectors"])
