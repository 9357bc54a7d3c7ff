"""The command: what it prints, its exit status, and one line for each mistake."""

import csv
import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.drawings import draw_digit
from zoo import preset
from zoo.cli import main

PHOTO = str(Path(__file__).parent / "photos" / "rocket.jpg")


def zoo(*arguments, input=None):
    """Runs the command in this process: (exit status, standard output, standard error)."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_list():
    status, out, _ = zoo("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0
    assert rows["lenet5"]["kind"] == "model"
    assert rows["lenet5"]["task"] == "image_classification"
    assert rows["lenet5"]["parameters"] == 60_000
    assert rows["lenet5.mnist"]["kind"] == "preset"
    assert [row["name"] for row in json.loads(zoo("list", "lenet5*", "--pretrained", "--json")[1])] == [
        "lenet5.mnist",
        "lenet5_modern.mnist",
    ]
    assert "lenet5.mnist" in zoo("list", "lenet")[1]
    assert json.loads(zoo("list", "nothing-like-it", "--json")[1]) == []
    status, _, err = zoo("list", "--task", "image_clasification")
    hint = "did you mean image_classification or tensor_classification?"
    assert (status, err) == (2, f"zoo: unknown task 'image_clasification'; {hint}\n")


def test_info():
    facts = json.loads(zoo("info", "lenet5.mnist", "--json")[1])
    assert facts["kind"] == "preset"
    assert facts["parameters"] == 60_000
    assert "LeCun" in facts["paper"]
    facts = json.loads(zoo("info", "mlp", "--json")[1])
    assert facts["kind"] == "model"
    assert "mlp.mnist" in facts["presets"]
    assert "60,000" in zoo("info", "lenet5")[1]
    assert "99." in zoo("info", "lenet5.mnist")[1]
    status, _, err = zoo("info", "lenet55")
    assert status == 2
    assert err.startswith("zoo: unknown model or preset 'lenet55'; did you mean lenet5")


def test_predict_answers_the_good_and_names_the_bad(tiny_preset, digit_file, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    missing = tmp_path / "missing.png"
    status, out, err = zoo("predict", tiny_preset, bad, digit_file, missing, "--json")
    rows = json.loads(out)
    assert status == 1
    assert err == ""
    assert rows[0] == {"input": str(bad), "error": "no image: neither JPEG, PNG, GIF nor BMP"}
    assert set(rows[1]) == {"input", "labels", "scores"}
    assert rows[1]["input"] == str(digit_file)
    assert sum(rows[1]["scores"]) == pytest.approx(1)
    assert "does not exist" in rows[2]["error"]
    assert len(out.splitlines()) == 3  # an element a line
    status, out, err = zoo("predict", tiny_preset, digit_file, bad)
    assert status == 1
    assert out.startswith(f"{digit_file}: ")
    assert err == f"zoo: {bad}: no image: neither JPEG, PNG, GIF nor BMP\n"
    status, out, _ = zoo("predict", tiny_preset, digit_file, bad, "--csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert table[0]["answer"] == rows[1]["labels"][0]
    assert table[1]["error"] == rows[0]["error"]
    assert zoo("predict", tiny_preset, digit_file)[0] == 0


def test_predict_takes_folders_and_files_of_lines(tiny_preset, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for digit in "0137":
        draw_digit(digit).save(folder / f"{digit}.png")
    rows = json.loads(zoo("predict", tiny_preset, folder, "--json", "--top", "1")[1])
    assert [row["input"] for row in rows] == [str(folder / f"{digit}.png") for digit in "0137"]
    assert all(len(row["labels"]) == 1 for row in rows)
    lines = "".join(f"{folder / digit}.png\n" for digit in "71")
    (tmp_path / "lines.txt").write_text(lines)
    from_file = json.loads(zoo("predict", tiny_preset, "--file", tmp_path / "lines.txt", "--json")[1])
    from_input = json.loads(zoo("predict", tiny_preset, "--file", "-", "--json", input=lines)[1])
    assert from_file == from_input
    assert [row["input"][-5] for row in from_file] == ["7", "1"]
    (tmp_path / "empty").mkdir()
    status, out, _ = zoo("predict", tiny_preset, tmp_path / "empty", "--json")
    assert status == 1
    assert "is a folder" in json.loads(out)[0]["error"]


def test_evaluate_and_record(tiny_preset, digits_folder, tmp_path):
    copy = tmp_path / "copy"
    from zoo.preset.saving import save

    save(str(tiny_preset), copy)
    status, out, _ = zoo("evaluate", copy, "--dataset", digits_folder, "--json", "--out", tmp_path / "confusion.png")
    result = json.loads(out)
    assert status == 0
    assert set(result) == {"preset", "dataset", "split", "examples", "metrics", "seconds"}
    assert (result["split"], result["examples"]) == ("test", 12)
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    limited = json.loads(zoo("evaluate", copy, "--dataset", digits_folder, "--limit", 5, "--json")[1])
    assert limited["examples"] == 5
    assert preset.open_preset(copy).record["metrics"] == []
    assert zoo("evaluate", copy, "--dataset", digits_folder, "--record")[0] == 0
    (metric,) = preset.open_preset(copy).record["metrics"]
    assert metric["value"] == result["metrics"]["accuracy"]
    assert metric["final"]
    assert f"| accuracy | {100 * metric['value']:.2f} % |" in (copy / "README.md").read_text()
    assert zoo("evaluate", copy, "--dataset", digits_folder, "--record")[0] == 0
    assert len(preset.open_preset(copy).record["metrics"]) == 1


def test_train_then_predict_then_export(digits_folder, digit_file, tmp_path):
    out = tmp_path / "run"
    settings = ["data.folder=" + str(digits_folder), "model_overrides.hidden_units=[8]", "training.batch_size=21"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    status, told, _ = zoo("train", "mlp", "--out", out, "--steps", 3, *arguments, "--json")
    assert status == 0
    assert json.loads(told)["preset"] == str(out)
    assert json.loads(zoo("predict", out, digit_file, "--json")[1])[0]["labels"]
    assert json.loads(zoo("export", out, tmp_path / "served", "--json")[1])["path"].endswith("/mlp.mine/1")
    assert json.loads(zoo("export", out, tmp_path / "served", "--json")[1])["path"].endswith("/mlp.mine/2")
    versions = [path.name for path in sorted((tmp_path / "served" / "mlp.mine").iterdir()) if path.is_dir()]
    assert versions == ["1", "2"]


def test_benchmark(tiny_preset):
    result = json.loads(zoo("benchmark", tiny_preset, "--seconds", 0.1, "--json")[1])
    assert 0 < result["latency_1_ms"] <= result["latency_1_p99_ms"]
    assert result["latency_1_ms"] < result["latency_32_ms"]


def test_demo():
    rows = json.loads(zoo("demo", "--json")[1])
    assert {row["preset"] for row in rows} >= {"lenet5.mnist", "lenet5_modern.mnist", "mlp.mnist"}
    for row in rows:
        samples = preset.open_preset(row["preset"]).record["samples"]
        (answer,) = (each["answer"] for each in samples if row["input"].endswith(each["input"]))
        assert row["answer"].startswith(answer.get("translation") or f"{answer['labels'][0]} (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lisst"], "unknown command 'lisst'; did you mean list?"),
        (["list", "--jsn"], "No such option"),
        (["list", "nothing-like-it"], "nothing is called so"),
        (["predict"], "Missing argument 'PRESET'"),
        (["predict", "lenet5.mnist"], "no input: give files or folders, or --file PATH"),
        (["predict", "lenet5", "x.png"], "'lenet5' is a model, not a preset: load lenet5.mnist"),
        (["predict", "lenet5.mnits", "x.png"], "unknown preset 'lenet5.mnits'; did you mean lenet5.mnist"),
        (["predict", "..", "x.png"], "unknown preset '..'"),
        (["predict", "./nowhere", "x.png"], "nowhere is no preset: there is no such folder"),
        (["predict", "lenet5.mnist", "--file", "nowhere.txt"], "--file nowhere.txt: No such file"),
        (["predict", "lenet5.mnist", "x.png", "--json", "--csv"], "give one of --json and --csv"),
        (["predict", "lenet5.mnist", "x.png", "--top", "0"], "Invalid value for '--top'"),
        (["evaluate", "lenet5.mnist", "--dataset", "mnisst"], "unknown data set 'mnisst'; did you mean mnist"),
        (["evaluate", "lenet5.mnist", "--data-dir", "/nowhere"], "there is no folder /nowhere"),
        (["evaluate", "lenet5.mnist", "--limit", "3", "--record"], "is not recorded"),
        (["train", "lenet5.mnist"], "Missing option '--out'"),
        (["train", "lenet6.mnist", "--out", "x"], "unknown recipe or model 'lenet6.mnist'; did you mean lenet5.mnist"),
        (["predict", "lenet5.mnist", "--file", PHOTO], "is no text, an input a line"),
        (["tune", "mlp", "--space", "x.toml", "--out", "x"], "give one of data.name and data.folder"),
        (["tune", "lenet5.mnist", "--space", "nowhere.toml", "--out", "x"], "space nowhere.toml: No such file"),
        (["train", "mlp", "--out", "x"], "give one of data.name and data.folder"),
        (["train", "mlp", "--out", "x", "--set", "epochs"], "--set 'epochs' is no key=value"),
        (["train", "nowhere.toml", "--out", "x"], "there is no recipe nowhere.toml"),
        (["export", "lenet5.mnist", "x", "--format", "onx"], "unknown format 'onx'"),
        (["verify", "x", "lenet5.mnist"], "there is no export in x, nor in x/lenet5.mnist"),
        (["serve", "x"], "x holds no exports: zoo export PRESET"),
        (["cache", "nothing", "--clear"], "holds no preset 'nothing'"),
        (["benchmark", "lenet5.mnist", "--seconds", "-1"], "seconds=-1.0 is no time"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = zoo(*arguments)
    assert status == 2
    assert message in err
    assert err.startswith("zoo: ")
    assert len(err.splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help_that_starts_with_what_it_does():
    names = "list info predict evaluate train tune export verify serve explain benchmark demo cache"
    assert set(main.commands) == set(names.split())
    for name, command in main.commands.items():
        status, out, _ = zoo(name, "--help")
        assert status == 0
        assert " ".join(command.help.splitlines()[0].split()[:6]) in out
        assert "--json" in out or name == "serve"  # which answers nothing


def child(*arguments, **environment):
    command = [sys.executable, "-m", "zoo.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have other kernels")
@pytest.mark.parametrize(("set_by_user", "found"), [(None, "1"), ("0", "0")])
def test_tensorflow_uses_onednn_unless_the_user_says_otherwise(set_by_user, found):
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if set_by_user is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = set_by_user
    code = "import os, sys, zoo; print('tensorflow' in sys.modules, os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["False", found], done.stderr


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KERAS_BACKEND": "jax"}, "zoo: KERAS_BACKEND says jax: tasks, training and export need tensorflow"),
        ({"KERAS_BACKEND": "torch"}, "zoo: KERAS_BACKEND says torch"),
    ],
)
def test_another_backend_is_refused_in_one_line(environment, message, digit_file):
    status, out, err = child("predict", "lenet5.mnist", digit_file, **environment)
    assert (status, out) == (2, "")
    assert err.startswith(message)
    assert len(err.splitlines()) == 1


def test_channels_first_in_the_users_configuration_is_refused(digit_file, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first", "backend": "tensorflow"}))
    status, _, err = child("predict", "lenet5.mnist", digit_file, KERAS_HOME=str(tmp_path))
    assert status == 2
    assert "channels_first" in err
    assert len(err.splitlines()) == 1


def test_predict_writes_nothing_but_the_answer(digit_file):
    """In a process of its own, where TensorFlow's libraries would write to standard error."""
    status, out, err = child("--threads", 1, "predict", "lenet5.mnist", digit_file, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)[0]["labels"][0] == "7"


def test_the_bare_command_shows_its_help():
    status, out, err = zoo()
    assert (status, err) == (0, "")
    assert "zoo predict lenet5.mnist digit.png" in out


def test_a_path_that_no_system_takes_fails_alone(tiny_preset, digit_file):
    status, out, _ = zoo("predict", tiny_preset, "a" * 300, digit_file, "", "--json")
    rows = json.loads(out)
    assert status == 1
    assert ["error" in row for row in rows] == [True, False, True]
    assert "File name too long" in rows[0]["error"]
