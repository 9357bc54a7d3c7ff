"""Exports for ONNX Runtime and LiteRT: they answer as the pipeline does, alone, and what would not is not written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from onnx import TensorProto
from onnx import load as load_onnx
from PIL import Image

import zoo
from tests.drawings import draw_digit
from tests.image_samples import encode, exif, scene, stated
from tests.raw_inputs import raw_files
from tests.test_laws import BUILDERS, make
from zoo import preset
from zoo.cli import main
from zoo.errors import ZooError
from zoo.exporting import edge, litert, onnx
from zoo.tasks import task_of

# Runs an export where keras-zoo, Keras and TensorFlow can't be imported.
ALONE = """
import runpy, sys
for name in ("zoo", "keras", "tensorflow"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

REFUSED = {("conv3d_classifier", "litert"): "MaxPool3D"}


def run_alone(version: Path, *arguments) -> tuple[int, list[dict]]:
    command = [sys.executable, "-P", "-c", ALONE, version / "run.py", "--json", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def command(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def by_label(answer: dict) -> dict[str, float]:
    return dict(zip(answer["labels"], answer["scores"], strict=True))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """lenet5.mnist in both formats."""
    out = tmp_path_factory.mktemp("exports")
    return {format: zoo.export("lenet5.mnist", out, format, top=10) for format in edge.FORMATS}


def odd_pictures(folder: Path) -> list[Path]:
    """Files that need more than decoding: turned, clear, grey, 16 bits, by palette, CMYK, large, of a phone."""
    digit, colours = draw_digit("3", 40, ink=20, ground=230), Image.fromarray(scene(90, 61))
    clear = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    clear.paste((10, 20, 30, 200), (10, 5, 25, 35))
    deep = Image.fromarray(np.asarray(digit.convert("L")).astype("uint16") * 257)
    files = {
        "plain.png": encode(digit, "PNG"),
        "colours.jpg": encode(colours, "JPEG", quality=95),
        "turned.jpg": encode(colours, "JPEG", exif=exif(6)),
        "clear.png": encode(clear, "PNG"),
        "palette.png": encode(digit.convert("P"), "PNG"),
        "cmyk.jpg": encode(colours.convert("CMYK"), "JPEG"),
        "deep.png": encode(deep, "PNG"),
        "still.gif": encode(digit, "GIF"),
        "large.png": encode(digit.resize((900, 700)), "PNG"),
        "narrow.png": encode(digit.resize((1, 50)), "PNG"),
        "even.png": encode(Image.new("L", (30, 30), 77), "PNG"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


@pytest.mark.parametrize("format", edge.FORMATS)
def test_the_runner_answers_as_the_pipeline_without_zoo(exported, format, tmp_path):
    files = odd_pictures(tmp_path)
    status, rows = run_alone(exported[format], *files)
    assert status == 0
    tolerance = json.loads((exported[format] / "manifest.json").read_text())["tolerance"]
    assert tolerance == pytest.approx({"onnx": 1e-4, "litert": 0.1001}[format])
    pipeline = zoo.pipeline("lenet5.mnist", top=10)
    for file, row in zip(files, rows, strict=True):
        ours, theirs = by_label(pipeline(file)), by_label(row)
        assert max(abs(ours[label] - theirs[label]) for label in ours) < tolerance, file.name


@pytest.mark.parametrize("format", edge.FORMATS)
def test_bad_files_are_told_and_the_others_answered(exported, format, tmp_path):
    good, cut, text = tmp_path / "7.png", tmp_path / "cut.png", tmp_path / "notes.png"
    draw_digit("7").save(good)
    cut.write_bytes(good.read_bytes()[:60])
    text.write_text("no picture")
    bomb, program = tmp_path / "bomb.png", tmp_path / "program.eps"
    bomb.write_bytes(stated("PNG", 20_000, 20_000))
    program.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n")
    items = [cut, good, text, tmp_path / "none.png", bomb, program, good]
    status, rows = run_alone(exported[format], *items)
    assert status == 1
    assert ["error" in row for row in rows] == [True, False, True, True, True, True, False]
    assert rows[1]["labels"][0] == rows[6]["labels"][0] == "7"
    assert "20000 x 20000 pixels are more than the limit of 50,000,000" in rows[4]["error"]
    assert all(row["error"] for row in rows if "error" in row)


def test_engines_take_the_file_by_its_names(exported):
    session = onnxruntime.InferenceSession(exported["onnx"] / "model.onnx")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    scores = session.run(["scores"], {"pixels": pixels})[0]
    assert scores.shape == (3, 10)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)
    runner = Interpreter(str(exported["litert"] / "model.tflite")).get_signature_runner("serving_default")
    one = np.round(pixels[:1]).astype("uint8")
    same = session.run(["scores"], {"pixels": one.astype("float32")})[0]
    np.testing.assert_allclose(runner(pixels=one)["scores"], same, atol=1e-5)


@pytest.mark.parametrize("format", edge.FORMATS)
def test_arrays_in_labels_out(format, tmp_path):
    model = make("conv1d_classifier")
    version = zoo.export(model, tmp_path / "out", format, mean=0.5, deviation=2.0)
    files = raw_files(model, tmp_path)
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
    if task_of(model).name == "translation":
        with pytest.raises(ZooError, match="translation is exported as saved_model only"):
            zoo.export(model, tmp_path / "out", format)
        return
    if (name, format) in REFUSED:
        with pytest.raises(ZooError, match=f"can't be exported as {format}: there is no {REFUSED[name, format]} in"):
            zoo.export(model, tmp_path / "out", format)
        assert not (tmp_path / "out" / f"{model.name}.{format}").exists()
        return
    version = zoo.export(model, tmp_path / "out", format)  # refuses what answers otherwise
    assert (version / "run.py").is_file()
    status, rows = run_alone(version, *raw_files(model, tmp_path))
    assert status == 1
    assert ["error" in row for row in rows] == [False, True, False]


@pytest.mark.parametrize("format", edge.FORMATS)
@pytest.mark.parametrize("precision", [pytest.param("float16", marks=pytest.mark.slow), "int8"])
def test_smaller_numbers_are_measured_where_the_data_is(format, precision, digits_folder, tmp_path):
    model = zoo.load("lenet5.mnist", labels=["0", "1", "7"])
    preset.update(zoo.save(model, tmp_path / "mine"), data={"name": str(digits_folder), "test": "test"})
    status, told, _ = command(
        "export", tmp_path / "mine", tmp_path, "--format", format, "--precision", precision, "--json"
    )
    assert status == 0
    told = json.loads(told)
    assert told["path"] == str(tmp_path / f"mine.{format}" / "1")
    metrics = told["metrics"]
    assert metrics["dataset"] == str(digits_folder)
    assert metrics["before"].keys() == metrics["after"].keys() == {"accuracy"}
    right = zoo.evaluate(tmp_path / "mine", str(digits_folder))["metrics"]["accuracy"]
    assert metrics["before"]["accuracy"] == pytest.approx(right)
    assert f"as {precision}" in (Path(told["path"]) / "README.md").read_text()
    sizes = [path.stat().st_size for path in Path(told["path"]).glob("model.*")]
    assert sizes[0] < {"float16": 0.6, "int8": 0.4}[precision] * 255_000


@pytest.mark.parametrize("name", ["resnet_cifar20", "cifar_convnet"])
def test_int8_answers_alike_on_every_processor(name, tmp_path, caplog):
    """Weights have no sign: products with signed ones saturate where a processor has no instruction for them."""
    version = zoo.export(make(name), tmp_path / "out", "onnx", precision="int8")
    graph = load_onnx(version / "model.onnx").graph
    kinds = {one.data_type for one in graph.initializer if one.name.endswith("_quantized")}
    assert kinds == {TensorProto.UINT8}
    weights = {one.name: len(one.dims) for one in graph.initializer}
    products = [node for node in graph.node if node.op_type.startswith("MatMul")]
    stacked = {node.op_type for node in products if any(weights.get(weight, 0) > 2 for weight in node.input)}
    assert stacked == ({"MatMul"} if name == "cifar_convnet" else set())
    assert "pre-processing" not in caplog.text  # its advice is for those who call it by hand


def test_data_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
    saved = zoo.save(make("mlp"), tmp_path / "mine")
    options = ("export", tmp_path / "mine", tmp_path, "--format", "onnx", "--precision", "int8")
    for data, why in (
        (None, "the card names no test data"),
        ({"name": str(tmp_path / "gone"), "test": "test"}, f"there is no folder {tmp_path / 'gone'}"),
        ({"name": "mnist", "test": "test"}, f"mnist is not in {tmp_path}"),
    ):
        saved = preset.update(saved, data=data)
        status, told, _ = command(*options)
        assert status == 0
        assert f"no metrics were measured: {why}" in told


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
    with pytest.raises(ZooError, match=f"the {format} file of mlp answers otherwise: scores differ by"):
        zoo.export(make("mlp"), tmp_path / "out", format)
    assert not list((tmp_path / "out").rglob("*"))


def test_a_wrong_runner_is_found(tmp_path, monkeypatch):
    """The file is right, and what prepares its inputs is not."""
    from zoo.exporting import runner

    wrong = tmp_path / "wrong.py"
    text = Path(runner.__file__).read_text()
    assert "[0.299, 0.587, 0.114]" in text
    wrong.write_text(text.replace("/ 255\n", "/ 300\n"))
    monkeypatch.setattr(runner, "__file__", str(wrong))
    with pytest.raises(ZooError, match="the onnx file of resnet_cifar20.cifar10 answers otherwise"):
        zoo.export("resnet_cifar20.cifar10", tmp_path / "out", "onnx")
    assert not list((tmp_path / "out").rglob("*"))


def test_verify_takes_either(exported, tmp_path):
    files = odd_pictures(tmp_path)[:3]
    for format, version in exported.items():
        for place in (version, version.parent):
            status, told, _ = command("verify", place, "lenet5.mnist", *files)
            assert status == 0
            assert f"{format}/1 answers as lenet5.mnist does" in told
    out = exported["onnx"].parent.parent
    status, _, told = command("verify", out, "lenet5.mnist", files[0])
    assert status == 2
    assert f"{out} has several exports of lenet5.mnist: name one, as in {exported['litert'].parent}" in told
    shutil.copytree(exported["onnx"].parent, tmp_path / "one" / "lenet5.mnist.onnx")
    status, told, _ = command("verify", tmp_path / "one", "lenet5.mnist", files[0])
    assert (status, "onnx/1 answers as lenet5.mnist does" in told) == (0, True)
    broken = tmp_path / "broken" / "1"
    broken.mkdir(parents=True)
    for file in exported["onnx"].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["labels"] = manifest["labels"][::-1]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    status, told, _ = command("verify", broken, "lenet5.mnist", files[0])
    assert status == 1
    assert "DIFFERENT" in told
    (broken / "model.onnx").write_bytes(b"nothing")
    status, _, told = command("verify", broken, "lenet5.mnist", files[0])
    assert status == 2
    assert "does not run" in told


def test_mistakes(tmp_path, monkeypatch):
    for arguments, message in (
        (("--format", "tflite"), "unknown format 'tflite'"),
        (("--format", "onnx", "--precision", "int4"), "unknown precision 'int4'"),
        (("--precision", "int8"), "a saved_model has float32"),
    ):
        status, _, told = command("export", "lenet5.mnist", tmp_path, *arguments)
        assert (status, told.count("\n")) == (2, 1)
        assert message in told
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    status, _, told = command("export", "lenet5.mnist", tmp_path / "out", "--format", "onnx")
    assert status == 2
    assert "pip install 'keras-zoo[onnx]'" in told
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    status, _, told = command("export", "lenet5.mnist", tmp_path / "out", "--format", "litert")
    assert status == 2
    assert "pip install 'keras-zoo[litert]'" in told
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
    made = []
    for kind, model in ((litert, recurrent(unroll=True)), (onnx, recurrent())):
        made.append(model)
        kind.check(model)
        function = tf.function(
            lambda tensor: {"scores": made[-1]({"tensor": tensor})["logits"]},
            input_signature=[tf.TensorSpec((None, 6, 3), tf.float32, name="tensor")],
            autograph=False,
        )
        kind.convert(model, function, "float32", tmp_path / kind.FILE)
        run = (edge.runner.litert_session if kind is litert else edge.runner.onnx_session)(tmp_path / kind.FILE)
        values = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
        np.testing.assert_allclose(run({"tensor": values})["scores"], function(values)["scores"], atol=1e-5)


def test_json_is_one_array_and_text_a_line_an_input(exported, tmp_path):
    draw_digit("7").save(tmp_path / "7.png")
    done = subprocess.run(
        [sys.executable, exported["onnx"] / "run.py", tmp_path / "7.png", tmp_path / "7.png", "--top", "2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{tmp_path / '7.png'}: 7 ")
    assert lines[0].count(",") == 1
