"""Files for TensorFlow Serving beside a SavedModel: manifest, warm-up, configurations, example request, README."""

import importlib.metadata
import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from zoo.errors import ZooError
from zoo.exporting.grpc_connection import predict_request
from zoo.exporting.rest import as_json
from zoo.exporting.versions import newest_version
from zoo.files import whole_file
from zoo.tasks.task import Task

MANIFEST = "assets.extra/zoo.json"
WARM_UP = "assets.extra/tf_serving_warmup_requests"
BATCHES = (1, 8, 32)  # batch sizes of the warm-up: those of the server's batching, see BATCHING
MOUNT = "/models"  # path of the folder of all exports in the container


def manifest_of(task: Task, name: str, preset: str | None, settings: dict) -> dict:
    """The manifest of a SavedModel, which is in its folder and is returned by its signature "manifest".

    Returns:
        {"name", "preset", "model", "task", "labels", "settings", "inputs", "answer", "op_libraries", "versions"}:
        "model" is the name of the architecture, "labels" are None if the classes have no names, "settings" are those
        that the export fixes, "inputs" the raw inputs as `RawInput.entry` gives them, and "answer" is the layout of
        answers (see zoo.tasks.answers).
    """
    return {
        "name": name,
        "preset": preset,
        "model": task.model.origin.model,
        "task": task.name,
        "labels": task.labels,
        "settings": settings,
        "inputs": [raw.entry() for raw in task.raw_inputs()],
        "answer": task.answer_layout,
        "op_libraries": task.op_libraries(),
        "versions": versions_of(),
    }


def write_inside(version: Path, task: Task, manifest: dict, encoded: list[dict]) -> None:
    """Writes the manifest, and warm-up requests with encoded items, into a version's folder."""
    (version / MANIFEST).parent.mkdir(exist_ok=True)
    (version / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    with tf.io.TFRecordWriter(str(version / WARM_UP)) as records:
        for size in BATCHES:
            batch = task.collate([encoded[number % len(encoded)] for number in range(size)])
            inputs = {key: value.numpy() for key, value in batch.items()}
            request = predict_request(manifest["name"], "serving_default", inputs)
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            records.write(log.SerializeToString())


def versions_of() -> dict[str, str]:
    """The versions of the packages that write an export."""
    return {
        "keras-zoo": importlib.metadata.version("keras-zoo"),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def write_beside(out: Path, name: str, inputs: dict[str, np.ndarray]) -> None:
    """Writes the configurations for all models in `out`, and for this model an example request and a README."""
    _write(out / "models.config", models_config(out, MOUNT))
    _write(out / "batching.config", BATCHING)
    body = {"signature_name": "serving_default", "inputs": {key: as_json(value) for key, value in inputs.items()}}
    _write(out / name / "request.json", json.dumps(body) + "\n")
    _write(out / name / "README.md", README.format(name=name, folder=os.path.abspath(out), mount=MOUNT))


def models_config(out: Path, mount: str) -> str:
    """TensorFlow Serving's list of all models in `out`, whose path on the server is `mount`."""
    names = sorted(path.name for path in out.iterdir() if newest_version(path))
    models = "".join(
        f'  config {{\n    name: "{name}"\n    base_path: "{mount}/{name}"\n    model_platform: "tensorflow"\n  }}\n'
        for name in names
    )
    return f"model_config_list {{\n{models}}}\n"


def _write(path: Path, text: str) -> None:
    try:
        with whole_file(path) as hidden:
            hidden.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ZooError(f"can't write {path}: {error.strerror or error}") from None


# Requests of up to 1,024 items run in parts of at most 32. Padding joins requests whose items differ in length.
BATCHING = """max_batch_size { value: 1024 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 4 }
pad_variable_length_inputs: true
allowed_batch_sizes: 1
allowed_batch_sizes: 8
allowed_batch_sizes: 32
"""

README = """# {name}

A model for TensorFlow Serving, exported by keras-zoo, from raw input to answers. With the configuration below a batch
may have 1 to 1,024 items. The output `error` is empty for each good item; a bad item does not affect the other items of
the batch.

Serve all models of the folder with Docker:

```
docker run --rm -p 8500:8500 -p 8501:8501 -v "{folder}:{mount}" tensorflow/serving \\
  --model_config_file={mount}/models.config --enable_batching --batching_parameters_file={mount}/batching.config
```

Without Docker: `zoo serve "{folder}"`.

Ask by REST, with the request in this folder:

```
curl -d @request.json http://localhost:8501/v1/models/{name}:predict
```

Ask by gRPC from Python. INPUT is an input that the model takes: a file, an array or a text, or a dict of them for a
model with several inputs:

```python
from zoo.exporting import Client

print(Client("{name}", "grpc://localhost:8500").predict(INPUT))
```
"""
