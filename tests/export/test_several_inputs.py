"""A task of another distribution with two raw inputs and answers of its own, exported, verified and served."""

import json
import sys
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import zoo
from tests.helpers.verifying_here import verifying_here
from zoo.errors import InputError, ZooError
from zoo.exporting import Client, dev_server, serving_files

PACKAGE = '''
import json

import keras
import tensorflow as tf

from zoo.registry import register_model
from zoo.tasks.raw import RawInput
from zoo.tasks.settings import TaskSettings, setting
from zoo.tasks.task import Task


@register_model("mood_net", task="mood", paper="none")
def mood_net(units: int = 4):
    """A text's length and a size -> a logit."""
    features = keras.Input((2,), name="features")
    hidden = keras.layers.Dense(units, "tanh", name="hidden")(features)
    return keras.Model({"features": features}, {"logits": keras.layers.Dense(1, name="head")(hidden)}, name="mood_net")


class MoodSettings(TaskSettings):
    good: str = setting("good", "The word for a mood above 0.5.")


class Mood(Task):
    name = "mood"
    Settings = MoodSettings
    fields = ("text", "size", "label")
    answer_layout = {"mood": "mood", "strength": "strength"}
    takes_files = False

    def raw_inputs(self):
        return RawInput("text", "text"), RawInput("size", "number")

    def checked(self, raw):
        error = tf.where(raw["text"] == "", "empty text", "")
        return {"features": tf.stack([tf.cast(tf.strings.length(raw["text"]), tf.float32), raw["size"]], axis=1)}, error

    def answer(self, outputs):
        strength = tf.sigmoid(outputs["logits"][:, 0])
        return {"mood": tf.where(strength > 0.5, self.settings.good, "bad"), "strength": strength}

    def neutral_input(self):
        return {"text": "a", "size": 1.0}

    def sample(self, path):
        return json.loads(path.read_text("utf-8"))

    def summary(self, row):
        return row["mood"]
'''

ITEMS = [
    {"text": "a long and cheerful text", "size": 1},
    {"text": "", "size": 2.0},
    {"text": "\u732b", "size": "-3.5"},
    {"text": "no size", "size": "large"},
    {"text": b"bytes", "size": np.float64(7)},
]


@pytest.fixture(scope="module", autouse=True)
def distribution(tmp_path_factory):
    """Installs the package, with its entry points, for this module."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "moods.py").write_text(PACKAGE)
    info = folder / "moods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo.models]\nmoods = moods\n[zoo.tasks]\nmood = moods:Mood\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop("moods", None)


@pytest.fixture(scope="module")
def mood(tmp_path_factory):
    """A preset of the model with one sample, without training."""
    folder = tmp_path_factory.mktemp("presets")
    (folder / "sample.json").write_text(json.dumps(ITEMS[0]))
    keras.utils.set_random_seed(0)
    zoo.save(zoo.create_model("mood_net"), folder / "mood_net.toy", samples=[folder / "sample.json"])
    return folder / "mood_net.toy"


@pytest.fixture(scope="module")
def exports(mood, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports")
    zoo.export(mood, out, good="fine")
    return out


@pytest.fixture(scope="module")
def addresses(exports):
    server = dev_server.Server(exports, 0, 0)
    server.start()
    yield {"grpc": f"grpc://localhost:{server.port}", "http": f"http://localhost:{server.rest_port}"}
    server.stop()


def test_the_manifest_states_inputs_and_answer(exports):
    manifest = json.loads((exports / "mood_net.toy" / "1" / serving_files.MANIFEST).read_text())
    assert manifest["inputs"] == [
        {"name": "text", "kind": "text", "shape": []},
        {"name": "size", "kind": "number", "shape": []},
    ]
    assert manifest["answer"] == {"mood": "mood", "strength": "strength"}
    assert manifest["settings"] == {"good": "fine"}


def test_the_warm_up_has_every_input(exports):
    version = exports / "mood_net.toy" / "1"
    sizes = []
    for record in tf.data.TFRecordDataset(str(version / serving_files.WARM_UP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        assert set(inputs["text"].tolist()) == {ITEMS[0]["text"].encode()}
        assert set(inputs["size"].tolist()) == {1.0}
        sizes.append(len(inputs["size"]))
    assert sizes == [1, 8, 32]


def test_the_example_request_is_answered(exports, mood, addresses):
    request = (exports / "mood_net.toy" / "request.json").read_bytes()
    with urllib.request.urlopen(f"{addresses['http']}/v1/models/mood_net.toy:predict", request, timeout=30) as response:
        outputs = json.load(response)["outputs"]
    expected = zoo.pipeline(mood, good="fine")(ITEMS[0])
    assert outputs["mood"] == [expected["mood"]]
    assert outputs["strength"] == pytest.approx([expected["strength"]], abs=1e-6)


def test_verify_compares_every_item(exports, mood):
    with verifying_here():
        assert [row["equal"] for row in zoo.verify(exports, mood)["items"]] == [True]
    rows = zoo.verify(exports, mood, ITEMS)["items"]
    assert [row["equal"] for row in rows] == [True, True, True, None, True]
    assert rows[3]["refused"].startswith("size: expected a finite number")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_the_client_answers_as_the_pipeline(scheme, addresses, mood):
    client, pipeline = Client("mood_net.toy", addresses[scheme]), zoo.pipeline(mood, good="fine")
    for row, expected in zip(client.predict(ITEMS, errors="return"), pipeline(ITEMS, errors="return"), strict=True):
        assert row.keys() == expected.keys()
        assert row["input"] == expected["input"]
        assert row.get("error") == expected.get("error")
        assert row.get("mood") == expected.get("mood")
        assert row.get("strength", 0.0) == pytest.approx(expected.get("strength", 0.0), abs=1e-6)
    assert isinstance(client.predict(ITEMS[0])["strength"], float)
    with pytest.raises(InputError, match="empty text"):
        client.predict(ITEMS[1])
    with pytest.raises(InputError, match="expected the inputs text, size, got text"):
        client.predict({"text": "alone"})


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_devices_are_refused(format, mood, tmp_path):
    with pytest.raises(ZooError, match="mood can be exported as saved_model only"):
        zoo.export(mood, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()
