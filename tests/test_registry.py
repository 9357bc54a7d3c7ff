"""The registry: models' files read without being imported, ours and those of other distributions."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.errors import ZooError

NET = '''
"""A file that a test drops in."""
import keras
from keras import layers
from zoo.registry import register_model

@register_model(
    task="image_classification",
    paper="Nobody 2000",
    variants={"dropped_small": {"units": 3}, "dropped_large": {"units": 5}},
    parameters={"dropped_small": 27, "dropped_large": 41},
    settings={"colour": "grey", "low": -1.0},
    tiny={"units": 2},
    loss="own_loss",
)
def dropped(input_shape=(2, 2, 1), classes: int = 3, units: int = 4):
    """A dropped network.

    More of it.
    """
    image = keras.Input(tuple(input_shape), name="image")
    x = layers.Dense(units, name="hidden")(layers.Flatten(name="flatten")(image))
    return keras.Model({"image": image}, {"logits": layers.Dense(classes, name="head")(x)}, name="dropped")

def own_loss(y_true, y_pred):
    return 7.0
'''


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A copy of zoo/models that the registry reads, and from which it imports."""
    import zoo.models

    folder = tmp_path / "models"
    shutil.copytree(registry.MODELS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "family").mkdir()
    monkeypatch.setattr(registry, "MODELS", folder)
    monkeypatch.setattr(zoo.models, "__path__", [*zoo.models.__path__, str(folder)])
    yield folder
    for module in [module for module in sys.modules if module.startswith("zoo.models.family")]:
        del sys.modules[module]


def drop(models, text, name="net.py"):
    path = models / "family" / name
    path.write_text(text)
    return path


def simple(decorator, function="def net(units=4):"):
    return f"from zoo.registry import register_model\n\n\n{decorator}\n{function}\n    'A net.'\n"


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
        assert entry.path.is_relative_to(registry.MODELS)


def test_a_dropped_file_is_listed_described_and_created(models):
    path = drop(models, NET)
    assert zoo.list_models("dropped") == ["dropped_large", "dropped_small"]
    assert zoo.list_models("*_sma?l") == ["dropped_small"]
    assert zoo.list_models("dropped", pretrained=True) == []
    assert "dropped_small" in zoo.list_models(task="image_classification")
    assert "zoo.models.family.net" not in sys.modules  # listed, described: not imported
    told = zoo.model_info("dropped_small")
    assert told == {
        "name": "dropped_small",
        "kind": "model",
        "task": "image_classification",
        "parameters": 27,
        "description": "A dropped network.",
        "paper": "Nobody 2000",
        "settings": {"colour": "grey", "low": -1.0},
        "overrides": {"units": 3},
        "presets": [],
        "file": str(path),
    }
    assert "zoo.models.family.net" not in sys.modules
    model = zoo.create_model("dropped_small", classes=4)
    assert [tuple(weight.shape) for weight in model.weights] == [(4, 3), (3,), (3, 4), (4,)]
    assert registry.entries()["dropped_small"].tiny == {"units": 2}
    assert registry.entries()["dropped_small"].loss_function()(1, 2) == 7.0


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
    ("decorator", "told"),
    [
        ("@register_model(task='t', paper=PAPER)", "must be literals"),
        ("@register_model(task='t', paper='p', parameters=3 * 4)", "must be literals"),
        ("@register_model(task='t', paper=f'{1}')", "must be literals"),
        ("@register_model(task='t', paper='p', tiny={[]: 1})", "must be literals"),
        ("@register_model(task='t', paper='p', settings=dict(low=1))", "must be literals"),
        ("@register_model(paper='p')", "lacks task="),
        ("@register_model(task='t')", "lacks paper="),
        ("@register_model(task='t', paper='p', varients={})", "did you mean variants"),
        ("@register_model(task=None, paper='p')", "task=None is no str"),
        ("@register_model(task='t', paper='p', name=3)", "name=3 is no str"),
        ("@register_model(task='t', paper='p', variants=['a'])", "variants=['a'] is no dict"),
        ("@register_model(task='t', paper='p', variants={'a': 3})", "variants={'a': 3} is no table"),
        ("@register_model(task='t', paper='p', variants={1: {}})", "variants={1: {}} is no table"),
        ("@register_model(task='t', paper='p', parameters='many')", "parameters='many' is no int or dict"),
        ("@register_model(task='t', paper='p', settings=['low'])", "settings=['low'] is no dict"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(models, decorator, told):
    path = drop(models, simple(decorator))
    with pytest.raises(ZooError) as caught:
        zoo.list_models()
    assert f"{path}:4: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(("text", "line"), [("x = 1\ndef f(:\n", 2), ("\n\n\n'never closed\n", 4), ("\ttask\n x", 1)])
def test_a_file_that_is_no_python_is_named_with_its_line(models, text, line):
    path = drop(models, text)
    with pytest.raises(ZooError, match=re.escape(str(path))) as caught:
        zoo.list_models()
    found = re.search(r"line (\d+)", str(caught.value))
    assert found is not None
    assert abs(int(found[1]) - line) <= 1
    path.write_bytes(b"\xff\xfe\x00")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ZooError, match=re.escape(str(path))):
        zoo.list_models()


def test_what_editors_leave_is_ignored(models):
    names = zoo.list_models()
    (models / "vision" / ".#mlp.py").symlink_to("someone@somewhere.1234")  # a lock of Emacs
    (models / "vision" / "._mlp.py").write_bytes(b"\x00\x05\x16\x07")
    (models / ".ipynb_checkpoints").mkdir()
    shutil.copy(models / "vision" / "mlp.py", models / ".ipynb_checkpoints" / "mlp-checkpoint.py")
    assert zoo.list_models() == names


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: zoo.create_model("lenet6"), "unknown model 'lenet6'; did you mean lenet5"),
        (lambda: zoo.create_model("zzz"), "unknown model 'zzz'; known: "),
        (lambda: zoo.create_model("mlp", hiden_units=(3,)), "'hiden_units'; did you mean hidden_units?"),
        (lambda: zoo.create_model("mlp", activation="swish"), "mlp: activation='swish' is none of"),
        (lambda: zoo.create_model("mlp", hidden_units=3), "mlp: "),
        (lambda: zoo.create_model("mlp", classes=-1), "mlp: "),
        (lambda: zoo.create_model("lenet5", input_shape=(8, 8, 1)), "lenet5: LeNet-5 needs images of 32x32"),
        (lambda: zoo.model_info("lenet6"), "did you mean lenet5"),
        (lambda: zoo.list_models(task="image_clasification"), "did you mean image_classification"),
    ],
)
def test_a_mistake_in_a_call_names_what_would_be_right(call, told):
    with pytest.raises(ZooError) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_known_task_without_presets_is_no_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.preset.folders.BUNDLED", tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert zoo.list_models(task="image_classification", pretrained=True) == []


TINY = {"hidden_units": (4, 3), "input_shape": (4, 4, 1)}
NAMES = ["image", "flatten", "hidden1", "hidden2", "head"]


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        (None, {*NAMES}),
        ("all", set()),
        ("all but head", {"head"}),
        ("up to image", {*NAMES[1:]}),
        ("up to hidden1", {"hidden2", "head"}),
        ("up to head", set()),
    ],
)
def test_freeze(freeze, trained):
    model = zoo.create_model("mlp", freeze=freeze, **TINY)
    assert [layer.name for layer in model.layers] == NAMES
    assert {layer.name for layer in model.layers if layer.trainable} == trained
    assert len(model.trainable_weights) == 2 * len(trained & {"hidden1", "hidden2", "head"})


def test_every_head_layer_is_the_head():
    model = zoo.create_model("lenet5", freeze="all but head")
    assert {layer.name for layer in model.layers if layer.trainable} == {"head_f6", "head_codes"}


@pytest.mark.parametrize(
    ("freeze", "told"),
    [
        ("up to hidden9", "unknown layer of mlp 'hidden9'; did you mean hidden"),
        ("head", "freeze='head' is none of"),
        ("up to", "freeze='up to' is none of"),
        (True, "freeze=True is none of"),
    ],
)
def test_freeze_that_is_unknown(freeze, told):
    with pytest.raises(ZooError) as caught:
        zoo.create_model("mlp", freeze=freeze, **TINY)
    assert told in str(caught.value)


def test_classes():
    assert zoo.create_model("mlp", **TINY).output["logits"].shape == (None, 10)
    model = zoo.create_model("mlp", classes=26, **TINY)
    assert model.output["logits"].shape == (None, 26)
    assert model.origin.overrides == {**TINY, "classes": 26}
    model = zoo.create_model("mlp", classes=0, **TINY)
    assert list(model.output) == ["embeddings"]
    assert model.output["embeddings"].shape == (None, 3)
    assert model({"image": np.zeros((1, 4, 4, 1), "float32")})["embeddings"].shape == (1, 3)


# Other distributions: folders on the path of a child process, each with its metadata.

MARKED = "import os, pathlib\npathlib.Path(os.environ['MARK'], __name__).touch()\n"
THEIRS = simple("@register_model({name!r}, task='image_classification', paper='Theirs 2020')", "def build(units=4):")
BUILD = "    import types\n    return types.SimpleNamespace(units=units, layers=[])\n"

CHILD = """
import json, os, sys, warnings
from zoo import preset, registry
import zoo
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rows = {row["name"]: row for row in preset.rows()}
    info = zoo.model_info("acme_net")
told = [str(warning.message) for warning in caught]
before = sorted(os.listdir(os.environ["MARK"]))
made = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in ("acme_net", "acme_top", "acme_single", "acme_space"):
        model = registry.create_model(name, units=9)
        made[name] = [model.units, model.origin.model, model.origin.overrides]
    modules = {name: entry.module for name, entry in registry.entries().items()}
print(json.dumps({
    "names": sorted(rows), "mlp": modules["mlp"], "info": info, "warnings": told, "before": before, "made": made,
    "after": sorted(os.listdir(os.environ["MARK"])), "modules": modules, "heavy": "tensorflow" in sys.modules,
}))
"""


def distribution(folder, name, files, points):
    """Installs a distribution into a folder: its files, and its metadata with entry points."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[zoo.models]", *lines, ""]))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What a child process tells that finds many distributions."""
    folder, mark = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("mark")

    def net(name):
        return MARKED + THEIRS.replace("{name!r}", repr(name)) + BUILD

    package = {
        "acme/__init__.py": MARKED + simple("@register_model('acme_unlisted', task='t', paper='p')"),
        "acme/nets/__init__.py": net("acme_top"),
        "acme/nets/deep/net.py": net("acme_net"),
        "acme/nets/deep/__init__.py": MARKED,
        "acme/nets/.hidden.py": "def (",
    }
    distribution(folder, "acme-nets", package, {"nets": "acme.nets"})
    distribution(folder, "acme-single", {"acme_single.py": net("acme_single")}, {"single": "acme_single"})
    distribution(folder, "acme-space", {"acme_space/inner.py": net("acme_space")}, {"x": "acme_space.inner"})
    distribution(folder, "acme-copy", {"acme_copy.py": net("mlp")}, {"x": "acme_copy"})
    distribution(folder, "acme-twice", {"acme_twice.py": net("acme_single")}, {"x": "acme_twice"})
    distribution(folder, "acme-broken", {"acme_broken.py": MARKED + "def f(:\n"}, {"x": "acme_broken"})
    wrong = MARKED + simple("@register_model('acme_wrong', task=TASK, paper='p')")
    distribution(folder, "acme-wrong", {"acme_wrong.py": wrong}, {"x": "acme_wrong"})
    distribution(folder, "acme-gone", {}, {"x": "acme_gone.nets", "y": "acme.nowhere", "z": ".acme"})
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "PYTHONPATH": str(folder), "MARK": str(mark), "ZOO_CACHE": str(mark / "none")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_models_of_others_are_listed_without_being_imported(theirs):
    told, folder = theirs
    assert {"acme_net", "acme_top", "acme_single", "acme_space", "mlp", "lenet5"} <= set(told["names"])
    assert {"acme_unlisted", "acme_wrong"} & set(told["names"]) == set()
    assert told["before"] == []
    assert not told["heavy"]
    assert told["info"]["paper"] == "Theirs 2020"
    assert told["info"]["file"] == str(folder / "acme" / "nets" / "deep" / "net.py")


def test_models_of_others_are_created(theirs):
    told, _ = theirs
    for name in ("acme_net", "acme_top", "acme_single", "acme_space"):
        assert told["made"][name] == [9, name, {"units": 9}]
    assert told["modules"]["acme_net"] == "acme.nets.deep.net"
    assert told["modules"]["acme_top"] == "acme.nets"
    assert told["modules"]["acme_space"] == "acme_space.inner"
    imported = ["acme", "acme.nets", "acme.nets.deep", "acme.nets.deep.net", "acme_single", "acme_space.inner"]
    assert told["after"] == imported  # nothing else was


def test_what_is_wrong_with_others_is_left_out_with_a_warning(theirs):
    told, folder = theirs
    assert told["mlp"] == "zoo.models.vision.mlp"
    warned = {re.search(r"acme-\w+", text)[0]: text for text in told["warnings"]}
    assert warned["acme-copy"] == "model 'mlp' of acme-copy is left out: the name is taken"
    assert warned["acme-twice"] == "model 'acme_single' of acme-twice is left out: the name is taken"
    assert str(folder / "acme_broken.py") in warned["acme-broken"]
    assert f"{folder / 'acme_wrong.py'}:6: " in warned["acme-wrong"]
    gone = {re.search(r"no module (\S+)", text)[1] for text in told["warnings"] if "acme-gone" in text}
    assert gone == {"acme_gone.nets", "acme.nowhere", ".acme"}
    assert all("\n" not in text for text in told["warnings"])
