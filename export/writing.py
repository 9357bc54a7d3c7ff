"""`zoo.export`: writes a model with its preprocessing and answers, for a server or a device."""

import json
import os
import re
from pathlib import Path

import keras

from zoo import preset as presets
from zoo.errors import ZooError, checked_path, unknown
from zoo.exporting import saved_model, serving_files
from zoo.exporting.versions import PORTABLE_MANIFEST, check_next, served_name, write_version
from zoo.layers.folding import fold_batch_normalization
from zoo.tasks import task_class, task_of

FORMATS = ("saved_model", "onnx", "litert")
PRECISIONS = ("float32", "float16", "int8")


def export(
    model: keras.Model | str | os.PathLike,
    out: str | os.PathLike,
    format: str = "saved_model",
    precision: str = "float32",
    name: str | None = None,
    **settings,
) -> Path:
    """Writes a model with its preprocessing and answers to OUT/NAME/VERSION/; each export gets the next version.

    The version is written to a hidden folder and then renamed, so a server that watches OUT/NAME never sees an
    incomplete model. For "onnx" and "litert" the folder is OUT/NAME.FORMAT/VERSION/, in float16 and int8
    OUT/NAME.FORMAT.PRECISION/VERSION/, and a Python runner in it does the preprocessing. These exports are checked
    first: if their answers differ from the pipeline's, nothing is written.

    Args:
        model: a preset's name or path, or a model from load or create_model.
        out: the folder of all exports.
        format: "saved_model", for TensorFlow Serving; "onnx", for ONNX Runtime; "litert", for phones and small boards;
            or a format of the task. Word vectors have "word2vec" and "word2vec-binary", for gensim and other tools, and
            "projector", for TensorBoard, in OUT/NAME.FORMAT/VERSION/.
        precision: of the weights: "float32"; for "onnx" and "litert" also "float16" or "int8" (dynamic quantisation).
            For these two, the metrics before and after are measured if the test data are available.
        name: the name of the served model; by default the name of the preset's folder, or of the model.
        **settings: settings of the task that are fixed in the export, such as top=3.

    Returns:
        The new version's folder. A "saved_model" export also writes `models.config` and `batching.config` into OUT, for
        all models there, and an example request and a README.md about serving into OUT/NAME.

    Raises:
        ZooError: an unknown preset, format or setting; a model that can't be exported; a newest version in the folder
            that has another model, task or precision, or other labels; or a folder that can't be written.

    >>> zoo.export("lenet5.mnist", "exports")   # doctest: +SKIP
    PosixPath('exports/lenet5.mnist/1')
    """
    formats = (*FORMATS, *_own_formats(model))
    if format not in formats:
        raise unknown("format", format, formats)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if format not in ("onnx", "litert") and precision != "float32":
        raise ZooError(f"precision must be 'float32' for format {format!r}, got {precision!r}")
    out = checked_path(out, "out")
    samples, origin, data = [], None, None
    if not isinstance(model, keras.Model):
        preset = presets.open_preset(model)
        samples = [preset.file(row["input"]) for row in preset.record.get("samples", [])]
        model, name, origin = presets.load_model(preset), name or served_name(preset.path), preset.name
        data = preset.record.get("data")
    name = name or getattr(model, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ZooError(f"the name (--name) must have only letters, digits, '_', '-' and '.', got {name!r}")
    task = task_of(fold_batch_normalization(model), **settings)
    task.check_exportable()
    if format in task.formats:
        task.check_complete()
        return write_version(out / f"{name}.{format}", lambda version: task.formats[format](task, version))
    encoded = [task.encode(item) for item in [task.sample(path) for path in samples] or [task.neutral_input()]]
    if format != "saved_model":
        from zoo.exporting import edge

        facts = {"name": name, "preset": origin, "data": data}
        # A model in another precision is not a version of the same file: it has other answers and another size.
        folder = out / (f"{name}.{format}" if precision == "float32" else f"{name}.{format}.{precision}")
        return edge.write(task, folder, format, precision, facts, encoded)

    manifest = serving_files.manifest_of(task, name, origin, settings)
    check_next(out / name, serving_files.MANIFEST, manifest)

    def fill(version: Path) -> None:
        serving_files.write_inside(version, task, manifest, encoded)

    version = saved_model.write(task, out / name, manifest, fill)
    example = {key: value.numpy() for key, value in task.collate(encoded[:1]).items()}
    serving_files.write_beside(out, name, example)
    return version


def _own_formats(model: keras.Model | str | os.PathLike) -> dict:
    """The formats of a model's own task."""
    if isinstance(model, keras.Model):
        origin = getattr(model, "origin", None)
        return task_class(origin.task).formats if origin is not None else {}
    return task_class(presets.open_preset(model).record["task"]["name"]).formats


def metrics_of(version: Path) -> dict:
    """The metrics of an "onnx" or "litert" export in float16 or int8.

    Returns:
        {"dataset", "split", "examples", "before": {metric: value}, "after": {metric: value}}, or
        {"not measured": reason}.
    """
    return json.loads((version / PORTABLE_MANIFEST).read_text("utf-8"))["metrics"]
