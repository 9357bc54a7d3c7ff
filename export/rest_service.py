"""TensorFlow Serving's REST interface, as the development server answers it."""

import base64
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format

from zoo.exporting.grpc_service import signature_map
from zoo.exporting.rest import as_json
from zoo.exporting.served_models import LARGEST, Model, Models, Refused, reason

REST = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict)?")


class RestServer(ThreadingHTTPServer):
    """Answers requests about `models`, which must be set before the first request."""

    models: Models
    request_queue_size = 1024  # connections that wait; with socketserver's 5, many clients at once are reset

    def __init__(self, address: tuple[str, int]):
        super().__init__(address, _Handler)

    def handle_error(self, request, address):
        """Prints an error, unless the client closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, address)


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Prints nothing: one line per request would be too much."""

    def do_GET(self):
        self._answer(self._state)

    def do_POST(self):
        self._answer(self._prediction)

    def do_HEAD(self):
        self._answer(self._other_method)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD

    def send_error(self, code, message=None, explain=None):
        """Answers what the base class refuses, such as a request that is not HTTP or an unknown method."""
        self.close_connection = True
        self._respond(code, {"error": message or HTTPStatus(code).phrase})

    def _answer(self, respond: Callable[[], dict]) -> None:
        try:
            code, response = 200, respond()
        except Refused as refused:
            code = 404 if refused.code == grpc.StatusCode.NOT_FOUND else 400
            response = {"error": str(refused)}
        except Exception as error:  # no request may end the server
            code, response = 400, {"error": f"{type(error).__name__}: {reason(error)}"}
        self._respond(code, response)

    def _respond(self, code: int, response: dict) -> None:
        body = json.dumps(response).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _model(self, *actions: str | None) -> tuple[str, Model]:
        match = REST.fullmatch(self.path)
        if not match or match[4] not in actions:
            raise Refused(f"unknown path {self.path}", grpc.StatusCode.NOT_FOUND)
        return match[4], self.server.models.find(match[1], int(match[2]) if match[2] else None, match[3])

    def _state(self) -> dict:
        """The response to a GET: the model's metadata or status."""
        action, model = self._model(None, "/metadata")
        if action:
            signatures = json_format.MessageToDict(signature_map(model), preserving_proto_field_name=True)
            spec = {"name": model.name, "signature_name": "", "version": str(model.version)}
            return {"model_spec": spec, "metadata": {"signature_def": signatures}}
        status = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": status}]}

    def _other_method(self) -> dict:
        self._body()  # else the client may lose the response, as the connection is reset
        raise Refused(f"the method must be GET or POST, got {self.command}")

    def _prediction(self) -> dict:
        """The response to a POST: a signature's outputs, for inputs by row ("instances") or by name ("inputs")."""
        text = self._body()
        _, model = self._model(":predict")
        signature, inputs, is_by_row = parsed(text, lambda name: list(model.input_specs(name)))
        answers = model.predict(signature, inputs)
        plain = {name: _plain(name, value.numpy()) for name, value in answers.items()}
        if not is_by_row:
            return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
        count = len(next(iter(plain.values())))
        answered = [{name: value[row] for name, value in plain.items()} for row in range(count)]
        return {"predictions": answered if len(plain) > 1 else [next(iter(row.values())) for row in answered]}

    def _body(self) -> bytes:
        """The body of the request, of a given length or in chunks, and unpacked if it is compressed.

        If it is refused, the connection is closed, because the rest of the body is not read.
        """
        keeps, self.close_connection = self.close_connection, True
        transfer = self.headers.get("Transfer-Encoding", "identity").strip().lower()
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if transfer not in ("identity", "chunked"):
            raise Refused(f"Transfer-Encoding must be chunked, got {transfer!r}")
        if coding not in ("identity", "gzip"):
            raise Refused(f"Content-Encoding must be gzip, got {coding!r}")
        body = self._chunks() if transfer == "chunked" else self._sized()
        self.close_connection = keeps
        return unpacked(body) if coding == "gzip" else body

    def _sized(self) -> bytes:
        length = self.headers.get("Content-Length") or "0"
        if not (length.isascii() and length.isdecimal()):
            raise Refused(f"Content-Length must be an integer >= 0, got {length!r}")
        if len(length) > 18 or int(length) > LARGEST:
            raise Refused(f"a request must have <= {LARGEST} bytes, got {length[:18]}")
        return self._read(int(length))

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            head = self.rfile.readline(1024).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", head):
                raise Refused(f"a chunk must start with its size in hexadecimal digits, got {head[:40]!r}")
            size = int(head, 16)
            if len(body) + size > LARGEST:
                raise Refused(f"a request must have <= {LARGEST} bytes")
            if not size:
                break
            body += self._read(size)
            if self.rfile.readline(3).strip():
                raise Refused("a chunk must end with a line break")
        while self.rfile.readline(1 << 16).strip():  # trailing headers
            pass
        return bytes(body)

    def _read(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise Refused(f"the body ended after {len(content)} of {size} bytes")
        return content


def unpacked(body: bytes) -> bytes:
    """The content of a gzip file; raises Refused if it is damaged or larger than a request may be."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"the body is not valid gzip: {error}") from None
    if len(content) > LARGEST:
        raise Refused(f"a request must have <= {LARGEST} bytes after unpacking")
    return content


def parsed(text: bytes, inputs_of: Callable[[str], list[str]]) -> tuple[str, dict[str, Any], bool]:
    """The signature and the inputs by name of a request.

    Args:
        text: the body of the request.
        inputs_of: the name of a signature -> the names of its inputs; raises Refused for an unknown signature.

    Returns:
        The name of the signature; the inputs by name; and whether they were given by row ("instances").

    Raises:
        Refused: the body does not follow TensorFlow Serving's format.
    """
    try:
        body = json.loads(text)
    except RecursionError:
        raise Refused("the body is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"the body is not valid JSON: {reason(error)}") from None
    if not isinstance(body, dict) or body.get("instances") is None and body.get("inputs") is None:
        raise Refused('the body must be a JSON object with "instances" or "inputs"')
    signature, rows = body.get("signature_name", "serving_default"), body.get("instances")
    if not isinstance(signature, str):
        raise Refused('"signature_name" must be a string')
    names = inputs_of(signature or "serving_default")
    if rows is None:
        inputs = decoded(body["inputs"])
        return signature, inputs if isinstance(inputs, dict) else _single(signature, names, inputs), False
    if not isinstance(rows, list):
        raise Refused('"instances" must be a list')
    if not rows or not isinstance(rows[0], dict) or rows[0].keys() == {"b64"}:
        return signature, _single(signature, names, decoded(rows)), True
    if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise Refused('all "instances" must be objects with the same keys')
    return signature, {name: [decoded(row[name]) for row in rows] for name in rows[0]}, True


def _single(signature: str, names: list[str], values: Any) -> dict[str, Any]:
    """Values of the only input of a signature, by its name."""
    if len(names) != 1:
        raise Refused(f"{signature} has several inputs: give an object with {', '.join(sorted(names))}")
    return {names[0]: values}


def decoded(value: Any) -> Any:
    """Decodes JSON like TensorFlow Serving: {"b64"} becomes bytes, and a string becomes its UTF-8 bytes."""
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return _from_base64(value["b64"])
        return {key: decoded(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return [decoded(inner) for inner in value] if isinstance(value, list) else value


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise Refused(f'"b64" must be base64, got {repr(text)[:40]}') from None


def _plain(name: str, value: np.ndarray) -> list:
    """An output in JSON: texts, or base64 if its name ends with _bytes, as TensorFlow Serving does it."""
    if value.dtype == object and not name.endswith("_bytes"):
        texts = [text.decode("utf-8", "replace") for text in value.ravel()]
        return np.array(texts, object).reshape(value.shape).tolist()
    return as_json(value)
