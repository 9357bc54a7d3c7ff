"""A folder of models that a test may add to."""

import shutil
import sys

import pytest

from zoo import registry


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A copy of zoo/models that the registry reads, and from which it imports."""
    import zoo.models

    folder = tmp_path / "models"
    shutil.copytree(registry.reading.MODELS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "family").mkdir()
    monkeypatch.setattr("zoo.registry.reading.MODELS", folder)
    monkeypatch.setattr(zoo.models, "__path__", [*zoo.models.__path__, str(folder)])
    yield folder
    for module in [module for module in sys.modules if module.startswith("zoo.models.family")]:
        del sys.modules[module]
