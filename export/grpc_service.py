"""TensorFlow Serving's gRPC interface, as the development server answers it."""

import contextlib
from collections.abc import Iterator

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from zoo.exporting.served_models import Model, Models, Refused, reason


class GrpcService(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: Models):
        self.models = models

    def add_to(self, server: grpc.Server) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    def _model(self, request) -> Model:
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        return self.models.find(spec.name, version, spec.version_label or None)

    def Predict(self, request, context):
        with _refusals(context):
            model = self._model(request)
            outputs = model.predict(
                request.model_spec.signature_name, dict(request.inputs), list(request.output_filter)
            )
            response = predict_pb2.PredictResponse()
            for name, value in outputs.items():
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
            response.metadata["signature_def"].Pack(signature_map(model))
            return response

    def GetModelStatus(self, request, context):
        with _refusals(context):
            status = get_model_status_pb2.ModelVersionStatus(
                version=self._model(request).version, state=get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
            )
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])


@contextlib.contextmanager
def _refusals(context) -> Iterator[None]:
    """Answers exceptions with a status and one line."""
    try:
        yield
    except Refused as refused:
        context.abort(refused.code, str(refused))
    except Exception as error:
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {reason(error)}")


def signature_map(model: Model) -> get_model_metadata_pb2.SignatureDefMap:
    """A model's signatures, as its metadata contains them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, value in model.signatures.items():
        signatures.signature_def[name].CopyFrom(value)
    return signatures
