"""What a run is made of: its data, what its task learns from them, and its model."""

from pathlib import Path

import keras

from zoo import preset, registry
from zoo.data.sources import Source, open_source
from zoo.tasks import task_class
from zoo.training.recipe import Recipe

Adapted = tuple[dict, dict[str, bytes], dict]  # what `adapt` returns: settings, assets, model overrides


def open_sources(recipe: Recipe) -> dict[str, Source]:
    """The recipe's data by split: "train", and "validation" where it has one."""
    data = recipe.data
    fields = task_class(registry.entries()[_model_name(recipe)].task).fields
    name = data.name if data.name is not None else Path(data.folder)
    splits = {"train": data.train, "validation": data.validation}
    return {
        split: open_source(name, asked, fields, data.data_dir) for split, asked in splits.items() if asked is not None
    }


def adapt(recipe: Recipe, source: Source) -> Adapted:
    """What the task takes from the training data before the first step."""
    entry = registry.entries()[_model_name(recipe)]
    settings, assets = entry.settings, {}
    if recipe.start_from:
        parent = preset.open_preset(recipe.start_from)
        settings, assets = parent.record["task"]["settings"], parent.assets()
    return task_class(entry.task).adapt(source, {**settings, **recipe.task}, assets)


def make_model(recipe: Recipe, source: Source, adapted: Adapted) -> keras.Model:
    """The recipe's model, new or that of the preset it starts from."""
    settings, assets, overrides = adapted
    classes = len(source.labels) if source.labels else None
    if recipe.start_from:
        model = preset.load_model(preset.open_preset(recipe.start_from), classes, recipe.freeze, recipe.task)
    else:
        overrides = {**({"classes": classes} if classes else {}), **overrides, **recipe.model_overrides}
        model = registry.create_model(recipe.model, freeze=recipe.freeze, **overrides)
        model.origin.settings |= recipe.task
    model.origin.settings |= settings
    model.origin.assets |= assets
    model.origin.labels = source.labels
    return model


def _model_name(recipe: Recipe) -> str:
    return recipe.model or preset.open_preset(recipe.start_from).record["model"]["name"]
