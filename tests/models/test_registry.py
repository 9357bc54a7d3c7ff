"""The registry reads the models' files without importing them, and names mistakes in them."""

import ast
import os
import re
import shutil
import sys

import keras
import pytest

import zoo
from tests.helpers.registering import NET, drop, simple
from zoo import registry
from zoo.errors import ZooError


def test_our_entries_are_what_their_files_say():
    """Names, task, paper and count of each entry stand in the decorator of its builder."""
    table = registry.entries()
    assert {"mlp", "lenet5", "lenet5_modern"} <= set(table)
    assert table["lenet5"].parameters == 60_000
    assert table["mlp"].builder == "mlp"
    assert table["mlp"].module == "zoo.models.vision.mlp"
    for name, entry in table.items():
        assert entry.name == name
        tree = ast.parse(entry.path.read_text(encoding="utf-8"))
        builders = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        call = builders[entry.builder].decorator_list[0]
        facts = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        assert (entry.task, entry.paper) == (facts["task"], facts["paper"])
        assert entry.description.endswith(".")
        assert entry.path.is_relative_to(registry.reading.MODELS)


def test_a_dropped_file_is_listed_described_and_created(models):
    path = drop(models, NET)
    assert zoo.list_models("dropped") == ["dropped_large", "dropped_small"]
    assert zoo.list_models("*_sma?l") == ["dropped_small"]
    assert zoo.list_models("dropped", pretrained=True) == []
    assert "dropped_small" in zoo.list_models(task="image_classification")
    assert "zoo.models.family.net" not in sys.modules  # listed, described: not imported
    expected = zoo.model_info("dropped_small")
    assert expected == {
        "name": "dropped_small",
        "kind": "model",
        "task": "image_classification",
        "parameters": 27,
        "description": "A dropped network.",
        "paper": "Nobody 2000",
        "settings": {"colour": "grey", "low": -1.0},
        "overrides": {"units": 3},
        "arguments": {"input_shape": (2, 2, 1), "classes": 3, "units": 3},
        "presets": [],
        "file": str(path),
    }
    assert "zoo.models.family.net" not in sys.modules
    model = zoo.create_model("dropped_small", classes=4)
    assert [tuple(weight.shape) for weight in model.weights] == [(4, 3), (3,), (3, 4), (4,)]
    assert registry.entries()["dropped_small"].tiny == {"units": 2}
    assert registry.entries()["dropped_small"].loss_function()(1, 2) == 7.0


def test_losses_by_output_and_explanations_of_a_model(models):
    facts = """loss={"more": "own_loss", "other": "mse"},\n    explanations={"steps": "some.module"},"""
    drop(models, NET.replace('loss="own_loss",', facts))
    entry = registry.entries()["dropped_small"]
    losses = entry.loss_function()
    assert losses["more"](1, 2) == 7.0
    assert losses["other"] is keras.losses.get("mse")
    assert entry.explanations == {"steps": "some.module"}


def test_the_record_of_a_variant(models):
    """An origin holds what differs from the variant, so that it makes the model again."""
    drop(models, NET)
    origin = zoo.create_model("dropped_large").origin
    assert (origin.model, origin.overrides, origin.task) == ("dropped_large", {}, "image_classification")
    assert origin.settings == {"colour": "grey", "low": -1.0}
    assert origin.labels is None
    assert origin.preset is None
    assert origin.parent is None
    origin = zoo.create_model("dropped_large", classes=2, units=5).origin
    assert origin.overrides == {"classes": 2}  # units=5 is the variant's own
    origin = zoo.create_model("dropped_large", units=4).origin
    assert origin.overrides == {"units": 4}
    again = zoo.create_model(origin.model, **origin.overrides)
    assert [tuple(weight.shape) for weight in again.weights] == [(4, 4), (4,), (4, 3), (3,)]
    again.origin.settings["low"] = 5.0
    zoo.model_info("dropped_large")["settings"]["low"] = 5.0
    assert zoo.create_model("dropped_large").origin.settings["low"] == -1.0  # each has its own


def test_an_edited_file_is_read_again(models):
    path = drop(models, NET)
    assert registry.entries()["dropped_small"].paper == "Nobody 2000"
    path.write_text(NET.replace("Nobody 2000", "Somebody 1999").replace("dropped_large", "dropped_huge"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    assert registry.entries()["dropped_small"].paper == "Somebody 1999"
    assert zoo.list_models("dropped") == ["dropped_huge", "dropped_small"]
    path.unlink()
    assert zoo.list_models("dropped") == []


def test_a_name_registered_twice_names_both_files(models):
    one, two = drop(models, NET), drop(models, NET, "other.py")
    with pytest.raises(ZooError, match="'dropped_small'|'dropped_large'") as caught:
        registry.entries()
    assert str(one) in str(caught.value)
    assert str(two) in str(caught.value)
    two.unlink()
    drop(models, simple("@register_model('mlp', task='t', paper='p')"), "third.py")
    with pytest.raises(ZooError, match=r"'mlp'.*third\.py.*mlp\.py|'mlp'.*mlp\.py.*third\.py"):
        zoo.list_models()


@pytest.mark.parametrize(
    ("decorator", "name"),
    [
        ("@register_model(task='t', paper='p')", "net"),
        ("@register_model('other', task='t', paper='p')", "other"),
        ("@register_model(name='other', task='t', paper='p')", "other"),
        ("@register_model(name=None, task='t', paper='p', tiny=None)", "net"),
        ("@registry.register_model(task='t', paper='p' ' q')", "net"),
    ],
)
def test_ways_to_name_a_model(models, decorator, name):
    drop(models, simple(decorator))
    entry = registry.entries()[name]
    assert (entry.builder, entry.description, entry.parameters) == ("net", "A net.", None)
    assert (entry.settings, entry.overrides, entry.tiny, entry.loss) == ({}, {}, {}, None)


@pytest.mark.parametrize(
    ("decorator", "expected"),
    [
        ("@register_model(task='t', paper=PAPER)", "must be literals"),
        ("@register_model(task='t', paper='p', parameters=3 * 4)", "must be literals"),
        ("@register_model(task='t', paper=f'{1}')", "must be literals"),
        ("@register_model(task='t', paper='p', tiny={[]: 1})", "must be literals"),
        ("@register_model(task='t', paper='p', settings=dict(low=1))", "must be literals"),
        ("@register_model(paper='p')", "lacks task="),
        ("@register_model(task='t')", "lacks paper="),
        ("@register_model(task='t', paper='p', varients={})", "did you mean variants"),
        ("@register_model(task=None, paper='p')", "task must be str, got None"),
        ("@register_model(task='t', paper='p', name=3)", "name must be str, got 3"),
        ("@register_model(task='t', paper='p', variants=['a'])", "variants must be dict, got ['a']"),
        (
            "@register_model(task='t', paper='p', variants={'a': 3})",
            "variants must map names to dicts of overrides, got 'a': 3",
        ),
        (
            "@register_model(task='t', paper='p', variants={1: {}})",
            "variants must map names to dicts of overrides, got 1: {}",
        ),
        ("@register_model(task='t', paper='p', parameters='many')", "parameters must be int or dict, got 'many'"),
        ("@register_model(task='t', paper='p', settings=['low'])", "settings must be dict, got ['low']"),
        ("@register_model(task='t', paper='p', loss=3)", "loss must be str or dict, got 3"),
        ("@register_model(task='t', paper='p', loss={'more': 3})", "loss must map names to names, got {'more': 3}"),
        ("@register_model(task='t', paper='p', explanations={1: 'a'})", "explanations must map names to names, got {1"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(models, decorator, expected):
    path = drop(models, simple(decorator))
    with pytest.warns(UserWarning, match="models of net.py are left out: ") as caught:
        assert "lenet5" in zoo.list_models()  # the other files are read
    assert f"{path}:4: " in str(caught[0].message)
    assert expected in str(caught[0].message)


@pytest.mark.parametrize(("text", "line"), [("x = 1\ndef f(:\n", 2), ("\n\n\n'never closed\n", 4), ("\ttask\n x", 1)])
def test_a_file_that_is_no_python_is_named_with_its_line(models, text, line):
    path = drop(models, text)
    with pytest.warns(UserWarning, match=re.escape(str(path))) as caught:
        assert "lenet5" in zoo.list_models()
    found = re.search(r"line (\d+)", str(caught[0].message))
    assert found is not None
    assert abs(int(found[1]) - line) <= 1
    path.write_bytes(b"\xff\xfe\x00")
    os.utime(path, ns=(0, 1))
    with pytest.warns(UserWarning, match=re.escape(str(path))):
        zoo.list_models()


def test_what_editors_leave_is_ignored(models):
    names = zoo.list_models()
    (models / "vision" / ".#mlp.py").symlink_to("someone@somewhere.1234")  # a lock of Emacs
    (models / "vision" / "._mlp.py").write_bytes(b"\x00\x05\x16\x07")
    (models / ".ipynb_checkpoints").mkdir()
    shutil.copy(models / "vision" / "mlp.py", models / ".ipynb_checkpoints" / "mlp-checkpoint.py")
    assert zoo.list_models() == names


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: zoo.create_model("lenet6"), "unknown model 'lenet6'; did you mean lenet5"),
        (lambda: zoo.create_model("zzz"), "unknown model 'zzz'; known: "),
        (lambda: zoo.create_model("mlp", hiden_units=(3,)), "'hiden_units'; did you mean hidden_units?"),
        (lambda: zoo.create_model("mlp", activation="swish"), "mlp: activation must be one of"),
        (lambda: zoo.create_model("mlp", hidden_units=3), "mlp: "),
        (lambda: zoo.create_model("mlp", classes=-1), "mlp: "),
        (lambda: zoo.create_model("lenet5", input_shape=(8, 8, 1)), "lenet5: LeNet-5 needs images of 32x32"),
        (lambda: zoo.model_info("lenet6"), "did you mean lenet5"),
        (lambda: zoo.list_models(task="image_clasification"), "did you mean image_classification"),
    ],
)
def test_a_mistake_in_a_call_names_what_would_be_right(call, expected):
    with pytest.raises(ZooError) as caught:
        call()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_known_task_without_presets_is_no_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.preset.folders.BUNDLED", tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert zoo.list_models(task="image_classification", pretrained=True) == []


def test_a_builder_without_a_model_is_named(models):
    drop(models, simple("@register_model('empty', task='image_classification', paper='p')"))
    with pytest.raises(ZooError, match="^empty: its builder must return a keras.Model, got None$"):
        zoo.create_model("empty")
