"""Losses of tasks: weighted means, so that padding does not count; and metrics."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from zoo.decoding import ctc

# Divides by the sum of the weights; Keras's default divides by the number of items, so that padding would count.
REDUCTION = "mean_with_sample_weight"


@keras.saving.register_keras_serializable("zoo")
class FunctionLoss(keras.losses.Loss):
    """A function (y_true, y_pred) -> (B,) as a Keras loss."""

    def __init__(self, function: Callable, name: str | None = None):
        super().__init__(name or function.__name__, reduction=REDUCTION)
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)

    def get_config(self):
        return {"name": self.name, "function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["function"]), config["name"])


def are_probabilities(y_true, y_pred) -> bool:
    """Whether targets are probabilities of classes rather than class numbers, which Keras may pass as (B, 1)."""
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] > 1


@keras.saving.register_keras_serializable("zoo")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits (B, ..., classes) with class numbers (B, ...) or probabilities (B, ..., classes).

    Args:
        label_smoothing: the fraction of each target that is spread evenly over all classes (Szegedy et al. 2015, arXiv
            1512.00567, section 7).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name, reduction=REDUCTION)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        has_soft_targets = are_probabilities(y_true, y_pred)
        if not self.label_smoothing and not has_soft_targets:
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        classes, even = y_pred.shape[-1], self.label_smoothing / y_pred.shape[-1]
        if has_soft_targets:
            soft_targets = (1.0 - self.label_smoothing) * y_true + even
        else:
            numbers = tf.reshape(tf.cast(y_true, tf.int32), tf.shape(y_pred)[:-1])
            soft_targets = tf.one_hot(numbers, classes, 1.0 - self.label_smoothing + even, even)
        return tf.nn.softmax_cross_entropy_with_logits(soft_targets, y_pred)

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "name": self.name}


@keras.saving.register_keras_serializable("zoo")
class ObjectLoss(keras.losses.Loss):
    """Cross-entropy of the classes of default boxes, with hard negative mining (Liu et al. 2016, equation 3).

    Targets are (B, N, 5), of which the first column is the class from 1, or 0 for the background. The logits
    (B, N, classes) have none for the background, which is 0. Of the default boxes of the background those with the
    greatest loss count, as many as `negatives` times the number of the others; at least `negatives`, so that an image
    without objects has a loss, too. The loss of an image is divided by the number of its matched default boxes.
    """

    def __init__(self, negatives: float = 3.0, name: str = "object_loss"):
        super().__init__(name, reduction=REDUCTION)
        self.negatives = negatives

    def call(self, y_true, y_pred):
        classes = tf.cast(y_true[..., 0], tf.int32)  # (B, N)
        logits = tf.pad(tf.cast(y_pred, tf.float32), [[0, 0], [0, 0], [1, 0]])
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        is_object = classes > 0
        count = tf.maximum(tf.reduce_sum(tf.cast(is_object, tf.float32), axis=1, keepdims=True), 1.0)  # (B, 1)
        ranked = tf.sort(tf.where(is_object, 0.0, entropy), axis=1, direction="DESCENDING")
        is_hard = tf.range(tf.shape(ranked)[1], dtype=tf.float32) < self.negatives * count
        total = tf.reduce_sum(tf.where(is_object, entropy, 0.0) + tf.where(is_hard, ranked, 0.0), axis=1)
        return total / count[:, 0]

    def get_config(self):
        return {"negatives": self.negatives, "name": self.name}


@keras.saving.register_keras_serializable("zoo")
class BoxLoss(keras.losses.Loss):
    """Smooth L1 loss of the offsets of matched default boxes (Liu et al. 2016, equation 2).

    Targets are (B, N, 5), a class and offsets, predictions (B, N, 4). The loss of an image is divided by the number of
    its matched default boxes.
    """

    def __init__(self, name: str = "box_loss"):
        super().__init__(name, reduction=REDUCTION)

    def call(self, y_true, y_pred):
        is_object = tf.cast(y_true[..., 0] > 0, tf.float32)  # (B, N)
        distance = tf.abs(tf.cast(y_pred, tf.float32) - tf.cast(y_true[..., 1:], tf.float32))
        smooth = tf.where(distance < 1.0, 0.5 * tf.square(distance), distance - 0.5)
        total = tf.reduce_sum(tf.reduce_sum(smooth, axis=-1) * is_object, axis=1)
        return total / tf.maximum(tf.reduce_sum(is_object, axis=1), 1.0)

    def get_config(self):
        return {"name": self.name}


class PolicyGradient(keras.losses.Loss):
    """Minus the reward of sampled tokens, with the gradient of REINFORCE (Williams 1992).

    Targets are (B, ..., 3): the token, its advantage (the reward less a baseline), and the reward. The gradient is that
    of the tokens' cross-entropy with logits (B, ..., classes), times the advantage.
    """

    def __init__(self, name: str = "policy_gradient"):
        super().__init__(name, reduction=REDUCTION)

    def call(self, y_true, y_pred):
        tokens, advantage, reward = tf.unstack(y_true, axis=-1)
        entropy = keras.losses.sparse_categorical_crossentropy(tf.cast(tokens, tf.int32), y_pred, from_logits=True)
        return advantage * (entropy - tf.stop_gradient(entropy)) - reward


@keras.saving.register_keras_serializable("zoo")
def accuracy(y_true, y_pred):
    """(B,), 1 if the greatest logit is that of the class, or of the most probable class of soft targets."""
    if are_probabilities(y_true, y_pred):
        y_true = tf.argmax(y_true, axis=-1)
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)


@keras.saving.register_keras_serializable("zoo")
def top_5_accuracy(y_true, y_pred):
    """(B,), 1 if the class, or the most probable class of soft targets, has one of the five greatest logits."""
    if are_probabilities(y_true, y_pred):
        y_true = tf.argmax(y_true, axis=-1)
    return keras.metrics.sparse_top_k_categorical_accuracy(y_true, y_pred, k=5)


@keras.saving.register_keras_serializable("zoo")
class BitsPerToken(keras.metrics.Mean):
    """The mean cross-entropy of logits (B, T, classes) with class numbers (B, T), in bits."""

    def __init__(self, name: str = "bits_per_token", **options):
        super().__init__(name, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        entropy = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return super().update_state(entropy / math.log(2.0), sample_weight)


@keras.saving.register_keras_serializable("zoo")
class Perplexity(BitsPerToken):
    """2 to the power of the mean cross-entropy in bits."""

    def __init__(self, name: str = "perplexity", **options):
        super().__init__(name, **options)

    def result(self):
        return 2.0 ** super().result()


# A step has no symbols where all of their logits are below this: it lies after the item's end.
_NO_SYMBOLS = -5e3


def ctc_steps(logits):
    """The number of steps before an item's end, (B, T, V) -> (B,) int32; after it the model has a certain blank."""
    has_symbols = tf.reduce_max(logits[..., 1:], axis=-1) > _NO_SYMBOLS
    return tf.reduce_sum(tf.cast(has_symbols, tf.int32), axis=1)


def is_too_long(labels, logits):
    """Whether labels (B, U) need more steps than there are: CTC then has no path for them, and its loss is infinite."""
    needed = ctc.frames_needed(labels, tf.math.count_nonzero(labels, axis=1, dtype=tf.int32))
    return needed > ctc_steps(logits)


@keras.saving.register_keras_serializable("zoo")
class CTC(keras.losses.Loss):
    """Minus the log probability of labels (B, U), in nats per item: connectionist temporal classification.

    Graves et al. 2006, section 4. Labels are followed by zeros, the blank is class 0, and after an item's end the
    logits (B, T, V) are those of a certain blank. Labels that need more steps than there are have the loss 0 and no
    gradient; the metric `too_long` counts them.
    """

    def __init__(self, name: str = "ctc"):
        super().__init__(name, reduction=REDUCTION)

    def call(self, y_true, y_pred):
        labels, logits = tf.cast(y_true, tf.int32), tf.cast(y_pred, tf.float32)
        has_path, is_empty = ~is_too_long(labels, logits), ~tf.reduce_any(labels != ctc.BLANK, axis=1)
        # The kernel refuses items without labels. Those, and items without a path, get a label, and their loss below.
        labels = tf.where((has_path & ~is_empty)[:, tf.newaxis], labels, ctc.BLANK)
        labels = tf.pad(labels, ((0, 0), (0, 1)))
        first = tf.maximum(labels[:, :1], 1)
        labels = tf.sparse.from_dense(tf.concat([first, labels[:, 1:]], axis=1))
        # It has the blank as the last class. `keras.ops.ctc_loss` and `tf.nn.ctc_loss` for dense labels give the same,
        # but take longer, because they are loops of operations.
        losses = tf.compat.v1.nn.ctc_loss(
            tf.SparseTensor(labels.indices, labels.values - 1, labels.dense_shape),
            tf.roll(logits, -1, axis=-1),
            tf.maximum(ctc_steps(logits), 1),
            ignore_longer_outputs_than_inputs=True,
            time_major=False,
        )
        blanks = tf.nn.log_softmax(logits)[..., ctc.BLANK]  # the path of no labels has only blanks
        losses = tf.where(is_empty, -tf.reduce_sum(blanks, axis=1), losses)
        return tf.where(has_path, losses, 0.0)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("zoo")
class CharacterErrorRate(keras.metrics.Metric):
    """Edits between the labels (B, U) and the greedy decoding of CTC's logits (B, T, V), over the number of labels."""

    def __init__(self, name: str = "character_error_rate", **options):
        super().__init__(name=name, **options)
        self.edits = self.add_weight(shape=(), initializer="zeros", name="edits")
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = tf.cast(y_true, tf.int32)
        decoded = ctc.greedy(y_pred, tf.fill([tf.shape(y_pred)[0]], tf.shape(y_pred)[1]))
        size = tf.maximum(tf.shape(labels)[1], tf.shape(decoded.tokens)[1])  # shapes must agree
        truth, tokens = (_sparse(value, size) for value in (labels, decoded.tokens))
        edits = tf.edit_distance(tokens, truth, normalize=False)
        lengths = tf.math.count_nonzero(labels, axis=1, dtype=tf.float32)
        weight = tf.ones_like(edits) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        self.edits.assign_add(tf.reduce_sum(edits * weight))
        self.total.assign_add(tf.reduce_sum(lengths * weight))

    def result(self):
        return self.edits / tf.maximum(self.total, 1.0)


def _sparse(tokens, size):
    """(B, U), filled with zeros -> sparse (B, size)."""
    return tf.sparse.from_dense(tf.pad(tokens, ((0, 0), (0, size - tf.shape(tokens)[1]))))


@keras.saving.register_keras_serializable("zoo")
class TooLong(keras.metrics.Mean):
    """The fraction of items whose labels (B, U) need more steps than CTC's logits (B, T, V) have."""

    def __init__(self, name: str = "too_long", **options):
        super().__init__(name, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = tf.cast(is_too_long(tf.cast(y_true, tf.int32), y_pred), tf.float32)
        return super().update_state(values, sample_weight)


def _answer_mask(y_true, sample_weight):
    """(B, S), true at steps whose targets (B, S, bits) are bits and whose weight is not 0."""
    mask = y_true[..., 0] <= 1
    return mask if sample_weight is None else mask & (tf.cast(sample_weight, tf.float32) > 0.0)


def _wrong_bits(y_true, y_pred):
    """(B, S, bits), true where a logit has the wrong sign."""
    return tf.math.logical_xor(y_pred > 0.0, tf.cast(y_true, tf.float32) > 0.5)


@keras.saving.register_keras_serializable("zoo")
class BitErrorRate(keras.metrics.Mean):
    """The fraction of wrong bits: the signs of logits (B, S, bits) against targets 0 and 1; others do not count."""

    def __init__(self, name: str = "bit_error_rate", **options):
        super().__init__(name, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        wrong = tf.reduce_mean(tf.cast(_wrong_bits(y_true, y_pred), tf.float32), axis=-1)
        return super().update_state(wrong, tf.cast(_answer_mask(y_true, sample_weight), tf.float32))


@keras.saving.register_keras_serializable("zoo")
class SequenceErrorRate(keras.metrics.Mean):
    """The fraction of sequences with a wrong bit; arguments as those of `BitErrorRate`."""

    def __init__(self, name: str = "sequence_error_rate", **options):
        super().__init__(name, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _answer_mask(y_true, sample_weight)
        wrong = tf.reduce_any(_wrong_bits(y_true, y_pred), axis=-1) & mask
        has_answer = tf.cast(tf.reduce_any(mask, axis=1), tf.float32)  # not of a row that fills a batch
        return super().update_state(tf.cast(tf.reduce_any(wrong, axis=1), tf.float32), has_answer)


@keras.saving.register_keras_serializable("zoo")
class ItemAccuracy(keras.metrics.Mean):
    """The fraction of items, `size` vectors of an answer each, without a wrong bit; other arguments as above."""

    def __init__(self, size: int = 1, name: str = "item_accuracy", **options):
        super().__init__(name, **options)
        self.size = size

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _answer_mask(y_true, sample_weight)
        wrong = tf.cast(tf.reduce_any(_wrong_bits(y_true, y_pred), axis=-1), tf.int32)
        batch, steps = tf.unstack(tf.shape(mask))
        item = (tf.cumsum(tf.cast(mask, tf.int32), axis=1) - 1) // self.size
        place = tf.where(mask, tf.range(batch)[:, tf.newaxis] * steps + item, -1)  # negative ones are left out
        is_wrong = tf.math.unsorted_segment_max(wrong, place, batch * steps) > 0
        is_item = tf.math.unsorted_segment_max(tf.ones_like(wrong), place, batch * steps) > 0
        return super().update_state(tf.cast(~is_wrong, tf.float32), tf.cast(is_item, tf.float32))

    def get_config(self):
        return {**super().get_config(), "size": self.size}
