"""What a run is made of: its data, what its task learns from them, and its model."""

import contextlib
import itertools
from pathlib import Path

import keras

from zoo import preset, registry
from zoo.data.sources import Source, open_source
from zoo.errors import ZooError
from zoo.tasks import task_class
from zoo.training.recipe import Data, Recipe

Adapted = tuple[dict, dict[str, bytes], dict]  # what `adapt` returns: settings, assets, model overrides


def open_sources(recipe: Recipe) -> dict[str, Source]:
    """The recipe's data by split: "train", and "validation" where it has one.

    Raises:
        ZooError: data that can't be had, or splits with examples in common: what is measured on seen data, or chosen
            by the test split, is no figure.
    """
    data = recipe.data
    fields = task_class(registry.entries()[_model_name(recipe)].task).fields
    name = data.name if data.name is not None else Path(data.folder)
    splits = {"train": data.train, "validation": data.validation}
    sources = {
        split: open_source(name, asked, fields, data.data_dir) for split, asked in splits.items() if asked is not None
    }
    every = dict(sources)
    if data.test is not None:
        is_default = data.test == Data.model_fields["test"].default  # which not every data set has
        with contextlib.suppress(ZooError) if is_default else contextlib.nullcontext():
            every["test"] = open_source(name, data.test, fields, data.data_dir)
    for one, other in itertools.combinations(every, 2):
        if every[one].overlaps(every[other]):
            raise ZooError(
                f"data.{one} = {every[one].split!r} and data.{other} = {every[other].split!r} have examples in common: "
                'give slices such as "train[:90%]" and "train[90%:]", or "" for none'
            )
    return sources


def check_place(recipe: Recipe, out: Path) -> None:
    """Raises ZooError where a run's folder lies in that of its data, whose files it would be among."""
    folder = recipe.data.folder and Path(recipe.data.folder).resolve()
    if folder and out.resolve().is_relative_to(folder):
        raise ZooError(f"{out} lies in the data's folder {recipe.data.folder}: choose one outside of it")


def check_same_data(source: Source, facts: dict, path: Path) -> None:
    """Raises ZooError where the training data are not those with which the run at `path` began, by its facts."""
    changed = ""
    if facts["examples"] != source.examples:
        changed = f"has {source.examples} examples now, and had {facts['examples']}"
    elif facts["labels"] != source.labels:
        changed = f"has other classes ({', '.join(sorted({*facts['labels']} ^ {*source.labels})[:4])}) than"
    elif facts.get("fingerprint", source.fingerprint) != source.fingerprint:
        changed = "has other examples or names of files than"
    if changed:
        raise ZooError(
            f"{source.name} {changed} when the run in {path} began: restore it, or begin again in another folder"
        )


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
