"""The README says what is true: its table, its commands, its Python."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import zoo
from tests.helpers.drawings import draw_digit
from zoo import preset
from zoo.cli import main
from zoo.preset import card
from zoo.registry import entries
from zoo.training import setup
from zoo.training.recipe import read_recipe
from zoo.training.tuning import read_space

ROOT = Path(__file__).parents[1]
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


def test_every_command_in_the_readme_parses():
    commands = re.findall(r"^\$ zoo (.+)$", README, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        name, *arguments = shlex.split(command)
        parsed = main.commands[name].make_context(name, list(arguments))
        assert parsed.params.get("as_json", False) == ("--json" in arguments)


@pytest.mark.usefixtures("short_runs")
def test_the_python_runs(digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_digit("7").save("digit.png")
    for label in ("0", "1", "7"):  # half of the drawings, because the network that learns them is large
        Path("my_photos", label).mkdir(parents=True)
        for file in sorted((digits_folder / label).iterdir())[:10]:
            shutil.copy(file, Path("my_photos", label))
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["pipeline"]("digit.png")["labels"][0] == "7"
    assert set(names["zoo"].pipeline("runs/photos")("digit.png")["labels"]) == {"0", "1", "7"}


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
