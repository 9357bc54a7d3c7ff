"""A client of TensorFlow Serving that sends raw input and returns answers, over gRPC or REST.

The client does not use the code of the model's task. The server returns the export's manifest through the signature
"manifest", and the manifest says how to encode raw inputs and how to read answers. REST needs no TensorFlow. gRPC needs
the protobuf stubs of tensorflow-serving-api, which import TensorFlow.
"""

import json
import urllib.parse
from typing import Any

import numpy as np

from zoo.errors import InputError, ZooError
from zoo.exporting.rest import RestConnection
from zoo.tasks import answers, raw
from zoo.tasks.raw import RawInput, named, shown


class ServingError(ZooError):
    """The server can't be reached, does not answer in time, or refuses a request."""


class Client:
    """Asks a server for a model's answers.

    Args:
        model: the model's name on the server.
        address: "grpc://host:8500" or "http://host:8501".
        timeout: seconds to wait for each request before it fails.
        version: the model's version; by default the newest.

    >>> Client("lenet5.mnist", "grpc://localhost:8500").predict("digit.png")   # doctest: +SKIP
    {'input': 'digit.png', 'labels': ['7', ...], 'scores': [...]}
    """

    def __init__(
        self, model: str, address: str = "grpc://localhost:8500", timeout: float = 30.0, version: int | None = None
    ):
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("grpc", "http", "https") or not parts.netloc:
            raise ZooError(f"address must be grpc://HOST:PORT or http://HOST:PORT, got {address!r}")
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ZooError(f"timeout must be a number of seconds > 0, got {timeout!r}")
        self.model, self.address, self.timeout, self.version = model, address, timeout, version
        if parts.scheme == "grpc":
            from zoo.exporting.grpc_connection import GrpcConnection  # imports TensorFlow

            self._connection = GrpcConnection(parts.netloc, model, version)
        else:
            self._connection = RestConnection(address, model, version)
        self._signatures: dict | None = None
        self._manifest: dict | None = None

    def predict(self, x: Any, errors: str = "raise") -> dict | list[dict]:
        """Returns a dict for one input, or a list of dicts for several inputs, like a pipeline.

        Args:
            x: an input (a path, an open file, bytes, an array or a text; a dict of these for a model with several
                inputs), or several as a pipeline takes them, which are sent as one batch.
            errors: "raise", or "return" to get {"input", "error"} for an item that can't be answered.

        Raises:
            InputError: an input can't be answered; the message names it.
            ServingError: no server, an unknown model, or no answer in time.
        """
        if errors not in ("raise", "return"):
            raise ZooError(f"errors must be 'raise' or 'return', got {errors!r}")
        inputs = tuple(map(RawInput.of, self.manifest()["inputs"]))
        is_batch = raw.is_batch(inputs, x)
        rows = self._answers(inputs, list(raw.items(inputs, x)) if is_batch else [x])
        for row in rows:
            if "error" in row and errors == "raise":
                raise InputError(named(row["error"], row["input"]))
        return rows if is_batch else rows[0]

    def _answers(self, inputs: tuple[RawInput, ...], items: list) -> list[dict]:
        rows, encoded = {}, []
        for number, item in enumerate(items):
            try:
                encoded.append((number, raw.encode(inputs, item)))
            except InputError as error:
                rows[number] = {"input": shown(item), "error": str(error)}
        if encoded:
            outputs = self.call(self._batch([values for _, values in encoded]))
            for place, (number, _) in enumerate(encoded):
                row = {name: value[place] for name, value in outputs.items()}
                error = answers.plain(row["error"]) if "error" in row else ""
                answer = {"error": error} if error else answers.to_python(self.manifest()["answer"], row)
                rows[number] = {"input": shown(items[number]), **answer}
        return [rows[number] for number in range(len(items))]

    def _batch(self, encoded: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Encoded items -> the signature's arguments (B, ...), with the dtypes from the server's metadata."""
        places = self.metadata()["serving_default"]["inputs"]
        return {
            name: raw.stacked([item[name] for item in encoded], _NUMPY.get(place["dtype"], place["dtype"]))
            for name, place in places.items()
        }

    def call(self, inputs: dict[str, np.ndarray], signature: str = "serving_default") -> dict[str, np.ndarray]:
        """Calls a signature with arrays by name and returns its outputs as arrays by name; strings are bytes objects.

        Raises:
            ServingError: no server, an unknown model or signature, wrong inputs, or no answer in time.
        """
        outputs = self._try(self._connection.predict, signature, inputs)
        if None in outputs:  # REST omits the name of a single output
            [name] = self.metadata()[signature]["outputs"]
            outputs = {name: outputs[None]}
        return outputs

    def manifest(self) -> dict:
        """The export's manifest: name, preset, task, settings, "inputs", "answer" and versions.

        Raises:
            ServingError: no server, an unknown model, or no answer in time.
        """
        if self._manifest is None:
            signatures = self.metadata()
            if "serving_default" not in signatures:
                raise ServingError(f"{self.model} at {self.address} was not exported by keras-zoo: no serving_default")
            if "manifest" in signatures:
                outputs = self.call({"about": np.array([b""], object)}, "manifest")
                self._manifest = json.loads(outputs["manifest"][0])
            else:
                self._manifest = _manifest_of(signatures["serving_default"])
        return self._manifest

    def metadata(self) -> dict[str, dict]:
        """{signature: {"inputs": {name: {"dtype", "shape"}}, "outputs": ...}}; an unknown size is -1.

        Raises:
            ServingError: no server, an unknown model, or no answer in time.
        """
        if self._signatures is None:
            self._signatures = {
                name: {side: _places(signature.get(side, {})) for side in ("inputs", "outputs")}
                for name, signature in self._try(self._connection.metadata).items()
                if not name.startswith("__")
            }
        return self._signatures

    def status(self) -> dict[int, str]:
        """The model's versions and their states, such as {3: "AVAILABLE"}.

        Raises:
            ServingError: no server, an unknown model, or no answer in time.
        """
        return self._try(self._connection.status)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _try(self, call, *arguments):
        try:
            return call(*arguments, timeout=self.timeout)
        except Exception as error:
            failure = self._connection.failure(error)
            if failure is None:
                raise
        kind, detail = failure
        messages = {
            "protocol": f"{self.address} does not speak the protocol of TensorFlow Serving: {detail}",
            "timeout": f"{self.address} did not answer within {self.timeout:g} s",
            "unreachable": f"no server answers at {self.address}: {detail}",
            "refused": f"{self.address} refuses {self.model}: {detail}",
        }
        raise ServingError(messages[kind])


_NUMPY = {"float": "float32", "half": "float16"}  # TensorFlow's dtype names -> NumPy's, where they differ


def _places(signature: dict) -> dict[str, dict]:
    places = {}
    for name, place in signature.items():
        sizes = [int(size.get("size", 0)) for size in place.get("tensor_shape", {}).get("dim", [])]
        places[name] = {"dtype": place["dtype"].removeprefix("DT_").lower(), "shape": sizes}
    return places


def _manifest_of(signature: dict) -> dict:
    """A manifest for exports of earlier versions, which have no "manifest" signature; answers are the plain outputs."""
    inputs = [
        {"name": name, "kind": raw.KIND_OF_ARGUMENT.get(name, name), "shape": place["shape"][1:]}
        for name, place in signature["inputs"].items()
    ]
    return {"inputs": inputs, "answer": {name: name for name in signature["outputs"] if name != "error"}}
