"""Frozen features: what does not learn is computed once, and the head trains on what came out."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization
from zoo.registry import is_head
from zoo.training.workdir import FEATURES, Workdir


def split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A model cut before its head: the body, inputs -> features (B, D), and the head, features -> outputs.

    Both stand on the model's own layers: what the head learns, the model has learned. Dropout just before the head
    belongs to the head, so that it works in training.

    Raises:
        ZooError: the model has no head, or one that reads other than one flat tensor; or its body is not frozen.
    """
    heads = [layer for layer in model.layers if is_head(layer.name)]
    if not heads or not isinstance(heads[0].input, keras.KerasTensor) or len(heads[0].input.shape) != 2:
        raise ZooError(f"keep_features: {model.name} has no head that reads flat features (B, D)")
    place = heads[0].input
    chain = list(heads)
    while isinstance(place._keras_history.operation, keras.layers.Dropout):
        chain.insert(0, place._keras_history.operation)
        place = chain[0].input
    body = keras.Model(model.input, place)
    if body.trainable_weights:
        raise ZooError('keep_features needs the rest of the model frozen: set freeze = "all but head"')
    features = keras.Input(place.shape[1:], name="features")
    x = features
    for layer in chain:
        x = layer(x)
    return body, keras.Model({"features": features}, {"logits": x}, name=f"{model.name}_head")


def keep(body: keras.Model, streams: dict[str, Stream], workdir: Workdir, report: Callable) -> dict[str, Stream]:
    """Computes the features of each stream's examples, writes them into the run's folder, and streams them instead.

    Args:
        body: inputs -> features (B, D).
        streams: by split; their augmentation and order are left aside.
        workdir: the run's; it gets features.npz, whole or not at all, and a run that is continued reads it there.
        report: called as report(examples done, examples).
    """
    arrays = _read(workdir.path / FEATURES, streams) or _computed(body, streams, workdir, report)
    return {
        part: Stream(
            tf.data.Dataset.from_tensor_slices((arrays[f"{part}_features"], arrays[f"{part}_targets"])),
            lambda features, y: (features, y),
            None,
            lambda features, y: ({"features": features}, y),
            stream.examples,
            stream.batch_size,
            stream.seed,
            stream.shuffle,
        )
        for part, stream in streams.items()
    }


def _read(file: Path, streams: dict[str, Stream]) -> dict[str, np.ndarray] | None:
    """The kept features; None where there are none, they are damaged, or the data had another size then."""
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        sizes = [len(arrays[f"{part}_features"]) for part in streams]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return arrays if sizes == [stream.examples for stream in streams.values()] else None


def _computed(body: keras.Model, streams: dict[str, Stream], workdir: Workdir, report: Callable) -> dict:
    fast = fold_batch_normalization(body)
    spec = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in body.input.items()}
    forward = tf.function(lambda inputs: fast(inputs, training=False), input_signature=[spec])
    total, done = sum(stream.examples for stream in streams.values()), 0
    arrays = {}
    for part, stream in streams.items():
        features, targets = [], []
        for inputs, y in stream.in_order():
            features.append(forward(inputs).numpy())
            targets.append(y.numpy())
            done += len(y)
            report(done, total)
        arrays[f"{part}_features"] = np.concatenate(features)
        arrays[f"{part}_targets"] = np.concatenate(targets)
    if workdir.is_chief:
        with workdir.whole(FEATURES) as hidden:
            np.savez(hidden, **arrays)
    return arrays
