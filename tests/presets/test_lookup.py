"""Where a preset's name is looked up, and what is a path."""

from pathlib import Path

import zoo
from tests.helpers.presets import METRIC, error_of, write_preset
from zoo import preset


def test_lookup_order(places):
    for part in ("cache", "bundled", "two", "one"):
        write_preset(places / part / "x.tag", name=f"from {part}")
        assert preset.open_preset("x.tag").name == f"from {part}"
        assert preset.open_preset("x.tag").path == places / part / "x.tag"
    assert zoo.list_models("x.tag") == ["x.tag"]
    (places / "one" / "x.tag" / "preset.json").unlink()
    assert preset.open_preset("x.tag").name == "from two"


def test_names_come_before_folders_and_paths_are_not_names(places, monkeypatch):
    """A name is looked for in the working folder last, and a path not in the folders of presets."""
    write_preset(places / "x.tag")
    write_preset(places / "mine")
    write_preset(places / "one" / "y.tag")
    monkeypatch.chdir(places)
    assert preset.open_preset("x.tag").path == preset.open_preset("./x.tag").path == Path("x.tag")
    assert preset.open_preset("mine").name == "mine"
    write_preset(places / "two" / "x.tag")
    assert preset.open_preset("x.tag").path == places / "two" / "x.tag"
    assert preset.open_preset("./x.tag").path == Path("x.tag")
    assert "is not a preset: the folder does not exist" in error_of(preset.open_preset, "./y.tag")
    assert "is not a preset: it has no preset.json" in error_of(preset.open_preset, Path("one"))
    for name in ("..", "one/../..", "", ".", "x.tag\n", "one\\y.tag", "..x", "x..y"):
        assert "preset" in error_of(preset.open_preset, name)


def test_a_models_name_is_no_preset(places):
    assert "'mlp' is a model, not a preset: it has no trained weights yet" in error_of(preset.open_preset, "mlp")
    write_preset(places / "two" / "mlp.tag")
    write_preset(places / "cache" / "mlp.other")
    assert "'mlp' is a model, not a preset: load mlp.tag or mlp.other" in error_of(preset.open_preset, "mlp")
    assert zoo.model_info("mlp")["presets"] == ["mlp.tag", "mlp.other"]
    assert zoo.list_models("mlp", pretrained=True) == ["mlp.other", "mlp.tag"]
    info = zoo.model_info("mlp.tag")
    assert (info["kind"], info["metrics"], info["path"]) == ("preset", [METRIC], str(places / "two" / "mlp.tag"))
    assert info["paper"] == zoo.model_info("mlp")["paper"]


def test_a_keras_file_is_not_a_preset():
    for call, name in ((preset.open_preset, "m.keras"), (preset.open_preset, "./m.keras"), (zoo.model_info, "m.keras")):
        assert "m.keras is not a preset: of .keras files only zoo.pipeline and `zoo predict`" in error_of(call, name)
