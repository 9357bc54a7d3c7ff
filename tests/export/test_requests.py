"""Requests to the development server: what is refused, with which line, and that the server keeps running."""

import gzip
import http.client
import json
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import get_model_metadata_pb2

from zoo.errors import ZooError
from zoo.exporting.dev_server import Server
from zoo.exporting.grpc_connection import GrpcConnection, predict_request
from zoo.exporting.rest_service import RestServer, parsed, unpacked
from zoo.exporting.running import serve
from zoo.exporting.served_models import LARGEST, Refused, checked_inputs

SPECS = {"image": tf.TensorSpec((None, 2, 1), tf.float32), "size": tf.TensorSpec((None,), tf.int32)}

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just({"b64": "eA=="}))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=12)
fitting = st.lists(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=1), min_size=2, max_size=2), max_size=3)


def attempt(call, *arguments) -> tuple[object, str]:
    """The result of a call and "", or None and the text of its refusal."""
    try:
        return call(*arguments), ""
    except Refused as refused:
        return None, str(refused)


@given(image=st.one_of(values, fitting), size=st.one_of(values, st.lists(st.integers(0, 9), max_size=3)))
@settings(max_examples=50, deadline=None)
def test_inputs_fit_the_signature_or_are_refused_in_one_line(image, size):
    body = json.dumps({"signature_name": "tensors", "inputs": {"image": image, "size": size}}).encode()
    _, inputs, _ = parsed(body, lambda _: list(SPECS))
    tensors, refusal = attempt(checked_inputs, "tensors", SPECS, inputs)
    assert "\n" not in refusal
    assert len(refusal) < 400
    if refusal:
        return
    for name, spec in SPECS.items():
        assert tensors[name].dtype == spec.dtype
        assert spec.shape.is_compatible_with(tensors[name].shape)
    assert tensors["image"].shape[0] == tensors["size"].shape[0]


@given(st.binary(max_size=60) | st.text('{}[]":,1b64instances', max_size=60).map(str.encode))
@settings(max_examples=50, deadline=None)
def test_any_body_is_parsed_or_refused_in_one_line(body):
    for result, refusal in (attempt(parsed, body, lambda _: ["image"]), attempt(unpacked, body)):
        assert (result is None) == bool(refusal)
        assert "\n" not in refusal


@given(
    st.sampled_from(["float32", "float64", "int32", "object"]),
    st.lists(st.integers(-1, 1 << 40), max_size=4),
    st.binary(max_size=16),
    st.lists(st.floats(width=32), max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_a_protobuf_tensor_fits_or_is_refused(dtype, shape, content, numbers):
    """Its parts may contradict each other, and a few bytes may claim to be an array of any size."""
    proto = tf.make_tensor_proto(np.zeros((), dtype) if dtype != "object" else "")
    proto.ClearField("tensor_shape")
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    proto.tensor_content = content
    proto.float_val.extend(numbers)
    specs = {"image": tf.TensorSpec((None, 2), tf.float32)}
    tensors, refusal = attempt(checked_inputs, "tensors", specs, {"image": proto})
    assert "\n" not in refusal
    assert refusal or tensors["image"].shape[1] == 2


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"image": [[[1]]], "size": [1]}, "tensors: image must be float32 of shape (-1, 2, 1), got (1, 1, 1)"),
        ({"image": 1.0, "size": [1]}, "tensors: image must be float32 of shape (-1, 2, 1), got ()"),
        ({"image": [[[1], [2]]], "size": [1, 2]}, "the same number of items, got {'image': 1, 'size': 2}"),
        ({"image": [[[1], [2]]], "size": [0.5]}, "tensors: size must be int32 of shape (-1,): "),
        ({"image": [[[1], []]], "size": [1]}, "non-rectangular"),
        ({"image": [[[1], [2]]], "size": [10**30]}, "tensors: size must be int32 of shape (-1,): "),
        ({"image": [[[1], [2]]]}, "the inputs of tensors must be image, size, got ['image']"),
    ],
)
def test_what_does_not_fit_is_named(inputs, message):
    with pytest.raises(Refused) as caught:
        checked_inputs("tensors", SPECS, inputs)
    assert message in str(caught.value)


def test_a_small_message_can_not_ask_for_a_large_array():
    proto = tf.make_tensor_proto(np.float32(1))
    proto.tensor_shape.dim.add().size = 10**12
    with pytest.raises(Refused, match=f"at most {LARGEST} bytes"):
        checked_inputs("tensors", {"image": tf.TensorSpec((None,), tf.float32)}, {"image": proto})
    with pytest.raises(Refused, match="after unpacking"):
        unpacked(gzip.compress(bytes(LARGEST + 1), 1))


class Small(tf.Module):
    """The signatures of an image classifier, in a few operations, and one with a table."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")])
    def serving_default(self, image_bytes):
        sizes = tf.strings.length(image_bytes)
        return {"labels": tf.strings.as_string(sizes), "scores": tf.cast(sizes, tf.float32), "error": image_bytes[:0]}

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, "image")])
    def tensors(self, image):
        return {"logits": tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(image, tf.ones((3, 3, 1, 4)), 1, "SAME")), [1, 2])}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, "source")])
    def table(self, source):
        return {"embedding": tf.gather(tf.zeros((10, 2)), source)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    out, module = tmp_path_factory.mktemp("exports"), Small()
    signatures = {name: getattr(module, name) for name in ("serving_default", "tensors", "table")}
    tf.saved_model.save(module, str(out / "images" / "1"), signatures)
    server = Server(out, 0, 0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ask(server):
    """Sends a request by REST; returns the status and the response."""
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=20)

    def ask(path: str, body=None, method: str | None = None, **headers) -> tuple[int, dict]:
        body = json.dumps(body) if isinstance(body, dict) else body
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, names)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    yield ask
    connection.close()


PREDICT = "/v1/models/images:predict"


def test_wrong_shapes_leave_the_server_running(ask, server):
    """The kernels of a processor may end the process for some of these."""
    for instances in ([[[1]]], [[1]], [1], 1, [[[[1]]]], [], [[]], [[[[]]]]):
        status, response = ask(PREDICT, {"signature_name": "tensors", "instances": instances})
        assert status == 400, instances
        assert response["error"].count("\n") == 0

    with GrpcChannel(server, "images") as connection:
        for shape in ((), (1,), (1, 1), (1, 1, 1), (1, 1, 1, 1), (1, 2, 2, 2, 2), (0, 1, 1, 1)):
            with pytest.raises(grpc.RpcError, match="must be float32 of shape") as caught:
                connection.predict("tensors", {"image": np.zeros(shape, "float32")}, 20)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    image = np.ones((1, 8, 8, 1)).tolist()
    assert ask(PREDICT, {"signature_name": "tensors", "instances": image}) == (200, {"predictions": [[484.0] * 4]})


class GrpcChannel:
    """A connection that is closed at the end of the block."""

    def __init__(self, server, name):
        self.connection = GrpcConnection(f"localhost:{server.port}", name, None)

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


def test_an_error_of_the_graph_has_its_reason(ask):
    assert ask(PREDICT, {"signature_name": "table", "instances": [[1000]]}) == (
        400,
        {"error": "table: indices[0,0] = 1000 is not in [0, 10)"},
    )


def test_bodies_in_chunks_and_compressed(ask):
    body = json.dumps({"signature_name": "table", "instances": [[1, 2]] * 40}).encode()
    expected = {"predictions": [[[0.0, 0.0]] * 2] * 40}
    assert ask(PREDICT, body) == (200, expected)
    assert ask(PREDICT, iter([body[:100], body[100:]]), "POST") == (200, expected)  # sent in chunks
    packed = gzip.compress(body)
    assert ask(PREDICT, packed, Content_Encoding="gzip") == (200, expected)
    assert ask(PREDICT, iter([packed[:50], packed[50:]]), "POST", Content_Encoding="gzip") == (200, expected)


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", {}, "the body is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"5", {}, 'the body must be a JSON object with "instances" or "inputs"'),
        (b"[" * 100_000, {}, "the body is not valid JSON: it is nested too deeply"),
        ({"instances": [{"b64": "!"}]}, {}, "\"b64\" must be base64, got '!'"),
        ({"instances": [{"b64": 5}]}, {}, '"b64" must be base64, got 5'),
        ({"instances": "x"}, {}, '"instances" must be a list'),
        ({"instances": [{"image_bytes": "x"}, {}]}, {}, 'all "instances" must be objects with the same keys'),
        ({"instances": ["x"], "signature_name": ["x"]}, {}, '"signature_name" must be a string'),
        (
            {"instances": ["x"], "signature_name": "none"},
            {},
            "unknown signature 'none'; known: serving_default, table, tensors",
        ),
        (b"x", {"Content_Encoding": "gzip"}, "the body is not valid gzip: "),
        (gzip.compress(b"{}", mtime=0)[:-9], {"Content_Encoding": "gzip"}, "the body is not valid gzip: "),
        (b"x", {"Content_Encoding": "br"}, "Content-Encoding must be gzip, got 'br'"),
        (b"x", {"Content_Length": "abc"}, "Content-Length must be an integer >= 0, got 'abc'"),
        (b"x", {"Content_Length": "-1"}, "Content-Length must be an integer >= 0, got '-1'"),
        (b"x", {"Content_Length": "9" * 30}, f"a request must have <= {LARGEST} bytes"),
        (b"zz\r\n", {"Transfer_Encoding": "chunked"}, "a chunk must start with its size in hexadecimal digits"),
        (b"x", {"Transfer_Encoding": "gzip"}, "Transfer-Encoding must be chunked, got 'gzip'"),
    ],
)
def test_a_refused_body_is_told_why(body, headers, message, ask):
    status, response = ask(PREDICT, body, **headers)
    assert status == 400
    assert message in response["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"])
def test_other_methods_are_refused_in_json(method, server):
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=20)
    connection.request(method, PREDICT, b"{}")
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert (response.status, response.headers["Content-Type"]) == (501 if method == "BREW" else 400, "application/json")
    if method == "HEAD":
        assert content == b""
    else:
        assert method in json.loads(content)["error"]


def test_metadata_names_the_model(ask):
    status, response = ask("/v1/models/images/metadata")
    assert (status, response["model_spec"]) == (200, {"name": "images", "signature_name": "", "version": "1"})


def test_there_are_no_version_labels(ask, server):
    message = "unknown version label 'stable': the development server has no labels; give the version 1"
    for path in ("/v1/models/images/labels/stable", "/v1/models/images/labels/stable/metadata"):
        status, response = ask(path)
        assert status == 400
        assert message in response["error"]
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name, request.model_spec.version_label = "images", "stable"
    with GrpcChannel(server, "images") as connection, pytest.raises(grpc.RpcError, match=message):
        connection.predictions.GetModelMetadata(request, timeout=20)


def test_an_output_filter_chooses_outputs(server):
    request = predict_request("images", "", {"image_bytes": np.array([b"abc"], object)})
    request.output_filter.extend(["scores"])
    with GrpcChannel(server, "images") as connection:
        assert list(connection.predictions.Predict(request, timeout=20).outputs) == ["scores"]
        request.output_filter.append("nothing")
        with pytest.raises(grpc.RpcError, match="unknown output 'nothing' of serving_default; known: error, labels"):
            connection.predictions.Predict(request, timeout=20)


@pytest.mark.parametrize(
    ("size", "message"), [(5_000_000, "at most 1,024 items, got 5,000,000"), (-5, "not be negative")]
)
def test_a_message_can_not_repeat_its_string(size, message):
    proto = tf.make_tensor_proto([b"a"])
    proto.tensor_shape.dim[0].size = size
    with pytest.raises(Refused, match=message):
        checked_inputs("serving_default", {"image_bytes": tf.TensorSpec((None,), tf.string)}, {"image_bytes": proto})
    if size > 0:
        with pytest.raises(Refused, match="at most 1,024 items, got 1,025"):
            checked_inputs("s", {"image_bytes": tf.TensorSpec((None,), tf.string)}, {"image_bytes": [b"a"] * 1025})


def test_many_clients_may_connect_at_once():
    with RestServer(("localhost", 0)) as server:  # nobody answers yet
        clients = [socket.create_connection(server.server_address, timeout=2) for _ in range(100)]
        for client in clients:
            client.close()


def test_both_protocols_need_ports_of_their_own(tmp_path):
    (tmp_path / "models.config").touch()
    with pytest.raises(ZooError, match="gRPC and REST need different ports, got 8500 for both"):
        serve(tmp_path, 8500, 8500)
