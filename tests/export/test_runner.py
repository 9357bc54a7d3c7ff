"""run.py beside an export answers without zoo, Keras and TensorFlow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.image_samples import stated
from tests.helpers.odd_pictures import odd_pictures
from tests.helpers.run_alone import by_label, run_alone
from tests.helpers.tensors import BAD
from zoo.errors import ZooError
from zoo.exporting import edge, runner


@pytest.mark.parametrize("format", edge.FORMATS)
def test_the_runner_answers_as_the_pipeline_without_zoo(edge_exports, format, tmp_path):
    files = odd_pictures(tmp_path)
    status, rows = run_alone(edge_exports[format], *files)
    assert status == 0
    tolerance = json.loads((edge_exports[format] / "manifest.json").read_text())["tolerance"]
    assert tolerance == pytest.approx({"onnx": 1e-4, "litert": 0.1001}[format])
    pipeline = zoo.pipeline("lenet5.mnist", top=10)
    for file, row in zip(files, rows, strict=True):
        ours, theirs = by_label(pipeline(file)), by_label(row)
        assert max(abs(ours[label] - theirs[label]) for label in ours) < tolerance, file.name


@pytest.mark.parametrize("format", edge.FORMATS)
def test_bad_files_get_errors_and_the_others_answers(edge_exports, format, tmp_path):
    good, cut, text = tmp_path / "7.png", tmp_path / "cut.png", tmp_path / "notes.png"
    draw_digit("7").save(good)
    cut.write_bytes(good.read_bytes()[:60])
    text.write_text("no picture")
    bomb, program = tmp_path / "bomb.png", tmp_path / "program.eps"
    bomb.write_bytes(stated("PNG", 20_000, 20_000))
    program.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n")
    items = [cut, good, text, tmp_path / "none.png", bomb, program, good]
    status, rows = run_alone(edge_exports[format], *items)
    assert status == 1
    assert ["error" in row for row in rows] == [True, False, True, True, True, True, False]
    assert rows[1]["labels"][0] == rows[6]["labels"][0] == "7"
    assert "20000 x 20000 pixels are more than the limit of 50,000,000" in rows[4]["error"]
    assert all(row["error"] for row in rows if "error" in row)


def test_a_wrong_runner_is_found(tmp_path, monkeypatch):
    """The file is right, and what prepares its inputs is not."""
    from zoo.exporting import runner

    wrong = tmp_path / "wrong.py"
    text = Path(runner.__file__).read_text()
    assert "[0.299, 0.587, 0.114]" in text
    wrong.write_text(text.replace("/ 255\n", "/ 300\n"))
    monkeypatch.setattr(runner, "__file__", str(wrong))
    with pytest.raises(
        ZooError, match="the answers of the onnx file of resnet_cifar20.cifar10 differ from the pipeline's"
    ):
        zoo.export("resnet_cifar20.cifar10", tmp_path / "out", "onnx")
    assert not list((tmp_path / "out").rglob("*"))


def test_json_is_one_array_and_text_a_line_an_input(edge_exports, tmp_path):
    draw_digit("7").save(tmp_path / "7.png")
    done = subprocess.run(
        [sys.executable, edge_exports["onnx"] / "run.py", tmp_path / "7.png", tmp_path / "7.png", "--top", "2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{tmp_path / '7.png'}: 7 ")
    assert lines[0].count(",") == 1


def test_a_missing_package_is_named_with_its_command(edge_exports, tmp_path):
    """Once, and not as a mistake of each input."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no such package')")
    command = [sys.executable, edge_exports["onnx"] / "run.py", "digit.png", "other.png"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    reason = "onnxruntime can't be imported (no such package): pip install onnxruntime"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"run.py: {reason}\n")


def test_a_damaged_export_is_an_error_of_one_line(edge_exports, tmp_path):
    shutil.copytree(edge_exports["onnx"], tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"no model")
    command = [sys.executable, tmp_path / "copy" / "run.py", "digit.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("run.py: .*model.onnx.*\n", done.stderr)


def test_a_name_that_is_not_text_is_printed(edge_exports, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, edge_exports["onnx"] / "run.py", path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    assert done.stdout.startswith(f"{tmp_path}/\\udcff.png: ")


@pytest.mark.parametrize("name", ["empty", "text", "truncated", "archive", "pickled"])
def test_a_file_that_is_not_an_array_of_numbers(name, tmp_path):
    (tmp_path / "a.npy").write_bytes(BAD[name][0])
    with pytest.raises(ValueError, match="^not a .npy file of numbers, as numpy.save writes it$"):
        runner.loaded(tmp_path / "a.npy")
