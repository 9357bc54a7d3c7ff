"""Exports for ONNX Runtime and LiteRT: a file with the model only, and a Python runner for the preprocessing."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.exporting import litert, onnx, runner, verifying
from zoo.exporting.serving_files import versions_of
from zoo.exporting.versions import PORTABLE_MANIFEST, check_next, write_version
from zoo.inference import Pipeline
from zoo.tasks.dataset import stream
from zoo.tasks.raw import stacked
from zoo.tasks.task import Task

FORMATS = {"onnx": onnx, "litert": litert}
# TOLERANCES: the greatest difference between scores for the same input. ROUNDING is added if images are rounded to 8
# bits first, because rounding changes the scores of images that the network is unsure of.
TOLERANCES = {"float32": 1e-4, "float16": 0.02, "int8": 0.1}
ROUNDING = 0.1
BATCH = 64  # batch size for measuring metrics


def write(task: Task, folder: Path, format: str, precision: str, facts: dict, encoded: list[dict]) -> Path:
    """Writes the task's portable function as the next version in `folder`, with a manifest and a runner.

    Args:
        task: the task, bound to the model.
        folder: OUT/NAME.FORMAT, or OUT/NAME.FORMAT.PRECISION below float32.
        format: "onnx" or "litert".
        precision: "float32", "float16" or "int8".
        facts: entries of the manifest: `name`, `preset` and `data` (the preset's data set, or None).
        encoded: encoded items for which the file must give the pipeline's answers.

    Raises:
        ZooError: the model can't be exported in this format, a package is missing, or the answers differ.
    """
    kind = FORMATS[format]
    function, specs, inputs = task.portable(kind.ROUNDED)
    raw = task.raw_inputs()
    if len(raw) != 1 or raw[0].kind not in runner.PREPARATIONS:
        kinds = " or ".join(runner.PREPARATIONS)
        raise ZooError(f"{task.name} can be exported as saved_model only: a runner prepares one input, {kinds}")
    kind.check(task.model)
    function = tf.function(function, input_signature=list(specs.values()), autograph=False)
    manifest = {
        **facts,
        "format": format,
        "precision": precision,
        "file": kind.FILE,
        **_manifest(task, specs, precision),
    }
    check_next(folder, PORTABLE_MANIFEST, manifest)

    def fill(version: Path) -> None:
        kind.convert(task.model, function, precision, version / kind.FILE)
        shutil.copyfile(runner.__file__, version / "run.py")
        (version / PORTABLE_MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        model = runner.Model(version)
        _check(function, model, encoded)
        items = [next(iter(item.values())) for item in encoded]
        for row in verifying.compare(version, Pipeline(task.model, task), items):
            if row["difference"] is None or row["difference"] > manifest["tolerance"]:
                raise ZooError(
                    f"the answers of the {format} file of {manifest['name']} differ from the pipeline's: {row}"
                )
        if precision != "float32":
            manifest["metrics"] = _measure(task, inputs, model.run, manifest["data"])
            (version / PORTABLE_MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        (version / "README.md").write_text(_readme(manifest), "utf-8")

    return write_version(folder, fill)


def _manifest(task: Task, specs: dict[str, tf.TensorSpec], precision: str) -> dict:
    """The entries of the manifest that depend on the task and on the specs of its portable function."""
    (name, spec), *others = specs.items()  # the length of items of different sizes follows
    [raw] = task.raw_inputs()
    given = {"name": name, "kind": raw.kind, "shape": list(spec.shape[1:]), "dtype": spec.dtype.name}
    return {
        "model": task.model.origin.model,
        "task": task.name,
        "settings": task.settings.model_dump(exclude={"augment"}),
        **task.portable_manifest(),
        "input": given | ({"length": others[0][0]} if others else {}),
        "tolerance": TOLERANCES[precision] + (ROUNDING if spec.dtype == tf.uint8 else 0.0),
        "versions": versions_of(),
    }


def _check(function, model: runner.Model, encoded: list[dict]) -> None:
    """Raises ZooError if the outputs of the file and of the function differ on the runner's inputs."""
    with verifying.runner_files(encoded) as files:
        try:
            items = [model.inputs(file) for file in files]
        except Exception as error:  # Pillow's decoders raise many types
            raise ZooError(f"the runner of {model.manifest['name']} can't read a sample: {error}") from error
    batch = {name: stacked([item[name][0] for item in items], items[0][name].dtype.name) for name in items[0]}
    ours, theirs = function(**{name: tf.constant(value) for name, value in batch.items()}), model.run(batch)
    difference = max(np.abs(theirs[name] - value.numpy()).max() for name, value in ours.items())
    manifest = model.manifest
    if not difference <= TOLERANCES[manifest["precision"]]:
        raise ZooError(
            f"the scores of the {manifest['format']} file of {manifest['name']} differ by {difference:.2g}: in "
            f"{manifest['precision']} the difference must be <= {TOLERANCES[manifest['precision']]}"
        )


def _measure(task: Task, inputs, run, data: dict | None) -> dict:
    """Metrics of the model ("before") and of the file ("after") on the test data, or why they were not measured."""
    if not data or not data["test"]:
        return {"not measured": "the card does not name test data"}
    try:
        source = open_source(data["name"], data["test"], task.fields, task.layout, data.get("data_dir"), download=False)
        task.check_source(source)
    except ZooError as error:
        return {"not measured": str(error)}
    after = task.metrics()
    after = next(iter(after.values()), ()) if isinstance(after, dict) else after  # those of the file's only output
    if not after:
        return {"not measured": "the metrics need more than the outputs of the file"}
    for batch, y in stream(task, source, BATCH, augment=False, shuffle=False, finish=inputs).epoch(0):
        _, y, *weights = task.join(batch, y)
        [scores] = run({name: value.numpy() for name, value in batch.items()}).values()
        for metric in after:
            metric.update_state(y, scores, *weights)
    after = {metric.name: float(metric.result()) for metric in after}
    # Only metrics of the outputs can be measured again, not those of texts.
    before = {name: value for name, value in task.measure(source, BATCH, None).metrics.items() if name in after}
    return {
        "dataset": source.name,
        "split": data["test"],
        "examples": source.examples,
        "before": before,
        "after": {name: after[name] for name in before},
    }


def _readme(manifest: dict) -> str:
    package = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}[manifest["format"]]
    metrics = manifest.get("metrics", {})
    rows = "".join(
        f"- {name}: {value:.4f} before, {metrics['after'][name]:.4f} as {manifest['precision']} ({metrics['dataset']} "
        f"{metrics['split']}, {metrics['examples']:,} examples)\n"
        for name, value in metrics.get("before", {}).items()
    )
    given = manifest["input"]
    packages = {"image": "numpy pillow", "audio": "numpy soundfile soxr"}.get(given["kind"], "numpy")
    shape = str(tuple(given["shape"])).replace("None", "any")
    length = f" and `{given['length']}` () int32" if "length" in given else ""
    output = "`scores` (B, classes) in the order of `labels` in manifest.json"
    if "tiles" in manifest:
        output = "`map` (B, h, w, classes), the probabilities of the classes of a tile's pixels"
    if "embedding" in manifest:
        output = "`embeddings` (B, numbers), each of length 1; the distance of two tells people apart"
    if "alphabet" in manifest:
        output = "`probabilities` (B, steps, classes) of a blank and of the characters of `alphabet` in manifest.json"
    if "boxes" in manifest:
        output = (
            "`boxes` (B, N, 4), ymin, xmin, ymax and xmax as fractions of the image, and their `scores` (B, N, "
            "classes) in the order of `labels` in manifest.json; boxes overlap"
        )
    if "bits" in manifest:
        output = "`logits` (B, steps, bits), of which the steps after the input and one more are the answer"
    return README.format(
        output=output, packages=f"{packages} {package}", rows=rows, shape=shape, length=length, **manifest
    )


README = """# {name}, as {format}, {precision}

`{file}` takes `{input[name]}` {shape} {input[dtype]}{length}, with a batch axis in front, and returns
{output}. `run.py` makes `{input[name]}` from raw input and does not need
keras-zoo:

```
pip install {packages}
python run.py INPUT...
```

or in Python, in this folder: `from run import Model; print(Model(".")(INPUT))`.

Scores differ from the original model's by at most {tolerance}.
{rows}"""
