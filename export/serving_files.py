"""What lies beside a SavedModel for TensorFlow Serving: warm-up requests, configurations, example requests."""

import base64
import contextlib
import importlib.metadata
import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from zoo.errors import ZooError
from zoo.exporting.versions import newest_version
from zoo.tasks.task import Task

MANIFEST = "assets.extra/zoo.json"
WARM_UP = "assets.extra/tf_serving_warmup_requests"
BATCHES = (1, 8, 32)  # of the warm-up: the sizes that the server's batcher makes, as below
MOUNT = "/models"  # where the container sees the folder of all exports


def write_inside(version: Path, task: Task, name: str, preset: str | None, settings: dict, items: list) -> None:
    """The manifest, and warm-up requests of the items, into a version's folder."""
    manifest = {
        "name": name,
        "preset": preset,
        "task": task.name,
        "settings": settings,
        "op_libraries": task.op_libraries(),
        "versions": versions_of(),
    }
    (version / MANIFEST).parent.mkdir(exist_ok=True)
    (version / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    with tf.io.TFRecordWriter(str(version / WARM_UP)) as records:
        for size in BATCHES:
            batch = task.collate([items[number % len(items)] for number in range(size)])
            request = predict_request(name, "serving_default", {key: value.numpy() for key, value in batch.items()})
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            records.write(log.SerializeToString())


def versions_of() -> dict[str, str]:
    """Those of the packages that an export comes from."""
    return {
        "keras-zoo": importlib.metadata.version("keras-zoo"),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def predict_request(
    name: str, signature: str, inputs: dict[str, np.ndarray], version: int | None = None
) -> predict_pb2.PredictRequest:
    """A request as TensorFlow Serving takes it by gRPC."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def as_json(value: np.ndarray) -> list:
    """An array as TensorFlow Serving's REST takes it: bytes become {"b64"}."""
    if value.dtype == object:
        return [{"b64": base64.b64encode(one).decode()} for one in value.ravel().tolist()]
    return value.tolist()


def write_beside(out: Path, name: str, inputs: dict[str, np.ndarray]) -> None:
    """Configurations for all models in `out`, and for this one an example request and how to send it."""
    _write(out / "models.config", models_config(out, MOUNT))
    _write(out / "batching.config", BATCHING)
    body = {"signature_name": "serving_default", "inputs": {key: as_json(value) for key, value in inputs.items()}}
    _write(out / name / "request.json", json.dumps(body) + "\n")
    _write(out / name / "README.md", README.format(name=name, folder=os.path.abspath(out), mount=MOUNT))


def models_config(out: Path, mount: str) -> str:
    """TensorFlow Serving's list of all models in `out`, which it sees as `mount`."""
    names = sorted(path.name for path in out.iterdir() if newest_version(path))
    models = "".join(
        f'  config {{\n    name: "{name}"\n    base_path: "{mount}/{name}"\n    model_platform: "tensorflow"\n  }}\n'
        for name in names
    )
    return f"model_config_list {{\n{models}}}\n"


def _write(path: Path, text: str) -> None:
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        hidden.write_text(text, encoding="utf-8")
        hidden.replace(path)
    except OSError as error:
        raise ZooError(f"can't write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


# Requests up to a thousand items are run in parts of at most 32.
BATCHING = """max_batch_size { value: 1024 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 1
allowed_batch_sizes: 8
allowed_batch_sizes: 32
"""

README = """# {name}

A model for TensorFlow Serving, exported by keras-zoo: raw input in, answers out. A batch may have one item or more, up
to 1,024 with the configuration below; `error` beside the answers is empty where an item is good, and a bad one does not
touch its neighbours.

Serve all models of the folder:

```
docker run --rm -p 8500:8500 -p 8501:8501 -v "{folder}:{mount}" tensorflow/serving \\
  --model_config_file={mount}/models.config --enable_batching --batching_parameters_file={mount}/batching.config
```

or, without Docker, `zoo serve "{folder}"`.

REST, with the request in this folder:

```
curl -d @request.json http://localhost:8501/v1/models/{name}:predict
```

gRPC, from Python, with a file, an array or a sentence, whatever the model takes:

```python
from zoo.exporting.client import Client

print(Client("{name}", "grpc://localhost:8500").predict(INPUT))
```
"""
