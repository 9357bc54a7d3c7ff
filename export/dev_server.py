"""A development server that speaks TensorFlow Serving's protocols, and the choice between it and the real one."""

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
from collections.abc import Iterator
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
from zoo.exporting.serving_files import as_json, models_config
from zoo.exporting.versions import newest_version

LOOK = 1.0  # seconds between two looks for new versions
REST = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")
LARGEST = 64 << 20  # bytes of a request


class Refused(Exception):
    """What a request gets in the place of an answer."""

    def __init__(self, code: grpc.StatusCode, text: str):
        super().__init__(text)
        self.code = code


class Model:
    """One version, loaded."""

    def __init__(self, folder: Path):
        self.version = int(folder.name)
        run_saved_model.load_operations(folder)
        self.loaded = tf.saved_model.load(str(folder))
        graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
        self.signatures = graph.signature_def

    def predict(self, signature: str, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """The outputs for values that TensorFlow can make tensors of."""
        name = signature or "serving_default"
        if name not in self.loaded.signatures:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"there is no signature {name!r}")
        wanted = self.signatures[name].inputs
        if inputs.keys() != wanted.keys():
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, f"the inputs of {name} are {sorted(wanted)}, not {sorted(inputs)}"
            )
        try:
            tensors = {key: tf.constant(value, wanted[key].dtype) for key, value in inputs.items()}
            return self.loaded.signatures[name](**tensors)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error).strip().splitlines()[0]) from None


class Models:
    """The newest version of every model in a folder; looks for newer ones while it is open."""

    def __init__(self, out: Path):
        self.out, self.models, self.is_closed = out, {}, threading.Event()
        self.damaged: set[Path] = set()
        self.look()
        if not self.models:
            raise ZooError(f"{out} holds no exports that can be read: zoo export PRESET {out} makes one")
        threading.Thread(target=self._watch, daemon=True).start()

    def look(self) -> None:
        """Loads what is new; a version that can't be loaded is told of once and left out."""
        for folder in self.out.iterdir():
            newest, here = newest_version(folder), self.models.get(folder.name)
            if newest is None or newest in self.damaged or here is not None and here.version >= int(newest.name):
                continue
            try:
                self.models[folder.name] = Model(newest)
            except Exception as error:  # TensorFlow's, protobuf's, the system's
                self.damaged.add(newest)
                warnings.warn(f"{newest} can't be loaded: {str(error).strip().splitlines()[0]}", stacklevel=2)

    def _watch(self) -> None:
        while not self.is_closed.wait(LOOK):
            with contextlib.suppress(OSError):  # the folder may be away for a moment
                self.look()

    def find(self, name: str, version: int | None = None) -> Model:
        model = self.models.get(name)
        if model is None or version not in (None, model.version):
            called = f"{name} in version {version}" if version else name
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no model {called}; {', '.join(sorted(self.models))}")
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
            one = get_model_status_pb2.ModelVersionStatus(
                version=self._model(request).version, state=get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
            )
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[one])


@contextlib.contextmanager
def _refusals(context) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        context.abort(refused.code, str(refused))


def _signature_map(model: Model) -> get_model_metadata_pb2.SignatureDefMap:
    made = get_model_metadata_pb2.SignatureDefMap()
    for name, value in model.signatures.items():
        made.signature_def[name].CopyFrom(value)
    return made


class _Rest(BaseHTTPRequestHandler):
    models: Models
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing: a line a request is too much."""

    def do_GET(self):
        self._answer(self._told)

    def do_POST(self):
        self._answer(self._predicted)

    def _answer(self, make) -> None:
        try:
            code, told = 200, make()
        except Refused as refused:
            code = 404 if refused.code == grpc.StatusCode.NOT_FOUND else 400
            told = {"error": str(refused)}
        except Exception as error:  # whatever a body holds, the server goes on
            code, told = 400, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _model(self, *actions: str | None) -> tuple[str, Model]:
        found = REST.fullmatch(self.path)
        if not found or found[3] not in actions:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is nothing at {self.path}")
        return found[3], self.models.find(found[1], int(found[2]) if found[2] else None)

    def _told(self) -> dict:
        action, model = self._model(None, "/metadata")
        if action:
            signatures = json_format.MessageToDict(_signature_map(model), preserving_proto_field_name=True)
            return {"model_spec": {"version": str(model.version)}, "metadata": {"signature_def": signatures}}
        fine = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": fine}]}

    def _predicted(self) -> dict:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST:
            self.close_connection = True
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"a request of {length} bytes; {LARGEST} are the most")
        text = self.rfile.read(length)
        _, model = self._model(":predict")
        try:
            body = json.loads(text)
            signature, rows = body.get("signature_name", "serving_default"), body.get("instances")
            if rows is not None and not isinstance(rows, list):
                raise ValueError("instances are a list")
            given = decoded(body["inputs"] if rows is None else rows)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, 'give JSON with "instances" or "inputs"') from None
        wanted = list(model.signatures[signature].inputs) if signature in model.signatures else []
        if rows is not None and rows and isinstance(rows[0], dict) and rows[0].keys() != {"b64"}:
            try:
                given = {name: [row[name] for row in given] for name in rows[0]}
            except (KeyError, TypeError):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the instances are not alike") from None
        elif not isinstance(given, dict):
            given = {wanted[0]: given} if len(wanted) == 1 else {}
        answers = model.predict(signature, given)
        plain = {name: _plain(value.numpy()) for name, value in answers.items()}
        if rows is None:
            return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
        count = len(next(iter(plain.values())))
        together = [{name: value[row] for name, value in plain.items()} for row in range(count)]
        return {"predictions": together if len(plain) > 1 else [next(iter(row.values())) for row in together]}


def decoded(value: Any) -> Any:
    """JSON as TensorFlow Serving takes it: {"b64"} becomes bytes, a string its UTF-8."""
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        return {key: decoded(one) for key, one in value.items()}
    if isinstance(value, str):
        return value.encode()
    return [decoded(one) for one in value] if isinstance(value, list) else value


def _plain(value: np.ndarray) -> list:
    if value.dtype == object:
        texts = [one.decode("utf-8", "replace") for one in value.ravel()]
        return np.array(texts, object).reshape(value.shape).tolist()
    return as_json(value)


class Server:
    """The development server: every request by itself, with no batching between them.

    Args:
        out: the folder of all exports.
        port, rest_port: of gRPC and REST; 0 takes any that is free.
        host: whose connections it takes; by default this machine's own.
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
            raise ZooError(f"port {rest_port} can't be had: {error.strerror}; choose another") from None
        try:
            self.port = self._grpc.add_insecure_port(f"{host}:{port}")
            self.models = Models(out)
        except BaseException as error:
            self._rest.server_close()
            self._grpc.stop(None)
            if isinstance(error, RuntimeError):
                raise ZooError(f"port {port} can't be had: it is in use; choose another") from None
            raise
        self._rest.RequestHandlerClass = type("Handler", (_Rest,), {"models": self.models})
        self.rest_port = self._rest.server_address[1]
        service = _Grpc(self.models)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, self._grpc)
        self._thread = threading.Thread(target=self._rest.serve_forever, daemon=True)

    def start(self) -> None:
        """Answers from now on, in threads of its own."""
        self._grpc.start()
        self._thread.start()

    def stop(self) -> None:
        """Ends after the requests under way, a second at most."""
        self.models.is_closed.set()
        if self._thread.is_alive():
            self._rest.shutdown()
        self._rest.server_close()
        self._grpc.stop(1.0).wait()


def serving_command(out: Path, port: int, rest_port: int, scratch: Path) -> list[str] | None:
    """How TensorFlow Serving itself is started here: its program, or its container; None where there is neither."""
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
    """Serves all exports of a folder until it is ended, by TensorFlow Serving where there is one; its exit status."""
    out = Path(os.path.abspath(checked_path(out, "out")))
    if not (out / "models.config").is_file():
        raise ZooError(f"{out} holds no exports: zoo export PRESET {out} makes one")
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
        tell("there is no tensorflow_model_server and no docker here: this is a development server, for trying out")
        tell(f"gRPC at grpc://localhost:{server.port}, REST at http://localhost:{server.rest_port}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        server.stop()
        return 0
