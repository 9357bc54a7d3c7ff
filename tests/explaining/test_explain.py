"""`zoo explain`: its pictures, its command, and its errors."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import BUILDERS, ENTRIES, make
from zoo import plotting
from zoo.errors import InputError, ZooError


def size(path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_the_samples_of_a_preset_are_explained_by_themselves(tiny_preset, tmp_path):
    (row,) = zoo.explain(tiny_preset, None, tmp_path / "one.pdf")
    assert row["input"].endswith("seven.png")
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    (again,) = zoo.explain(zoo.load(tiny_preset), None, tmp_path / "two.svg")
    np.testing.assert_array_equal(row["gradient"], again["gradient"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "nowhere/x.png"}, "can't draw into nowhere/x.png: there is no folder nowhere"),
        ({"out": "x.jpg"}, "can't draw into x.jpg"),
        ({"out": None}, "out must be a path, got None"),
        ({"kind": "heta"}, "kind must be heat, filters or layers for mlp.tiny (image_classification), got 'heta'"),
        ({"errors": "ignore"}, "errors must be 'raise' or 'return', got 'ignore'"),
        ({"settings": {"top": 0}}, "image_classification: top must be an integer >= 1, got 0"),
        ({"settings": {"tpo": 1}}, "unknown setting of image_classification 'tpo'; did you mean top?"),
        ({"label": "sevn"}, "unknown label of mlp 'sevn'; did you mean seven?"),
        ({"layer": "hiden1"}, "unknown layer of mlp 'hiden1'; did you mean hidden1"),
        ({"layer": "hidden1"}, "layer hidden1 of mlp has no extent for Grad-CAM: its output is 16"),
        ({"kind": "layers", "label": "one"}, "kind='layers' takes no options, got label"),
        ({"kind": "filters", "label": "one", "layer": "hidden1"}, "kind='filters' takes no options, got label, layer"),
        ({"lable": "one"}, "kind='heat' takes label and layer, got lable"),
        ({"kind": "filters", "inputs": "x.png"}, "kind='filters' takes no inputs, got 1"),
        ({"kind": "layers", "inputs": ["a.png", "b.png"]}, "kind='layers' takes 1 input, got 2"),
        ({"inputs": []}, "no inputs to explain: give at least one, or None for the preset's samples"),
        ({"inputs": ["a.png"] * 13}, "kind='heat' takes at most 12 inputs, got 13"),
        ({"name": "lenet5"}, "'lenet5' is a model, not a preset"),
    ],
)
def test_a_mistake_is_named_in_one_line(arguments, message, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError) as caught:
        zoo.explain(**{"name": tiny_preset, "inputs": None, "out": "x.png", **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_explained(tmp_path):
    other = next(name for name in BUILDERS if ENTRIES[name].task == "tensor_classification")
    out = tmp_path / "x.png"
    with pytest.raises(ZooError, match="can't be explained: its task, tensor_classification, has no explanations"):
        zoo.explain(make(other), None, out)
    zoo.save(make(other), tmp_path / "saved")
    with pytest.raises(ZooError, match="^saved can't be explained: its task, tensor_classification, has"):
        zoo.explain(tmp_path / "saved", None, out)
    with pytest.raises(ZooError, match="has no head"):
        zoo.explain(make("mlp", classes=0), draw_digit("7"), out)
    with pytest.raises(ZooError, match="mlp has no samples: give an input to explain"):
        zoo.explain(make("mlp"), None, out)
    with pytest.raises(ZooError, match="has no origin"):
        zoo.explain(keras.models.clone_model(make("mlp")), draw_digit("7"), out)
    assert not out.exists()


def test_a_bad_input_gets_the_error_that_predict_gives(tiny_preset, digit_file, tmp_path):
    bad, cut = tmp_path / "bad.png", tmp_path / "cut.png"
    bad.write_bytes(b"no image at all")
    cut.write_bytes(digit_file.read_bytes()[:60])
    model = zoo.load(tiny_preset)
    pipeline = zoo.pipeline(model)
    for item in (bad, cut, tmp_path / "missing.png", tmp_path, np.zeros((3, 3, 7)), b"", 5):
        with pytest.raises(InputError) as expected:
            pipeline([digit_file, item])
        with pytest.raises(InputError) as caught:
            zoo.explain(model, [digit_file, item], tmp_path / "out.png")
        assert str(caught.value) == str(expected.value)
    assert not (tmp_path / "out.png").exists()


def out_of_one(name, item, folder):
    zoo.explain(name, item, folder / "one.png")
    return folder / "one.png"


def test_no_half_written_picture_stays(tiny_preset, tmp_path, monkeypatch):
    out = tmp_path / "out.png"
    out.write_bytes(b"the old one")

    def full(*arguments):
        arguments[-1].write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plotting, "heat", full)
    with pytest.raises(ZooError, match="can't write the picture .*out.png: No space left on device"):
        zoo.explain(tiny_preset, None, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert out.read_bytes() == b"the old one"


def test_names_that_a_picture_could_trip_over(tiny_preset, tmp_path):
    """Dollar signs are not read as formulas; characters that the font lacks cause no warning."""
    strange = tmp_path / "$a_{b $ 数字 $ a name that is far too long for the panel of a picture.png"
    draw_digit("7").save(strange)
    for kind in ("heat", "layers"):
        (row,) = zoo.explain(tiny_preset, strange, tmp_path / "out.png", kind=kind)
        assert row["input"] == str(strange)


def test_the_command_answers_in_json(tiny_preset, digit_file, tmp_path):
    out = tmp_path / "out.png"
    status, printed, err = run_zoo("explain", tiny_preset, digit_file, "--out", out, "--label", "one", "--json")
    assert (status, err) == (0, "")
    (row,) = json.loads(printed)
    score = row.pop("score")
    assert 0 < score < 1
    assert row == {"input": str(digit_file), "label": "one", "layer": None, "out": str(out)}
    assert size(out) == (836, 429)


def test_the_command_says_where_the_picture_is_and_that_there_is_no_grad_cam(tiny_preset, tmp_path):
    out = tmp_path / "out.png"
    _, printed, _ = run_zoo("explain", tiny_preset, "--out", out)
    assert f"no layer of {tiny_preset} has an extent: gradients alone, no Grad-CAM\n" in printed
    assert printed.endswith(f"picture written to {out}\n")


def test_the_command_shows_layers_and_filters(tmp_path):
    out = tmp_path / "out.png"
    (row,) = json.loads(run_zoo("explain", "lenet5.mnist", "--out", out, "--kind", "layers", "--json")[1])
    assert row["layers"] == ["c1", "s2_squash", "c3_squash", "s4_squash", "c5", "head_f6", "head_codes"]
    (row,) = json.loads(run_zoo("explain", "lenet5.mnist", "--out", out, "--kind", "filters", "--json")[1])
    assert row == {"layer": "c1", "out": str(out)}


def test_the_command_explains_the_samples_at_a_layer(tmp_path):
    arguments = ("--out", tmp_path / "out.png", "--json", "--layer", "s4_squash")
    rows = json.loads(run_zoo("explain", "lenet5.mnist", *arguments)[1])
    assert [(row["layer"], row["label"]) for row in rows] == [
        ("s4_squash", "2"),
        ("s4_squash", "7"),
        ("s4_squash", "3"),
    ]


@pytest.fixture
def bad_file(tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(b"no image at all")
    return path


def test_the_command_leaves_a_bad_image_out_of_the_picture(bad_file, tiny_preset, digit_file, tmp_path):
    out = tmp_path / "new.png"
    status, printed, err = run_zoo("explain", tiny_preset, digit_file, bad_file, "--out", out)
    assert status == 1
    assert printed.endswith(f"picture written to {out}\n")
    assert err == f"zoo: {bad_file}: not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF\n"
    assert size(out) == size(out_of_one(tiny_preset, digit_file, tmp_path))


def test_the_command_reports_a_bad_image_in_json(bad_file, tiny_preset, digit_file, tmp_path):
    out = tmp_path / "new.png"
    status, printed, _ = run_zoo("explain", tiny_preset, bad_file, digit_file, "--out", out, "--json")
    rows = json.loads(printed)
    assert status == 1
    assert set(rows[0]) == {"input", "error"}
    assert rows[1]["out"] == str(out)


def test_the_command_writes_no_picture_of_nothing(bad_file, tiny_preset, tmp_path):
    status, printed, _ = run_zoo("explain", tiny_preset, bad_file, "--out", tmp_path / "none.png")
    assert (status, printed) == (1, "")
    assert not (tmp_path / "none.png").exists()
