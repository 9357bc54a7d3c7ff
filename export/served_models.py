"""The models of the development server: loading, finding new versions, and requests checked against signatures."""

import contextlib
import threading
import warnings
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2

from zoo.errors import ZooError
from zoo.exporting import run_saved_model
from zoo.exporting.versions import newest_version

LOOK = 1.0  # seconds between two searches for new versions
LARGEST = 64 << 20  # maximum number of bytes of a request
MOST_ITEMS = 1024  # maximum number of items of a request, as in the exported configuration of TensorFlow Serving
# Lines of TensorFlow's messages that do not contain the reason.
_NO_REASON = ("Graph execution error", "Detected at", "File ", "<stack traces", "[[{{", "Stack trace")


class Refused(Exception):
    """An error that is the response to a request."""

    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT):
        super().__init__(text)
        self.code = code


class Model:
    """A loaded version of a model."""

    def __init__(self, folder: Path):
        self.name, self.version = folder.parent.name, int(folder.name)
        run_saved_model.load_operations(folder)
        self.loaded = tf.saved_model.load(str(folder))
        graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
        self.signatures = graph.signature_def

    def input_specs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """The specs of a signature's inputs by name; raises Refused for an unknown signature."""
        if signature not in self.loaded.signatures:
            known = ", ".join(sorted(self.loaded.signatures))
            raise Refused(f"unknown signature {signature!r}; known: {known}")
        inputs = self.signatures[signature].inputs
        return {name: tf.TensorSpec(place.tensor_shape, tf.as_dtype(place.dtype)) for name, place in inputs.items()}

    def predict(self, signature: str, inputs: dict[str, Any], wanted: list[str] | None = None) -> dict[str, tf.Tensor]:
        """A signature's outputs, checked before the signature runs.

        Args:
            signature: the name of the signature; "" stands for "serving_default".
            inputs: values by name: nested lists, arrays, or TensorProtos.
            wanted: names of the outputs to return; by default all.
        """
        signature = signature or "serving_default"
        tensors = checked_inputs(signature, self.input_specs(signature), inputs)
        known = self.signatures[signature].outputs
        for name in wanted or ():
            if name not in known:
                raise Refused(f"unknown output {name!r} of {signature}; known: {', '.join(sorted(known))}")
        try:
            outputs = self.loaded.signatures[signature](**tensors)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            is_empty = any(0 in tensor.shape for tensor in tensors.values())
            raise Refused(f"{signature}: {'inputs must not be empty' if is_empty else reason(error)}") from None
        return {name: value for name, value in outputs.items() if not wanted or name in wanted}


def checked_inputs(signature: str, specs: dict[str, tf.TensorSpec], inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Inputs as tensors that have the types and shapes of a signature.

    TensorFlow does not check the arguments of a loaded signature, and for a shape that a kernel does not expect it may
    end the process instead of raising an error.

    Args:
        signature: the name of the signature, for messages.
        specs: name -> spec of each input.
        inputs: name -> nested lists, an array, or a TensorProto.

    Raises:
        Refused: a missing or unknown input, values that can't be converted, a wrong shape, or inputs that have
            different numbers of items.
    """
    if inputs.keys() != specs.keys():
        raise Refused(f"the inputs of {signature} must be {', '.join(sorted(specs))}, got {_shortened(sorted(inputs))}")
    tensors = {name: _tensor(f"{signature}: {name}", spec, inputs[name]) for name, spec in specs.items()}
    counts = {name: int(tensor.shape[0]) for name, tensor in tensors.items() if specs[name].shape[:1] == [None]}
    if len(set(counts.values())) > 1:
        raise Refused(f"the inputs of {signature} must have the same number of items, got {counts}")
    return tensors


def _tensor(where: str, spec: tf.TensorSpec, value: Any) -> tf.Tensor:
    """A value as a tensor of a spec. A number of a wider type is converted, such as float64 to float32."""
    wanted = f"{where} must be {spec.dtype.name} of shape {_shape(spec.shape)}"
    try:
        if isinstance(value, tensor_pb2.TensorProto):
            # A few bytes can describe an array of any size, so the size is checked before the array is made.
            if any(size.size < 0 for size in value.tensor_shape.dim):
                raise Refused(f"{wanted}: sizes must not be negative")
            if value.tensor_shape.unknown_rank or not _fits(spec.shape, tf.TensorShape(value.tensor_shape)):
                raise Refused(f"{wanted}, got {_shape(tf.TensorShape(value.tensor_shape))}")
            if tf.TensorShape(value.tensor_shape).num_elements() * spec.dtype.size > LARGEST:
                raise Refused(f"{wanted}, and at most {LARGEST} bytes")
            _check_count(wanted, spec, value.tensor_shape.dim[0].size if value.tensor_shape.dim else 1)
            value = tf.make_ndarray(value)
        tensor = tf.constant(value, spec.dtype)
    except Refused:
        raise
    except Exception as error:  # the conversion raises many types, also of NumPy
        raise Refused(f"{wanted}: {reason(error)}") from None
    if not _fits(spec.shape, tensor.shape):
        raise Refused(f"{wanted}, got {_shape(tensor.shape)}")
    _check_count(wanted, spec, tensor.shape[0] if tensor.shape.rank else 1)
    return tensor


def _check_count(wanted: str, spec: tf.TensorSpec, items: int) -> None:
    if spec.shape[:1] == [None] and items > MOST_ITEMS:
        raise Refused(f"{wanted}, and at most {MOST_ITEMS:,} items, got {items:,}")


def _fits(wanted: tf.TensorShape, shape: tf.TensorShape) -> bool:
    return shape.is_fully_defined() and wanted.is_compatible_with(shape)


def _shape(shape: tf.TensorShape) -> str:
    """A shape as in a model's metadata, where -1 is an unknown size."""
    return "of unknown rank" if shape.rank is None else str(tuple(-1 if size is None else size for size in shape))


def reason(error: Exception) -> str:
    """The reason in an exception of TensorFlow, in one line."""
    lines = [line.strip() for line in str(getattr(error, "message", None) or error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_NO_REASON)]
    return _shortened(lines[0].partition(" [Op:")[0]) if lines else type(error).__name__


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "..."


class Models:
    """The newest version of every model in a folder; a thread loads newer versions until `is_closed` is set."""

    def __init__(self, out: Path):
        self.out, self.models, self.is_closed = out, {}, threading.Event()
        self.damaged: set[Path] = set()
        self.look()
        if not self.models:
            raise ZooError(f"{out} has no exports that can be read: make one with `zoo export PRESET {out}`")
        threading.Thread(target=self._watch, daemon=True).start()

    def look(self) -> None:
        """Loads the newest version of every model, and unloads models without a version.

        A version that can't be loaded is warned about once and ignored. If the newest version is removed, the one
        before takes its place.
        """
        folders = [folder for folder in self.out.iterdir() if folder.is_dir()]
        for name in {*self.models} - {folder.name for folder in folders if newest_version(folder)}:
            del self.models[name]
        for folder in folders:
            newest, here = newest_version(folder), self.models.get(folder.name)
            if newest is None or newest in self.damaged or here is not None and here.version == int(newest.name):
                continue
            try:
                self.models[folder.name] = Model(newest)
            except Exception as error:  # of TensorFlow, protobuf or the operating system
                self.damaged.add(newest)
                warnings.warn(f"{newest} can't be loaded: {str(error).strip().splitlines()[0]}", stacklevel=2)

    def _watch(self) -> None:
        while not self.is_closed.wait(LOOK):
            with contextlib.suppress(OSError):  # the folder may be missing for a moment
                self.look()

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """The model of a request; raises Refused if there is none."""
        model = self.models.get(name)
        if model is None or version not in (None, model.version):
            wanted = name if version is None else f"{name} in version {version}"
            known = ", ".join(f"{each.name} in version {each.version}" for each in self._sorted()) or "none"
            raise Refused(f"unknown model {wanted}; known: {known}", grpc.StatusCode.NOT_FOUND)
        if label is not None:
            raise Refused(
                f"unknown version label {label!r}: the development server has no labels; give the version "
                f"{model.version}, or neither label nor version"
            )
        return model

    def _sorted(self) -> list[Model]:
        return sorted(self.models.copy().values(), key=lambda model: model.name)
