"""Models that keep their origin in Keras's files, and take a single input as an array or by name."""

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from zoo.errors import ZooError
from zoo.layers.keras_private import graph, producer
from zoo.origin import Origin


def import_model(name: str) -> None:
    """Imports the file of a registered model, so that Keras knows its layers; `zoo.serializable` replaces it."""


def _with_origin(config: dict, model: keras.Model) -> dict:
    """A model's configuration with its origin, so that .keras files and copies keep it."""
    origin = getattr(model, "origin", None)
    return config if origin is None else {**config, "origin": origin.get_config()}


class PlainErrors:
    """Makes fit, evaluate, predict and save raise a ZooError of one line where Keras has none.

    A zoo.dataset runs inside the function that Keras compiles, so only these methods see that it can't read a file. A
    whole model in HDF5 can't be loaded again, because Keras looks its layers up without their package.
    """

    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs):
        with _named_errors():
            return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args, **kwargs):
        with _named_errors():
            return super().evaluate(*args, **kwargs)

    @functools.wraps(keras.Model.predict)
    def predict(self, *args, **kwargs):
        with _named_errors():
            return super().predict(*args, **kwargs)

    @functools.wraps(keras.Model.save)
    def save(self, filepath, *args, **kwargs):
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ZooError(f"{filepath}: Keras can't load this model from HDF5: give a name that ends in .keras")
        return super().save(filepath, *args, **kwargs)


def _named_errors() -> contextlib.AbstractContextManager:
    stream = sys.modules.get("zoo.data.stream")  # without it there is no zoo.dataset, nor its backend
    return stream.named_errors() if stream else contextlib.nullcontext()


@keras.saving.register_keras_serializable("zoo")
class ZooModel(PlainErrors, keras.Model):
    """A functional model with an origin: the class of all models that the registry creates from a graph of layers.

    If it has one input, it takes an array, or a dict of the input's name; if it has one output, it returns a tensor.
    Losses, metrics, targets and weights of the only output may be given by its name, too. The targets of a model with
    several named outputs may be a single array, which is then the target of each.

    Args:
        origin: the model's origin, or the value of its `get_config`.
        *args, **kwargs: those of keras.Model.
    """

    def __init__(self, *args, origin: Origin | dict | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if origin is not None:
            self.origin = Origin.from_config(origin) if isinstance(origin, dict) else origin

    def get_config(self) -> dict:
        return _with_origin(super().get_config(), self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        origin = config.get("origin")
        if origin is not None:
            import_model(origin["model"])
        return super().from_config(config, custom_objects)

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs; Keras names an output after its layer."""
        origin = getattr(self, "origin", None)
        return self._output_names if origin is None or origin.output is None else [origin.output]

    @output_names.setter
    def output_names(self, names: list[str]) -> None:
        self._output_names = names

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, dict) and isinstance(self.input, keras.KerasTensor):
            inputs = self._of_name(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def _of_name(self, inputs: dict) -> Any:
        name = producer(self.input).name
        if name not in inputs and (len(inputs) != 1 or not name.startswith("input_layer")):  # a name of Keras's own
            raise ValueError(f"{self.name} has the input {name!r}, got {', '.join(map(repr, inputs)) or 'none'}")
        return inputs[name] if name in inputs else next(iter(inputs.values()))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, self._each(self._own(y)), y_pred, self._own(sample_weight), training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, self._each(self._own(y)), y_pred, self._own(sample_weight))

    def _own(self, value: Any) -> Any:
        """The part of targets or weights by name that belongs to the only output."""
        is_named = isinstance(value, dict) and isinstance(self.output, keras.KerasTensor)
        return value[self.output_names[0]] if is_named else value

    def _each(self, y: Any) -> Any:
        """Targets that are one array, by output for a model with named outputs."""
        is_one = y is not None and not isinstance(y, (dict, list, tuple))
        return dict.fromkeys(self.output, y) if is_one and isinstance(self.output, dict) else y


class GeneratorModel(PlainErrors, keras.Model):
    """Base class of models with methods of their own that are built from keyword arguments, `self.arguments`."""

    def get_config(self) -> dict:
        return _with_origin({"name": self.name, **self.arguments}, self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        origin = config.pop("origin", None)
        model = cls(**config)
        if origin is not None:
            model.origin = Origin.from_config(origin)
        return model


def inputs_of(model: keras.Model) -> dict[str, Any]:
    """The symbolic inputs of a model by name."""
    return model.input if isinstance(model.input, dict) else {producer(model.input).name: model.input}


def outputs_of(model: keras.Model) -> dict[str, Any]:
    """The symbolic outputs of a model by name."""
    return model.output if isinstance(model.output, dict) else {model.output_names[0]: model.output}


def with_origin(built: keras.Model, origin: Origin, output: str) -> keras.Model:
    """A builder's model as a user gets it: a ZooModel, from tensor to tensor if it has one input and one output.

    A subclass of keras.Model with methods of its own stays as it is.

    Args:
        built: the model that the builder returned.
        origin: becomes the attribute `origin`; its field `output` is set.
        output: the name of the output of a model that returns a tensor.
    """
    if type(built).__name__ not in ("Functional", "Sequential", "ZooModel"):
        built.origin = origin
        return built
    inside = graph(built)
    inputs, outputs = _single(inside.input), _single(inside.output)
    if isinstance(inputs, keras.KerasTensor) and isinstance(outputs, keras.KerasTensor):
        origin.output = next(iter(inside.output)) if isinstance(inside.output, dict) else output
    else:
        inputs, outputs, origin.output = inside.input, inside.output, None
    with foreign_names():
        model = ZooModel(inputs, outputs, name=built.name, origin=origin)
    _copy_attributes(built, model)
    return model


@contextlib.contextmanager
def foreign_names() -> Iterator[None]:
    """Allows dicts of inputs whose tensors have other names than their keys, about which Keras warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        yield


def _single(tensors: Any) -> Any:
    """The tensor of a dict or list of one; other structures unchanged."""
    values = list(tensors.values()) if isinstance(tensors, dict) else tensors
    return values[0] if isinstance(values, (list, tuple)) and len(values) == 1 else tensors


def _copy_attributes(source: keras.Model, target: keras.Model) -> None:
    """Copies the attributes that a builder has set on a model, such as `frozen_output`."""
    for name, value in vars(source).items():
        if not name.startswith("_") and not hasattr(target, name) and name != "optimizer":
            setattr(target, name, value)


def named(model: keras.Model, name: str | None = None, input_name: str | None = None) -> keras.Model:
    """A model whose inputs and outputs are dicts, with the layers of `model`; a model of dicts is returned unchanged.

    Args:
        name: the name of the new model, by default the same.
        input_name: the name of the input of a model that takes a tensor, by default that of its layer.
    """
    is_tensor = not isinstance(model.input, dict)
    if not is_tensor and isinstance(model.output, dict) and name is None:
        return model
    inputs = {input_name: model.input} if is_tensor and input_name else inputs_of(model)
    with foreign_names():
        view = keras.Model(inputs, outputs_of(model), name=name or model.name)
    _copy_attributes(model, view)
    return view
