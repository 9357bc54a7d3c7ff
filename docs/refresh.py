"""Writes what recipes say about the bundled presets into them, then the generated files: the cards of the presets, the
index of their hashes, and the table in README.md.

python docs/refresh.py
"""

import json
import re
from pathlib import Path

from zoo import preset
from zoo.preset import cache, card
from zoo.training.recipe import read_recipe, recipes

README = Path(__file__).parents[1] / "README.md"
PLACE = re.compile(r"(?<=<!-- presets -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    presets = [by_recipe(preset.open_preset(path)) for path in sorted(preset.BUNDLED.iterdir()) if path.is_dir()]
    for each in presets:
        (each.path / "README.md").write_text(card.card(each.record), encoding="utf-8")
    index = {each.name: preset.sha256(each.path / "preset.json") for each in presets}
    cache.INDEX.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    table = card.table([each.record for each in presets])
    README.write_text(PLACE.sub(lambda _: table, README.read_text(encoding="utf-8")), encoding="utf-8")


def by_recipe(each: preset.Preset) -> preset.Preset:
    """The preset with the domain and the settings of its recipe, which may state more than at the time of training."""
    if each.name not in recipes():
        return each
    _, recipe = read_recipe(each.name)
    task = each.record["task"]
    stated = {"task": {**task, "settings": {**task["settings"], **recipe.task}}, "domain": recipe.domain}
    changes = {key: value for key, value in stated.items() if value and each.record.get(key) != value}
    return preset.update(each, **changes) if changes else each


if __name__ == "__main__":
    main()
