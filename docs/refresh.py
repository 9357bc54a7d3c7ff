"""Writes the generated files: the cards of the presets, the index of their hashes, and the table in README.md.

python docs/refresh.py
"""

import json
import re
from pathlib import Path

from zoo import preset
from zoo.preset import cache, card

README = Path(__file__).parents[1] / "README.md"
PLACE = re.compile(r"(?<=<!-- presets -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    presets = [preset.open_preset(path) for path in sorted(preset.BUNDLED.iterdir()) if path.is_dir()]
    for each in presets:
        (each.path / "README.md").write_text(card.card(each.record), encoding="utf-8")
    index = {each.name: preset.sha256(each.path / "preset.json") for each in presets}
    cache.INDEX.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    table = card.table([each.record for each in presets])
    README.write_text(PLACE.sub(lambda _: table, README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
