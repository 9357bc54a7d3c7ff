"""The documentation as a site: it builds without a warning, and its pages load nothing from other hosts."""

import logging
import re

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.helpers.paths import ROOT
from zoo import preset

LOADED = re.compile(r"<(?:script|img|link|iframe|source|video|audio)\b[^>]*?\b(?:src|href|srcset)=[\"']?([^\"'\s>]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        config = load_config(str(ROOT / "docs" / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert warnings == []
    return folder


def test_pages_load_nothing_from_other_hosts(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in LOADED.findall(text):
            is_canonical = f'<link rel="canonical" href="{target}"' in text
            assert is_canonical or not re.match(r"(?:https?:)?//", target), f"{page}: {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_every_preset_has_a_card_and_a_place_in_the_gallery(site):
    cards, gallery = ((site / f"{name}.html").read_text(encoding="utf-8") for name in ("presets", "gallery"))
    for path in preset.BUNDLED.iterdir():
        if path.is_dir():
            assert f'id="{path.name.replace(".", "").lower()}"' in cards
            assert path.name in gallery
