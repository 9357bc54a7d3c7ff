"""TensorFlow Serving's REST interface: arrays as JSON, and the requests of a client. Imports no TensorFlow."""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

import numpy as np


def as_json(value: np.ndarray) -> list:
    """An array as TensorFlow Serving takes it by REST: bytes become {"b64"}."""
    if value.dtype == object:
        return [{"b64": base64.b64encode(item).decode()} for item in value.ravel().tolist()]
    return value.tolist()


def from_json(value: list) -> np.ndarray:
    """An output in JSON -> an array; texts and {"b64"} become bytes objects."""
    array = np.array(value)
    if array.dtype == object:
        return np.array([base64.b64decode(item["b64"]) for item in array.ravel()], object).reshape(array.shape)
    if array.dtype.kind == "U":
        return np.array([text.encode() for text in array.ravel()], object).reshape(array.shape)
    return array.astype("float32") if array.dtype.kind == "f" else array


class RestConnection:
    """Requests about one model.

    Args:
        address: "http://host:8501".
        model: the model's name on the server.
        version: the model's version; None for the newest.
    """

    def __init__(self, address: str, model: str, version: int | None):
        url = f"{address.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        self.url = url if version is None else f"{url}/versions/{version}"

    def predict(self, signature: str, inputs: dict[str, np.ndarray], timeout: float) -> dict[str, np.ndarray]:
        """A signature's outputs by name; the name of a single output is None, because REST does not return it."""
        body = {"signature_name": signature, "inputs": {name: as_json(value) for name, value in inputs.items()}}
        outputs = self._json(f"{self.url}:predict", timeout, body)["outputs"]
        named = outputs if isinstance(outputs, dict) else {None: outputs}
        return {name: from_json(value) for name, value in named.items()}

    def metadata(self, timeout: float) -> dict:
        """The signatures: the protobuf message SignatureDef in JSON, by name."""
        return self._json(f"{self.url}/metadata", timeout)["metadata"]["signature_def"]["signature_def"]

    def status(self, timeout: float) -> dict[int, str]:
        """The states of the model's versions."""
        rows = self._json(self.url, timeout)["model_version_status"]
        return {int(row["version"]): row["state"] for row in rows}

    def close(self) -> None:
        """Does nothing, because each request opens a new connection."""

    def _json(self, url: str, timeout: float, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(url, data, timeout=timeout) as response:
            return json.load(response)

    @staticmethod
    def failure(error: Exception) -> tuple[str, str] | None:
        """The meaning of a request's exception: ("refused", "timeout", "unreachable" or "protocol", detail)."""
        if isinstance(error, urllib.error.HTTPError):
            return "refused", _refusal(error)
        if isinstance(error, (http.client.HTTPException, json.JSONDecodeError, KeyError)):
            return "protocol", f"{type(error).__name__} {error}"
        if isinstance(error, OSError):
            reason = getattr(error, "reason", error)
            return ("timeout", "") if isinstance(reason, TimeoutError) else ("unreachable", str(reason))
        return None


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        return json.loads(error.read())["error"].split("\n")[0]
    except (ValueError, KeyError, OSError):
        return f"{error.code} {error.reason}"
