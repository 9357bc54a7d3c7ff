"""Three toy tasks and models, found through entry points as those of another distribution; `install` makes them known.

toy_captioning   a grid of numbers in, tokens out: frozen outputs, targets of unequal length
toy_tagging      tokens in, a tag per token and their sum out: padding, augmentation of both, losses by output
toy_reading      a long text in windows, the next token out: carried state
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from zoo.data.layouts import Table
from zoo.registry import register_model
from zoo.tasks.losses import CrossEntropy
from zoo.tasks.settings import TaskSettings, setting
from zoo.tasks.task import Criterion, Task

TASKS = {"toy_captioning": "Captioning", "toy_tagging": "Tagging", "toy_reading": "Reading"}
SPAN = 4  # tokens of a window


def install(folder: Path) -> Path:
    """Writes a distribution with the entry points into a folder, which must come into sys.path."""
    info = folder / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    tasks = [f"{name} = tests.helpers.toy_training:{task}" for name, task in TASKS.items()]
    lines = ["[zoo.models]", "toys = tests.helpers.toy_training", "[zoo.tasks]", *tasks, ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def write_captions(path: Path, count: int = 40, seed: int = 0) -> Path:
    """A table of grids (4, 4) and texts of 1 to 5 tokens that follow from them."""
    random = np.random.default_rng(seed)
    rows = ["grid\ttext"]
    for _ in range(count):
        grid = random.normal(size=16)
        start = int(grid.sum() > 0)
        text = [(start + step) % 5 for step in range(random.integers(1, 6))]
        rows.append(" ".join(f"{value:.4f}" for value in grid) + "\t" + " ".join(map(str, text)))
    path.write_text("\n".join(rows) + "\n")
    return path


def write_tags(path: Path, count: int = 40) -> Path:
    """A table of 1 to 6 tokens and their tags, which are the tokens modulo 3."""
    random = np.random.default_rng(1)
    rows = ["tokens\ttags"]
    for _ in range(count):
        tokens = random.integers(0, 9, random.integers(1, 7))
        rows.append(" ".join(map(str, tokens)) + "\t" + " ".join(map(str, tokens % 3)))
    path.write_text("\n".join(rows) + "\n")
    return path


def write_texts(path: Path, count: int = 60) -> Path:
    """A table of texts of 8 tokens; a text counts up or down by one, which only its first two tokens show."""
    random = np.random.default_rng(2)
    rows = ["text"]
    for _ in range(count):
        start, step = random.integers(0, 5), random.choice([-1, 1])
        rows.append(" ".join(str((start + step * place) % 5) for place in range(8)))
    path.write_text("\n".join(rows) + "\n")
    return path


def numbers(text, kind=tf.int32):
    return tf.strings.to_number(tf.strings.split(text), kind)


class ToySettings(TaskSettings):
    rotate: bool = setting(False, "Add a random number to each token of a target in training.")
    noise: bool = setting(False, "Add noise to a grid in training.")


class Captioning(Task):
    name = "toy_captioning"
    Settings = ToySettings
    fields = ("grid", "text")
    layout = Table({"grid": str, "text": str})
    criterion = Criterion("token_accuracy", "max")
    padding = {"y": -1}
    longest = 8

    def read(self, example):
        return {"numbers": example["grid"]}

    def prepare(self, raw):
        return {"grid": tf.reshape(numbers(raw["numbers"], tf.float32), (4, 4, 1))}

    def augment_inputs(self, prepared, seed):
        if not self.settings.noise:
            return prepared
        return {"grid": prepared["grid"] + tf.random.stateless_normal((4, 4, 1), seed)}

    def augment_targets(self, y, seed):
        return (y + tf.random.stateless_uniform((), seed, 0, 5, tf.int32)) % 5 if self.settings.rotate else y

    def targets(self, example):
        return numbers(example["text"])

    @staticmethod
    def length(item):
        return tf.size(item[1])

    def join(self, inputs, y):
        before = tf.pad(tf.maximum(y, 0)[:, :-1], [[0, 0], [1, 0]])  # (B, T)
        return {**inputs, "target": before}, tf.maximum(y, 0), tf.cast(y >= 0, tf.float32)

    def loss(self, label_smoothing=0.0):
        return CrossEntropy(label_smoothing)

    def metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy("token_accuracy")]


@register_model("toy_captioner", task="toy_captioning", paper="none")
def toy_captioner(filters: int = 3, dropout: float = 0.0) -> keras.Model:
    """A grid and the tokens before -> the next token."""
    grid = keras.Input((4, 4, 1), name="grid")
    target = keras.Input((None,), dtype="int32", name="target")
    body = layers.Conv2D(filters, 3, activation="relu", padding="same", name="body")(grid)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(layers.Conv2D(4, 3, name="second")(body))
    pooled = layers.Dropout(dropout, name="dropout")(pooled)
    embedded = layers.Embedding(5, 4, name="embedding")(target) + pooled[:, None]
    model = keras.Model(
        {"grid": grid, "target": target}, {"logits": layers.Dense(5, name="head")(embedded)}, name="toy_captioner"
    )
    model.frozen_output = "body"
    return model


class Tagging(Task):
    """With a random turn, all tokens of an example and their tags move on by one of 0 to 2."""

    name = "toy_tagging"
    Settings = ToySettings
    fields = ("tokens", "tags")
    layout = Table({"tokens": str, "tags": str})
    criterion = Criterion("total_error", "min")
    padding = {"tokens": 9, "y": {"tags": -1}}
    longest = 8

    def read(self, example):
        return {"numbers": example["tokens"]}

    def prepare(self, raw):
        return {"tokens": numbers(raw["numbers"])}

    def targets(self, example):
        tags = numbers(example["tags"])
        return {"tags": tags, "total": tf.cast(tf.reduce_sum(tags, keepdims=True), tf.float32)}

    def augment(self, prepared, y, seed):
        if not self.settings.rotate:
            return prepared, y
        turn = tf.random.stateless_uniform((), seed, 0, 3, tf.int32)
        tags = (y["tags"] + turn) % 3
        tokens = prepared["tokens"] - prepared["tokens"] % 3 + tags
        return {"tokens": tokens}, {"tags": tags, "total": tf.cast(tf.reduce_sum(tags, keepdims=True), tf.float32)}

    def join(self, inputs, y):
        weights = {"tags": tf.cast(y["tags"] >= 0, tf.float32), "total": tf.ones_like(y["total"][:, 0])}
        return inputs, {**y, "tags": tf.maximum(y["tags"], 0)}, weights

    def loss(self, label_smoothing=0.0):
        return {"total": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), "tags": CrossEntropy()}

    def metrics(self):
        return {
            "tags": [keras.metrics.SparseCategoricalAccuracy("accuracy")],
            "total": [keras.metrics.MeanAbsoluteError("total_error")],
        }


@register_model("toy_tagger", task="toy_tagging", paper="none")
def toy_tagger(units: int = 6) -> keras.Model:
    """Tokens -> a tag each, the sum of the tags, and the embeddings, which have no loss."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedded = layers.Embedding(10, units, name="embedding")(tokens)
    tags = layers.Dense(3, name="head_tags")(embedded)
    valid = ops.cast(tokens < 9, "float32")[..., None]
    total = ops.sum(layers.Dense(1, name="head_total")(embedded) * valid, axis=1)
    return keras.Model({"tokens": tokens}, {"all": embedded, "tags": tags, "total": total}, name="toy_tagger")


class Reading(Task):
    """Row r of a batch continues row r of the batch before; a window that begins a text resets the state."""

    name = "toy_reading"
    Settings = ToySettings
    fields = ("text",)
    layout = Table({"text": str})
    criterion = Criterion("accuracy", "max")
    carried = {"a_state": "state_in"}  # sorted before the output that has the loss
    resets = "starts"

    def examples(self, source, batch_size):
        texts = [list(map(int, example["text"].split())) for example in source.dataset.as_numpy_iterator()]
        tokens = np.concatenate(texts)
        starts = np.concatenate([[True] + [False] * (len(text) - 1) for text in texts])
        windows = (len(tokens) - 1) // (batch_size * SPAN)  # of a row
        places = np.arange(batch_size) * windows * SPAN + np.arange(windows)[:, None] * SPAN  # (windows, rows)
        places = places.reshape(-1, 1) + np.arange(SPAN)
        columns = {"tokens": tokens[places], "next": tokens[places + 1], "starts": starts[places[:, 0]]}
        stubs = tf.data.Dataset.from_tensor_slices({name: tf.constant(value) for name, value in columns.items()})
        return dataclasses.replace(source, stubs=stubs, load=dict, examples=len(places))

    def read(self, example):
        return {"tokens": example["tokens"], "starts": example["starts"]}

    def targets(self, example):
        return example["next"]

    def loss(self, label_smoothing=0.0):
        return CrossEntropy(label_smoothing)

    def metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy("accuracy")]


@register_model("toy_reader", task="toy_reading", paper="none")
def toy_reader(units: int = 5, dropout: float = 0.0) -> keras.Model:
    """Tokens (B, 4) and the state before them -> the next tokens and the state after them."""
    tokens = keras.Input((SPAN,), dtype="int64", name="tokens")
    state = keras.Input((units,), name="state_in")
    embedded = layers.Dropout(dropout, name="dropout")(layers.Embedding(5, 4, name="embedding")(tokens))
    sequence, last = layers.GRU(units, return_sequences=True, return_state=True, name="gru")(
        embedded, initial_state=state
    )
    logits = layers.Dense(5, name="logits")(sequence)
    return keras.Model({"tokens": tokens, "state_in": state}, {"a_state": last, "logits": logits}, name="toy_reader")
