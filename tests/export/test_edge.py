"""Exports for ONNX Runtime and LiteRT answer as the pipeline does."""

import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto
from onnx import load as load_onnx

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.contracts import contract_of
from tests.helpers.models import BUILDERS, make
from tests.helpers.odd_pictures import odd_pictures
from tests.helpers.run_alone import by_label, run_alone
from tests.helpers.short_graphs import short_reader
from zoo import preset
from zoo.errors import ZooError
from zoo.exporting import edge, litert, metrics_of, onnx, runner
from zoo.tasks import task_of
from zoo.tasks.task import Task

REFUSED = {
    ("conv3d_classifier", "litert"): "MaxPool3D",
    ("blstm_ctc", "litert"): "TensorListReserve",
    ("blstm_ctc_streaming", "litert"): "TensorListReserve",
}


def test_engines_take_the_file_by_its_names(edge_exports):
    session = onnxruntime.InferenceSession(edge_exports["onnx"] / "model.onnx")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    scores = session.run(["scores"], {"pixels": pixels})[0]
    assert scores.shape == (3, 10)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)
    runner = Interpreter(str(edge_exports["litert"] / "model.tflite")).get_signature_runner("serving_default")
    rounded = np.round(pixels[:1]).astype("uint8")
    same = session.run(["scores"], {"pixels": rounded.astype("float32")})[0]
    np.testing.assert_allclose(runner(pixels=rounded)["scores"], same, atol=1e-5)


@pytest.mark.parametrize("format", edge.FORMATS)
def test_arrays_in_labels_out(format, tmp_path):
    model = make("conv1d_classifier")
    version = zoo.export(model, tmp_path / "out", format, mean=0.5, deviation=2.0)
    files = contract_of(model).files(model, tmp_path)
    status, rows = run_alone(version, *files)
    assert status == 1
    assert "NaN" in rows[1]["error"]
    for file, row in zip(files[::2], rows[::2], strict=True):
        ours = zoo.pipeline(model, mean=0.5, deviation=2.0)(file)
        assert by_label(row) == pytest.approx(by_label(ours), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("format", edge.FORMATS)
@pytest.mark.parametrize("name", BUILDERS)
def test_every_model_has_both_forms(name, format, tmp_path):
    model = make(name)
    if hasattr(model, "step") or type(task_of(model)).portable is Task.portable:  # what generates, and words
        with pytest.raises(ZooError, match=f"{task_of(model).name} can be exported as saved_model only"):
            zoo.export(model, tmp_path / "out", format)
        return
    if (name, format) in REFUSED:
        with pytest.raises(ZooError, match=f"can't be exported as {format}: .* has no {REFUSED[name, format]}"):
            zoo.export(model, tmp_path / "out", format)
        assert not (tmp_path / "out" / f"{model.name}.{format}").exists()
        return
    version = zoo.export(model, tmp_path / "out", format)  # refuses what answers otherwise
    assert (version / "run.py").is_file()
    status, rows = run_alone(version, *contract_of(model).files(model, tmp_path))
    assert status == 1
    assert ["error" in row for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        pytest.param(format, precision, marks=[] if (format, precision) == ("litert", "int8") else [pytest.mark.slow])
        for precision in ("float16", "int8")
        for format in edge.FORMATS
    ],
)
@short_reader()
def test_smaller_numbers_are_measured_where_the_data_is(format, precision, digits_folder, tmp_path):
    model = zoo.load("lenet5.mnist", labels=["0", "1", "7"])
    preset.update(zoo.save(model, tmp_path / "mine"), data={"name": str(digits_folder), "test": "test"})
    status, out, _ = run_zoo(
        "export", tmp_path / "mine", tmp_path, "--format", format, "--precision", precision, "--json"
    )
    assert status == 0
    row = json.loads(out)
    assert row["path"] == str(tmp_path / f"mine.{format}.{precision}" / "1")
    metrics = row["metrics"]
    assert metrics["dataset"] == str(digits_folder)
    assert metrics["before"].keys() == metrics["after"].keys() == {"accuracy"}
    right = zoo.evaluate(tmp_path / "mine", str(digits_folder))["metrics"]["accuracy"]
    assert metrics["before"]["accuracy"] == pytest.approx(right)
    assert f"as {precision}" in (Path(row["path"]) / "README.md").read_text()
    sizes = [path.stat().st_size for path in Path(row["path"]).glob("model.*")]
    assert sizes[0] < {"float16": 0.6, "int8": 0.4}[precision] * 255_000


def check_measured(model, data: Path, format: str) -> None:
    """An export in int8 has the metrics of the preset, and about those in int8."""
    saved = zoo.save(model, data.parent / "mine")
    preset.update(saved, data={"name": str(data), "test": "test"})
    metrics = metrics_of(zoo.export(saved.path, data.parent, format, precision="int8"))
    assert metrics["before"] == pytest.approx(zoo.evaluate(saved.path, str(data))["metrics"])
    assert metrics["after"] == pytest.approx(metrics["before"], abs=0.1)


@short_reader()
def test_a_model_with_metrics_by_output_is_measured(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "data")
    check_measured(make("recurrent_attention", classes=3), tmp_path / "data", "onnx")


def test_sequences_of_several_lengths_are_measured(tmp_path):
    model = make("neural_turing_machine")
    model.get_layer("logits").bias.assign([-3.0] * 3)  # all bits are 0, so int8 changes none
    rows = [[[1, 0, 1]] * (1 + number % 3) for number in range(20)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"input": row, "output": row}) + "\n" for row in rows))
    check_measured(model, tmp_path / "data.jsonl", "litert")


def test_litert_rows_of_several_lengths():
    rows = [np.ones((1, 2, 3)), np.ones((1, 4, 3))]
    assert runner.joined(rows)[..., 0].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert runner.joined([np.ones((1,)), np.zeros((1,))]).tolist() == [1, 0]


@pytest.mark.parametrize("name", ["resnet_cifar20", "cifar_convnet"])
def test_int8_answers_alike_on_every_processor(name, tmp_path, caplog):
    """Weights have no sign: products with signed ones saturate where a processor has no instruction for them."""
    version = zoo.export(make(name), tmp_path / "out", "onnx", precision="int8")
    graph = load_onnx(version / "model.onnx").graph
    kinds = {weight.data_type for weight in graph.initializer if weight.name.endswith("_quantized")}
    assert kinds == {TensorProto.UINT8}
    weights = {weight.name: len(weight.dims) for weight in graph.initializer}
    products = [node for node in graph.node if node.op_type.startswith("MatMul")]
    stacked = {node.op_type for node in products if any(weights.get(weight, 0) > 2 for weight in node.input)}
    assert stacked == ({"MatMul"} if name == "cifar_convnet" else set())
    assert "pre-processing" not in caplog.text  # its advice is for those who call it by hand


def test_data_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
    saved = zoo.save(make("mlp"), tmp_path / "mine")
    options = ("export", tmp_path / "mine", tmp_path, "--format", "onnx", "--precision", "int8")
    for data, why in (
        (None, "the card does not name test data"),
        ({"name": str(tmp_path / "gone"), "test": "test"}, f"there is no folder {tmp_path / 'gone'}"),
        ({"name": "mnist", "test": "test"}, f"mnist is not in {tmp_path}"),
    ):
        saved = preset.update(saved, data=data)
        status, printed, _ = run_zoo(*options)
        assert status == 0
        assert f"no metrics were measured: {why}" in printed


@pytest.mark.parametrize("format", edge.FORMATS)
def test_what_answers_otherwise_is_not_written(format, tmp_path, monkeypatch):
    kind = edge.FORMATS[format]
    whole = kind.convert

    def swapped(model, function, precision, path):
        model = make("mlp", hidden_units=[3])
        other = task_of(model).portable(kind.ROUNDED)[0]
        function = tf.function(other, input_signature=function.input_signature, autograph=False)
        whole(model, function, precision, path)

    monkeypatch.setattr(kind, "convert", swapped)
    with pytest.raises(ZooError, match=f"the scores of the {format} file of mlp differ by"):
        zoo.export(make("mlp"), tmp_path / "out", format)
    assert not list((tmp_path / "out").rglob("*"))


def test_verify_takes_either(edge_exports, tmp_path):
    files = odd_pictures(tmp_path)[:3]
    for (format, version), is_whole in zip(edge_exports.items(), (True, False), strict=True):
        status, printed, _ = run_zoo("verify", version.parent if is_whole else version, "lenet5.mnist", *files)
        assert status == 0
        assert f"{format}/1 answers as lenet5.mnist does" in printed
    out = edge_exports["onnx"].parent.parent
    status, _, err = run_zoo("verify", out, "lenet5.mnist", files[0])
    assert status == 2
    assert (
        f"{out} has several exports of lenet5.mnist: give the folder of one, such as {edge_exports['litert'].parent}"
        in err
    )
    shutil.copytree(edge_exports["onnx"].parent, tmp_path / "one" / "lenet5.mnist.onnx")
    status, printed, _ = run_zoo("verify", tmp_path / "one", "lenet5.mnist", files[0])
    assert (status, "onnx/1 answers as lenet5.mnist does" in printed) == (0, True)
    broken = tmp_path / "broken" / "1"
    broken.mkdir(parents=True)
    for file in edge_exports["onnx"].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["labels"] = manifest["labels"][::-1]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    status, printed, _ = run_zoo("verify", broken, "lenet5.mnist", files[0])
    assert status == 1
    assert "DIFFERENT" in printed
    (broken / "model.onnx").write_bytes(b"nothing")
    status, _, err = run_zoo("verify", broken, "lenet5.mnist", files[0])
    assert status == 2
    assert "does not run" in err


def test_mistakes(tmp_path, monkeypatch):
    for arguments, message in (
        (("--format", "tflite"), "unknown format 'tflite'"),
        (("--format", "onnx", "--precision", "int4"), "unknown precision 'int4'"),
        (("--precision", "int8"), "precision must be 'float32' for format 'saved_model', got 'int8'"),
    ):
        status, _, err = run_zoo("export", "lenet5.mnist", tmp_path, *arguments)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    status, _, err = run_zoo("export", "lenet5.mnist", tmp_path / "out", "--format", "onnx")
    assert status == 2
    assert "pip install 'keras-zoo[onnx]'" in err
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    status, _, err = run_zoo("export", "lenet5.mnist", tmp_path / "out", "--format", "litert")
    assert status == 2
    assert "pip install 'keras-zoo[litert]'" in err
    assert not (tmp_path / "out").exists()


def recurrent(**arguments) -> keras.Model:
    inputs = keras.Input((arguments.pop("length", 6), 3), name="tensor")
    cells = keras.layers.LSTM(5, **arguments, name="memory")(inputs)
    return keras.Model({"tensor": inputs}, {"logits": keras.layers.Dense(4)(cells)}, name="recurrent")


def test_recurrent_models(tmp_path):
    """ONNX has loops; LiteRT wants the steps one after another, and says so."""
    for model in (recurrent(), recurrent(unroll=True, length=None)):
        with pytest.raises(ZooError, match=r"'memory' of recurrent must have a fixed length and unroll=True"):
            litert.check(model)
    models = []
    for kind, model in ((litert, recurrent(unroll=True)), (onnx, recurrent())):
        models.append(model)
        kind.check(model)
        function = tf.function(
            lambda tensor: {"scores": models[-1]({"tensor": tensor})["logits"]},
            input_signature=[tf.TensorSpec((None, 6, 3), tf.float32, name="tensor")],
            autograph=False,
        )
        kind.convert(model, function, "float32", tmp_path / kind.FILE)
        run = (edge.runner.litert_session if kind is litert else edge.runner.onnx_session)(tmp_path / kind.FILE)
        values = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
        np.testing.assert_allclose(run({"tensor": values})["scores"], function(values)["scores"], atol=1e-5)
