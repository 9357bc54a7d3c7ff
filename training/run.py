"""`zoo.train`: trains a model from a recipe and writes a preset into the run's folder."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from zoo import preset
from zoo.errors import ZooError, checked_count, checked_path
from zoo.training.cluster import train_on_ray
from zoo.training.recipe import Recipe, read_recipe
from zoo.training.session import Session, named_stage
from zoo.training.strategies import is_chief, open_strategy
from zoo.training.workdir import Workdir


def train(
    recipe: str | os.PathLike,
    out: str | os.PathLike,
    *,
    steps: int | None = None,
    strategy: str = "one",
    cluster: str | None = None,
    workers: int | None = None,
    gpus_per_worker: int | None = None,
    report: Callable[[int, int, dict], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
    **overrides,
) -> preset.Preset | None:
    """Trains a model from a recipe and writes a preset into the run's folder. A second call continues the run.

    docs/RECIPES.md lists the files of the folder. The same recipe, seed and machine give the same weights, also if the
    run is interrupted and continued. On SIGTERM or SIGINT, the run writes a checkpoint and ends.

    Args:
        recipe: name of a recipe, path of a TOML file, or name of a model, which gets the default recipe of its task.
        out: the run's folder.
        steps: ends the run early, after this many steps from its start; a later call continues it.
        strategy: "one" device, "mirrored" (all devices of this machine), or "multi_worker" (the machines in TF_CONFIG).
            The recipe's batch is the global batch.
        cluster: "ray" starts the workers on the Ray cluster at RAY_ADDRESS, or on a new one on this machine.
        workers: number of worker processes on the cluster, 2 by default; each uses all cores of its machine.
        gpus_per_worker: number of GPUs per worker process on the cluster, 0 by default.
        report: called as report(step, total steps, figures) after each step and each epoch, and with the figures
            "stage" and "stages" when a stage of several starts.
        warn: called with a message of one line about a problem that does not end the run.
        **overrides: differences from the recipe, such as training={"epochs": 3}.

    Returns:
        The preset. Only the first worker writes it; on other workers None.

    Raises:
        ZooError: the recipe, its data or the folder can't be used, or another run uses the folder (nothing is
            written); or the loss or a gradient is not finite, or a file can't be read (no preset is written).
        Stopped: a signal ended the run after a checkpoint; on a cluster, Ctrl-C ended it without one.
    """
    out = checked_path(out, "out")
    if steps is not None:
        checked_count(steps, "steps")
    name, recipe = read_recipe(recipe, overrides)
    if recipe.stages and (cluster is not None or strategy == "multi_worker"):
        raise ZooError(f"recipe {name} has several stages, which need one machine: leave out the other workers")
    report = report or (lambda *_: None)
    if cluster is not None:
        _check_cluster(cluster, strategy)
        train_on_ray(name, recipe, out, 2 if workers is None else workers, gpus_per_worker or 0, steps, report, warn)
        return preset.open_preset(out)
    if workers is not None or gpus_per_worker is not None:
        raise ZooError('workers and gpus_per_worker need a cluster: add cluster="ray"')
    return train_recipe(name, recipe, out, steps, strategy, report, warn)


def _check_cluster(cluster: str, strategy: str) -> None:
    if cluster != "ray":
        raise ZooError(f'cluster must be "ray", got {cluster!r}')
    if strategy not in ("one", "multi_worker"):
        raise ZooError(f'cluster="ray" chooses the strategy: leave out strategy={strategy!r}')


def train_recipe(
    name: str,
    recipe: Recipe,
    out: Path,
    steps: int | None,
    strategy: str,
    report: Callable[[int, int, dict], None],
    warn: Callable[[str], None],
    patience: float = 0.0,
) -> preset.Preset | None:
    """`train` in this process, with a parsed recipe; waits up to `patience` seconds for a folder that is in use."""
    distribution = open_strategy(strategy)
    tf.config.experimental.enable_op_determinism()
    result, done = None, 0
    runs = recipe.runs(out)
    for number, (folder, stage) in enumerate(runs, start=1):
        workdir = Workdir(folder, is_chief(distribution), strategy != "multi_worker")
        with workdir.in_use(patience):
            left = steps and steps - done
            later = [recipe for _, recipe in runs[number:]]
            with named_stage(number if number > 1 else None):
                session = Session(name, stage, workdir, distribution, left, report, warn, result, number, later)
            result = preset.open_preset(folder) if session.is_finished and folder != out else session.train()
        if workdir.was_cut():
            break
        if recipe.stages and steps is not None and (done := result.record["provenance"]["steps"]) >= steps:
            break
    return result
