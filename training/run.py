"""`zoo.train`: trains a model from a recipe and writes a preset into the run's folder."""

import contextlib
import math
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from zoo import plotting, preset, registry
from zoo.data.stream import named_errors
from zoo.errors import Stopped, ZooError, checked_count, checked_path
from zoo.layers.activations import leaves
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.training import frozen, setup
from zoo.training.batchnorm_statistics import renew_statistics
from zoo.training.checkpoints import Checkpoints
from zoo.training.cluster import train_on_ray
from zoo.training.interruption import catch_signals
from zoo.training.loop import Loop, NotFinite, run
from zoo.training.optimizers import make_optimizer
from zoo.training.recipe import Recipe, read_recipe
from zoo.training.result import write_result
from zoo.training.strategies import is_chief, open_strategy
from zoo.training.tensorboard_images import Pictures
from zoo.training.workdir import BAD_BATCH, Workdir


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
        report: called as report(step, total steps, figures) after each step and each epoch.
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
    workdir = Workdir(out, is_chief(distribution), strategy != "multi_worker")
    with workdir.in_use(patience):
        return _Run(name, recipe, workdir, distribution, steps, report, warn).train()


class _Run:
    """One call of `train`: sets up the model and the batches, then trains from the first step or from a checkpoint."""

    def __init__(self, name, recipe, workdir, strategy, steps, report, warn):
        self.name, self.recipe, self.workdir, self.strategy = name, recipe, workdir, strategy
        self.settings, self.steps, self.report, self.warn = recipe.training, steps, report, warn
        self.signals: list[int] = []
        setup.check_place(recipe, workdir.path)
        resumes = workdir.resumes(recipe)
        self.checkpoints = Checkpoints(
            workdir.path / "checkpoints", self.settings.checkpoints_kept, self.settings.checkpoint_seconds, warn
        )
        checkpoint = self.checkpoints.newest() if resumes else None
        self.is_finished = resumes and checkpoint is None and (workdir.path / "preset.json").exists()
        if self.is_finished:
            if workdir.was_cut():
                raise ZooError(f"the run in {workdir.path} has lost its checkpoints: start again in another folder")
            return
        self.sources = setup.open_sources(recipe)
        adapted = self._make_model(resumes)
        self._make_batches()
        body, learner = self._make_learner()
        if resumes:
            workdir.write_recipe(recipe)  # settings that do not change the weights may differ
        else:
            workdir.begin(recipe, strategy, adapted)
        if body is not None:
            self._freeze(body)
        self.pictures = Pictures(self.task, self.batches["validation"]) if "validation" in self.batches else None
        self.loop = Loop(
            self._trained(learner), self.settings, strategy, learner, self.objective, self.carried,
            self.settings.batch_size,
        )  # fmt: skip
        self.history: list[dict] = []  # one row per epoch
        self.best, self.kept = (-math.inf, -math.inf), None  # the best score; its weights and row of history
        self.seconds = 0.0  # time that earlier calls took
        if checkpoint:
            self._restore(*checkpoint)
            if self.loop.step > self.last:
                warn(f"the run in {workdir.path} is already at step {self.loop.step}")
        self.loop.check_agreement()

    def _make_model(self, resumes: bool) -> setup.Adapted:
        """Builds the task and the model that is evaluated and saved; returns what the task learned from the data."""
        source = self.sources["train"]
        adapted = self.workdir.adapted() if resumes else None
        if adapted is None:
            adapted = setup.adapt(self.recipe, source)
        keras.utils.set_random_seed(self.recipe.seed)
        self.model = setup.make_model(self.recipe, source, adapted)
        self.task = task_of(self.model)
        self.task.check_source(source)
        self.task.check_examples(source)
        return adapted

    def _make_batches(self) -> None:
        settings, task = self.settings, self.task
        self.carried = setup.carried_state(task)
        self.batches = {
            split: stream(task, source, settings.batch_size, self.recipe.seed, augment=settings.augment
                          and split == "train", shuffle=split == "train" and not task.carried)
            for split, source in self.sources.items()
        }  # fmt: skip
        self.planned = settings.epochs * self.batches["train"].steps
        self.last = min(self.planned, self.steps or self.planned)

    def _make_learner(self) -> tuple[keras.Model | None, keras.Model]:
        """The frozen body (None without keep_frozen) and the compiled model to train; checks that it can be trained."""
        settings, name = self.settings, self.name
        body, learner = frozen.split(self.model) if settings.keep_frozen else (None, self.model)
        if body is not None:
            frozen.check(self.task, learner, self.batches["train"], settings.augment, settings.frozen_versions)
        self.objective = setup.make_objective(self.task, settings.label_smoothing)
        learner.compile(make_optimizer(settings, self.planned, learner))
        if settings.early_stopping and "validation" not in self.batches:
            raise ZooError(f"recipe {name}: training.early_stopping needs validation data: set data.validation")
        if not learner.trainable_weights:
            raise ZooError(f"recipe {name}: freeze = {self.recipe.freeze!r} leaves no weights to train")
        return body, learner

    def _freeze(self, body: keras.Model) -> None:
        """Replaces the raw inputs in the batches with the outputs of the frozen body."""

        def done(examples: int, total: int) -> None:
            self.report(0, self.last, {"frozen": examples})

        with named_errors():
            self.batches = frozen.FrozenOutputs(body, self.workdir, self.settings.frozen_versions).streams(
                self.task, self.batches, self.sources, self.settings.augment, done
            )

    def _trained(self, learner: keras.Model) -> keras.Model:
        """The model whose weights the steps update, built in the strategy's scope and at the recipe's precision."""
        if self.strategy.num_replicas_in_sync == 1 and self.settings.precision == "float32":
            learner.optimizer.build(learner.trainable_variables)
            return learner
        origin, policy = self.model.origin, keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            with self.strategy.scope():
                model = registry.create_model(origin.model, freeze=self.recipe.freeze, **origin.overrides)
                for _, layer in leaves(model):
                    # Statistics are those of the global batch, as on one device.
                    if isinstance(layer, keras.layers.BatchNormalization):
                        layer.synchronized = self.strategy.num_replicas_in_sync > 1
                model.set_weights(self.model.get_weights())
                trained = frozen.split(model)[1] if self.settings.keep_frozen else model
                # The loop scales the loss itself.
                trained.compile(make_optimizer(self.settings, self.planned, trained), auto_scale_loss=False)
                trained.optimizer.build(trained.trainable_variables)
        finally:
            keras.config.set_dtype_policy(policy)
        return trained

    def train(self) -> preset.Preset | None:
        if self.is_finished:
            result = preset.open_preset(self.workdir.path)
            preset.load_model(result)  # raises an error if the weights are damaged
            self.warn(f"the run in {self.workdir.path} is finished already: nothing was trained")
            return result
        self.started = time.perf_counter()
        with catch_signals(self.signals), self._writer() as writer, named_errors():
            self._epochs(writer)
        if not self.loop.losses:  # after a step in the middle of an epoch, _step has written the checkpoint
            self._checkpoint()
        if not self.workdir.is_chief:
            return None
        result = self._result()
        if self.loop.step == self.planned or self._is_stale():
            self.workdir.end()
            self.checkpoints.clear()
        return result

    def _epochs(self, writer) -> None:
        rows = run(
            self.loop, self.batches["train"], self.batches.get("validation"), len(self.history),
            self.settings.epochs, self.last, self._step, lambda: bool(self.signals), self._evaluated,
        )  # fmt: skip
        try:
            while not self._is_stale() and (row := next(rows, None)):
                self._epoch(row, writer)
        except NotFinite as error:
            if self.workdir.is_chief and error.batch is not None:
                with self.workdir.whole(BAD_BATCH) as file:
                    error.write(file)
            raise

    def _step(self, step: int, loss: float, stop: bool) -> None:
        self.report(step, self.last, {"loss": loss})
        if stop:
            self._stop()
        is_cut = step == self.last and len(self.loop.losses) < self.batches["train"].steps
        if is_cut or self.checkpoints.is_due():
            self._checkpoint()

    def _evaluated(self) -> None:
        """After a batch of an evaluation: ends the run on a signal, unless other workers would go on without it."""
        if self.signals and self.workdir.is_alone:
            self._stop()

    def _stop(self) -> None:
        self._checkpoint()
        number = self.signals[0] if self.signals else 0
        by = signal.Signals(number).name if number else "another worker's signal"
        where = f"at step {self.loop.step}; the same command continues the run in {self.workdir.path}"
        raise Stopped(f"stopped by {by} {where}", number)

    def _epoch(self, row: dict, writer) -> None:
        self.loop.check_finite(row)
        row |= {"seconds": round(self._elapsed(), 1)}
        self.history.append(row)
        self.workdir.write_history(self.history)
        with writer.as_default(step=row["step"]):
            for key, value in row.items():
                if key not in ("epoch", "step"):
                    tf.summary.scalar(key, value)
            if self.pictures and self.workdir.is_chief:
                self.pictures.draw(self.loop)
        writer.flush()
        self.report(self.loop.step, self.last, row)
        score = self.task.criterion.score(row)
        if self.settings.keep == "last" or score > self.best or self.kept is None:
            self.best, self.kept = score, (self.loop.weights(), row)

    def _is_stale(self) -> bool:
        """Whether early stopping ends the run: too many epochs without a better score."""
        patience = self.settings.early_stopping
        scores = [self.task.criterion.score(row) for row in self.history]
        if not patience or not scores or self.loop.losses:  # the row of an unfinished epoch is ignored
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.started

    def _writer(self):
        """The TensorBoard writer as a context manager; only the first worker writes."""
        if not self.workdir.is_chief:
            return contextlib.closing(tf.summary.create_noop_writer())
        return contextlib.closing(tf.summary.create_file_writer(str(self.workdir.path / "tensorboard")))

    def _checkpoint(self) -> None:
        if not self.workdir.is_chief:
            return
        weights, row = self.kept or ([], None)
        facts = {
            "history": self.history,
            "best": self.best,
            "row": row,
            "seconds": self._elapsed(),
            "examples": self.sources["train"].examples,
            "fingerprint": self.sources["train"].fingerprint,
            "labels": self.sources["train"].labels,
        }
        best = {f"best/{number}": value for number, value in enumerate(weights)}
        self.checkpoints.save(self.loop.step, facts, self.loop.state() | best)

    def _restore(self, facts: dict, arrays: dict) -> None:
        setup.check_same_data(self.sources["train"], facts, self.workdir.path)
        self.loop.restore(arrays)
        self.history, self.best, self.seconds = facts["history"], tuple(facts["best"]), facts["seconds"]
        weights = [arrays[f"best/{number}"] for number in range(len(self.model.weights)) if f"best/{number}" in arrays]
        self.kept = (weights, facts["row"]) if weights else None

    def _result(self) -> preset.Preset:
        weights, row = self.kept
        learner = self.loop.plain
        learner.set_weights(weights)  # its layers are layers of self.model
        renewed = self.settings.weight_averaging and renew_statistics(
            learner, self.batches["train"], row["epoch"], self.carried
        )
        if renewed and "validation" in self.batches:
            figures = self.loop.measured(self.batches["validation"].epoch(0))
            row = row | {f"val_{name}": value for name, value in figures.items()}
        with self.workdir.whole("curves.png") as file:
            plotting.curves(self.history, file)
        facts = {
            "epochs": f"{self.history[-1]['epoch']} of {self.settings.epochs}, kept that of epoch {row['epoch']}",
            "steps": self.loop.step,
            "minutes": round(self._elapsed() / 60, 1),
        }
        return write_result(self.model, self.workdir.path, self.name, self.recipe, self.sources, row, facts)
