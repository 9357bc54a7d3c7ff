"""ONNX files, for ONNX Runtime."""

import contextlib
import importlib
import logging
import os
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from zoo.errors import ZooError

FILE = "model.onnx"
ROUNDED = False  # pixels in float32, so that the scores are the pipeline's
OPSET = 18


def check(model: keras.Model) -> None:
    """Raises ZooError if a package is missing. Every model can be converted, as far as is known."""
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise ZooError(f"--format onnx needs {name}: pip install 'keras-zoo[onnx]'") from None


def convert(model: keras.Model, function: tf.types.experimental.GenericFunction, precision: str, path: Path) -> None:
    """Writes a function of named batches as an ONNX file, for batches of any size.

    Args:
        model: the model that the function runs.
        function: a tf.function with an input signature that returns a dict.
        precision: "float32"; "float16", of weights and computation; "int8", of weights and, with ranges that are
            measured at run time, of the values that they are multiplied with (dynamic quantisation).
        path: the file to write.
    """
    import onnx
    import tf2onnx

    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")  # tf2onnx uses deprecated names of NumPy and TensorFlow
        onnx_model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    if precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx_model = convert_float_to_float16(onnx_model, keep_io_types=True)
    onnx.save(onnx_model, path)
    if precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        full = path.with_name("float32.onnx")
        path.rename(full)
        # Unsigned weights: products with signed ones saturate on processors without VNNI, and the answers would depend
        # on the processor.
        kind, kept = QuantType.QUInt8, [*_delicate(onnx_model), *_stacked(onnx_model)]
        logging.disable(logging.WARNING)  # advice about preprocessing the model
        try:
            quantize_dynamic(full, path, per_channel=True, weight_type=kind, nodes_to_exclude=kept)
        finally:
            logging.disable(logging.NOTSET)
        full.unlink()


def _delicate(model) -> list[str]:
    """The convolution that reads the input and the depthwise ones: they have few weights, and in int8 a large error."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    by_channel = [node for node in convolutions if any(part.name == "group" and part.i > 1 for part in node.attribute)]
    return [node.name for node in (*convolutions[:1], *by_channel)]


def _stacked(model) -> list[str]:
    """Products with stacks of matrices, as in locally connected layers; ONNX Runtime does not have them in int8."""
    stacks = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and stacks & {*node.input}]
