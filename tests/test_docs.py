"""The pages of the documentation say what is true: their commands and their Python run."""

import re
import shlex

import pytest
from click.testing import CliRunner

from tests.helpers.pages import PAGES, commands, is_bundled, python_blocks, write_files
from tests.helpers.paths import ROOT
from zoo.cli import main

RUN = ("predict", "explain", "embed", "list", "info", "listen")  # the others take long, or end only when interrupted
GUIDES = [page for page in PAGES if "pages" in page.parts]


def name(page) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_every_command_parses(page):
    for command in commands(page):
        verb, *arguments = shlex.split(command)
        parsed = main.commands[verb].make_context(verb, list(arguments))
        assert parsed.params.get("as_json", False) == ("--json" in arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in GUIDES if commands(page)], ids=name)
def test_commands_on_bundled_presets_run(page, digits_folder, tmp_path, monkeypatch):
    """Exit status 1 is right only where the page shows an error."""
    monkeypatch.chdir(tmp_path)
    write_files(digits_folder, tmp_path)
    for command in commands(page):
        verb, *arguments = shlex.split(command)
        if verb in RUN and (verb == "list" or is_bundled(arguments[0])):
            result = CliRunner().invoke(main, [verb, *arguments])
            assert result.exit_code == int("notes.txt" in arguments), f"zoo {command}: {result.output}"
            assert result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("page", [page for page in GUIDES if python_blocks(page)], ids=name)
def test_the_python_runs(page, digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(digits_folder, tmp_path)
    (tmp_path / "my_photos" / "roses").rename(tmp_path / "roses")  # the text speaks of three classes
    names: dict = {}
    for block in python_blocks(page):
        exec(block, names)


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_pictures_exist(page):
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file() or (ROOT / "docs" / target).is_file()
