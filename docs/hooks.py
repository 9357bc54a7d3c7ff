"""Adds pages to the documentation that are written elsewhere or made from data: presets, recipes and reports."""

import json
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from zoo import registry  # noqa: E402 (of this checkout)
from zoo.preset import card  # noqa: E402

REPORTS = ("RECIPES.md", "SCALING.md", "ADDING.md", "DESIGN.md", "language_models.md")
PICTURES = ("attention.png", "captions.png", "bleu_by_length.png", "vanishing_gradient.png", "overview.webp")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in PICTURES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / "docs" / name)))
    for name in REPORTS:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8").replace("](pages/", "](")  # as the site lays them out
        files.append(File.generated(config, name, content=text))
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for name, text in {"presets.md": presets(), "recipes.md": recipes(), "benchmarks.md": results}.items():
        files.append(File.generated(config, name, content=text))
    return files


def presets() -> str:
    """The table of presets by task, all models, and the cards."""
    folders = sorted(path for path in (ROOT / "zoo" / "presets").iterdir() if path.is_dir())
    records = [json.loads((folder / "preset.json").read_text(encoding="utf-8")) for folder in folders]
    lines = ["# Models and presets", "", "A *model* is an architecture; its defaults are the values of its paper. A "
             "*preset* is a model with trained weights. `zoo list` and `zoo info NAME` print what this page shows.", "",
             "## Presets", "", card.table(records, link="#{anchor}"), "## Models", "",
             "| model | task | parameters | paper |", "|---|---|---|---|"]  # fmt: skip
    for name, entry in sorted(registry.entries().items()):
        lines.append(f"| `{name}` | {entry.task} | {entry.parameters:,} | {entry.paper} |")
    for folder in folders:
        text = (folder / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"^## (.*)$", r"**\1**", text, flags=re.MULTILINE)
        lines += ["", re.sub(r"^# ", "## ", text, count=1)]
    return "\n".join(lines) + "\n"


def recipes() -> str:
    """Every recipe as it is, with its own words."""
    lines = ["# Recipes", "", "The recipes of this package, as they are in `training/recipes/`. `zoo train NAME --out "
             "FOLDER` runs one; [Configuration of recipes](RECIPES.md) has all settings.", ""]  # fmt: skip
    for path in sorted((ROOT / "training" / "recipes").glob("*.toml")):
        lines += [f"## {path.stem}", "", "```toml", path.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)
