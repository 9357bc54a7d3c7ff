"""The preset that a run writes: where its model comes from, and its validation metrics."""

import datetime
import os
from pathlib import Path

import keras

from zoo import preset
from zoo.data.source import Source
from zoo.preset import saving
from zoo.training.recipe import Recipe
from zoo.training.workdir import hardware, versions


def write_result(
    model: keras.Model,
    out: Path,
    name: str,
    recipe: Recipe,
    sources: dict[str, Source],
    row: dict,
    facts: dict,
    before: preset.Preset | None = None,
) -> preset.Preset:
    """Writes a trained model as a preset.

    Args:
        model: with the weights to keep.
        out: the run's folder.
        name: of the preset.
        recipe: of the run.
        sources: its data by split.
        row: the row of history for these weights.
        facts: "epochs", "steps" and "minutes" of the run.
        before: the preset of the stage before, whose facts are added.
    """
    if before is None:
        inherited = saving.inherited_terms(model.origin, sources["train"].terms)
    else:  # which has the same data
        inherited = before.record["terms"]
    # The absolute path of a folder, so that `evaluate` finds it from any working directory.
    place = recipe.data.name or os.path.abspath(recipe.data.folder)
    folder = {"data_dir": os.path.abspath(recipe.data.data_dir)} if recipe.data.data_dir else {}
    return saving.write_preset(
        model,
        out,
        name,
        data={"name": place, "test": recipe.data.test, **folder},
        metrics=_metrics(sources["validation"], row) if "validation" in sources else [],
        provenance=_provenance(name, recipe, sources["train"], facts, before),
        terms=inherited | {"weights": recipe.terms},
        storage="float32",
        domain=recipe.domain,
    )


def _metrics(source: Source, row: dict) -> list[dict]:
    where = {"dataset": source.name, "split": source.split, "examples": source.examples}
    return [
        {"name": key.removeprefix("val_"), "value": value, **where, "final": False}
        for key, value in row.items()
        if key.startswith("val_")
    ]


def _provenance(name: str, recipe: Recipe, source: Source, facts: dict, before: preset.Preset | None) -> dict:
    start = recipe.start_from or "nothing"
    if before is not None:
        stage = before.record["provenance"]
        start = stage["started_from"]
        facts = {
            "epochs": f"{stage['epochs']}; then {facts['epochs']}",
            "steps": stage["steps"] + facts["steps"],
            "minutes": round(stage["minutes"] + facts["minutes"], 1),
        }
    return {
        "recipe": name,
        "seed": recipe.seed,
        "dataset": source.name,
        "dataset_version": source.version,
        "split": source.split,
        "examples": source.examples,
        "epochs": facts["epochs"],
        "steps": facts["steps"],
        "started_from": start,
        "minutes": facts["minutes"],
        "hardware": hardware(),
        "made": datetime.date.today().isoformat(),
        "versions": versions(),
    }
