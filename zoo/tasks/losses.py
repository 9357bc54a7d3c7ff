"""Losses of tasks: weighted means, so that padding does not count; and metrics."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

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
