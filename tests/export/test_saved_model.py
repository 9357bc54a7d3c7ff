"""Exports: what lies beside them, the proof that they answer as the pipeline does, and the same from C."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from tests.helpers.paths import PHOTOS
from tests.helpers.short_graphs import short_reader
from tests.helpers.verifying_here import verifying_here
from zoo import exporting, preset
from zoo.errors import ZooError
from zoo.exporting import run_saved_model, serving_files
from zoo.preprocessing.text import Pieces, train_pieces
from zoo.tasks import task_of

LIBRARIES = Path(tf.__file__).parent


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of two exports, of one model."""
    out = tmp_path_factory.mktemp("exports")
    zoo.export("lenet5.mnist", out)
    zoo.export("lenet5.mnist", out, top=2)
    zoo.export("mlp.mnist", out)
    return out


def test_versions_count_up_and_configurations_name_all_models(exported):
    assert sorted(path.name for path in (exported / "lenet5.mnist").iterdir() if path.is_dir()) == ["1", "2"]
    config = text_format.Parse(
        (exported / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    ).model_config_list.config
    assert [(model.name, model.base_path) for model in config] == [
        ("lenet5.mnist", "/models/lenet5.mnist"),
        ("mlp.mnist", "/models/mlp.mnist"),
    ]
    assert "max_execution_batch_size { value: 32 }" in (exported / "batching.config").read_text()
    readme = (exported / "lenet5.mnist" / "README.md").read_text()
    assert f'-v "{exported}:/models" tensorflow/serving' in readme
    assert not list(exported.rglob(".*"))


def test_the_warm_up_is_requests_that_the_export_answers(exported):
    version = exported / "lenet5.mnist" / "2"
    call = tf.saved_model.load(version).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(str(version / serving_files.WARM_UP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert (request.model_spec.name, request.model_spec.signature_name) == ("lenet5.mnist", "serving_default")
        answers = call(**{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()})
        assert not any(answers["error"].numpy())
        assert answers["labels"].shape[1] == 2
        sizes.append(len(answers["error"]))
    assert sizes == [1, 8, 32]


def test_the_example_request_has_the_sample(exported):
    body = json.loads((exported / "lenet5.mnist" / "request.json").read_text())
    sample = preset.open_preset("lenet5.mnist").record["samples"][0]["input"]
    [coded] = body["inputs"]["image_bytes"]
    content = preset.open_preset("lenet5.mnist").file(sample).read_bytes()
    assert tf.io.decode_base64(coded["b64"].replace("+", "-").replace("/", "_").rstrip("=")).numpy() == content


@short_reader()
def test_a_model_without_samples_gets_a_warm_up(tmp_path):
    for name in ("mlp", "conv1d_classifier"):
        version = zoo.export(zoo.create_model(name, classes=3), tmp_path)
        assert len(list(tf.data.TFRecordDataset(str(version / serving_files.WARM_UP)))) == 3


def test_a_signature_is_traced_once_and_is_also_a_function_of_the_model(tmp_path, monkeypatch):
    model = make("conv1d_classifier")
    kind, traced = type(task_of(model)), []
    answer = kind.answer
    monkeypatch.setattr(kind, "answer", lambda self, outputs: traced.append(outputs) or answer(self, outputs))
    loaded = tf.saved_model.load(zoo.export(model, tmp_path))
    assert len(traced) == 1
    values = np.random.default_rng(0).normal(size=(2, *model.input.shape[1:])).astype("float32")
    answers = loaded.serving_default(tf.constant(values))
    assert answers["error"].numpy().tolist() == [b"", b""]
    for key, value in loaded.signatures["serving_default"](tensor=tf.constant(values)).items():
        np.testing.assert_array_equal(answers[key], value)
    assert [weight.shape for weight in loaded.trainable_variables] == [each.shape for each in model.trainable_weights]
    assert len(loaded.variables) == len(model.weights)


def test_places_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", "/proc/exports"):
        for form in ("saved_model", "onnx", "litert"):
            status, _, err = run_zoo("export", "mlp.mnist", out, "--format", form)
            assert (status, err.count("\n")) == (2, 1)
            assert f"can't write the export {out}/mlp.mnist" in err
    assert (tmp_path / "file").read_text() == "mine"
    status, _, err = run_zoo("export", "nothing.mnist", tmp_path / "out")
    assert (status, err.count("\n")) == (2, 1)
    assert "nothing.mnist" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_verify_compares_the_samples_of_the_newest_version(exported):
    result = zoo.verify(exported, "lenet5.mnist")
    assert result["equal"]
    assert result["export"] == str(exported / "lenet5.mnist" / "2")
    assert len(result["items"]) == 3


@pytest.fixture
def own_items(tmp_path):
    """A truncated photograph, a digit, a photograph, and a file that does not exist."""
    draw_digit("7").save(tmp_path / "seven.png")
    (tmp_path / "bad.jpg").write_bytes((PHOTOS / "rocket.jpg").read_bytes()[:500])
    return [tmp_path / "bad.jpg", tmp_path / "seven.png", PHOTOS / "coffee.jpg", tmp_path / "missing.png"]


@pytest.mark.slow
def test_verify_compares_given_items(exported, own_items):
    rows = zoo.verify(exported / "lenet5.mnist" / "1", "lenet5.mnist", own_items)["items"]
    assert [row["equal"] for row in rows] == [True, True, True, None]
    assert [row["input"] for row in rows] == list(map(str, own_items))
    assert rows[3]["refused"] == "the file does not exist"
    with verifying_here():
        [alone] = zoo.verify(exported, "lenet5.mnist", str(own_items[1]))["items"]
    assert alone["equal"]


@pytest.mark.slow
def test_the_command_verifies(exported, own_items):
    status, printed, _ = run_zoo("verify", exported, "lenet5.mnist", *own_items)
    assert status == 1
    assert f"{own_items[3]}: not compared: " in printed
    with verifying_here():
        status, printed, _ = run_zoo("verify", exported, "lenet5.mnist", own_items[1])
    assert status == 0
    assert printed.startswith(f"{own_items[1]}: equal")


def test_verify_finds_what_differs(exported, tmp_path, monkeypatch):
    shutil.copytree(exported / "mlp.mnist", tmp_path / "lenet5.mnist")
    with verifying_here():
        status, printed, _ = run_zoo("verify", tmp_path, "lenet5.mnist", "--json")
    result = json.loads(printed)
    assert (status, result["equal"]) == (1, False)
    wrong = [row for row in result["items"] if not row["equal"]]
    assert wrong
    assert all(row["pipeline"]["scores"] != row["export"]["scores"] for row in wrong)
    monkeypatch.setattr(exporting, "verify", lambda *_: result)  # the same once more, as text
    status, printed, _ = run_zoo("verify", tmp_path, "lenet5.mnist")
    assert status == 1
    assert "DIFFERENT" in printed


def test_mistakes_in_verify(exported, tmp_path):
    with pytest.raises(ZooError, match="no export in"):
        zoo.verify(tmp_path, "lenet5.mnist")
    with pytest.raises(ZooError, match="no input can be compared: .*missing.png"):
        zoo.verify(exported, "lenet5.mnist", tmp_path / "missing.png")
    shutil.copytree(exported / "mlp.mnist" / "1", tmp_path / "1")
    (tmp_path / "1" / serving_files.MANIFEST).unlink()
    with pytest.raises(ZooError, match=r"1 is not an export of keras-zoo: it has no assets.extra/zoo.json"):
        zoo.verify(tmp_path, "mlp.mnist")
    shutil.rmtree(tmp_path / "1")
    shutil.copytree(exported / "mlp.mnist" / "1", tmp_path / "1")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"nothing of the kind")
    with pytest.raises(ZooError, match="does not run"):
        zoo.verify(tmp_path, "mlp.mnist")


def test_the_checker_imports_neither_zoo_nor_keras():
    tree = ast.parse(Path(run_saved_model.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"importlib.util", "json", "sys", "pathlib", "numpy", "tensorflow"}


@pytest.fixture(scope="module")
def in_c(tmp_path_factory):
    """The program of saved_model.c, compiled against the libraries of TensorFlow's wheel."""
    program = tmp_path_factory.mktemp("program") / "saved_model"
    compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    libraries = ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    folders = [f"-I{LIBRARIES / 'include'}", f"-L{LIBRARIES}", f"-Wl,-rpath,{LIBRARIES}"]
    source = Path(__file__).parent / "saved_model.c"
    subprocess.run([*compiler, "-O1", "-o", program, source, *folders, *libraries], check=True)
    return program


def run_c(program, version: Path, inputs: list[str]) -> dict[str, np.ndarray]:
    """The serving signature's outputs, by the C program; strings stay strings."""
    model = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signature = model.meta_graphs[0].signature_def["serving_default"]
    [argument] = [value.name for value in signature.inputs.values()]
    names = sorted(signature.outputs)
    places = [signature.outputs[name].name for name in names]
    library = run_saved_model.load_operations(version)
    done = subprocess.run(
        [program, version, argument, *places, "--", *inputs], capture_output=True, text=True, check=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"} | ({"OP_LIBRARY": str(library[0])} if library else {}),
    )  # fmt: skip
    answers = {}
    for name, line in zip(names, done.stdout.splitlines(), strict=True):
        shape, _, values = line.partition(":")
        cells = values.strip()[1:-1].split('" "') if '"' in values else [float(cell) for cell in values.split()]
        answers[name] = np.array(cells).reshape([int(size) for size in shape.split(",")])
    return answers


@pytest.mark.slow
def test_every_bundled_image_classifier_answers_alike_in_c(in_c, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((PHOTOS / "rocket.jpg").read_bytes()[:500])
    files = [PHOTOS / "coffee.jpg", bad, PHOTOS / "rocket.jpg"]
    for folder in sorted(path for path in preset.BUNDLED.iterdir() if path.is_dir()):
        if preset.open_preset(folder).record["task"]["name"] != "image_classification":
            continue
        version = zoo.export(folder.name, tmp_path / "exports")
        answers = run_c(in_c, version, ["strings", *map(str, files)])
        for row, expected in enumerate(zoo.pipeline(folder.name)(files, errors="return")):
            if "error" in expected:
                assert answers["error"][row] in expected["error"]
                assert answers["error"][row]
                continue
            assert answers["error"][row] == ""
            assert answers["labels"][row].tolist() == expected["labels"]
            np.testing.assert_allclose(answers["scores"][row], expected["scores"], atol=1e-5)


def test_a_model_of_signals_answers_alike_in_c(in_c, tmp_path):
    tf.keras.utils.set_random_seed(0)
    model = zoo.create_model("conv1d_classifier", classes=3)
    values = np.random.default_rng(0).normal(size=(4, *model.input.shape[1:])).astype("float32")
    values[2, 0] = np.nan
    values.tofile(tmp_path / "values")
    version = zoo.export(model, tmp_path / "exports")
    answers = run_c(in_c, version, ["floats", ",".join(map(str, values.shape)), str(tmp_path / "values")])
    assert [bool(error) for error in answers["error"]] == [False, False, True, False]
    expected = zoo.pipeline(model)(list(values), errors="return")
    for row in (0, 1, 3):
        assert answers["labels"][row].tolist() == expected[row]["labels"]
        np.testing.assert_allclose(answers["scores"][row], expected[row]["scores"], atol=1e-5)


@pytest.mark.slow
def test_a_translator_answers_alike_in_c(in_c, tmp_path):
    """With SentencePiece's operations from tensorflow-text's library, loaded by the C program itself."""
    texts = ["A dog sees a ball.", "Two cats eat nothing.", "Der Hund sieht den Ball.", "Zwei Katzen essen nichts."]
    vocabulary = train_pieces(texts, 320)
    size = Pieces(vocabulary).size
    tf.keras.utils.set_random_seed(0)
    model = zoo.create_model(
        "attention_seq2seq", source_vocabulary=size, target_vocabulary=size, embedding=8, units=8, attention_units=8
    )
    for weight in model.trainable_weights:
        weight.assign(3.0 * weight)
    model.origin.assets, model.origin.settings = {"sentencepiece.model": vocabulary}, {"longest": 20, "beam": 3}
    sentences = [texts[0].encode(), b"no \xff text", "Ein \u732b".encode()]
    for number, sentence in enumerate(sentences):
        (tmp_path / str(number)).write_bytes(sentence)
    version = zoo.export(model, tmp_path / "exports", n_best=2)
    answers = run_c(in_c, version, ["strings", *(str(tmp_path / str(number)) for number in range(3))])
    expected = zoo.pipeline(model, n_best=2)(sentences, errors="return")
    assert answers["error"].tolist() == ["", "not UTF-8", ""]
    for row in (0, 2):
        assert answers["translation"][row] == expected[row]["translation"]
        assert answers["alternatives"][row, 0] == expected[row]["alternatives"][0]["translation"]
        np.testing.assert_allclose(answers["score"][row], expected[row]["score"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["show_and_tell", "show_attend_tell"])
def test_a_captioner_answers_alike_in_c(name, in_c, tmp_path):
    """From files to sentences, with beam search."""
    model = make(name)
    for weight in model.trainable_weights:
        weight.assign(3.0 * weight)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((PHOTOS / "rocket.jpg").read_bytes()[:500])
    files = [PHOTOS / "coffee.jpg", bad, PHOTOS / "chelsea.jpg"]
    version = zoo.export(model, tmp_path / "exports", n_best=2)
    answers = run_c(in_c, version, ["strings", *map(str, files)])
    expected = zoo.pipeline(model, n_best=2)(files, errors="return")
    assert [error != "" for error in answers["error"]] == ["error" in row for row in expected] == [False, True, False]
    for row in (0, 2):
        assert answers["caption"][row] == expected[row]["caption"] != ""
        assert answers["alternatives"][row, 0] == expected[row]["alternatives"][0]["caption"]
        np.testing.assert_allclose(answers["score"][row], expected[row]["score"], atol=1e-5)
