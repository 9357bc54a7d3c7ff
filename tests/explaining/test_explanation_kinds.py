"""Kinds of explanation that a task of another distribution brings, options by kind, and rows for printing."""

import sys
import types

import keras
import numpy as np
import pytest

import zoo
from zoo import explaining
from zoo.errors import InputError, ZooError
from zoo.explaining.rows import rows_of
from zoo.registry import Origin
from zoo.tasks import raw
from zoo.tasks.task import Task


class FakeTask(Task):
    """Numbers in, their doubles out."""

    name = "doubling"
    explanations = {"steps": "doubling_steps", "missing": "doubling_missing"}

    def __init__(self, model, settings, labels, assets):
        self.model, self.settings = model, settings

    def raw_inputs(self):
        return (raw.RawInput("number", "number"),)


def steps_module() -> types.ModuleType:
    module = types.ModuleType("doubling_steps")
    module.ITEMS = 2

    def explain(task, items, errors, *, power=1):
        return rows_of(
            items,
            errors,
            lambda item: float(task.encode(item)["number"]),
            lambda number: {"steps": np.array([number, number * 2**power]), "last": number * 2**power, "_hidden": 7},
        )

    def draw(rows, path):
        path.write_text("\n".join(f"{row['_name']} {row['_hidden']} {row['last']:g}" for row in rows))

    module.explain, module.draw = explain, draw
    module.line = lambda row: f"{row['input']} becomes {row['last']:g}"
    return module


@pytest.fixture
def doubling(monkeypatch):
    """A model of the fake task."""
    monkeypatch.setitem(sys.modules, "doubling_steps", steps_module())
    monkeypatch.setattr(explaining, "task_of", lambda model: FakeTask(model, {}, None, {}))
    number = keras.Input((), name="number")
    model = keras.Model({"number": number}, {"double": 2.0 * number}, name="doubler")
    model.origin = Origin(model="doubler", overrides={}, task="doubling", settings={})
    return model


def test_a_kind_from_another_module(doubling, tmp_path):
    """The first kind of the table is the default; hidden keys and the model's name reach `draw` alone."""
    out = tmp_path / "steps.svg"
    rows = zoo.explain(doubling, [3, "x"], out, errors="return", power=2)
    np.testing.assert_array_equal(rows[0]["steps"], [3.0, 12.0])
    assert {key: rows[0][key] for key in ("input", "last")} == {"input": "3", "last": 12.0}
    assert rows[0].keys() == {"input", "last", "steps"}
    assert rows[1] == {"input": "x", "error": "expected a finite number, got 'x'"}
    assert out.read_text() == "doubler 7 12"
    module = explaining.module_of(doubling)
    assert module.line(rows[0]) == "3 becomes 12"
    assert explaining.module_of(doubling, "steps") is module


def test_a_bad_item_is_refused_before_any_is_explained(doubling, tmp_path):
    explained = []
    with pytest.raises(InputError, match="expected a finite number, got 'x'"):
        rows_of([1, "x"], "raise", lambda item: FakeTask(doubling, {}, None, {}).encode(item), explained.append)
    assert explained == []
    with pytest.raises(InputError, match="expected a finite number, got 'x'"):
        zoo.explain(doubling, [1, "x"], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "heat"}, "kind must be steps or missing for doubler (doubling), got 'heat'"),
        ({"kind": "missing"}, "kind='missing' of doubling: doubling_missing can't be imported: No module named"),
        ({"label": "a"}, "kind='steps' takes power, got label"),
        ({"inputs": [1, 2, 3]}, "kind='steps' takes at most 2 inputs, got 3"),
        ({"inputs": None}, "doubler has no samples: give an input to explain"),
    ],
)
def test_mistakes_with_a_kind_from_another_module(arguments, message, doubling, tmp_path):
    with pytest.raises(ZooError) as caught:
        zoo.explain(**{"name": doubling, "inputs": 1, "out": tmp_path / "x.png", **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_explanations(doubling, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeTask, "explanations", {})
    for kind in (None, "heat"):
        with pytest.raises(ZooError, match="^doubler can't be explained: its task, doubling, has no explanations$"):
            zoo.explain(doubling, 1, tmp_path / "x.png", kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_options_that_are_none_are_not_given(tiny_preset, tmp_path):
    (row,) = zoo.explain(tiny_preset, None, tmp_path / "x.png", kind="filters", label=None, layer=None)
    assert row.keys() == {"layer", "filters"}


def test_rows_without_their_arrays():
    row = {
        "input": "a.png",
        "score": 0.5,
        "layer": None,
        "heat": None,
        "gradient": np.zeros((2, 2)),
        "layers": {"conv1": np.zeros(3), "head": np.zeros(2)},
        "words": ["a", "b"],
        "facts": {"count": 1},
    }
    printed = {"input": "a.png", "score": 0.5, "layer": None, "layers": ["conv1", "head"], "words": ["a", "b"]}
    assert explaining.printable(row, ("heat",)) == printed | {"facts": {"count": 1}}
    assert explaining.printable(row) == printed | {"facts": {"count": 1}, "heat": None}
