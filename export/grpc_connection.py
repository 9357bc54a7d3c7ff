"""TensorFlow Serving's gRPC interface: the requests of a client. The protobuf stubs import TensorFlow."""

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

METADATA = "signature_def"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


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


class GrpcConnection:
    """Requests about one model; the methods are those of `zoo.exporting.rest.RestConnection`.

    Args:
        host: "host:8500".
        model: the model's name on the server.
        version: the model's version; None for the newest.
    """

    def __init__(self, host: str, model: str, version: int | None):
        self.channel = grpc.insecure_channel(host, options=_UNLIMITED)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.model, self.version = model, version

    def predict(self, signature: str, inputs: dict[str, np.ndarray], timeout: float) -> dict[str, np.ndarray]:
        """A signature's outputs by name."""
        request = predict_request(self.model, signature, inputs, self.version)
        response = self.predictions.Predict(request, timeout=timeout)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def metadata(self, timeout: float) -> dict:
        """The signatures: the protobuf message SignatureDef in JSON, by name."""
        request = self._with_model(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[METADATA]))
        response = self.predictions.GetModelMetadata(request, timeout=timeout)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[METADATA].Unpack(signatures)
        return json_format.MessageToDict(signatures, preserving_proto_field_name=True)["signature_def"]

    def status(self, timeout: float) -> dict[int, str]:
        """The states of the model's versions."""
        request = self._with_model(get_model_status_pb2.GetModelStatusRequest())
        states = get_model_status_pb2.ModelVersionStatus.State
        rows = self.models.GetModelStatus(request, timeout=timeout).model_version_status
        return {row.version: states.Name(row.state) for row in rows}

    def close(self) -> None:
        """Closes the connection."""
        self.channel.close()

    def _with_model(self, request):
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        return request

    @staticmethod
    def failure(error: Exception) -> tuple[str, str] | None:
        """The meaning of a request's exception: ("refused", "timeout", "unreachable" or "protocol", detail)."""
        if isinstance(error, KeyError):
            return "protocol", f"{type(error).__name__} {error}"
        if not isinstance(error, grpc.RpcError):
            return None
        kinds = {grpc.StatusCode.DEADLINE_EXCEEDED: "timeout", grpc.StatusCode.UNAVAILABLE: "unreachable"}
        return kinds.get(error.code(), "refused"), (error.details() or "").split("\n")[0]
