"""The seam that every task fills: from raw input to a model's tensors, and from its outputs to answers.

    read          example of a data set -> raw tensors
    prepare       raw -> prepared: what needs no random number
    augment       prepared -> prepared, in training only
    finish        a batch of prepared items, or one -> model inputs
    targets       example -> y
    batch         a batch of prepared items and their y -> inputs, y and, where not all counts alike (padding), weights
    adapt         what is learned from the training data before the first step
    loss, metrics what compile gets
    measure       a data set's split -> the figures of `zoo evaluate`
    views         a batch of prepared items, or one -> what answers are made from: model inputs, or several an item
    outputs       what `views` gives -> model outputs
    answer        model outputs -> answers, in the graph
    pictures      of a batch and its outputs, what a run shows in TensorBoard
    signatures    what a server sees: raw in, answers and `error` out
    portable      what an engine without strings and decoders runs, and its inputs from prepared items
    blank         an input that any model of the task can answer, for a server's warm-up
    sample        a preset's sample, a file -> an input of the user
    encode, told  Python's side of the two: an input of the user -> raw, and answers -> a dict

`preprocess` is `finish(prepare(raw))`: the same function in a data set, in a pipeline and in a SavedModel.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from zoo.errors import ZooError, unknown

# The weighted mean: items of weight 0 (padding) do not count, where Keras's default divides by their number, too.
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


def is_shared(y_true, y_pred) -> bool:
    """Whether targets are shares of classes, and not their numbers, which Keras may hand over as (B, 1)."""
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] > 1


@keras.saving.register_keras_serializable("zoo")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits (B, ..., classes) with class numbers (B, ...) or shares of classes (B, ..., classes).

    Args:
        label_smoothing: the share of each target that is spread evenly over all classes (Szegedy et al. 2015, arXiv
            1512.00567, section 7).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name, reduction=REDUCTION)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        shares = is_shared(y_true, y_pred)
        if not self.label_smoothing and not shares:
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        classes, even = y_pred.shape[-1], self.label_smoothing / y_pred.shape[-1]
        if shares:
            y_true = (1.0 - self.label_smoothing) * y_true + even
        else:
            y_true = tf.reshape(tf.cast(y_true, tf.int32), tf.shape(y_pred)[:-1])
            y_true = tf.one_hot(y_true, classes, 1.0 - self.label_smoothing + even, even)
        return tf.nn.softmax_cross_entropy_with_logits(y_true, y_pred)

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "name": self.name}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What `zoo evaluate` found: figures by name, what draws a picture of them into a file, how a figure was made."""

    metrics: dict[str, float]
    draw: Callable[[Path], None]
    how: dict[str, str] = dataclasses.field(default_factory=dict)


class Task:
    """A task bound to a model; subclasses are one file each.

    Args:
        model: the keras.Model; sizes are read from its inputs and outputs.
        settings: differences from `defaults`.
        labels: names of the classes, or None.
        assets: files the task needs by name, such as a vocabulary.
    """

    name: str
    fields: tuple[str, ...]  # the fields of a data set that it reads
    defaults: dict[str, Any]
    length: Callable | None = None  # (prepared, y) -> (), where batches are made of items of about the same
    longest: int | None = None  # the most that an axis of unknown size holds

    def __init__(self, model: keras.Model, settings: dict, labels: list[str] | None, assets: dict[str, bytes]):
        for key, value in settings.items():
            if key not in self.defaults:
                raise unknown(f"setting of {self.name}", key, self.defaults)
            default = self.defaults[key]
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
                    raise ZooError(f"{self.name}: {key}={value!r} is no number")
            elif default is not None and value is not None and not isinstance(value, type(default)):
                raise ZooError(f"{self.name}: {key}={value!r} is no {type(default).__name__}")
        self.model, self.assets = model, assets
        self.settings = {**self.defaults, **settings}
        self.labels = labels

    @classmethod
    def adapt(cls, source, settings: dict, assets: dict[str, bytes]) -> tuple[dict, dict[str, bytes], dict]:
        """What the training data decides: (settings, assets, model overrides). Run once, before the first step.

        Args:
            source: the training split.
            settings: of the model or preset that is trained, and the recipe's.
            assets: of the preset; a new model has none.
        """
        return {}, {}, {}

    def check(self, source) -> None:
        """Raises ZooError where an example of a data set can't be learned from."""

    def read(self, example: dict) -> dict:
        raise NotImplementedError

    def prepare(self, raw: dict) -> dict:
        return raw

    def augment(self, prepared: dict, seed: tf.Tensor) -> dict:
        return prepared

    def finish(self, prepared: dict) -> dict:
        return prepared

    def batch(self, prepared: dict, y) -> tuple:
        return self.finish(prepared), y

    def views(self, prepared: dict) -> dict:
        return self.finish(prepared)

    def outputs(self, inputs: dict) -> dict:
        return self.model(inputs, training=False)

    def preprocess(self, raw: dict) -> dict:
        """One item's raw tensors -> the model's inputs."""
        return self.finish(self.prepare(raw))

    def targets(self, example: dict):
        raise NotImplementedError

    def loss(self, label_smoothing: float = 0.0):
        raise NotImplementedError

    def metrics(self) -> list:
        raise NotImplementedError

    def measure(self, source, batch_size: int, report: Callable | None) -> Measured:
        """The figures of a split; report(examples done, examples) is called on the way."""
        raise NotImplementedError

    def answer(self, outputs: dict) -> dict:
        raise NotImplementedError

    def pictures(self, inputs: dict, y, outputs: dict) -> dict[str, Callable]:
        """name -> what draws the picture into a file."""
        return {}

    def signatures(self) -> dict[str, tuple[Callable, dict]]:
        """name -> (function of named batches, their tf.TensorSpec by name)."""
        raise NotImplementedError

    def resources(self) -> list:
        """What the signatures use beside the model and a SavedModel must hold: tables, tokenizers."""
        return []

    def op_libraries(self) -> list[str]:
        """Files of tensorflow-text with operations that the signatures use."""
        return []

    def portable(self, rounded: bool) -> tuple[Callable, dict, Callable]:
        """For ONNX Runtime and LiteRT: a function of named batches, their tf.TensorSpec by name, and what makes such
        batches of prepared ones; images come in 8 bits where `rounded`."""
        raise ZooError(f"{self.name} is exported as saved_model only")

    def one(self) -> Callable:
        """The short way of a single encoded item to its answers in NumPy, `error` among them."""
        raise NotImplementedError

    def is_batch(self, x) -> bool:
        """Whether what a pipeline was called with is several items, and not one."""
        return isinstance(x, (list, tuple))

    def blank(self) -> Any:
        raise NotImplementedError

    def sample(self, path: Path) -> Any:
        return str(path)

    def encode(self, item) -> Any:
        """The user's input (path, bytes, array, sentence) -> what `collate` takes; raises InputError."""
        raise NotImplementedError

    def collate(self, encoded: list) -> dict:
        """Encoded items -> the inputs of the serving signature."""
        raise NotImplementedError

    def told(self, answers: dict) -> dict:
        """One item's answers in NumPy -> a dict of plain Python values."""
        raise NotImplementedError

    def compile(self, model: keras.Model | None = None) -> None:
        """Compiles the model with the task's defaults."""
        (model or self.model).compile(keras.optimizers.Adam(1e-3), self.loss(), weighted_metrics=self.metrics())


def read_safely(encoded, check: Callable, read: Callable, damaged: Callable, neutral) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads a batch in the graph so that a bad item costs its neighbours nothing.

    TensorFlow's decoders fail a whole batch for one bad item; inside a tf.data pipeline that ignores errors they do
    not, and such a pipeline survives in a SavedModel.

    Args:
        encoded: (B,) strings.
        check: () string -> () string, what is wrong by the header; must not raise.
        read: () string -> tensor; may raise.
        damaged: () string -> () string, the error of an item whose `read` raised.
        neutral: the tensor that stands for a bad item.

    Returns:
        items (B, ...), and error (B,), "" where the item is good.
    """
    count = tf.size(encoded)
    neutral = tf.convert_to_tensor(neutral)

    @tf.autograph.experimental.do_not_convert
    def item(index):
        one = encoded[index]
        error = check(one)
        value = tf.cond(error == "", lambda: tf.ensure_shape(read(one), neutral.shape), lambda: neutral)
        return index, value, error

    sentinel = tf.data.Dataset.from_tensors((count, neutral, tf.constant("")))  # the rest must not be empty
    items = tf.data.Dataset.range(tf.cast(count, tf.int64), output_type=tf.int32)
    items = items.map(item, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().concatenate(sentinel)
    index, values, errors = items.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    index, values, errors = index[:-1, tf.newaxis], values[:-1], errors[:-1]
    batch = tf.broadcast_to(neutral, tf.concat([[count], tf.shape(neutral)], axis=0))
    batch = tf.tensor_scatter_nd_update(batch, index, values)
    is_read = tf.scatter_nd(index, tf.ones_like(index[:, 0]), [count]) > 0
    error = tf.tensor_scatter_nd_update(tf.fill([count], ""), index, errors)
    texts = tf.cond(tf.reduce_all(is_read), lambda: error, lambda: tf.map_fn(damaged, encoded))
    return batch, tf.where(is_read, error, texts)
