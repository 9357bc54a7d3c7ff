"""The folder of the data, which a recipe may name, goes with the preset."""

from types import SimpleNamespace

import pytest

import zoo
from zoo import preset
from zoo.errors import ZooError
from zoo.exporting import edge
from zoo.tasks import task_of
from zoo.training.recipe import Recipe
from zoo.training.result import write_result


@pytest.fixture
def trained(tiny_preset, tmp_path):
    data = {"name": "symbols", "data_dir": str(tmp_path)}
    recipe = Recipe(model="mlp", data=data, training={"epochs": 1, "batch_size": 1})
    source = SimpleNamespace(name="symbols", version="1", split="train", examples=1, terms="none")
    facts = {"epochs": "1 of 1", "steps": 1, "minutes": 0.0}
    return write_result(zoo.load(tiny_preset), tmp_path / "run", "mlp.mine", recipe, {"train": source}, {}, facts)


def test_evaluation_and_export_read_it(trained, tmp_path, monkeypatch):
    assert trained.record["data"] == {"name": "symbols", "test": "test", "data_dir": str(tmp_path)}
    places = []

    def opened(name, split, fields, layout, data_dir=None, *_, **__):
        places.append((name, data_dir))
        raise ZooError("seen")

    monkeypatch.setattr("zoo.inference.open_source", opened)
    monkeypatch.setattr(edge, "open_source", opened)
    for arguments in ({}, {"data_dir": "elsewhere"}, {"dataset": "others"}):
        with pytest.raises(ZooError, match="seen"):
            zoo.evaluate(trained.path, **arguments)
    task = task_of(preset.load_model(trained))
    assert edge._measure(task, None, None, trained.record["data"]) == {"not measured": "seen"}
    own = ("symbols", str(tmp_path))
    assert places == [own, ("symbols", "elsewhere"), ("others", None), own]
