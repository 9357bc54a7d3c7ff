"""Models of other installed distributions."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.helpers.registering import distribution, simple

MARKED = "import os, pathlib\npathlib.Path(os.environ['MARK'], __name__).touch()\n"

THEIRS = simple("@register_model({name!r}, task='image_classification', paper='Theirs 2020')", "def build(units=4):")

BUILD = """
    import keras
    x = keras.Input((2,), name="x")
    return keras.Model(x, keras.layers.Dense(units, name="head")(x))
"""

CHILD = """
import json, os, sys, warnings
from zoo import preset, registry
import zoo
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rows = {row["name"]: row for row in preset.rows()}
    info = zoo.model_info("acme_net")
messages = [str(warning.message) for warning in caught]
before, is_heavy = sorted(os.listdir(os.environ["MARK"])), "tensorflow" in sys.modules
made = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in ("acme_net", "acme_top", "acme_single", "acme_space"):
        model = registry.create_model(name, units=9)
        made[name] = [model.output.shape[-1], model.origin.model, model.origin.overrides]
    modules = {name: entry.module for name, entry in registry.entries().items()}
print(json.dumps({
    "names": sorted(rows), "mlp": modules["mlp"], "info": info, "warnings": messages, "before": before, "made": made,
    "after": sorted(os.listdir(os.environ["MARK"])), "modules": modules, "heavy": is_heavy,
}))
"""


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
    report, folder = theirs
    assert {"acme_net", "acme_top", "acme_single", "acme_space", "mlp", "lenet5"} <= set(report["names"])
    assert {"acme_unlisted", "acme_wrong"} & set(report["names"]) == set()
    assert report["before"] == []
    assert not report["heavy"]
    assert report["info"]["paper"] == "Theirs 2020"
    assert report["info"]["file"] == str(folder / "acme" / "nets" / "deep" / "net.py")


def test_models_of_others_are_created(theirs):
    report, _ = theirs
    for name in ("acme_net", "acme_top", "acme_single", "acme_space"):
        assert report["made"][name] == [9, name, {"units": 9}]
    assert report["modules"]["acme_net"] == "acme.nets.deep.net"
    assert report["modules"]["acme_top"] == "acme.nets"
    assert report["modules"]["acme_space"] == "acme_space.inner"
    imported = ["acme", "acme.nets", "acme.nets.deep", "acme.nets.deep.net", "acme_single", "acme_space.inner"]
    assert report["after"] == imported  # nothing else was


def test_what_is_wrong_with_others_is_left_out_with_a_warning(theirs):
    report, folder = theirs
    assert report["mlp"] == "zoo.models.vision.mlp"
    warned = {re.search(r"acme-\w+", text)[0]: text for text in report["warnings"]}
    assert warned["acme-copy"] == "model 'mlp' of acme-copy is left out: the name is taken"
    assert warned["acme-twice"] == "model 'acme_single' of acme-twice is left out: the name is taken"
    assert str(folder / "acme_broken.py") in warned["acme-broken"]
    assert f"{folder / 'acme_wrong.py'}:6: " in warned["acme-wrong"]
    gone = {re.search(r"no module (\S+)", text)[1] for text in report["warnings"] if "acme-gone" in text}
    assert gone == {"acme_gone.nets", "acme.nowhere", ".acme"}
    assert all("\n" not in text for text in report["warnings"])
    assert len(report["warnings"]) == len({*report["warnings"]})  # each once, although the registry was read twice
