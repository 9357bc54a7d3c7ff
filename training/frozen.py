"""Frozen outputs: the frozen part of a model runs once per example, and the rest trains on its output.

The outputs are stored in the run's folder, one .npy file per split, and memory-mapped for reading. Flat outputs
(B, D) are stored in float32, because they are small. Other outputs are stored in float16, so 8,000 grids of 7x7x1280
take 1 GB. The rounding error of float16 (at most 1 in 2,048) is smaller than that of bfloat16, in which such outputs
are often computed.
"""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.data.source import Source
from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization
from zoo.layers.keras_private import producer
from zoo.layers.model import named
from zoo.layers.slicing import cut, output_of
from zoo.preset import weights
from zoo.tasks.dataset import frozen_stream
from zoo.tasks.task import Task
from zoo.training.workdir import FROZEN, Workdir

NAME = "frozen"  # name of the rest's input for the body's output
_PIECE = 1 << 24  # number of bytes that are hashed at a time


def split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cuts a model into its frozen body (inputs -> one tensor) and the rest (this tensor, other inputs -> outputs).

    Both share the layers of `model`, so training the rest trains the model. The cut is after the layer that the model's
    attribute `frozen_output` names; without it, after the model's only part; else before its head. Dropout just before
    the head belongs to the rest, so that it is active in training.

    Raises:
        ZooError: there is no place to cut, the body has trainable weights, or its output has no fixed shape.
    """
    model = named(model)
    name = getattr(model, "frozen_output", None) or _part(model)
    place = output_of(model, name) if name else _before_head(model)
    body, rest = cut(model, place, NAME)
    if body.trainable_weights:
        layer = f"up to {name}" if name else "all but head"
        raise ZooError(f'keep_frozen needs the rest of the model frozen: set freeze = "{layer}"')
    if None in place.shape[1:]:
        raise ZooError(f"keep_frozen: {model.name} must give an output of fixed shape, not {tuple(place.shape)}")
    return body, rest


def _part(model: keras.Model) -> str | None:
    """The name of the model's part, if it has exactly one."""
    entry = registry.entries().get(model.origin.model) if hasattr(model, "origin") else None
    parts = list(getattr(entry, "parts", {}))
    return parts[0] if len(parts) == 1 else None


def _before_head(model: keras.Model) -> keras.KerasTensor:
    heads = [layer for layer in model.layers if registry.is_head(layer.name)]
    if not heads or not isinstance(heads[0].input, keras.KerasTensor):
        raise ZooError(f"keep_frozen: {model.name} has no head that reads one tensor")
    place = heads[0].input
    while isinstance(layer := producer(place), keras.layers.Dropout):
        place = layer.input
    return place


def check(task: Task, rest: keras.Model, stream: Stream, augment: bool, versions: int = 1) -> None:
    """Raises ZooError if augmentation changes the inputs, or the rest reads inputs other than targets and state.

    With several versions of each example, augmentation may change the inputs, but targets must not depend on it.
    """
    if versions > 1 and type(task).augment is not Task.augment:
        raise ZooError(f"frozen_versions must be 1 for {task.name}: its targets follow the augmentation of its inputs")
    if augment and versions == 1 and _changes_inputs(task, stream):
        raise ZooError(
            "keep_frozen needs inputs that are not augmented: set training.augment = false, or frozen_versions > 1"
        )
    y = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, *spec.shape], spec.dtype), stream.prepared.element_spec[1]
    )
    frozen = tf.TensorSpec(rest.input[NAME].shape, tf.float32)
    joined = tf.function(lambda frozen, y: task.join({NAME: frozen}, y), autograph=False)
    known = joined.get_concrete_function(frozen, y).structured_outputs[0]
    if missing := sorted({*rest.input} - {*known, *task.carried.values()}):
        raise ZooError(f"keep_frozen: after its frozen part {task.model.name} must not read {', '.join(missing)}")


def _changes_inputs(task: Task, stream: Stream) -> bool:
    """Whether the task's augmentation changes prepared inputs, not only targets."""
    changes = []

    def augmented(prepared, y, seed):
        after, _ = task.augment(dict(prepared), y, seed)
        changes.append(after.keys() != prepared.keys() or any(after[name] is not prepared[name] for name in prepared))
        return tf.constant(0)

    specs = (*stream.prepared.element_spec, tf.TensorSpec([2], tf.int64))
    tf.function(augmented, autograph=False).get_concrete_function(*specs)
    return changes[-1]


class FrozenOutputs:
    """The frozen outputs of a run's examples.

    Args:
        body: the frozen body, inputs -> the output to store.
        workdir: the run's folder, where the files are written. A continued run reads these files if they belong to the
            same body and data. Workers other than the first write into a temporary folder.
        versions: number of versions of each training example (see `Training.frozen_versions`).
    """

    def __init__(self, body: keras.Model, workdir: Workdir, versions: int = 1):
        self.body, self.workdir, self.versions = body, workdir, versions
        self.digest = weights.digest(body)
        self.shape = tuple(body.output.shape[1:])
        self.dtype = "float32" if len(self.shape) == 1 else "float16"
        self._own = None if workdir.is_chief else tempfile.TemporaryDirectory()

    def streams(
        self,
        tasks: dict[str, Task],
        streams: dict[str, Stream],
        sources: dict[str, Source],
        augment: bool,
        report: Callable,
    ) -> dict[str, Stream]:
        """The streams with the frozen outputs in place of the raw inputs.

        Args:
            tasks: the task that makes the examples of each split.
            streams: streams of raw inputs, by split.
            sources: the data, by split.
            augment: whether targets are augmented in training.
            report: called as report(examples done, examples).
        """
        facts = {part: self._facts(part, sources[part], stream) for part, stream in streams.items()}
        arrays = self._kept(facts)
        if arrays is None:
            arrays = self._computed(streams, facts, report)
        return {
            part: frozen_stream(
                tasks[part], sources[part], stream.batch_size, stream.seed, self._rows(arrays[part]),
                augment=augment and part == "train", shuffle=stream.shuffle, draw=part == "train",
                versions=self._versions(part),
            )
            for part, stream in streams.items()
        }  # fmt: skip

    def _versions(self, part: str) -> int:
        return self.versions if part == "train" else 1

    def _facts(self, part: str, source: Source, stream: Stream) -> dict:
        """Everything that the outputs of a split depend on; stored to recognise them in a continued run."""
        data = {"source": source.name, "split": source.split, "fingerprint": source.fingerprint}
        rows = self._versions(part) * stream.examples
        return {**data, "body": self.digest, "dtype": self.dtype, "shape": [rows, *self.shape]}

    def _kept(self, facts: dict) -> dict[str, np.ndarray] | None:
        """The arrays in the run's folder, by split; None if they are missing, damaged, or of another body or data."""
        try:
            stored = json.loads((self.workdir.path / FROZEN).read_text("utf-8"))
            arrays = {}
            for part, wanted in facts.items():
                array = np.load(self.workdir.path / _file(part), mmap_mode="r", allow_pickle=False)
                actual = {**wanted, "dtype": array.dtype.name, "shape": list(array.shape)}
                if actual != wanted or stored[part] != {**wanted, "sha256": _hash(array)}:
                    return None
                arrays[part] = array
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return arrays

    def _computed(self, streams: dict[str, Stream], facts: dict, report: Callable) -> dict[str, np.ndarray]:
        """Runs the body on all splits and writes the files; adds their hashes to `facts`."""
        fast = fold_batch_normalization(self.body)
        spec = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.body.input.items()}
        forward = tf.function(lambda inputs: fast(inputs, training=False), input_signature=[spec], autograph=False)
        place = self.workdir if self._own is None else Workdir(Path(self._own.name))
        counts = {part: self._versions(part) * stream.examples for part, stream in streams.items()}
        total, done, arrays = sum(counts.values()), 0, {}
        for part, stream in streams.items():
            digest = hashlib.sha256()
            with place.whole(_file(part)) as hidden, hidden.open("wb") as file:
                header = {"descr": np.dtype(self.dtype).str, "fortran_order": False}
                np.lib.format.write_array_header_1_0(file, {**header, "shape": (counts[part], *self.shape)})
                versions = range(self._versions(part))
                for inputs, *_ in itertools.chain.from_iterable(map(stream.in_order, versions)):
                    rows = forward({name: inputs[name] for name in spec}).numpy().astype(self.dtype)
                    if not np.isfinite(rows).all():
                        raise ZooError(f"keep_frozen: outputs of {self.body.name} are not finite in {self.dtype}")
                    file.write(rows.tobytes())
                    digest.update(rows.tobytes())
                    done += len(rows)
                    report(done, total)
                file.flush()
                os.fsync(file.fileno())
            facts[part] |= {"sha256": digest.hexdigest()}
            arrays[part] = np.load(place.path / _file(part), mmap_mode="r", allow_pickle=False)
        place.write(FROZEN, json.dumps(facts))
        return arrays

    def _rows(self, array: np.ndarray) -> Callable[[tf.Tensor], dict]:
        """Returns a function that maps indices of examples (B,) to the input of the rest."""

        def read(numbers):
            return array[numbers].astype("float32")

        def rows(numbers):
            value = tf.numpy_function(read, [numbers], tf.float32, stateful=False)
            return {NAME: tf.ensure_shape(value, (None, *self.shape))}

        return rows


def _file(part: str) -> str:
    return f"frozen_{part}.npy"


def _hash(array: np.ndarray) -> str:
    digest = hashlib.sha256()
    rows = max(1, _PIECE // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        digest.update(array[begin : begin + rows].tobytes())
    return digest.hexdigest()
