"""Frozen features: what does not learn is computed once, and the head trains on what came out."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization
from zoo.registry import is_head

FILE = "features.npz"


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


def keep(body: keras.Model, streams: dict[str, Stream], folder: Path, report: Callable) -> dict[str, Stream]:
    """Computes the features of each stream's examples, writes them into the folder, and streams them instead.

    Args:
        body: inputs -> features (B, D).
        streams: by split; their augmentation and order are left aside.
        folder: the run's; it gets features.npz, whole or not at all.
        report: called as report(examples done, examples).
    """
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
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".features", suffix=".npz", delete=False) as file:
        hidden = Path(file.name)
        try:
            np.savez(file, **arrays)
            hidden.replace(folder / FILE)
        finally:
            hidden.unlink(missing_ok=True)
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
