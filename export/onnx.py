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
ROUNDED = False  # pixels in float32: scores are the pipeline's
OPSET = 18


def check(model: keras.Model) -> None:
    """Raises ZooError where a package is missing; no model that can't be converted is known."""
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise ZooError(f"--format onnx needs {name}: pip install 'keras-zoo[onnx]'") from None


def convert(model: keras.Model, function: tf.types.experimental.GenericFunction, precision: str, path: Path) -> None:
    """Writes a function of named batches (its signature gives their specs) as an ONNX file; batches keep any size.

    Args:
        model: that of the function.
        function: a tf.function with one input signature, giving a dict.
        precision: "float32"; "float16": weights and computation; "int8": weights, and what they are multiplied with
            by ranges found while it runs (dynamic quantisation).
        path: of the file.
    """
    import onnx
    import tf2onnx

    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")  # tf2onnx uses what NumPy and TensorFlow have renamed
        onnx_model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    if precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx_model = convert_float_to_float16(onnx_model, keep_io_types=True)
    onnx.save(onnx_model, path)
    if precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        full = path.with_name("float32.onnx")
        path.rename(full)
        # Weights without a sign: products with signed ones saturate on processors without VNNI, and the answers would
        # depend on the processor.
        kind, kept = QuantType.QUInt8, [*_delicate(onnx_model), *_stacked(onnx_model)]
        logging.disable(logging.WARNING)  # advice for those who call it by hand
        try:
            quantize_dynamic(full, path, per_channel=True, weight_type=kind, nodes_to_exclude=kept)
        finally:
            logging.disable(logging.NOTSET)
        full.unlink()


def _delicate(model) -> list[str]:
    """The convolution that reads the input, and those by channel: few weights, and the error would be great."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    by_channel = [node for node in convolutions if any(part.name == "group" and part.i > 1 for part in node.attribute)]
    return [node.name for node in (*convolutions[:1], *by_channel)]


def _stacked(model) -> list[str]:
    """Products with a stack of matrices, as of locally connected layers, which ONNX Runtime does not have in int8."""
    stacks = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and stacks & {*node.input}]
