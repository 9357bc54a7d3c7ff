"""The README says what is true: its table, its commands, its Python."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.pages import copy_photos
from tests.helpers.paths import ROOT
from zoo import preset
from zoo.cli import main
from zoo.preset import card
from zoo.registry import entries
from zoo.training import setup
from zoo.training.recipe import read_recipe
from zoo.training.tuning import read_space

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_generated_from_the_presets():
    records = [preset.open_preset(path).record for path in preset.BUNDLED.iterdir() if path.is_dir()]
    shown = re.search(r"<!-- presets -->\n(.*?)<!-- end -->", README, re.DOTALL)[1]
    assert shown == card.table(records)


def test_the_list_is_what_the_command_prints():
    shown = README.split('$ zoo list "lenet*"\n')[1].split("$")[0]
    assert CliRunner().invoke(main, ["list", "lenet*"]).stdout == shown


def test_recipes_state_the_figure_of_the_card():
    for path in preset.BUNDLED.iterdir():
        if path.is_dir():
            for metric in preset.open_preset(path).record["metrics"]:
                if metric.get("final"):
                    head = (ROOT / "training" / "recipes" / f"{path.name}.toml").read_text().split("\nmodel")[0]
                    assert card.figure(metric) in head


@pytest.mark.usefixtures("short_runs")
def test_the_python_runs(digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_digit("7").save("digit.png")
    copy_photos(digits_folder, Path("my_photos"))
    [block] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(block, names)
    assert names["zoo"].pipeline("lenet5.mnist")("digit.png")["labels"][0] == "7"
    assert set(names["zoo"].pipeline("runs/photos")("digit.png")["labels"]) == {"0", "1", "7"}


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#]+)", README)
    assert len(targets) > 20
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_recipe_and_the_space_in_the_docs_are_read(digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, self_critical, stages, space = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "RECIPES.md").read_text("utf-8"), re.DOTALL
    )
    Path("recipe.toml").write_text(recipe)
    Path("space.toml").write_text(space)
    Path("my_symbols").symlink_to(digits_folder)
    _, read = read_recipe("./recipe.toml")
    assert set(setup.open_sources(read)) == {"train", "validation"}
    setup.make_model(read, setup.open_sources(read)["train"], ({}, {}, {}))
    captioner = zoo.create_model("show_attend_tell", **entries()["show_attend_tell"].tiny)
    zoo.save(captioner, tmp_path / "runs" / "captioner")
    Path("self_critical.toml").write_text(self_critical)
    assert read_recipe("./self_critical.toml")[1].training.self_critical == "cider"
    Path("stages.toml").write_text(stages)
    assert [folder.name for folder, _ in read_recipe("./stages.toml")[1].runs(tmp_path / "out")] == ["stage1", "out"]
    assert list(read_space("space.toml")) == list(tomllib.loads(space))
