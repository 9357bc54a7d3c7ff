"""Exports for ONNX Runtime and LiteRT: the model alone, and a Python runner that brings the preprocessing."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.exporting import litert, onnx, runner, verifying
from zoo.exporting.serving_files import versions_of
from zoo.exporting.versions import PORTABLE_MANIFEST, write_version
from zoo.inference import Pipeline
from zoo.tasks.dataset import check_labels, stream
from zoo.tasks.task import Task

FORMATS = {"onnx": onnx, "litert": litert}
# How far scores may lie from those of the same network on the same pixels, and what it adds that an image is rounded
# to 8 bits before: its effect on a network that is unsure can be seen.
TOLERANCES = {"float32": 1e-4, "float16": 0.02, "int8": 0.1}
ROUNDING = 0.1


def write(task: Task, folder: Path, format: str, precision: str, facts: dict, items: list) -> Path:
    """Writes the task's portable function as the next version below `folder`, with a manifest and a runner.

    Args:
        task: of the model to run.
        folder: OUT/NAME.FORMAT.
        format: "onnx" or "litert".
        precision: "float32", "float16" or "int8".
        facts: what the manifest says of the origin: name, preset, and `data`, the test data where the card names any.
        items: encoded inputs on which the file must answer as the pipeline does.

    Raises:
        ZooError: the model has no such form, a package is missing, or the answers differ.
    """
    kind = FORMATS[format]
    function, spec, inputs = task.portable(kind.ROUNDED)
    kind.check(task.model)
    function = tf.function(function, input_signature=list(spec.values()), autograph=False)
    (name, given), *_ = spec.items()
    manifest = {
        **facts,
        "format": format,
        "precision": precision,
        "file": kind.FILE,
        "task": task.name,
        "settings": {key: value for key, value in task.settings.items() if key != "augment"},
        "labels": task.names(),
        "input": {"name": name, "shape": list(given.shape[1:]), "dtype": given.dtype.name},
        "tolerance": TOLERANCES[precision] + (ROUNDING if given.dtype == tf.uint8 else 0.0),
        "versions": versions_of(),
    }

    def fill(version: Path) -> None:
        kind.convert(task.model, function, precision, version / kind.FILE)
        shutil.copyfile(runner.__file__, version / "run.py")
        (version / PORTABLE_MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        run = runner.Model(version).run
        _check(task, inputs, function, run, manifest, items)
        for row in verifying.compare(version, Pipeline(task.model, task), items):
            if not row["equal"]:
                raise ZooError(f"the {format} file of {manifest['name']} answers otherwise: {row}")
        if precision != "float32":
            manifest["metrics"] = _measure(task, inputs, run, manifest["data"])
            (version / PORTABLE_MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        (version / "README.md").write_text(_readme(manifest), "utf-8")

    return write_version(folder, fill)


def _check(task: Task, inputs, function, run, manifest: dict, items: list) -> None:
    """Refuses a file whose scores are not those of the function it was made from."""
    prepared = [task.prepare(task.read({task.fields[0]: item})) for item in items]
    batch = inputs(tf.nest.map_structure(lambda *parts: tf.stack(parts), *prepared))
    ours = function(**batch)
    theirs = run({name: value.numpy() for name, value in batch.items()})
    difference = max(np.abs(theirs[name] - value.numpy()).max() for name, value in ours.items())
    if not difference <= TOLERANCES[manifest["precision"]]:
        raise ZooError(
            f"the {manifest['format']} file of {manifest['name']} answers otherwise: scores differ by "
            f"{difference:.2g}, and in {manifest['precision']} they may by {TOLERANCES[manifest['precision']]}"
        )


def _measure(task: Task, inputs, run, data: dict | None) -> dict:
    """The task's metrics of the model ("before") and of the file ("after") on the test data; or why there are none."""
    if not data:
        return {"not measured": "the card names no test data"}
    try:
        source = open_source(data["name"], data["test"], task.fields, download=False)
        check_labels(task, source)
    except ZooError as error:
        return {"not measured": str(error)}
    batches = stream(
        task, source, 64, augment=False, shuffle=False, finish=lambda prepared: (task.views(prepared), inputs(prepared))
    )
    forward = tf.function(lambda given: task.outputs(given)["logits"], reduce_retracing=True)
    before, after = task.metrics(), task.metrics()
    for (views, batch), y in batches.epoch(0):
        scores = run({name: value.numpy() for name, value in batch.items()})["scores"]
        for ours, theirs in zip(before, after, strict=True):
            ours.update_state(y, forward(views))
            theirs.update_state(y, scores)
    return {
        "dataset": source.name,
        "split": data["test"],
        "examples": source.examples,
        "before": {metric.name: float(metric.result()) for metric in before},
        "after": {metric.name: float(metric.result()) for metric in after},
    }


def _readme(manifest: dict) -> str:
    package = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}[manifest["format"]]
    metrics = manifest.get("metrics", {})
    rows = "".join(
        f"- {name}: {value:.4f} before, {metrics['after'][name]:.4f} as {manifest['precision']} ({metrics['dataset']} "
        f"{metrics['split']}, {metrics['examples']:,} examples)\n"
        for name, value in metrics.get("before", {}).items()
    )
    return README.format(package=package, rows=rows, shape=tuple(manifest["input"]["shape"]), **manifest)


README = """# {name}, as {format}, {precision}

`{file}` takes `{input[name]}` {shape} {input[dtype]} with a batch axis in front, and gives `scores` (B, classes) in the
order of `labels` in manifest.json. What makes `{input[name]}` of raw input is in `run.py`, which needs nothing of
keras-zoo:

```
pip install numpy pillow {package}
python run.py INPUT...
```

or in Python, in this folder: `from run import Model; print(Model(".")(INPUT))`.

Scores lie within {tolerance} of the original model's.
{rows}"""
