"""A client for TensorFlow Serving: raw input in, answers out, by gRPC or REST."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from zoo.errors import InputError, ZooError
from zoo.exporting.serving_files import as_json, predict_request
from zoo.inference import shown
from zoo.tasks import tensor_inputs
from zoo.tasks.image_inputs import encoded_image
from zoo.tasks.raw_files import encoded_sentence

METADATA = "signature_def"


class ServingError(ZooError):
    """The server can't be reached, is too slow, or refuses what it is asked."""


class Client:
    """Asks a server for a model's answers.

    Args:
        model: its name there.
        address: "grpc://host:8500" or "http://host:8501".
        timeout: seconds after which a call is given up.
        version: of the model; the newest where it is left out.

    >>> Client("lenet5.mnist", "grpc://localhost:8500").predict("digit.png")   # doctest: +SKIP
    {'input': 'digit.png', 'labels': ['7', ...], 'scores': [...]}
    """

    def __init__(
        self, model: str, address: str = "grpc://localhost:8500", timeout: float = 30.0, version: int | None = None
    ):
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("grpc", "http", "https") or not parts.netloc:
            raise ZooError(f"address={address!r}; give grpc://HOST:8500 or http://HOST:8501")
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ZooError(f"timeout={timeout!r} is no number of seconds above 0")
        self.model, self.address, self.timeout, self.version = model, address, timeout, version
        kind = _Grpc if parts.scheme == "grpc" else _Rest
        self._wire = kind(parts.netloc if parts.scheme == "grpc" else address.rstrip("/"), model, version)
        self._signatures: dict | None = None

    def predict(self, x: Any, errors: str = "raise") -> dict | list[dict]:
        """Answers, as a pipeline gives them: one input gives one dict, a list a list of dicts.

        Args:
            x: what the model takes: a path, bytes, an array; or a list of them, which goes as one batch.
            errors: "raise", or "return" for {"input", "error"} in the place of an item that can't be answered.

        Raises:
            InputError: an input can't be answered; the message names it.
            ServingError: no server, no such model, no answer in time.
        """
        if errors not in ("raise", "return"):
            raise ZooError(f"errors={errors!r} is none of 'raise', 'return'")
        if "serving_default" not in self.metadata():
            raise ServingError(f"{self.model} at {self.address} was not exported by keras-zoo: no serving_default")
        [(name, place)] = self.metadata()["serving_default"]["inputs"].items()
        if name == "tensor":
            is_batch = tensor_inputs.is_batch(x, len(place["shape"]) - 1)
        else:
            is_batch = isinstance(x, (list, tuple)) or getattr(x, "ndim", 0) == 4
        items = list(x) if is_batch else [x]
        told: dict[int, dict] = {}
        encoded = []
        for number, item in enumerate(items):
            try:
                encoded.append((number, _encoded(name, item, place["shape"][1:])))
            except InputError as error:
                told[number] = {"input": shown(item), "error": str(error)}
        if encoded:
            values = [value for _, value in encoded]
            batch = np.array(values, object) if place["dtype"] == "string" else np.stack(values)
            answers = self.call({name: batch})
            for row, (number, _) in enumerate(encoded):
                told[number] = {"input": shown(items[number]), **_told(answers, row)}
        rows = [told[number] for number in range(len(items))]
        for row in rows:
            if "error" in row and errors == "raise":
                known = row["input"] in row["error"]
                raise InputError(row["error"] if known else f"{row['input']}: {row['error']}")
        return rows if is_batch else rows[0]

    def call(self, inputs: dict[str, np.ndarray], signature: str = "serving_default") -> dict[str, np.ndarray]:
        """A signature's outputs for its inputs by name, as arrays; strings are bytes objects.

        Raises:
            ServingError: no server, no such model or signature, other inputs, no answer in time.
        """
        outputs = self._try(self._wire.predict, signature, inputs)
        if None in outputs:  # REST does not name an output that is alone
            [name] = self.metadata()[signature]["outputs"]
            outputs = {name: outputs[None]}
        return outputs

    def metadata(self) -> dict[str, dict]:
        """{signature: {"inputs": {name: {"dtype", "shape"}}, "outputs": ...}}; a size of -1 is open.

        Raises:
            ServingError: no server, no such model, no answer in time.
        """
        if self._signatures is None:
            self._signatures = {
                signature: {"inputs": _places(told["inputs"]), "outputs": _places(told["outputs"])}
                for signature, told in self._try(self._wire.metadata).items()
                if not signature.startswith("__")
            }
        return self._signatures

    def status(self) -> dict[int, str]:
        """The model's versions and their states, such as {3: "AVAILABLE"}.

        Raises:
            ServingError: no server, no such model, no answer in time.
        """
        return self._try(self._wire.status)

    def close(self) -> None:
        """Ends the connection."""
        self._wire.close()

    def _try(self, call, *arguments):
        try:
            return call(*arguments, timeout=self.timeout)
        except grpc.RpcError as error:
            code, detail = error.code(), (error.details() or "").split("\n")[0]
        except urllib.error.HTTPError as error:
            code, detail = error.code, _refusal(error)
        except (http.client.HTTPException, json.JSONDecodeError, KeyError) as error:
            raise ServingError(f"{self.address} is no TensorFlow Serving: {type(error).__name__} {error}") from None
        except TimeoutError:
            code, detail = grpc.StatusCode.DEADLINE_EXCEEDED, ""
        except OSError as error:
            timed_out = isinstance(getattr(error, "reason", None), TimeoutError)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if timed_out else grpc.StatusCode.UNAVAILABLE
            detail = str(getattr(error, "reason", error))
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ServingError(f"{self.address} gave no answer within {self.timeout:g} s") from None
        if code == grpc.StatusCode.UNAVAILABLE:
            raise ServingError(f"no server answers at {self.address}: {detail}") from None
        raise ServingError(f"{self.address} refuses {self.model}: {detail}") from None


class _Grpc:
    def __init__(self, host: str, model: str, version: int | None):
        channel = self.channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1),
                                                       ("grpc.max_send_message_length", -1)])  # fmt: skip
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.model, self.version = model, version

    def close(self):
        self.channel.close()

    def _named(self, request):
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        return request

    def predict(self, signature, inputs, timeout):
        request = predict_request(self.model, signature, inputs, self.version)
        response = self.predictions.Predict(request, timeout=timeout)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def metadata(self, timeout):
        request = self._named(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[METADATA]))
        response = self.predictions.GetModelMetadata(request, timeout=timeout)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[METADATA].Unpack(signatures)
        return json_format.MessageToDict(signatures, preserving_proto_field_name=True)["signature_def"]

    def status(self, timeout):
        response = self.models.GetModelStatus(
            self._named(get_model_status_pb2.GetModelStatusRequest()), timeout=timeout
        )
        states = get_model_status_pb2.ModelVersionStatus.State
        return {one.version: states.Name(one.state) for one in response.model_version_status}


class _Rest:
    def __init__(self, address: str, model: str, version: int | None):
        place = f"{address}/v1/models/{urllib.parse.quote(model, safe='')}"
        self.place = place if version is None else f"{place}/versions/{version}"

    def close(self):
        """Nothing: each request has a connection of its own."""

    def _asked(self, place: str, timeout: float, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(place, data, timeout=timeout) as response:
            return json.load(response)

    def predict(self, signature, inputs, timeout):
        body = {"signature_name": signature, "inputs": {name: as_json(value) for name, value in inputs.items()}}
        outputs = self._asked(f"{self.place}:predict", timeout, body)["outputs"]
        named = outputs if isinstance(outputs, dict) else {None: outputs}
        return {name: _array(value) for name, value in named.items()}

    def metadata(self, timeout):
        return self._asked(f"{self.place}/metadata", timeout)["metadata"][METADATA][METADATA]

    def status(self, timeout):
        told = self._asked(self.place, timeout)["model_version_status"]
        return {int(one["version"]): one["state"] for one in told}


def _encoded(name: str, item: Any, shape: list[int]) -> Any:
    """An input of the user as the signature's argument of that name takes it."""
    if name == "image_bytes":
        return encoded_image(item)
    if name == "tensor":
        return tensor_inputs.tensor_of(item, tuple(shape))
    if name == "sentence":
        return encoded_sentence(item)
    raise InputError(f"{name!r} is no input that this client knows")


def _told(answers: dict[str, np.ndarray], row: int) -> dict:
    """One item's answers in plain Python; the error alone where there is one."""
    values = {name: _plain(value[row]) for name, value in answers.items()}
    error = values.pop("error", "")
    if "alternatives" in values:
        others = zip(values["alternatives"], values.pop("alternative_scores"), strict=True)
        values["alternatives"] = [{"translation": other, "score": score} for other, score in others]
    return {"error": error} if error else values


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


def _array(value: list) -> np.ndarray:
    """What came as JSON; texts become bytes objects."""
    array = np.array(value)
    if array.dtype.kind == "U":
        return np.array([one.encode() for one in array.ravel()], object).reshape(array.shape)
    return array.astype("float32") if array.dtype.kind == "f" else array


def _places(told: dict) -> dict[str, dict]:
    found = {}
    for name, place in told.items():
        sizes = [int(size.get("size", 0)) for size in place.get("tensor_shape", {}).get("dim", [])]
        kind = place["dtype"] if isinstance(place["dtype"], str) else types_pb2.DataType.Name(place["dtype"])
        found[name] = {"dtype": kind.removeprefix("DT_").lower(), "shape": sizes}
    return found


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        return json.loads(error.read())["error"].split("\n")[0]
    except (ValueError, KeyError, OSError):
        return f"{error.code} {error.reason}"
