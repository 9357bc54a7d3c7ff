"""Fixtures of the tests of presets."""

import os
import shutil

import pytest

from tests.helpers.presets import METRIC
from zoo import preset


@pytest.fixture
def places(tmp_path, monkeypatch):
    """No presets but the test's: two folders of ZOO_PRESETS, the bundled ones, the cache."""
    for part in ("one", "two", "bundled", "cache"):
        (tmp_path / part).mkdir()
    monkeypatch.setenv("ZOO_PRESETS", f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}{os.pathsep}")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_PRESETS_URL", raising=False)
    monkeypatch.setattr("zoo.preset.folders.BUNDLED", tmp_path / "bundled")
    return tmp_path


@pytest.fixture
def mine(tiny_preset, tmp_path):
    """A copy of the tiny preset, with figures, terms and a history; not to be found by name."""
    path = tmp_path / "mine"
    shutil.copytree(tiny_preset, path)
    changes = {"metrics": [METRIC], "terms": {"weights": "CC0"}, "data": {"name": "drawn", "test": "test"}}
    preset.update(preset.open_preset(path), **changes, provenance={"recipe": "by.hand", "seed": 3})
    return path
