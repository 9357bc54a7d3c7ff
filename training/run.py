"""`zoo.train`: a recipe, a folder, a preset."""

import contextlib
import datetime
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
from zoo.preset import saving
from zoo.tasks import task_of
from zoo.tasks.dataset import check_labels, stream
from zoo.training import frozen, setup
from zoo.training.batchnorm_statistics import renew_statistics
from zoo.training.checkpoints import Checkpoints
from zoo.training.cluster import train_on_ray
from zoo.training.interruption import EachBatch, noted
from zoo.training.loop import Loop, NotFinite, run
from zoo.training.optimizers import make_optimizer
from zoo.training.recipe import Recipe, read_recipe
from zoo.training.strategies import is_chief, open_strategy
from zoo.training.tensorboard_images import Pictures
from zoo.training.workdir import BAD_BATCH, Workdir, hardware, versions


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
    """Trains by a recipe and writes a preset into the run's folder; called again, it continues.

    The folder gets the preset, `recipe.toml` with every setting, `run.json` (code, versions, machine),
    `adapted.json` where the task learns something from the data first, `history.csv`, `curves.png`, TensorBoard's
    events and, while the run is under way, checkpoints. The same recipe, seed and machine give the same weights, in
    one go or however often the run was ended and continued. SIGTERM and SIGINT end it after a checkpoint.

    Args:
        recipe: a recipe's name, a TOML file's path, or a model's name (trained by its task's default recipe).
        out: the run's folder.
        steps: end after so many steps of the recipe's own schedule, with a preset of what there is then; a later call
            goes on from there.
        strategy: "one" device, "mirrored" over all of this machine's, or "multi_worker" over the machines that
            TF_CONFIG names; the global batch stays as the recipe says.
        cluster: "ray" starts the workers on a Ray cluster: that of RAY_ADDRESS, or one on this machine. A worker that
            is lost is started anew.
        workers: on the cluster, each a process with all that it finds of a machine's cores; 2 where it is left out.
        gpus_per_worker: on the cluster; none where it is left out.
        report: called as report(step, total steps, figures) after each step and each epoch.
        warn: called with one line on what went wrong and was got over.
        **overrides: differences from the recipe, such as training={"epochs": 3}.

    Returns:
        The preset; None on workers other than the first, which write nothing.

    Raises:
        ZooError: something in the recipe, its data or the folder can't be used, and nothing has been written; the
            folder holds a run of another recipe, or one that is under way; loss or gradients are not finite, or a
            file can't be read on the way, and no preset is written.
        Stopped: by a signal, after a checkpoint; on a cluster by Ctrl-C alone, and without one.
    """
    out = checked_path(out, "out")
    if steps is not None:
        checked_count(steps, "steps")
    name, recipe = read_recipe(recipe, overrides)
    report = report or (lambda *_: None)
    if cluster is None:
        if workers is not None or gpus_per_worker is not None:
            raise ZooError('workers and gpus_per_worker are those of a cluster: give cluster="ray"')
        return train_recipe(name, recipe, out, steps, strategy, report, warn)
    if cluster != "ray" or strategy not in ("one", "multi_worker"):
        raise ZooError(f"cluster={cluster!r} with strategy={strategy!r}: give cluster='ray' alone")
    workers, gpus_per_worker = 2 if workers is None else workers, gpus_per_worker or 0
    train_on_ray(name, recipe, out, workers, gpus_per_worker, steps, report, warn)
    return preset.open_preset(out)


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
    """`train` in this process, of a recipe that was read; waits `patience` seconds for a folder that is in use."""
    distribution = open_strategy(strategy)
    tf.config.experimental.enable_op_determinism()
    workdir = Workdir(out, is_chief(distribution), strategy != "multi_worker")
    with workdir.in_use(patience):
        return _Run(name, recipe, workdir, distribution, steps, report, warn).train()


class _Run:
    """One call of `train`: models and batches, and the course from the first step, or a checkpoint, to the preset."""

    def __init__(self, name, recipe, workdir, strategy, steps, report, warn):
        self.name, self.recipe, self.workdir, self.strategy = name, recipe, workdir, strategy
        self.report, self.warn, self.told = report, warn, []
        settings = self.settings = recipe.training
        setup.check_place(recipe, workdir.path)
        resumes = workdir.resumes(recipe)
        self.checkpoints = Checkpoints(
            workdir.path / "checkpoints", settings.checkpoints_kept, settings.checkpoint_seconds, warn
        )
        found = self.checkpoints.newest() if resumes else None
        self.is_finished = resumes and found is None and (workdir.path / "preset.json").exists()
        if self.is_finished:
            if workdir.was_cut():
                raise ZooError(f"the checkpoints of the run in {workdir.path} are gone: begin again in another folder")
            return
        self.sources = setup.open_sources(recipe)
        adapted = workdir.adapted() if resumes else None
        if adapted is None:
            adapted = setup.adapt(recipe, self.sources["train"])
        keras.utils.set_random_seed(recipe.seed)
        self.model = setup.make_model(recipe, self.sources["train"], adapted)  # what is evaluated and kept
        task = task_of(self.model)
        check_labels(task, self.sources["train"])
        task.check(self.sources["train"])
        self.batches = {
            split: stream(task, source, settings.batch_size, recipe.seed,
                          augment=settings.augment and split == "train", shuffle=split == "train")
            for split, source in self.sources.items()
        }  # fmt: skip
        self.planned = settings.epochs * self.batches["train"].steps
        self.last = min(self.planned, steps or self.planned)
        body, learner = frozen.split(self.model) if settings.keep_features else (None, self.model)
        if settings.keep_features and settings.augment and task.settings.get("augment"):
            raise ZooError(f"recipe {name}: kept features are without augmentation: set training.augment = false")
        loss = task.loss(settings.label_smoothing)
        learner.compile(make_optimizer(settings, self.planned, learner), loss, weighted_metrics=task.metrics())
        if settings.early_stopping and "validation" not in self.batches:
            raise ZooError(f"recipe {name}: training.early_stopping looks at validation data; give data.validation")
        if not learner.trainable_weights:
            raise ZooError(f"recipe {name}: freeze = {recipe.freeze!r} leaves nothing to train")
        if resumes:
            workdir.write_recipe(recipe)  # what may change without an effect on the weights
        else:
            workdir.begin(recipe, strategy, adapted)
        if body is not None:
            with named_errors():
                self.batches = frozen.keep(body, self.batches, workdir, self._features)
        self.pictures = Pictures(task, self.batches["validation"]) if "validation" in self.batches else None
        self.loop = Loop(self._trained(learner, loss), settings, strategy, learner)
        self.history: list[dict] = []  # a row an epoch
        self.best, self.kept = (-math.inf, -math.inf), None  # the best score, its weights and its row
        self.seconds = 0.0  # of the calls before this one
        if found:
            self._restore(*found)
            if self.loop.step > self.last:
                warn(f"the run in {workdir.path} is at step {self.loop.step} already")
        self.loop.check_agreement()

    def _trained(self, learner: keras.Model, loss) -> keras.Model:
        """The model that the steps change: under the strategy's scope and at the recipe's precision."""
        if self.strategy.num_replicas_in_sync == 1 and self.settings.precision == "float32":
            learner.optimizer.build(learner.trainable_variables)
            return learner
        origin, policy = self.model.origin, keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            with self.strategy.scope():
                model = registry.create_model(origin.model, freeze=self.recipe.freeze, **origin.overrides)
                for layer in model.layers:
                    # Over replicas the statistics are those of the global batch, as on one device.
                    if isinstance(layer, keras.layers.BatchNormalization):
                        layer.synchronized = self.strategy.num_replicas_in_sync > 1
                model.set_weights(self.model.get_weights())
                trained = frozen.split(model)[1] if self.settings.keep_features else model
                # The loop scales the loss itself.
                trained.compile(make_optimizer(self.settings, self.planned, trained), loss, auto_scale_loss=False)
                trained.optimizer.build(trained.trainable_variables)
        finally:
            keras.config.set_dtype_policy(policy)
        return trained

    def train(self) -> preset.Preset | None:
        if self.is_finished:
            made = preset.open_preset(self.workdir.path)
            preset.load_model(made)  # which says so where its weights are damaged
            self.warn(f"the run in {self.workdir.path} was finished before; there is nothing left to do")
            return made
        self.started = time.perf_counter()
        with noted(self.told), self._writer() as writer, named_errors():
            rows = run(
                self.loop, self.batches["train"], self.batches.get("validation"), len(self.history),
                self.settings.epochs, self.last, self._step, lambda: bool(self.told), [EachBatch(self._evaluated)],
            )  # fmt: skip
            try:
                while not self._is_stale() and (row := next(rows, None)):
                    self._epoch(row, writer)
            except NotFinite as error:
                if self.workdir.is_chief and error.batch is not None:
                    with self.workdir.whole(BAD_BATCH) as file:
                        error.write(file)
                raise
        if not self.loop.losses:  # otherwise in the midst of an epoch, and the checkpoint is written
            self._checkpoint()
        if not self.workdir.is_chief:
            return None
        made = self._preset()
        if self.loop.step == self.planned or self._is_stale():
            self.workdir.end()
            self.checkpoints.clear()
        return made

    def _features(self, done: int, total: int) -> None:
        self.report(0, self.last, {"features": done})

    def _step(self, step: int, loss: float, stop: bool) -> None:
        self.report(step, self.last, {"loss": loss})
        if stop:
            self._stop()
        is_cut = step == self.last and len(self.loop.losses) < self.batches["train"].steps
        if is_cut or self.checkpoints.is_due():
            self._checkpoint()

    def _evaluated(self) -> None:
        """After each batch of an evaluation; of several workers none may leave the others there."""
        if self.told and self.workdir.is_alone:
            self._stop()

    def _stop(self) -> None:
        self._checkpoint()
        number = self.told[0] if self.told else 0
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
        score = score_of(row)
        if self.settings.keep == "last" or score > self.best or self.kept is None:
            self.best, self.kept = score, (self.loop.weights(), row)

    def _is_stale(self) -> bool:
        """Whether early stopping ends the run: so many epochs without a better one."""
        patience = self.settings.early_stopping
        scores = [score_of(row) for row in self.history]
        if not patience or not scores or self.loop.losses:  # or in the midst of an epoch, which is no whole one
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.started

    def _writer(self):
        """TensorBoard's, to be closed; without effect on workers other than the first."""
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

    def _preset(self) -> preset.Preset:
        recipe, source, history = self.recipe, self.sources["train"], self.history
        weights, row = self.kept
        learner = self.loop.plain
        learner.set_weights(weights)  # the head's layers are the model's own
        renewed = self.settings.weight_averaging and renew_statistics(learner, self.batches["train"], row["epoch"])
        if renewed and "validation" in self.batches:
            figures = learner.evaluate(self.batches["validation"].epoch(0), verbose=0, return_dict=True)
            row = row | {f"val_{name}": float(value) for name, value in figures.items()}
        with self.workdir.whole("curves.png") as file:
            plotting.curves(history, file)
        provenance = {
            "recipe": self.name,
            "seed": recipe.seed,
            "dataset": source.name,
            "dataset_version": source.version,
            "split": source.split,
            "examples": source.examples,
            "epochs": f"{history[-1]['epoch']} of {self.settings.epochs}, kept that of epoch {row['epoch']}",
            "steps": self.loop.step,
            "started_from": recipe.start_from or "nothing",
            "minutes": round(self._elapsed() / 60, 1),
            "hardware": hardware(),
            "made": datetime.date.today().isoformat(),
            "versions": versions(),
        }
        metrics = []
        if "validation" in self.sources:
            validation = self.sources["validation"]
            where = {"dataset": validation.name, "split": validation.split, "examples": validation.examples}
            metrics = [
                {"name": key.removeprefix("val_"), "value": value, **where, "final": False}
                for key, value in row.items()
                if key.startswith("val_")
            ]
        # A folder by its whole path, so that `evaluate` finds it from anywhere.
        place = recipe.data.name or os.path.abspath(recipe.data.folder)
        data = {"name": place, "test": recipe.data.test}
        terms = {"weights": recipe.terms, **saving.inherited_terms(self.model.origin, source.terms)}
        return saving.write_preset(
            self.model, self.workdir.path, self.name,
            data=data, metrics=metrics, provenance=provenance, terms=terms, storage="float32",
        )  # fmt: skip


def score_of(row: dict) -> tuple[float, float]:
    """Of a row of history what `keep = "best"` compares: validation accuracy where there is one, then the loss."""
    return row.get("val_accuracy", row.get("val_token_accuracy", 0.0)), -row.get("val_loss", row["loss"])
