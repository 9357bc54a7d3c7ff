"""LiteRT (formerly TensorFlow Lite) files, for phones and small boards."""

import re
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from zoo.errors import ZooError
from zoo.layers.keras_private import flatten_layers

FILE = "model.tflite"
ROUNDED = True  # pixels in 8 bits, like those of cameras and screens


def check(model: keras.Model) -> None:
    """Raises ZooError if LiteRT is not installed, or for a recurrent layer with a loop or of unknown length."""
    try:
        import ai_edge_litert  # noqa: F401 - the written file is run
    except ImportError:
        raise ZooError("--format litert needs ai_edge_litert: pip install 'keras-zoo[litert]'") from None
    for layer in flatten_layers(model, include_self=False):
        if isinstance(layer, keras.layers.RNN) and not (layer.unroll and layer.input.shape[1]):
            raise ZooError(
                f"litert has no loops over steps: layer {layer.name!r} of {model.name} must have a fixed length and "
                "unroll=True"
            )


def convert(model: keras.Model, function: tf.types.experimental.GenericFunction, precision: str, path: Path) -> None:
    """Writes a function of named batches as a LiteRT file, for one item at a time.

    Args:
        model: the model that the function runs.
        function: a tf.function with an input signature that returns a dict.
        precision: "float32"; "float16", of the weights; "int8", of the weights and, on a CPU, of the products with
            them (dynamic range quantisation).
        path: the file to write.
    """
    specs = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, spec.name) for spec in function.input_signature]
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]  # a SavedModel must track them
    module.run = tf.function(function.python_function, input_signature=specs, autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, {"serving_default": module.run})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        path.write_bytes(_converted(converter, precision))


def _converted(converter: tf.lite.TFLiteConverter, precision: str) -> bytes:
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except Exception as error:  # an operation without a counterpart, whose name is somewhere in a long message
        match = re.search(r'"?tf\.(\w+)"?|fused\["(\w+):', str(error))
        missing = f"LiteRT has no {match[1] or match[2]}" if match else " ".join(str(error).split())[:200]
        raise ZooError(f"this model can't be exported as litert: {missing}") from None
