"""The client and the development server, over real connections; with ZOO_MODEL_SERVER, TensorFlow Serving itself."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.paths import PHOTOS
from tests.helpers.processes import free_port
from tests.helpers.short_graphs import short_reader
from zoo.errors import InputError, ZooError
from zoo.exporting import Client, ServingError, dev_server, running, served_models
from zoo.exporting.dev_server import Server
from zoo.exporting.running import serving_command
from zoo.exporting.serving_files import MANIFEST

PHOTO = PHOTOS / "rocket.jpg"


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    out = tmp_path_factory.mktemp("exports")
    zoo.export("lenet5.mnist", out, top=3)
    tf.keras.utils.set_random_seed(0)
    zoo.export(zoo.create_model("conv1d_classifier", classes=3), out, name="signals")
    return out


@pytest.fixture(scope="module")
def addresses(exports):
    """{"grpc": ..., "http": ...} of a server that is running."""
    if os.environ.get("ZOO_MODEL_SERVER"):
        ports = free_port(), free_port()
        with tempfile.TemporaryDirectory() as scratch:
            process = subprocess.Popen(serving_command(exports, *ports, Path(scratch))[0])
            places = {"grpc": f"grpc://localhost:{ports[0]}", "http": f"http://localhost:{ports[1]}"}
            wait_for(Client("signals", places["http"]))
            yield places
            process.terminate()
            process.wait()
        return
    server = Server(exports, 0, 0)
    server.start()
    yield {"grpc": f"grpc://localhost:{server.port}", "http": f"http://localhost:{server.rest_port}"}
    server.stop()


def wait_for(client: Client) -> None:
    for _ in range(100):
        try:
            if "AVAILABLE" in client.status().values():
                return
        except ServingError:
            pass
        time.sleep(0.2)
    raise AssertionError("no server")


@pytest.fixture(params=["grpc", "http"])
def address(request, addresses):
    return addresses[request.param]


def test_answers_are_the_pipelines(address, tmp_path):
    digits = [tmp_path / f"{digit}.png" for digit in "147"]
    for path in digits:
        draw_digit(path.stem).save(path)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(PHOTO.read_bytes()[:500])
    items = [digits[0], bad, np.asarray(draw_digit("7")), tmp_path / "missing.png", digits[2].read_bytes(), digits[1]]
    client, pipeline = Client("lenet5.mnist", address), zoo.pipeline("lenet5.mnist", top=3)
    for row, expected in zip(client.predict(items, errors="return"), pipeline(items, errors="return"), strict=True):
        assert row.keys() == expected.keys()
        assert row["input"] == expected["input"]
        assert row.get("error") == expected.get("error")
        if "labels" in expected:
            assert row["labels"] == expected["labels"]
            np.testing.assert_allclose(row["scores"], expected["scores"], atol=1e-5)
    assert client.predict(digits[2])["labels"][0] == "7"
    assert len(client.predict([digits[2]] * 33)) == 33  # more than a batcher runs at once
    pictures = np.stack([np.asarray(draw_digit(digit, 30)) for digit in "47"])[..., np.newaxis]
    assert [row["labels"] for row in client.predict(pictures)] == [row["labels"] for row in pipeline(pictures)]
    with pytest.raises(InputError, match="bad.jpg"):
        client.predict(items[:2])
    assert client.predict([]) == []


def test_arrays_go_as_they_are(address):
    client = Client("signals", address)
    shape = client.metadata()["serving_default"]["inputs"]["tensor"]["shape"]
    assert shape[0] == -1
    values = np.random.default_rng(0).normal(size=(3, *shape[1:])).astype("float32")
    values[1, 0] = np.nan
    rows = client.predict(values, errors="return")
    assert "NaN" in rows[1]["error"]
    row = client.predict(values[0])
    assert row["labels"] == rows[0]["labels"]
    assert row["scores"] == pytest.approx(rows[0]["scores"], abs=1e-5)
    assert sum(row["scores"]) == pytest.approx(1, abs=1e-4)


def test_metadata_and_status(address):
    client = Client("lenet5.mnist", address)
    signatures = client.metadata()
    assert {"serving_default", "tensors", "embeddings", "manifest"} <= signatures.keys()
    assert signatures["serving_default"]["inputs"] == {"image_bytes": {"dtype": "string", "shape": [-1]}}
    assert set(signatures["serving_default"]["outputs"]) == {"labels", "scores", "error"}
    assert client.status() == {1: "AVAILABLE"}


def test_the_manifest_comes_from_the_server_once_per_row(address, exports):
    client = Client("lenet5.mnist", address)
    manifest = client.manifest()
    assert manifest == json.loads((exports / "lenet5.mnist" / "1" / MANIFEST).read_text())
    assert manifest["inputs"] == [{"name": "image_bytes", "kind": "image", "shape": []}]
    assert manifest["answer"] == {"labels": "labels", "scores": "scores"}
    assert manifest["settings"] == {"top": 3}
    rows = client.call({"about": np.array([b"a", b"", b"b"], object)}, "manifest")["manifest"]
    assert [json.loads(row) for row in rows] == [manifest] * 3
    signals = Client("signals", address)
    [place] = signals.manifest()["inputs"]
    assert place == {"name": "tensor", "kind": "tensor", "shape": [1024, 1]}


REST_ALONE = """
import json, sys
from zoo.exporting import Client
row = Client("lenet5.mnist", sys.argv[1]).predict(sys.argv[2])
print(json.dumps([row, sorted({name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras", "grpc"})]))
"""


def test_a_rest_client_needs_no_tensorflow(addresses, digit_file):
    command = [sys.executable, "-c", REST_ALONE, addresses["http"], str(digit_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    row, heavy = json.loads(done.stdout)
    assert row["labels"][0] == "7"
    assert heavy == []


def test_an_export_without_manifest_is_asked_by_its_arguments(tmp_path):
    """An export of an earlier version: kinds follow from names, answers are the plain outputs."""

    class Plain(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((None,), tf.string, "sentence"),
                tf.TensorSpec((None, 2), tf.float32, "tensor"),
                tf.TensorSpec((None,), tf.int64, "code"),
            ]
        )
        def serve(self, sentence, tensor, code):
            error = tf.where(code < 0, "negative", "")
            return {"size": tf.strings.length(sentence), "sums": tensor + 1.0, "code": code, "error": error}

    module = Plain()
    tf.saved_model.save(module, str(tmp_path / "plain" / "1"), {"serving_default": module.serve})
    server = Server(tmp_path, 0, 0)
    server.start()
    items = [
        {"sentence": "h\u00e9", "tensor": [1, 2.5], "code": 7},
        {"sentence": b"a", "tensor": [0, 0, 0], "code": 1},
        {"sentence": b"a", "tensor": np.zeros(2), "code": -1},
    ]
    try:
        for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
            rows = Client("plain", address).predict(items, errors="return")
            assert {key: rows[0][key] for key in ("size", "sums", "code")} == {"size": 3, "sums": [2.0, 3.5], "code": 7}
            assert rows[1]["error"].startswith("tensor: expected an array of shape (2,), got (3,)")
            assert rows[2]["error"] == "negative"
    finally:
        server.stop()


def test_other_signatures_take_and_give_arrays(address, exports):
    client = Client("lenet5.mnist", address)
    [(name, place)] = client.metadata()["tensors"]["inputs"].items()
    values = np.random.default_rng(0).random((2, *place["shape"][1:]), "float32")
    [logits] = client.call({name: values}, "tensors").values()
    call = tf.saved_model.load(exports / "lenet5.mnist" / "1").signatures["tensors"]
    np.testing.assert_allclose(logits, call(**{name: tf.constant(values)})["logits"], rtol=1e-4, atol=1e-4)


def test_refusals(address, tmp_path):
    with pytest.raises(ServingError, match="nothing"):
        Client("nothing", address).status()
    with pytest.raises(ServingError, match="refuses lenet5.mnist"):
        Client("lenet5.mnist", address, version=7).predict(np.zeros((9, 9), np.uint8))
    client = Client("lenet5.mnist", address)
    with pytest.raises(ServingError):
        client.call({"image_bytes": np.array([b"x"], object)}, "no_signature")
    with pytest.raises(ServingError):
        client.call({"picture": np.array([b"x"], object)})
    with pytest.raises(ServingError):
        client.call({"image_bytes": np.zeros((2,), "float32")})
    scheme = address.split(":")[0]
    with pytest.raises(ServingError, match="no server answers at"):
        Client("lenet5.mnist", f"{scheme}://localhost:{free_port()}", timeout=5).predict(PHOTO)
    assert client.predict([], errors="return") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "localhost:8500"}, "address must be grpc://HOST:PORT or http://HOST:PORT, got 'localhost:8500'"),
        ({"address": "ftp://localhost"}, "address must be grpc://HOST:PORT or http://HOST:PORT, got 'ftp://localhost'"),
        ({"timeout": 0}, "timeout must be a number of seconds > 0, got 0"),
    ],
)
def test_mistakes_in_a_client(options, message):
    with pytest.raises(ZooError, match=message):
        Client("lenet5.mnist", **options)


def test_a_deadline_ends_a_call(exports, monkeypatch):
    whole = served_models.Model.predict

    def slow(self, *arguments):
        time.sleep(2.0)
        return whole(self, *arguments)

    monkeypatch.setattr(served_models.Model, "predict", slow)
    server = Server(exports, 0, 0)
    server.start()
    for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
        client = Client("lenet5.mnist", address)
        client.metadata()
        client.timeout = 0.5
        with pytest.raises(ServingError, match=r"did not answer within 0.5 s"):
            client.predict(PHOTO)
    server.stop()


def rest(place: str, body: bytes | None = None) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(place, body, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_rest_by_rows_and_by_columns(addresses, exports):
    place = f"{addresses['http']}/v1/models/lenet5.mnist"
    example = (exports / "lenet5.mnist" / "request.json").read_bytes()
    status, response = rest(f"{place}:predict", example)
    assert status == 200
    assert response["outputs"]["labels"][0][0] == "2"
    [picture] = json.loads(example)["inputs"]["image_bytes"]
    for instances in ([picture, picture], [{"image_bytes": picture}, {"image_bytes": picture}]):
        status, response = rest(f"{place}/versions/1:predict", json.dumps({"instances": instances}).encode())
        assert status == 200
        assert [row["labels"][0] for row in response["predictions"]] == ["2", "2"]
    [shape] = [
        argument["shape"]
        for argument in Client("lenet5.mnist", addresses["http"]).metadata()["tensors"]["inputs"].values()
    ]
    values = np.zeros((2, *shape[1:])).tolist()
    status, response = rest(f"{place}:predict", json.dumps({"signature_name": "tensors", "instances": values}).encode())
    assert status == 200
    assert np.shape(response["predictions"]) == (2, 10)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"5", b"{}", b'{"instances": 5}', b'{"inputs": {"picture": ["x"]}}'),
        *(b'{"instances": [{"b64": "!"}]}', b'{"signature_name": "none", "instances": ["x"]}'),
        *(b'{"instances": [{"image_bytes": "x"}, {}]}', b'{"signature_name": ["x"], "instances": ["x"]}'),
    ],
)
def test_rest_refuses_malformed_requests(body, addresses):
    status, response = rest(f"{addresses['http']}/v1/models/lenet5.mnist:predict", body)
    assert status == 400
    assert response["error"]
    assert rest(f"{addresses['http']}/v1/models/nothing:predict", body or b"{}")[0] == 404
    assert rest(f"{addresses['http']}/v2")[0] == 404


@pytest.fixture
def development_server():
    """Starts a server on a folder and stops it after the test."""
    started = []

    def start(folder) -> Client:
        server = Server(folder, 0, 0)
        started.append(server)
        server.start()
        return Client("lenet5.mnist", f"grpc://localhost:{server.port}")

    yield start
    for server in started:
        server.stop()


def test_a_damaged_version_is_warned_about_and_ignored(exports, tmp_path, development_server):
    shutil.copytree(exports / "lenet5.mnist" / "1", tmp_path / "lenet5.mnist" / "1")
    shutil.copytree(exports / "signals" / "1", tmp_path / "signals" / "1")
    (tmp_path / "signals" / "1" / "saved_model.pb").write_bytes(b"nothing of the kind")
    with pytest.warns(UserWarning, match="signals/1 can't be loaded"):
        client = development_server(tmp_path)
    assert client.predict(np.asarray(draw_digit("7")))["labels"][0] == "7"
    shutil.rmtree(tmp_path / "lenet5.mnist")
    with (
        pytest.warns(UserWarning, match="can't be loaded"),
        pytest.raises(ZooError, match="has no exports that can be read"),
    ):
        Server(tmp_path, 0, 0)


@short_reader()
def test_a_new_version_takes_over(exports, tmp_path, monkeypatch, development_server):
    monkeypatch.setattr(served_models, "LOOK", 0.1)
    shutil.copytree(exports / "lenet5.mnist" / "1", tmp_path / "lenet5.mnist" / "1")
    client = development_server(tmp_path)
    assert client.status() == {1: "AVAILABLE"}
    zoo.export("lenet5.mnist", tmp_path, top=1)
    for _ in range(100):
        if 2 in client.status():
            break
        time.sleep(0.1)
    assert len(client.predict(np.asarray(draw_digit("7")))["labels"]) == 1


def test_removed_versions_are_unloaded(tmp_path, monkeypatch):
    """The version before takes the place of the newest one; a model without a version is unknown."""
    monkeypatch.setattr(
        served_models, "Model", lambda folder: SimpleNamespace(name=folder.parent.name, version=int(folder.name))
    )
    for version in ("two/1", "two/2", "one/1"):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "saved_model.pb").touch()
    models = served_models.Models(tmp_path)
    models.is_closed.set()
    assert {name: model.version for name, model in models.models.items()} == {"two": 2, "one": 1}
    shutil.rmtree(tmp_path / "two" / "2")
    shutil.rmtree(tmp_path / "one")
    models.look()
    assert models.find("two").version == 1
    with pytest.raises(served_models.Refused, match="unknown model one; known: two in version 1"):
        models.find("one")
    shutil.rmtree(tmp_path / "two" / "1")
    models.look()
    with pytest.raises(served_models.Refused, match="unknown model two; known: none"):
        models.find("two")


def test_the_command_serves_and_says_with_what(exports, tmp_path):
    ports = free_port(), free_port()
    environment = {key: value for key, value in os.environ.items() if key != "ZOO_MODEL_SERVER"}
    (tmp_path / "bin").mkdir()
    command = [sys.executable, "-c", "from zoo.cli import main; main()", "serve", str(exports),
               "--port", str(ports[0]), "--rest-port", str(ports[1])]  # fmt: skip
    process = subprocess.Popen(
        command, env={**environment, "PATH": str(tmp_path / "bin")}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert "this is a development server" in process.stdout.readline()
        assert f"grpc://localhost:{ports[0]}" in process.stdout.readline()
        assert Client("lenet5.mnist", f"grpc://localhost:{ports[0]}").predict(np.asarray(draw_digit("7")))
        for both in (ports, (0, ports[1]), (ports[0], 0)):
            with pytest.raises(ZooError, match="can't use port .*: .*; choose another"):
                Server(exports, *both)
    finally:
        process.terminate()
        process.wait()


def test_the_real_server_is_preferred(exports, tmp_path, monkeypatch):
    def program(name: str, status: int = 0) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\nexit {status}\n")
        path.chmod(0o755)
        return str(path)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ZOO_MODEL_SERVER", raising=False)
    neither = "neither tensorflow_model_server nor docker is installed"
    assert serving_command(exports, 1, 2, tmp_path) == (None, neither)
    program("docker", status=1)
    without_daemon = "tensorflow_model_server is not installed, and Docker's daemon does not answer"
    assert serving_command(exports, 1, 2, tmp_path) == (None, without_daemon)
    program("docker")
    by_docker, _ = serving_command(exports, 1, 2, tmp_path)
    assert by_docker[:3] == ["docker", "run", "--rm"]
    assert f"{exports}:/models:ro" in by_docker
    assert "--batching_parameters_file=/models/batching.config" in by_docker
    named = program("tensorflow_model_server")
    assert serving_command(exports, 1, 2, tmp_path)[0][0] == named
    monkeypatch.setenv("ZOO_MODEL_SERVER", program("other"))
    command, _ = serving_command(exports, 1, 2, tmp_path)
    assert command[:3] == [str(tmp_path / "other"), "--port=1", "--rest_api_port=2"]
    assert re.findall(r'base_path: "(.*)"', (tmp_path / "models.config").read_text()) == [
        str(exports / "lenet5.mnist"),
        str(exports / "signals"),
    ]


def test_the_development_server_can_be_chosen(tmp_path, monkeypatch):
    started = []

    class Recorder:
        port, rest_port = 1, 2

        def __init__(self, *arguments):
            started.append(arguments)

        def start(self):
            raise KeyboardInterrupt

    (tmp_path / "models.config").touch()
    monkeypatch.setattr(dev_server, "Server", Recorder)
    monkeypatch.setenv("ZOO_MODEL_SERVER", shutil.which("false"))
    assert running.serve(tmp_path, 1, 2) == 1
    with pytest.raises(KeyboardInterrupt):
        running.serve(tmp_path, 1, 2, is_development=True)
    assert started == [(tmp_path, 1, 2)]
