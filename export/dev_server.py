"""A development server with TensorFlow Serving's protocols, and `serve`, which prefers TensorFlow Serving itself."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from zoo.errors import ZooError, checked_path
from zoo.exporting import run_saved_model
from zoo.exporting.rest import as_json
from zoo.exporting.serving_files import models_config
from zoo.exporting.versions import newest_version

LOOK = 1.0  # seconds between two searches for new versions
REST = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")
LARGEST = 64 << 20  # most bytes of a request


class Refused(Exception):
    """An error that is the response to a request."""

    def __init__(self, code: grpc.StatusCode, text: str):
        super().__init__(text)
        self.code = code


class Model:
    """A loaded version of a model."""

    def __init__(self, folder: Path):
        self.version = int(folder.name)
        run_saved_model.load_operations(folder)
        self.loaded = tf.saved_model.load(str(folder))
        graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
        self.signatures = graph.signature_def

    def predict(self, signature: str, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """A signature's outputs for inputs that TensorFlow can convert to tensors."""
        name = signature or "serving_default"
        if name not in self.loaded.signatures:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"unknown signature {name!r}; known: {', '.join(sorted(self.loaded.signatures))}",
            )
        wanted = self.signatures[name].inputs
        if inputs.keys() != wanted.keys():
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, f"the inputs of {name} must be {sorted(wanted)}, got {sorted(inputs)}"
            )
        try:
            tensors = {key: tf.constant(value, wanted[key].dtype) for key, value in inputs.items()}
            return self.loaded.signatures[name](**tensors)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error).strip().splitlines()[0]) from None


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
        """Loads new versions; a version that can't be loaded is warned about once and ignored."""
        for folder in self.out.iterdir():
            newest, here = newest_version(folder), self.models.get(folder.name)
            if newest is None or newest in self.damaged or here is not None and here.version >= int(newest.name):
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

    def find(self, name: str, version: int | None = None) -> Model:
        model = self.models.get(name)
        if model is None or version not in (None, model.version):
            wanted = f"{name} in version {version}" if version else name
            raise Refused(grpc.StatusCode.NOT_FOUND, f"unknown model {wanted}; known: {', '.join(sorted(self.models))}")
        return model


class _Grpc(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: Models):
        self.models = models

    def _model(self, request) -> Model:
        spec = request.model_spec
        return self.models.find(spec.name, spec.version.value if spec.HasField("version") else None)

    def Predict(self, request, context):
        with _refusals(context):
            model = self._model(request)
            try:
                inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            except (ValueError, TypeError) as error:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
            response = predict_pb2.PredictResponse()
            for name, value in model.predict(request.model_spec.signature_name, inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            response.model_spec.CopyFrom(request.model_spec)
            response.model_spec.version.value = model.version
            return response

    def GetModelMetadata(self, request, context):
        with _refusals(context):
            model = self._model(request)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.CopyFrom(request.model_spec)
            response.model_spec.version.value = model.version
            response.metadata["signature_def"].Pack(_signature_map(model))
            return response

    def GetModelStatus(self, request, context):
        with _refusals(context):
            status = get_model_status_pb2.ModelVersionStatus(
                version=self._model(request).version, state=get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
            )
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])


@contextlib.contextmanager
def _refusals(context) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        context.abort(refused.code, str(refused))


def _signature_map(model: Model) -> get_model_metadata_pb2.SignatureDefMap:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, value in model.signatures.items():
        signatures.signature_def[name].CopyFrom(value)
    return signatures


class _Rest(BaseHTTPRequestHandler):
    models: Models
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Prints nothing: one line per request would be too much."""

    def do_GET(self):
        self._answer(self._state)

    def do_POST(self):
        self._answer(self._prediction)

    def _answer(self, respond: Callable[[], dict]) -> None:
        try:
            code, response = 200, respond()
        except Refused as refused:
            code = 404 if refused.code == grpc.StatusCode.NOT_FOUND else 400
            response = {"error": str(refused)}
        except Exception as error:  # no request may end the server
            code, response = 400, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(response).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _model(self, *actions: str | None) -> tuple[str, Model]:
        match = REST.fullmatch(self.path)
        if not match or match[3] not in actions:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"unknown path {self.path}")
        return match[3], self.models.find(match[1], int(match[2]) if match[2] else None)

    def _state(self) -> dict:
        """The response to a GET: the model's metadata or status."""
        action, model = self._model(None, "/metadata")
        if action:
            signatures = json_format.MessageToDict(_signature_map(model), preserving_proto_field_name=True)
            return {"model_spec": {"version": str(model.version)}, "metadata": {"signature_def": signatures}}
        status = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": status}]}

    def _prediction(self) -> dict:
        """The response to a POST: a signature's outputs, for inputs by row ("instances") or by name ("inputs")."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST:
            self.close_connection = True
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"a request must have <= {LARGEST} bytes, got {length}")
        text = self.rfile.read(length)
        _, model = self._model(":predict")
        try:
            body = json.loads(text)
            signature, rows = body.get("signature_name", "serving_default"), body.get("instances")
            if rows is not None and not isinstance(rows, list):
                raise ValueError("instances must be a list")
            inputs = decoded(body["inputs"] if rows is None else rows)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, 'give JSON with "instances" or "inputs"') from None
        wanted = list(model.signatures[signature].inputs) if signature in model.signatures else []
        if rows is not None and rows and isinstance(rows[0], dict) and rows[0].keys() != {"b64"}:
            try:
                inputs = {name: [row[name] for row in inputs] for name in rows[0]}
            except (KeyError, TypeError):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the instances must have the same keys") from None
        elif not isinstance(inputs, dict):
            inputs = {wanted[0]: inputs} if len(wanted) == 1 else {}
        answers = model.predict(signature, inputs)
        plain = {name: _plain(value.numpy()) for name, value in answers.items()}
        if rows is None:
            return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
        count = len(next(iter(plain.values())))
        answered = [{name: value[row] for name, value in plain.items()} for row in range(count)]
        return {"predictions": answered if len(plain) > 1 else [next(iter(row.values())) for row in answered]}


def decoded(value: Any) -> Any:
    """Decodes JSON like TensorFlow Serving: {"b64"} becomes bytes, and a string becomes its UTF-8 bytes."""
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        return {key: decoded(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value.encode()
    return [decoded(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: np.ndarray) -> list:
    if value.dtype == object:
        texts = [text.decode("utf-8", "replace") for text in value.ravel()]
        return np.array(texts, object).reshape(value.shape).tolist()
    return as_json(value)


class Server:
    """The development server; it does not join requests into batches.

    Args:
        out: the folder of all exports.
        port: the port of gRPC; 0 takes any free port.
        rest_port: the port of REST; 0 takes any free port.
        host: the address to listen at; by default only this machine can connect.
    """

    def __init__(self, out: str | os.PathLike, port: int = 8500, rest_port: int = 8501, host: str = "localhost"):
        out = checked_path(out, "out")
        if not out.is_dir():
            raise ZooError(f"there is no folder {out}")
        options = [("grpc.max_receive_message_length", LARGEST), ("grpc.so_reuseport", 0)]
        self._grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
        try:
            self._rest = ThreadingHTTPServer((host, rest_port), _Rest)
        except OSError as error:
            raise ZooError(f"can't use port {rest_port}: {error.strerror}; choose another") from None
        try:
            self.port = self._grpc.add_insecure_port(f"{host}:{port}")
            self.models = Models(out)
        except BaseException as error:
            self._rest.server_close()
            self._grpc.stop(None)
            if isinstance(error, RuntimeError):
                raise ZooError(f"can't use port {port}: it is in use; choose another") from None
            raise
        self._rest.RequestHandlerClass = type("Handler", (_Rest,), {"models": self.models})
        self.rest_port = self._rest.server_address[1]
        service = _Grpc(self.models)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, self._grpc)
        self._thread = threading.Thread(target=self._rest.serve_forever, daemon=True)

    def start(self) -> None:
        """Starts to answer, in threads of its own."""
        self._grpc.start()
        self._thread.start()

    def stop(self) -> None:
        """Stops after the running requests, within a second."""
        self.models.is_closed.set()
        if self._thread.is_alive():
            self._rest.shutdown()
        self._rest.server_close()
        self._grpc.stop(1.0).wait()


def serving_command(out: Path, port: int, rest_port: int, scratch: Path) -> list[str] | None:
    """The command that starts TensorFlow Serving, its program or its container; None if neither is installed."""
    program = os.environ.get("ZOO_MODEL_SERVER") or shutil.which("tensorflow_model_server")
    batching = ["--enable_batching", f"--batching_parameters_file={out}/batching.config"]
    if program:
        config = scratch / "models.config"
        config.write_text(models_config(out, str(out)), encoding="utf-8")
        ports = [f"--port={port}", f"--rest_api_port={rest_port}"]
        return [program, *ports, f"--model_config_file={config}", *batching]
    if shutil.which("docker"):
        ports = ["-p", f"{port}:8500", "-p", f"{rest_port}:8501"]
        files = [argument.replace(f"{out}/", "/models/") for argument in batching]
        mount = ["-v", f"{out}:/models:ro"]
        return ["docker", "run", "--rm", *ports, *mount, "tensorflow/serving",
                "--model_config_file=/models/models.config", *files]  # fmt: skip
    return None


def serve(out: str | os.PathLike, port: int = 8500, rest_port: int = 8501, tell=print) -> int:
    """Serves all exports of a folder until it is interrupted, by TensorFlow Serving if it is installed.

    Returns:
        The exit status.
    """
    out = Path(os.path.abspath(checked_path(out, "out")))
    if not (out / "models.config").is_file():
        raise ZooError(f"{out} has no exports: make one with `zoo export PRESET {out}`")
    with tempfile.TemporaryDirectory() as scratch:
        command = serving_command(out, port, rest_port, Path(scratch))
        if command:
            tell(" ".join(command))
            running = subprocess.Popen(command)
            before = signal.signal(signal.SIGTERM, lambda *_: running.terminate())
            try:
                return running.wait()
            finally:
                running.terminate()
                signal.signal(signal.SIGTERM, before)
        server = Server(out, port, rest_port)
        server.start()
        tell(
            "neither tensorflow_model_server nor docker is installed: this is a development server, not for production"
        )
        tell(f"gRPC at grpc://localhost:{server.port}, REST at http://localhost:{server.rest_port}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        server.stop()
        return 0
