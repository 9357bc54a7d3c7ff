"""`zoo.train`: a recipe, a folder, a preset."""

import csv
import datetime
import functools
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import plotting, preset, registry, saving
from zoo.data.sources import Source, open_source
from zoo.data.stream import named_errors
from zoo.errors import ZooError, checked_count, checked_path
from zoo.tasks import task_class, task_of
from zoo.tasks.dataset import check_labels, stream
from zoo.training import features
from zoo.training.loop import Loop, make_optimizer, run
from zoo.training.recipe import Recipe, as_toml, read_recipe

STRATEGIES = ("one", "mirrored")


def train(
    recipe: str | os.PathLike,
    out: str | os.PathLike,
    *,
    steps: int | None = None,
    strategy: str = "one",
    report: Callable[[int, int, dict], None] | None = None,
    **overrides,
) -> preset.Preset:
    """Trains by a recipe and writes a preset into the run's folder.

    The folder gets the preset, `recipe.toml` with every setting, `history.csv`, `curves.png` and TensorBoard's
    events. The same recipe, seed and machine give the same weights.

    Args:
        recipe: a recipe's name, a TOML file's path, or a model's name (trained by its task's default recipe).
        out: the run's folder; it must not hold a run yet.
        steps: end after so many steps of the recipe's own schedule.
        strategy: "one" device, or "mirrored" over all of them; the global batch stays as the recipe says.
        report: called as report(step, total steps, figures) after each step and, with validation, each epoch.
        **overrides: differences from the recipe, such as training={"epochs": 3}.

    Raises:
        ZooError: something in the recipe, its data or the folder can't be used, and nothing has been written; or the
            loss is not finite or a file can't be read on the way, and the run's folder holds no preset.
    """
    out = checked_path(out, "out")
    if any((out / name).exists() for name in ("preset.json", "recipe.toml", "history.csv")):
        raise ZooError(f"{out} holds a run already: choose another folder, or remove it")
    if strategy not in STRATEGIES:
        raise ZooError(f"strategy={strategy!r} is none of {', '.join(STRATEGIES)}")
    if steps is not None:
        checked_count(steps, "steps")
    name, recipe = read_recipe(recipe, overrides)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(recipe.seed)
    distribution = _mirrored() if strategy == "mirrored" else tf.distribute.get_strategy()

    sources = _sources(recipe)
    settings = recipe.training
    with distribution.scope():
        model = _model(recipe, sources["train"], distribution.num_replicas_in_sync)
        task = task_of(model)
        check_labels(task, sources["train"])
        batches = {
            split: stream(task, source, settings.batch_size, recipe.seed,
                          augment=settings.augment and split == "train", shuffle=split == "train")
            for split, source in sources.items()
        }  # fmt: skip
        planned = settings.epochs * batches["train"].steps
        last = min(planned, steps or planned)
        optimizer, loss = make_optimizer(settings, planned, model), task.loss(settings.label_smoothing)
        body, learner = features.split(model) if settings.keep_features else (None, model)
        if settings.keep_features and settings.augment and task.settings.get("augment"):
            raise ZooError(f"recipe {name}: kept features are without augmentation: set training.augment = false")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.toml").write_text(as_toml(recipe), encoding="utf-8")
    except OSError as error:
        raise ZooError(f"can't write into {out}: {error.strerror}") from None
    started = time.perf_counter()
    if body is not None:
        told = (lambda done, total: report(0, last, {"features": done})) if report else (lambda done, total: None)
        with named_errors():
            batches = features.keep(body, batches, out, told)
    with distribution.scope():
        learner.compile(optimizer, loss, metrics=task.metrics())
        optimizer.build(learner.trainable_variables)
        loop = Loop(learner, settings, distribution)
    history, best, kept = [], -np.inf, None
    each = (lambda step, loss: report(step, last, {"loss": loss})) if report else (lambda step, loss: None)
    writer = tf.summary.create_file_writer(str(out / "tensorboard"))
    with named_errors():
        for row in run(loop, batches["train"], batches.get("validation"), settings.epochs, last, each):
            history.append(row)
            _log(out, history, writer)
            if report:
                report(loop.step, last, row)
            score = _score(row)
            if settings.keep == "last" or score > best:
                best, kept = score, (loop.weights(), row)
    weights, row = kept
    learner.set_weights(weights)  # the head's layers are the model's own
    if settings.weight_averaging and loop.renew_statistics(batches["train"], settings.epochs):
        loop.averages = None  # the model has them now
        if "validation" in batches:
            row = row | {f"val_{name}": value for name, value in loop.evaluate(batches["validation"]).items()}
    plotting.curves(history, out / "curves.png")
    provenance = {
        "recipe": name,
        "seed": recipe.seed,
        "dataset": sources["train"].name,
        "dataset_version": sources["train"].version,
        "split": sources["train"].split,
        "examples": sources["train"].examples,
        "epochs": f"{history[-1]['epoch']} of {settings.epochs}, kept that of epoch {row['epoch']}",
        "steps": loop.step,
        "started_from": recipe.start_from or "nothing",
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "hardware": hardware(),
        "made": datetime.date.today().isoformat(),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    metrics = []
    if "validation" in sources:
        validation = sources["validation"]
        where = {"dataset": validation.name, "split": validation.split, "examples": validation.examples}
        metrics = [
            {"name": key.removeprefix("val_"), "value": value, **where, "final": False}
            for key, value in row.items()
            if key.startswith("val_")
        ]
    # A folder by its whole path, so that `evaluate` finds it from anywhere.
    place = recipe.data.name or os.path.abspath(recipe.data.folder)
    data = {"name": place, "test": recipe.data.test}
    terms = {"weights": recipe.terms, "data": sources["train"].terms}
    return saving.write_preset(
        model, out, name, data=data, metrics=metrics, provenance=provenance, terms=terms, storage="float32"
    )


def hardware() -> str:
    """The machine in words, for cards."""
    devices = [device.device_type for device in tf.config.list_physical_devices() if device.device_type != "CPU"]
    return ", ".join([f"{os.cpu_count()} cores {platform.machine()}", *devices])


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    """One for all runs of a process: a second strategy would number its collective operations like the first."""
    return tf.distribute.MirroredStrategy()


def _sources(recipe: Recipe) -> dict[str, Source]:
    data = recipe.data
    model = recipe.model or preset.open_preset(recipe.start_from).record["model"]["name"]
    fields = task_class(registry.entries()[model].task).fields
    name = data.name if data.name is not None else Path(data.folder)
    splits = {"train": data.train, "validation": data.validation}
    return {
        split: open_source(name, asked, fields, data.data_dir) for split, asked in splits.items() if asked is not None
    }


def _model(recipe: Recipe, source: Source, replicas: int) -> keras.Model:
    classes = len(source.labels) if source.labels else None
    if recipe.start_from:
        model = preset.load_model(preset.open_preset(recipe.start_from), classes, recipe.freeze, recipe.task)
    else:
        overrides = {"classes": classes, **recipe.model_overrides} if classes else recipe.model_overrides
        model = registry.create_model(recipe.model, freeze=recipe.freeze, **overrides)
        model.origin.settings |= recipe.task
    settings, assets, _ = task_class(model.origin.task).adapt(source, model.origin.settings)
    model.origin.settings |= settings
    model.origin.assets |= assets
    model.origin.labels = source.labels
    for layer in model.layers:
        # Over replicas the statistics are those of the global batch, as on one device.
        if isinstance(layer, keras.layers.BatchNormalization) and replicas > 1:
            layer.synchronized = True
    return model


def _score(row: dict) -> float:
    """What `keep = "best"` compares: validation accuracy where there is one, else the loss."""
    if "val_accuracy" in row:
        return row["val_accuracy"]
    return -row.get("val_loss", row["loss"])


def _log(out: Path, history: list[dict], writer) -> None:
    with open(out / "history.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, history[0])
        rows.writeheader()
        rows.writerows(history)
    with writer.as_default(step=history[-1]["step"]):
        for key, value in history[-1].items():
            if key not in ("epoch", "step"):
                tf.summary.scalar(key, value)
    writer.flush()
