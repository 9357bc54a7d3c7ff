"""Settings on the command line: flags of the preset's task, `--set`, and `--field`."""

import json

import numpy as np
import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.kept_pipelines import kept_pipelines
from tests.helpers.models import make
from tests.helpers.processes import run_child
from zoo import terminal
from zoo.commands.answering import predict
from zoo.commands.options import find
from zoo.errors import ZooError
from zoo.exporting.serving_files import MANIFEST
from zoo.tasks import task_class

pytestmark = pytest.mark.usefixtures("short_runs")

COMMANDS = ("predict", "evaluate", "explain", "export")


def help_of(command, *arguments) -> str:
    status, out, _ = run_zoo(command, *arguments, "--help")
    assert status == 0
    return " ".join(out.split())


@pytest.fixture
def top_two(tmp_path):
    """A preset that answers with two labels by default."""
    model = zoo.load("lenet5.mnist")
    model.origin.settings |= {"top": 2}
    zoo.save(model, tmp_path / "top_two")
    return tmp_path / "top_two"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_flags_of_the_presets_task(command):
    text = help_of(command, "lenet5.mnist")
    assert "--top INTEGER Number of labels in an answer, best first [5]." in text
    assert "--beam" not in text
    text = help_of(command, "attention_seq2seq.cmudict")
    assert "--beam INTEGER" in text
    assert "--n-best INTEGER" in text
    assert "--top" not in text


def test_help_shows_the_presets_own_defaults(top_two):
    assert "best first [2]." in help_of("predict", top_two)


def test_help_without_a_preset_lists_the_flags_of_all_tasks():
    text = help_of("predict")
    assert all(flag in text for flag in ("--top", "--beam", "--n-best"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_names_those_that_exist(command):
    status, _, err = run_zoo(command, "lenet5.mnist", "x", "--beam", 3)
    assert status == 2
    assert err.startswith(f"zoo: unknown option --beam; lenet5.mnist takes --top, {command} takes --")
    assert "--set" in err.split(f"{command} takes ")[1]
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("preset", "flag", "known"),
    [("attention_seq2seq.cmudict", "--top", "--n-best"), ("lenet5.mnist", "--n-best", "--top")],
)
def test_a_flag_of_another_task_suggests_the_one_of_the_same_purpose(preset, flag, known):
    _, _, err = run_zoo("predict", preset, "x", flag, 3)
    assert err.startswith(f"zoo: unknown option {flag}; did you mean {known}? {preset} takes --")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.jpg", "can't draw into x.jpg: the name must end in .png, .pdf or .svg"),
        ("nowhere/x.png", "can't draw into nowhere/x.png: there is no folder nowhere"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "evaluate"])
def test_a_picture_that_can_not_be_written_is_refused_before_the_model_is_loaded(command, out, message, monkeypatch):
    monkeypatch.setattr("zoo.commands.answering.find", None)
    assert run_zoo(command, "lenet5.mnist", "--out", out)[::2] == (2, f"zoo: {message}\n")


def test_an_unknown_flag_without_a_known_preset():
    _, _, err = run_zoo("predict", "lenet6.mnist", "x.png", "--toop", 3)
    assert err.startswith("zoo: unknown option --toop; predict takes --compare, --csv, --field, --file, ")


def test_set_of_predict(tiny_preset, digit_file):
    (row,) = json.loads(run_zoo("predict", tiny_preset, digit_file, "--set", "top=1", "--json")[1])
    assert row["labels"] == zoo.pipeline(tiny_preset, top=1)(digit_file)["labels"]
    assert len(row["labels"]) == 1


def test_set_of_evaluate(speller):
    """Answers of ten or more symbols to words of a few letters are wrong."""
    arguments = ("evaluate", speller, "--dataset", speller.parent / "words.tsv", "--limit", 5, "--json")
    plain, longer = (json.loads(run_zoo(*arguments, *more)[1])["metrics"] for more in ((), ("--set", "shortest=10")))
    assert longer.keys() == plain.keys()
    assert longer["phoneme_error_rate"] > plain["phoneme_error_rate"]


def test_set_of_explain(speller, tmp_path):
    """The answer that is explained has at least ten symbols and its end."""
    arguments = ("explain", speller, "bed", "--out", tmp_path / "attention.svg", "--json")
    (row,) = json.loads(run_zoo(*arguments, "--set", "shortest=10")[1])
    assert len(row["target"]) >= 10
    (row,) = json.loads(run_zoo(*arguments)[1])
    assert len(row["target"]) == 4


def test_set_of_export(tiny_preset, tmp_path):
    status, out, _ = run_zoo("export", tiny_preset, tmp_path / "exports", "--set", "top=1", "--json")
    assert status == 0
    manifest = json.loads((tmp_path.joinpath(json.loads(out)["path"]) / MANIFEST).read_text())
    assert manifest["settings"] == {"top": 1}


def test_an_empty_value_stands_for_none():
    assert find("lenet5.mnist", ("polarity=", "top=2"), {"setting_top": 3})[1] == {"polarity": None, "top": 3}


def test_none_is_read_by_settings_that_can_be_none():
    """As their help says."""
    assert find("lenet5.mnist", ("centre=none",))[1] == {"centre": None}
    assert find("attention_seq2seq.multi30k_en_de", ("warn_below=none",))[1] == {"warn_below": None}
    assert find("blstm_ctc.an4", ("lexicon=none",))[1] == {"lexicon": None}
    for setting, wanted in (("colour=none", "one of 'rgb', 'grey'"), ("top=none", "an integer >= 1")):
        with pytest.raises(ZooError, match=f"must be {wanted}, got 'none'"):
            find("lenet5.mnist", (setting,))
    with pytest.raises(ZooError, match="warn_below must be a finite number or None, got 'low'"):
        find("attention_seq2seq.multi30k_en_de", ("warn_below=low",))


def test_flags_of_settings_with_choices_or_none():
    """Their values are numbers, like those of other flags."""
    arguments = ["unet.isbi2012", "slice.png", "--threshold", "0.5", "--orientations", "8"]
    flags = predict.make_context("predict", arguments).params
    assert (flags["setting_threshold"], flags["setting_orientations"]) == (0.5, 8)


MISTAKES = {
    "lenet5.mnits": (["lenet5.mnits", "x"], "unknown preset 'lenet5.mnits'; did you mean lenet5.mnist"),
    "name": (
        ["lenet5.mnist", "x", "--set", "tpo=1"],
        "unknown setting of image_classification 'tpo'; did you mean top?",
    ),
    "type": (
        ["lenet5.mnist", "x", "--set", "top=three"],
        "image_classification: top must be an integer >= 1, got 'three'",
    ),
    "range": (["lenet5.mnist", "x", "--top", "0"], "image_classification: top must be an integer >= 1, got 0"),
    "value": (["lenet5.mnist", "x", "--top", "three"], "Invalid value for '--top'"),
    "pair": (["lenet5.mnist", "x", "--set", "top"], "--set takes key=value"),
    "together": (["attention_seq2seq.cmudict", "x", "--n-best", "9"], "n_best=9 must be <= beam=5"),
    "flag": (["lenet5.mnist", "x", "--beam", "2"], "unknown option --beam"),
}
CHILD = """
import json, sys
from tests.helpers.commands import run_zoo
results = [run_zoo(*arguments)[::2] for arguments in json.loads(sys.argv[1])]
print(json.dumps([results, sorted({"tensorflow", "keras"} & sys.modules.keys())]))
"""


def test_mistakes_are_reported_before_tensorflow_is_loaded():
    more = {"predict": [], "evaluate": [], "explain": ["--out", "x.png"], "export": []}
    calls = [
        [
            command,
            *(arguments if command != "evaluate" else [part for part in arguments if part != "x"]),
            *more[command],
        ]
        for command in COMMANDS
        for arguments, _ in MISTAKES.values()
    ]
    results, loaded = json.loads(run_child(CHILD, json.dumps(calls)))
    messages = [message for _ in COMMANDS for _, message in MISTAKES.values()]
    for call, (status, error), message in zip(calls, results, messages, strict=True):
        assert status == 2, call
        assert error.startswith("zoo: "), call
        assert message in error, call
    assert loaded == []


@pytest.fixture(scope="module")
def kept_speller(speller):
    """The preset that spells; commands share its pipeline."""
    with kept_pipelines(speller):
        yield speller


def test_a_field_is_an_item(kept_speller, tmp_path):
    (tmp_path / "word.txt").write_text(" bad\n")
    assert run_zoo("predict", kept_speller, "--field", "sentence=bed")[:2] == (0, "B E D\n")
    assert run_zoo("predict", kept_speller, "--field", f"sentence=@{tmp_path / 'word.txt'}")[:2] == (0, "B A D\n")


def test_a_field_comes_before_the_lines_of_a_file(kept_speller, tmp_path):
    (tmp_path / "lines").write_text("bad\n1\n")
    _, out, err = run_zoo("predict", kept_speller, "--field", "sentence=bed", "--file", tmp_path / "lines")
    assert out == "B E D\nB A D\n\n"
    assert err.startswith("zoo: line 2: 1: not in the vocabulary: '1'")


def test_a_field_of_an_image_is_the_path_of_its_file(tiny_preset, digit_file):
    (row,) = json.loads(run_zoo("predict", tiny_preset, "--field", f"image_bytes=@{digit_file}", "--json")[1])
    assert row["labels"] == zoo.pipeline(tiny_preset)(digit_file)["labels"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["word=bed"], "unknown field 'word'; known: sentence"),
        (["sentence"], "--field 'sentence': give each of sentence once, as in NAME=VALUE"),
        (["sentence=a", "sentence=b"], "--field 'sentence=b': give each of sentence once, as in NAME=VALUE"),
        (["sentence=@nowhere.txt"], "--field sentence=@nowhere.txt: No such file or directory"),
    ],
)
def test_mistakes_in_fields(fields, message):
    with pytest.raises(ZooError) as caught:
        terminal.item_of_fields(fields, task_class("translation"))
    assert str(caught.value) == message


def test_a_field_from_a_file_that_is_not_utf_8(tmp_path):
    (tmp_path / "text").write_bytes(b"caf\xe9")
    with pytest.raises(ZooError, match="byte 3 is not UTF-8; save the file in this encoding$"):
        terminal.item_of_fields([f"sentence=@{tmp_path / 'text'}"], task_class("translation"))


def test_explain_and_embed_take_fields(tmp_path):
    """A model with several inputs, whose last layer has several outputs."""
    zoo.save(make("memory_network"), tmp_path / "preset")
    fields = ["--field", "story=A cat.", "--field", "question=The dog?"]
    status, out, err = run_zoo("explain", tmp_path / "preset", *fields, "--out", tmp_path / "hops.png", "--json")
    (row,) = json.loads(out)
    assert (status, err) == (0, "")  # without the warning of Keras that a softmax of one line is 1
    assert row["lines"] == ["A cat."]
    np.testing.assert_allclose(row["weights"], [[1.0], [1.0]], rtol=1e-6)
    path = tmp_path / "embeddings.npz"
    assert run_zoo("embed", tmp_path / "preset", *fields, "--out", path)[0] == 0
    with np.load(path) as content:
        assert content["embeddings"].shape == (1, 8)
        assert np.abs(content["embeddings"]).max() > 0
    status, _, err = run_zoo("embed", tmp_path / "preset", *fields, "--out", path, "--layer", "memory")
    assert (status, err) == (2, "zoo: memory_network: the layer memory must have one output tensor, got 2\n")
