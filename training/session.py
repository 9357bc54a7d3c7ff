"""A session of a run: from its first step, or from a checkpoint, to its preset."""

import contextlib
import copy
import math
import signal
import time
from collections.abc import Iterator

import keras
import tensorflow as tf

from zoo import plotting, preset, registry
from zoo.data.stream import named_errors
from zoo.errors import Stopped, ZooError
from zoo.files import disk_error
from zoo.layers.activations import leaves
from zoo.layers.model import named
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.task import Task
from zoo.training import frozen, self_critical, setup
from zoo.training.batchnorm_statistics import renew_statistics
from zoo.training.checkpoints import Checkpoints
from zoo.training.epochs import run
from zoo.training.heap import keep_freed_memory
from zoo.training.interruption import catch_signals
from zoo.training.loop import Loop
from zoo.training.not_finite import NotFinite
from zoo.training.optimizers import make_optimizer
from zoo.training.pretraining import pretrain
from zoo.training.result import write_result
from zoo.training.tensorboard_images import Pictures
from zoo.training.whitening import whiten
from zoo.training.workdir import BAD_BATCH, CantWrite


@contextlib.contextmanager
def named_stage(number: int | None) -> Iterator[None]:
    """Begins the message of a ZooError with the number of a stage; with None, messages stay as they are."""
    try:
        yield
    except ZooError as error:
        if number is not None:
            error.args = (f"stage {number}: {error}", *error.args[1:])
        raise


class Session:
    """One call of `train`: sets up the model and the batches, then trains from the first step or from a checkpoint.

    A run of several stages has a session for each; `number` is that of the stage, from 1. The recipes of the `later`
    stages are checked before this one trains.
    """

    def __init__(self, name, recipe, workdir, strategy, steps, report, warn, before=None, number=1, later=()):
        self.name, self.recipe, self.workdir, self.strategy = name, recipe, workdir, strategy
        self.settings, self.steps, self.report, self.warn = recipe.training, steps, report, warn
        self.before = before  # the preset of the stage before
        self.number, self.later = number, later
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
        if number > 1 or later:
            report(0, 0, {"stage": number, "stages": number + len(later)})
        self.sources = setup.open_sources(recipe)
        adapted = self._make_model(resumes)
        self._make_batches()
        body, learner = self._make_learner()
        self.start = learner.get_weights() if self.settings.start_share else []
        if resumes:
            with self._optional():
                workdir.write_recipe(recipe)  # settings that do not change the weights may differ
        else:
            workdir.begin(recipe, strategy, adapted)
        if body is not None:
            self._freeze(body)
        if recipe.pretraining and not checkpoint:
            self._pretrain()
        if recipe.whitening and not checkpoint:
            self._whiten()
        self.pictures = Pictures(self.task, self.batches["validation"]) if "validation" in self.batches else None
        whole, trained = self._trained(learner)
        self.loop = Loop(
            trained, self.settings, strategy, learner, self.objective, self.carried, self.settings.batch_size,
            self._sampled(whole), self._own_updates(trained),
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
        self._check_later(adapted)  # before the seed is set, so that the weights do not depend on later stages
        keras.utils.set_random_seed(self.recipe.seed)
        self.model = setup.make_model(self.recipe, source, adapted, self.warn)
        self.task = task_of(self.model)
        for each in self.sources.values():
            self.task.check_source(each)
        self.task.check_examples(source)
        if not resumes and self.number == 1:
            for remark in self.task.remarks(source):
                self.warn(remark)
        return adapted

    def _check_later(self, adapted: setup.Adapted) -> None:
        """Sets up the model and the batches of each later stage as its own session will; raises ZooError for a mistake.

        The weights are not those that the stage will start from.
        """
        overrides = self.recipe.model_overrides
        for number, recipe in enumerate(self.later, start=self.number + 1):
            with named_stage(number):
                overrides = {**overrides, **recipe.model_overrides}
                changes = {"freeze": None, "model_overrides": overrides}
                model = setup.make_model(self.recipe.model_copy(update=changes), self.sources["train"], adapted)
                registry.freeze_layers(model, recipe.freeze)
                stage = copy.copy(self)
                stage.recipe, stage.settings, stage.model, stage.task = recipe, recipe.training, model, task_of(model)
                stage._make_batches()
                stage._make_learner()

    def _make_batches(self) -> None:
        settings, task = self.settings, self.task
        self.carried = setup.carried_state(task)
        self.tasks = dict.fromkeys(self.sources, task)
        if settings.self_critical:
            self_critical.check(task, settings.self_critical, self.strategy.num_replicas_in_sync)
            self.tasks["train"] = task.with_references()
        self.batches = {
            split: stream(
                self.tasks[split], source, settings.batch_size, self.recipe.seed,
                augment=settings.augment and split == "train",
                shuffle=split == "train" and not task.carried,
                draw=split == "train",
            )
            for split, source in self.sources.items()
        }  # fmt: skip
        self.planned = settings.epochs * self.batches["train"].steps
        self.last = min(self.planned, self.steps or self.planned)

    def _make_learner(self) -> tuple[keras.Model | None, keras.Model]:
        """The frozen body (None without keep_frozen) and the compiled model to train; checks that it can be trained."""
        settings, name = self.settings, self.name
        body, learner = frozen.split(self.task.model) if settings.keep_frozen else (None, self.task.model)
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
                self.tasks, self.batches, self.sources, self.settings.augment, done
            )

    def _pretrain(self) -> None:
        """Trains layers without labels. It is repeated if a run was interrupted before its first checkpoint."""
        source = setup.pretraining_source(self.recipe, self.sources)
        batches = stream(self.task, source, self.settings.batch_size, augment=False, shuffle=False)
        with named_errors():
            pretrain(self.task.model, batches, self.recipe.pretraining, self.recipe.seed,
                     lambda figures: self.report(0, self.last, figures))  # fmt: skip

    def _whiten(self) -> None:
        """Sets the head. It is repeated if a run was interrupted before its first checkpoint."""
        batches = stream(
            self.task, self.sources["train"], self.settings.batch_size, self.recipe.seed, augment=True, shuffle=False
        )
        with named_errors():
            whiten(self.task.model, batches, self.recipe.whitening,
                   lambda figures: self.report(0, self.last, figures))  # fmt: skip

    def _trained(self, learner: keras.Model) -> tuple[keras.Model, keras.Model]:
        """The model whose weights the steps update, built in the strategy's scope and at the recipe's precision.

        Returns:
            The whole model, and the part of it that corresponds to `learner`.
        """
        if self.strategy.num_replicas_in_sync == 1 and self.settings.precision == "float32":
            learner.optimizer.build(learner.trainable_variables)
            return self.task.model, learner
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
                model = named(model, input_name=self.task.input_name)
                trained = frozen.split(model)[1] if self.settings.keep_frozen else model
                # The loop scales the loss itself.
                trained.compile(make_optimizer(self.settings, self.planned, trained), auto_scale_loss=False)
                trained.optimizer.build(trained.trainable_variables)
        finally:
            keras.config.set_dtype_policy(policy)
        return model, trained

    def _sampled(self, model: keras.Model) -> self_critical.SelfCritical | None:
        """The sampler of self-critical training; None for other training."""
        metric, source = self.settings.self_critical, self.sources["train"]
        if metric is None:
            return None
        return self_critical.SelfCritical(self.task, model, source, metric, self.settings.samples, self.recipe.seed)

    def _own_updates(self, model: keras.Model):
        """The task's updates with optimizer.name = "task"; None for other optimizers."""
        if self.settings.optimizer.name != "task":
            return None
        if self.task.update is None:
            raise ZooError(
                f'recipe {self.name}: optimizer.name = "task", but {self.task.name} has no updates of its own'
            )
        if self.strategy.num_replicas_in_sync > 1:
            raise ZooError(f'recipe {self.name}: optimizer.name = "task" needs one device: use another optimizer')
        if len(model.trainable_variables) < len(model.variables):
            raise ZooError(f'recipe {self.name}: optimizer.name = "task" updates all weights: leave out freeze')
        return self.task.update

    def train(self) -> preset.Preset | None:
        if self.is_finished:
            result = preset.open_preset(self.workdir.path)
            preset.load_model(result)  # raises an error if the weights are damaged
            self.warn(f"the run in {self.workdir.path} is finished already: nothing was trained")
            return result
        self.started = time.perf_counter()
        keep_freed_memory()
        with catch_signals(self.signals), self._writer() as writer, named_errors():
            self._epochs(writer)
        if not self.loop.losses:  # after a step in the middle of an epoch, _step has written the checkpoint
            self._checkpoint()
        if not self.workdir.is_chief:
            return None
        result = self._result()
        with self._optional(), self.workdir.whole("curves.png") as file:
            plotting.curves(self.history, file)
        if self.loop.step == self.planned or self._is_stale():
            with self._optional():
                self.workdir.end()
                self.checkpoints.clear()  # only if the end is recorded: else the next call continues from them
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
                with self._optional(), self.workdir.whole(BAD_BATCH) as file:
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
        with self._optional():
            self.workdir.write_history(self.history)
        with self._optional(), writer.as_default(step=row["step"]):
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

    @contextlib.contextmanager
    def _writer(self) -> Iterator:
        """The TensorBoard writer; only the first worker writes."""
        writer = tf.summary.create_noop_writer()
        if self.workdir.is_chief:
            with self._optional():
                writer = tf.summary.create_file_writer(str(self.workdir.path / "tensorboard"))
        try:
            yield writer
        finally:
            with self._optional():
                writer.close()

    @contextlib.contextmanager
    def _optional(self) -> Iterator[None]:
        """For files that the run can do without: if one can't be written, the run warns and continues."""
        try:
            yield
        except CantWrite as error:
            self.warn(str(error))
        except tf.errors.OpError as error:
            if (full := disk_error(error)) is None:
                raise
            self.warn(f"can't write {self.workdir.path / 'tensorboard'}: {full.strerror}")

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
        learner, share = self.loop.plain, self.settings.start_share
        if share:
            weights = [share * start + (1 - share) * end for start, end in zip(self.start, weights, strict=True)]
        learner.set_weights(weights)  # its layers are layers of self.model
        renewed = self.settings.weight_averaging and renew_statistics(
            learner, self.batches["train"], row["epoch"], self.carried
        )
        if (renewed or share) and "validation" in self.batches:
            figures = self.loop.measured(self.batches["validation"].epoch(0))
            row = row | {f"val_{name}": value for name, value in figures.items()}
        if "validation" in self.sources and type(self.task).measured_settings is not Task.measured_settings:
            task = task_of(self.model)
            self.model.origin.settings |= task.measured_settings(self.sources["validation"], self.settings.batch_size)
        facts = {
            "epochs": f"{self.history[-1]['epoch']} of {self.settings.epochs}, kept that of epoch {row['epoch']}",
            "steps": self.loop.step,
            "minutes": round(self._elapsed() / 60, 1),
        }
        place = self.workdir.path
        return write_result(self.model, place, self.name, self.recipe, self.sources, row, facts, self.before)
