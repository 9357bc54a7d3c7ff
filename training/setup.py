"""The parts of a run: data, what the task learns from the data first, model, and objective."""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import keras

from zoo import preset, registry
from zoo.data.sources import Source, open_source
from zoo.errors import NoSplitError, ZooError
from zoo.tasks import settings_class, task_class, task_of
from zoo.tasks.task import Task
from zoo.training.carried import Carried
from zoo.training.objective import Objective
from zoo.training.recipe import Data, Recipe

Adapted = tuple[dict, dict[str, bytes], dict]  # task settings, assets, arguments of the model


def open_sources(recipe: Recipe) -> dict[str, Source]:
    """The recipe's data by split: "train", and "validation" if it has one.

    Raises:
        ZooError: data can't be opened, or splits have examples in common (metrics on training data, or on data that
            chose the model, are not valid).
    """
    data = recipe.data
    splits = {"train": data.train, "validation": data.validation}

    def open_split(split: str, slices: str) -> Source:
        try:
            return _opened(recipe, slices)
        except NoSplitError as error:
            raise ZooError(f'{error}; to do without, set data.{split} = ""') from None

    sources = {split: open_split(split, slices) for split, slices in splits.items() if slices is not None}
    opened = dict(sources)
    if data.test is not None:
        is_default = data.test == Data.model_fields["test"].default  # which not every data set has
        with contextlib.suppress(ZooError) if is_default else contextlib.nullcontext():
            opened["test"] = open_split("test", data.test)
    for first, second in itertools.combinations(opened, 2):
        if opened[first].overlaps(opened[second]):
            raise ZooError(
                f"data.{first} = {opened[first].split!r} and data.{second} = {opened[second].split!r} have examples in "
                'common: give slices such as "train[:90%]" and "train[90%:]", or "" to leave a split out'
            )
    return sources


def pretraining_source(recipe: Recipe, sources: dict[str, Source]) -> Source:
    """The data of the recipe's pretraining, of which `sources` are the result of `open_sources`.

    Raises:
        ZooError: it has examples of the validation or test split.
    """
    split = recipe.pretraining.split
    if split is None:
        return sources["train"]
    source, others = _opened(recipe, split), {"validation": sources.get("validation")}
    if recipe.data.test is not None:
        with contextlib.suppress(ZooError):
            others["test"] = _opened(recipe, recipe.data.test)
    for name, other in others.items():
        if other is not None and source.overlaps(other):
            raise ZooError(
                f"pretraining.split = {split!r} and data.{name} = {other.split!r} have examples in common: give a part "
                "of the training split"
            )
    return source


def _opened(recipe: Recipe, split: str) -> Source:
    data, task = recipe.data, task_class(task_name(recipe))
    name = data.name if data.name is not None else Path(data.folder)
    return open_source(name, split, task.fields, task.layout, data.data_dir, skip_missing=data.skip_missing)


def class_counts(recipe: Recipe) -> dict[str, dict[str, int]]:
    """{class: {split: number of files}} of the recipe's folder; empty if its data are not a folder of classes."""
    layout = task_class(task_name(recipe)).layout
    folder = recipe.data.folder and Path(recipe.data.folder)
    return layout.counts(folder) if folder and folder.is_dir() and hasattr(layout, "counts") else {}


def check_place(recipe: Recipe, out: Path) -> None:
    """Raises ZooError if a run's folder lies inside the folder of its data."""
    folder = recipe.data.folder and Path(recipe.data.folder).resolve()
    if folder and out.resolve().is_relative_to(folder):
        raise ZooError(f"{out} lies inside the data's folder {recipe.data.folder}: choose a folder outside")


def check_same_data(source: Source, facts: dict, path: Path) -> None:
    """Raises ZooError if the training data differ from those of the run at `path`, by the facts of its checkpoint."""
    changed = ""
    if facts["examples"] != source.examples:
        changed = f"has {source.examples} examples, but had {facts['examples']}"
    elif facts["labels"] != source.labels:
        differing = sorted({*(facts["labels"] or ())} ^ {*(source.labels or ())})
        changed = f"has other classes ({', '.join(differing[:4])}) than it had"
    elif facts.get("fingerprint", source.fingerprint) != source.fingerprint:
        changed = "has other examples or file names than it had"
    if changed:
        raise ZooError(
            f"{source.name} {changed} when the run in {path} started: restore the data, or use another folder"
        )


def adapt(recipe: Recipe, source: Source) -> Adapted:
    """What the task learns from the training data before the first step, such as a vocabulary."""
    entry = registry.entries()[_model_name(recipe)]
    settings, assets = entry.settings, {}
    if recipe.start_from:
        parent = preset.open_preset(recipe.start_from)
        settings, assets = parent.record["task"]["settings"], parent.assets()
    task = task_class(task_name(recipe))
    settings = task.Settings.inherited(settings)
    settings = {**settings, **task.Settings.today(recipe.task)}
    return task.adapt(source, settings, assets)


def make_model(
    recipe: Recipe, source: Source, adapted: Adapted, warn: Callable[[str], None] = lambda _: None
) -> keras.Model:
    """The recipe's model: new, or loaded from the preset that the recipe starts from.

    A new model may contain presets, which bring their weights: model_overrides = {encoder = "lenet5.mnist"}.

    A model that is loaded keeps its head and labels if the data set has classes of the same names, in any order. If it
    has as many classes of other names, the head gets new weights, and `warn` is called with a message of one line.
    """
    settings, assets, arguments = adapted
    if recipe.start_from:
        parent = preset.open_preset(recipe.start_from)
        keeps = _has_classes_of(parent, source)
        model = preset.load_model(
            parent, arguments.get("classes"), recipe.freeze, recipe.task, keeps, recipe.model_overrides,
            settings_class(parent.record["task"]["name"]).of_classes,
        )  # fmt: skip
        if not keeps and len(source.labels) == len(parent.record["task"]["settings"]["labels"]):
            warn(f"{source.name} has other classes than {parent.name}: the head starts with new weights")
    else:
        model = preset.create_model(recipe.model, freeze=recipe.freeze, **{**arguments, **recipe.model_overrides})
    known = task_class(model.origin.task).Settings
    model.origin.settings = {**known.inherited(model.origin.settings), **known.today(recipe.task), **settings}
    model.origin.assets |= assets
    if model.origin.labels is None or not source.labels:
        model.origin.labels = model.origin.data_labels = source.labels
    if not recipe.start_from and task_class(model.origin.task).start is not Task.start:
        task_of(model).start()
    return model


def _has_classes_of(parent: preset.Preset, source: Source) -> bool:
    """Whether a preset and a data set have classes of the same names, or one of them has no names."""
    task = parent.record["task"]
    names = task["settings"].get("labels")
    if not names or not source.labels:
        return True
    return set(source.labels) in (set(names), set(task.get("data_labels") or ()))


def carried_state(task: Task) -> Carried:
    """The state that the task's model carries from batch to batch."""
    carried = Carried(task.carried, task.resets)
    carried.check(task.model)
    return carried


def make_objective(task: Task, label_smoothing: float) -> Objective:
    """The losses and metrics of the task's model; carried state has no loss.

    Raises:
        ZooError: the task's criterion is not one of its metrics.
    """
    outputs = tuple(name for name in task.model.output if name not in task.carried)
    objective = Objective(task.loss(label_smoothing), task.metrics(), outputs)
    known = [*objective.means, *objective.metrics]
    if task.criterion.metric not in known:
        raise ZooError(f"{task.name}: the criterion {task.criterion.metric!r} must be one of {', '.join(known)}")
    return objective


def task_name(recipe: Recipe) -> str:
    """The task of the recipe's model or preset."""
    if recipe.start_from:
        return preset.open_preset(recipe.start_from).record["task"]["name"]
    return registry.entries()[recipe.model].task


def with_todays_names(recipe: Recipe) -> Recipe:
    """The recipe with current names of task settings; recipes of earlier versions may use old names."""
    return recipe.model_copy(update={"task": settings_class(task_name(recipe)).today(recipe.task)})


def steps_per_epoch(recipe: Recipe, source: Source) -> int:
    """Number of training batches per epoch; builds the model if the task makes its own examples from the data."""
    if task_class(task_name(recipe)).examples is not Task.examples:
        model = make_model(recipe, source, adapt(recipe, source))
        source = task_of(model).examples(source, recipe.training.batch_size)
    return -(-source.examples // recipe.training.batch_size)


def _model_name(recipe: Recipe) -> str:
    return recipe.model or preset.open_preset(recipe.start_from).record["model"]["name"]
