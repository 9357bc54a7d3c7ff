"""The command line: output, exit status, and one line per mistake."""

import csv
import io
import json
import os
import platform
import subprocess
import sys
import warnings

import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.kept_pipelines import kept_pipelines
from tests.helpers.paths import PHOTOS
from tests.helpers.processes import run_child
from zoo import preset, terminal
from zoo.cli import main

PHOTO = str(PHOTOS / "rocket.jpg")


@pytest.fixture(scope="module", autouse=True)
def _pipelines_are_kept(tiny_preset, short_runs):
    with kept_pipelines(tiny_preset):
        yield


def test_list():
    status, out, _ = run_zoo("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0
    assert rows["lenet5"]["kind"] == "model"
    assert rows["lenet5"]["task"] == "image_classification"
    assert rows["lenet5"]["parameters"] == 60_000
    assert rows["lenet5.mnist"]["kind"] == "preset"


def test_a_listing_loads_no_large_package():
    code = """
import sys
import warnings
from tests.helpers.commands import run_zoo
assert run_zoo("list")[0] == run_zoo("info", "lenet5.mnist")[0] == 0
print(sorted({"h5py", "keras", "numpy", "pydantic", "tensorflow"} & sys.modules.keys()))
"""
    assert run_child(code) == "[]\n"


def test_list_by_pattern():
    rows = json.loads(run_zoo("list", "lenet5*", "--pretrained", "--json")[1])
    assert [row["name"] for row in rows] == ["lenet5.mnist", "lenet5_modern.mnist"]
    assert "lenet5.mnist" in run_zoo("list", "lenet")[1]


def test_list_of_an_unknown_task():
    status, _, err = run_zoo("list", "--task", "image_clasification")
    hint = "did you mean image_classification or frame_classification or text_classification?"
    assert (status, err) == (2, f"zoo: unknown task 'image_clasification'; {hint}\n")


def test_info_of_a_preset():
    facts = json.loads(run_zoo("info", "lenet5.mnist", "--json")[1])
    assert facts["kind"] == "preset"
    assert facts["parameters"] == 60_000
    assert "LeCun" in facts["paper"]
    assert "99." in run_zoo("info", "lenet5.mnist")[1]


def test_info_of_a_model():
    facts = json.loads(run_zoo("info", "mlp", "--json")[1])
    assert facts["kind"] == "model"
    assert "mlp.mnist" in facts["presets"]
    assert "60,000" in run_zoo("info", "lenet5")[1]


def test_info_of_an_unknown_name():
    status, _, err = run_zoo("info", "lenet55")
    assert status == 2
    assert err.startswith("zoo: unknown model or preset 'lenet55'; did you mean lenet5")


@pytest.fixture
def bad_file(tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(b"no image at all")
    return path


def test_predict_in_json(tiny_preset, digit_file, bad_file, tmp_path):
    status, out, err = run_zoo("predict", tiny_preset, bad_file, digit_file, tmp_path / "missing.png", "--json")
    bad, good, missing = json.loads(out)
    assert (status, err) == (1, "")
    assert bad == {"input": str(bad_file), "error": "not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF"}
    assert set(good) == {"input", "labels", "scores"}
    assert good["input"] == str(digit_file)
    assert sum(good["scores"]) == pytest.approx(1)
    assert "does not exist" in missing["error"]
    assert len(out.splitlines()) == 3  # one element per line


def test_predict_answers_the_good_and_names_the_bad(tiny_preset, digit_file, bad_file):
    status, out, err = run_zoo("predict", tiny_preset, digit_file, bad_file)
    assert status == 1
    assert out.startswith(f"{digit_file}: ")
    assert err == f"zoo: {bad_file}: not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF\n"
    assert run_zoo("predict", tiny_preset, digit_file)[0] == 0


def test_predict_in_csv(tiny_preset, digit_file, bad_file):
    _, out, _ = run_zoo("predict", tiny_preset, digit_file, bad_file, "--csv")
    good, bad = csv.DictReader(io.StringIO(out))
    row = zoo.pipeline(tiny_preset)(digit_file)
    assert list(good) == ["input", "answer", "score", "error"]
    assert good["answer"] == row["labels"][0]
    _, out, _ = run_zoo("predict", tiny_preset, digit_file, bad_file, "--csv", "--top", 4)
    good, bad = csv.DictReader(io.StringIO(out))
    assert [good[key] for key in ("answer", "answer_2", "answer_3")] == row["labels"]
    assert [float(good[key]) for key in ("score", "score_2", "score_3")] == pytest.approx(row["scores"], abs=1e-6)
    assert (good["answer_4"], good["score_4"], bad["answer_2"]) == ("", "", "")  # there are three classes
    assert bad["error"] == "not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF"


@pytest.fixture
def folder_of_digits(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for digit in "0137":
        draw_digit(digit).save(folder / f"{digit}.png")
    return folder


def test_predict_takes_a_folder(tiny_preset, folder_of_digits):
    rows = json.loads(run_zoo("predict", tiny_preset, folder_of_digits, "--json", "--top", "1")[1])
    assert [row["input"] for row in rows] == [str(folder_of_digits / f"{digit}.png") for digit in "0137"]
    assert all(len(row["labels"]) == 1 for row in rows)


def test_predict_takes_lines_of_a_file_and_of_standard_input(tiny_preset, folder_of_digits, tmp_path):
    lines = "".join(f"{folder_of_digits / digit}.png\n" for digit in "71")
    (tmp_path / "lines.txt").write_text(lines)
    from_file = json.loads(run_zoo("predict", tiny_preset, "--file", tmp_path / "lines.txt", "--json")[1])
    from_input = json.loads(run_zoo("predict", tiny_preset, "--file", "-", "--json", input=lines)[1])
    assert from_file == from_input
    assert [row["input"][-5] for row in from_file] == ["7", "1"]


def test_predict_of_an_empty_folder(tiny_preset, tmp_path):
    (tmp_path / "empty").mkdir()
    status, out, _ = run_zoo("predict", tiny_preset, tmp_path / "empty", "--json")
    assert status == 1
    assert "a folder without files of its own" in json.loads(out)[0]["error"]


@pytest.fixture
def copied_preset(tiny_preset, tmp_path):
    zoo.save(str(tiny_preset), tmp_path / "copy")
    return tmp_path / "copy"


def test_evaluate(copied_preset, named_digits, tmp_path):
    picture = tmp_path / "confusion.png"
    status, out, _ = run_zoo("evaluate", copied_preset, "--dataset", named_digits, "--json", "--out", picture)
    result = json.loads(out)
    assert status == 0
    assert set(result) == {"preset", "dataset", "split", "examples", "metrics", "notes", "seconds"}
    assert (result["split"], result["examples"]) == ("test", 12)
    assert picture.read_bytes().startswith(b"\x89PNG")
    limited = json.loads(run_zoo("evaluate", copied_preset, "--dataset", named_digits, "--limit", 5, "--json")[1])
    assert limited["examples"] == 5
    assert preset.open_preset(copied_preset).record["metrics"] == []


def test_evaluate_records(copied_preset, named_digits):
    status, out, _ = run_zoo("evaluate", copied_preset, "--dataset", named_digits, "--record", "--json")
    assert status == 0
    accuracy = json.loads(out)["metrics"]["accuracy"]
    (metric,) = preset.open_preset(copied_preset).record["metrics"]
    assert metric["value"] == accuracy
    assert metric["final"]
    assert f"| accuracy | {100 * accuracy:.2f} % |" in (copied_preset / "README.md").read_text()
    assert run_zoo("evaluate", copied_preset, "--dataset", named_digits, "--record")[0] == 0
    assert len(preset.open_preset(copied_preset).record["metrics"]) == 1


def test_train_then_predict_then_export(digits_folder, digit_file, tmp_path):
    """tests/export/test_saved_model.py exports several versions."""
    out = tmp_path / "run"
    settings = ["data.folder=" + str(digits_folder), "model_overrides.hidden_units=[8]", "training.batch_size=21"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    status, printed, _ = run_zoo("train", "mlp", "--out", out, "--steps", 3, *arguments, "--json")
    assert status == 0
    assert json.loads(printed)["preset"] == str(out)
    assert json.loads(run_zoo("predict", out, digit_file, "--json")[1])[0]["labels"]
    assert json.loads(run_zoo("export", out, tmp_path / "served", "--json")[1])["path"].endswith("/run/1")
    versions = [path.name for path in (tmp_path / "served" / "run").iterdir() if path.is_dir()]
    assert versions == ["1"]


def test_training_prints_a_heading_for_each_stage(digits_folder, tmp_path, monkeypatch):
    def train(*args, report, **options):
        for number in (1, 2):
            report(0, 0, {"stage": number, "stages": 2})
            report(4, 4, {"epoch": 1, "step": 4, "loss": 0.5})

    monkeypatch.setattr("zoo.training.run.train", train)
    settings = "--set", f"data.folder={digits_folder}"
    _, _, printed = run_zoo("train", "mlp", "--out", tmp_path / "run", *settings, "--json")
    assert printed.splitlines() == ["stage 1 of 2", "epoch 1  loss 0.5", "stage 2 of 2", "epoch 1  loss 0.5"]


def test_benchmark(tiny_preset):
    result = json.loads(run_zoo("benchmark", tiny_preset, "--seconds", 0.1, "--json")[1])
    assert 0 < result["latency_1_ms"] <= result["latency_1_p99_ms"]
    assert result["latency_1_ms"] < result["latency_32_ms"]


def test_benchmark_on_inputs(tiny_preset, digit_file, monkeypatch):
    asked = []
    monkeypatch.setattr("zoo.timing._times", lambda call, seconds: [asked.append(call()) or 0.1])
    assert run_zoo("benchmark", tiny_preset, digit_file)[0] == 0
    one, many = asked
    assert one["input"] == str(digit_file)
    assert len(many) == 32
    status, _, err = run_zoo("benchmark", tiny_preset, digit_file, "--record")
    assert status == 2
    assert "leave out the inputs or record" in err


def test_a_fitted_preset_is_evaluated_on_its_own_data(digits_folder, tmp_path):
    model = zoo.create_model("mlp", classes=3, hidden_units=(4,))
    zoo.dataset(digits_folder, model=model)
    zoo.save(model, tmp_path / "fitted")
    result = json.loads(run_zoo("evaluate", tmp_path / "fitted", "--json")[1])
    assert (result["dataset"], result["split"], result["examples"]) == (str(digits_folder), "test", 12)


def test_a_narrow_terminal_gets_a_block_per_row(monkeypatch, capsys):
    monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((40, 20)))
    rows = [("lenet5.mnist", "preset", "image_classification", "60,000", "accuracy 99.31 %")]
    terminal.print_table(("name", "kind", "task", "parameters", ""), rows)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["lenet5.mnist", "    preset, image_classification,", "    60,000, accuracy 99.31 %"]
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((80, 20)))
    terminal.print_table(("name", "kind", "task", "parameters", ""), rows)
    assert capsys.readouterr().out.splitlines()[1].startswith("lenet5.mnist  preset  image_classification  60,000")


def test_the_help_has_whole_summaries():
    printed = " ".join(run_zoo("--help")[1].partition("Commands:")[2].split())
    for command in main.commands.values():
        summary = " ".join(command.help.split("\n\n")[0].split())
        assert summary.partition(". ")[0].rstrip(".") in printed, command.name
    assert "..." not in printed


def test_short_representations(tiny_preset):
    opened = preset.open_preset(tiny_preset)
    pipeline = zoo.pipeline(tiny_preset)
    assert repr(opened) == f"<Preset mlp.tiny in {tiny_preset}>"
    assert repr(pipeline) == "<Pipeline of mlp, image_classification>"
    assert repr(pipeline.model.origin) == "<Origin mlp.tiny, image_classification>"


def test_demo(tmp_path, monkeypatch):
    """Shows two presets; the tests of the bundled presets check the samples of every preset."""
    names = ["attention_seq2seq.cmudict", "lenet5.mnist"]
    for name in names:
        (tmp_path / name).symlink_to(preset.BUNDLED / name)
    monkeypatch.setattr(preset.folders, "BUNDLED", tmp_path)
    rows = json.loads(run_zoo("demo", "--json")[1])
    assert [row["preset"] for row in rows] == names
    for row in rows:
        samples = preset.open_preset(row["preset"]).record["samples"]
        (answer,) = (each["answer"] for each in samples if row["input"].endswith(each["input"]))
        assert row["answer"].startswith(answer.get("translation") or f"{answer['labels'][0]} (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lisst"], "unknown command 'lisst'; did you mean list or listen?"),
        (["list", "--jsn"], "No such option"),
        (["list", "nothing-like-it"], "no model or preset matches 'nothing-like-it': run `zoo list` to see all"),
        (["list", "nothing*", "--json"], "no model or preset matches 'nothing*': run `zoo list` to see all"),
        (
            ["list", "lenet*", "--task", "translation", "--pretrained"],
            "no model or preset matches 'lenet*' and --task translation and --pretrained: run `zoo list` to see all",
        ),
        (["predict"], "Missing argument 'PRESET'"),
        (["predict", "lenet5.mnist"], "no input: give INPUT, --file PATH or --field NAME=VALUE"),
        (["predict", "lenet5", "x.png"], "'lenet5' is a model, not a preset: load lenet5.mnist"),
        (["predict", "lenet5.mnits", "x.png"], "unknown preset 'lenet5.mnits'; did you mean lenet5.mnist"),
        (["predict", "..", "x.png"], "unknown preset '..'"),
        (["predict", "./nowhere", "x.png"], "nowhere is not a preset: the folder does not exist"),
        (["predict", "lenet5.mnist", "--file", "nowhere.txt"], "--file nowhere.txt: No such file"),
        (["predict", "lenet5.mnist", "x.png", "--json", "--csv"], "give --json or --csv, not both"),
        (
            ["predict", "lenet5.mnist", "x.png", "--top", "0"],
            "image_classification: top must be an integer >= 1, got 0",
        ),
        (["evaluate", "lenet5.mnist", "--dataset", "mnisst"], "unknown data set 'mnisst'; did you mean mnist"),
        (["evaluate", "lenet5.mnist", "--data-dir", "/nowhere"], "there is no folder /nowhere"),
        (
            ["evaluate", "lenet5.mnist", "--limit", "3", "--record"],
            "metrics of a part of a split can't be recorded: leave out limit or record",
        ),
        (["train", "lenet5.mnist"], "Missing option '--out'"),
        (["train", "lenet6.mnist", "--out", "x"], "unknown recipe or model 'lenet6.mnist'; did you mean lenet5.mnist"),
        (["predict", "lenet5.mnist", "--file", PHOTO], "is not a text file with one input per line"),
        (["tune", "mlp", "--space", "x.toml", "--out", "x"], "give one of data.name and data.folder"),
        (["tune", "lenet5.mnist", "--space", "nowhere.toml", "--out", "x"], "space nowhere.toml: No such file"),
        (["train", "mlp", "--out", "x"], "give one of data.name and data.folder"),
        (
            ["train", "mlp", "--out", "x", "--set", "epochs"],
            "--set takes key=value, as in --set training.epochs=3, got 'epochs'",
        ),
        (["train", "nowhere.toml", "--out", "x"], "there is no recipe nowhere.toml"),
        (["export", "lenet5.mnist", "x", "--format", "onx"], "unknown format 'onx'"),
        (
            ["verify", "x", "lenet5.mnist"],
            "no export in x or x/lenet5.mnist: make one with `zoo export lenet5.mnist x`",
        ),
        (["serve", "x"], "x has no exports: make one with `zoo export PRESET x`"),
        (["cache", "nothing", "--clear"], "has no preset 'nothing'"),
        (["benchmark", "lenet5.mnist", "--seconds", "-1"], "seconds must be a number > 0 and <= 3600, got -1.0"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run_zoo(*arguments)
    assert status == 2
    assert message in err
    assert err.startswith("zoo: ")
    assert len(err.splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help_that_starts_with_what_it_does():
    names = "list info predict listen embed evaluate train tune export verify serve app explain benchmark demo cache"
    assert set(main.commands) == set(names.split())
    for name, command in main.commands.items():
        status, out, _ = run_zoo(name, "--help")
        assert status == 0
        assert " ".join(command.help.splitlines()[0].split()[:6]) in out
        assert "--json" in out or name in ("serve", "app")  # which answer nothing


def child(*arguments, **environment):
    command = [sys.executable, "-m", "zoo.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have other kernels")
@pytest.mark.parametrize(("set_by_user", "value"), [(None, "1"), ("0", "0")])
def test_tensorflow_uses_onednn_unless_the_user_says_otherwise(set_by_user, value):
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if set_by_user is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = set_by_user
    code = "import os, sys, zoo; print('tensorflow' in sys.modules, os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["False", value], done.stderr


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
    status, out, err = run_zoo()
    assert (status, err) == (0, "")
    assert "zoo predict lenet5.mnist digit.png" in out


def test_a_path_that_no_system_takes_fails_alone(tiny_preset, digit_file):
    status, out, _ = run_zoo("predict", tiny_preset, "a" * 300, digit_file, "", "--json")
    rows = json.loads(out)
    assert status == 1
    assert ["error" in row for row in rows] == [True, False, True]
    assert "File name too long" in rows[0]["error"]


def test_info_lists_the_arguments_of_the_builder():
    _, out, _ = run_zoo("info", "resnet_cifar32")
    assert "arguments:   input_shape=(32, 32, 3), classes=10, depth=32" in out
    assert json.loads(run_zoo("info", "mlp", "--json")[1])["arguments"]["hidden_units"] == [512, 512]


@pytest.mark.parametrize("name", ["LENET5.MNIST", "lenet6", "lenet5.mnst", "Lenet5_Modern.mnist"])
def test_a_name_that_is_nearly_right_gets_a_suggestion(name):
    for command in (("info", name), ("predict", name, "x.png"), ("export", name, "out")):
        status, _, err = run_zoo(*command)
        assert (status, err.count("\n")) == (2, 1)
        assert "did you mean" in err
        assert "lenet5" in err.split("did you mean")[1]


def test_the_files_per_class_and_split_of_a_training_folder(digits_folder, capsys):
    from zoo import terminal
    from zoo.training import setup
    from zoo.training.recipe import read_recipe

    _, recipe = read_recipe("mlp", {"data": {"folder": str(digits_folder)}})
    terminal.print_counts(setup.class_counts(recipe))
    rows = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert rows == [
        ["class", "train", "validation", "test"],
        *([label, "14", "2", "4"] for label in ("0", "1", "7")),
        ["all", "42", "6", "12"],
    ]
    _, recipe = read_recipe("lenet5.mnist", {})
    assert setup.class_counts(recipe) == {}


def test_a_warning_is_one_line(monkeypatch):
    usual, texts = warnings.formatwarning, []

    def rows(*_):
        texts.append(warnings.formatwarning("models of x are\nleft out", UserWarning, "reading.py", 3))
        return []

    monkeypatch.setattr(preset, "rows", rows)
    assert run_zoo("list", "--json") == (0, "[]\n", "")
    assert texts == ["zoo: models of x are left out\n"]
    assert warnings.formatwarning is usual
