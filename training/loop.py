"""The training loop: one step for every strategy, and the epochs around it."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.training.recipe import Training
from zoo.training.strategies import distributed

# Runs of so many steps get a graph of their own for whole batches, whose size is then known: it takes a twentieth less
# time for a small network. Shorter ones would lose more by its tracing.
LONG = 1000
# Of the loss in float16: it starts here, halves when a gradient overflows, and doubles after so many good steps.
SCALE, GROWTH = 2.0**15, 2000


class Loop:
    """Trains a compiled model on a stream.

    A step: each replica's mean loss, weighted by its share of the global batch's weights; the gradients summed over
    replicas; looked at whether they are finite; clipped; applied. So the same global batch gives the same step on one
    device and on many (Keras's optimizers clip before they sum), and a step that overflows changes nothing.

    Args:
        model: compiled, its optimizer built, made under the strategy's scope.
        settings: the recipe's training section.
        strategy: of tf.distribute.
        plain: the same model outside of every strategy and in float32: what is evaluated and kept. By default
            `model` itself.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: Training,
        strategy: tf.distribute.Strategy,
        plain: keras.Model | None = None,
    ):
        self.model, self.settings, self.strategy = model, settings, strategy
        self.plain = plain or model
        self.step = 0
        self.losses: list[float] = []  # of the epoch under way
        self.norms: list[float] = []  # of its gradients
        self.averages = self.scale = None
        self._graphs: dict[int | None, Callable] = {}  # the step by number of rows
        # Keras's optimizers sum gradients over replicas, after they have clipped; here they are summed before.
        model.optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        with strategy.scope():
            if settings.weight_averaging:
                self.averages = [tf.Variable(weight, trainable=False) for weight in model.trainable_variables]
            if settings.precision == "mixed_float16":
                self.scale = tf.Variable(SCALE, trainable=False)
                self.good_steps = tf.Variable(0, trainable=False)

    def _traced(self, batches, rows: int | None) -> Callable:
        """The step as a graph for batches of so many rows, or of any number.

        By itself TensorFlow would trace a graph for the first size that comes, and one for all where another follows.
        Their sums are rounded differently: a run that goes on in the midst would not be the unbroken one to the bit.
        """
        if rows not in self._graphs:
            spec = None
            if hasattr(batches, "element_spec"):
                types = batches.element_spec
                if rows:
                    types = tf.nest.map_structure(lambda one: tf.TensorSpec([rows, *one.shape[1:]], one.dtype), types)
                spec = [types, tf.TensorSpec(())]
            self._graphs[rows] = tf.function(self._train_step, input_signature=spec)
        return self._graphs[rows]

    def _train_step(self, batch, stop):
        x, y, weight = (*batch, None)[:3]
        results = self.strategy.run(self._replica_step, (x, y, weight, stop))
        (loss, norm, stop), gradients = results
        loss, norm, stop = (self.strategy.experimental_local_results(value)[0] for value in (loss, norm, stop))
        with self.strategy.scope():
            tf.cond(tf.math.is_finite(norm), lambda: self._apply(gradients), self._skip)
        return tf.stack([loss, norm, stop])  # one way back to Python for all

    def _replica_step(self, x, y, weight, stop):
        """The global batch's loss and gradients, alike on every replica."""
        context = tf.distribute.get_replica_context()
        rows = tf.shape(tf.nest.flatten(x)[0])[0]
        weight = tf.ones((rows,)) if weight is None else weight
        total = context.all_reduce("sum", tf.reduce_sum(weight))
        if self.settings.accumulation == 1:
            loss, gradients = self._gradients(x, y, weight, total)
        else:
            loss, gradients = self._accumulated(x, y, weight, total, rows)
        # One sum for all: strategies pack it. `stop` is more than 0 where a worker was told to end. An argument of
        # the step lies on no device as yet; a copy does.
        loss, stop, *gradients = context.all_reduce("sum", [loss, tf.identity(stop), *gradients])
        if self.scale is not None:
            gradients = [gradient / self.scale for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if self.settings.global_clipnorm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.global_clipnorm, norm)
        return (loss, norm, stop), gradients

    def _gradients(self, x, y, weight, total):
        """This replica's part of the loss, and its gradients."""
        replicas = tf.cast(tf.distribute.get_replica_context().num_replicas_in_sync, tf.float32)
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            # Keras divides a loss by the number of replicas; the share of the weights is the truer one.
            share = replicas * tf.math.divide_no_nan(tf.reduce_sum(weight), total)
            loss = tf.cast(self.model.compute_loss(x, y, outputs, weight), tf.float32) * share
            scaled = loss if self.scale is None else loss * self.scale
        gradients = tape.gradient(scaled, variables, unconnected_gradients="zero")
        return loss, [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]

    def _accumulated(self, x, y, weight, total, rows):
        """`_gradients` of the parts of a batch, one after the other, summed."""
        parts = tf.minimum(self.settings.accumulation, rows)

        def body(part, loss, *sums):
            take = slice(rows * part // parts, rows * (part + 1) // parts)
            x_, y_, weight_ = tf.nest.map_structure(lambda tensor: tensor[take], (x, y, weight))
            more, gradients = self._gradients(x_, y_, weight_, total)
            return part + 1, loss + more, *(one + other for one, other in zip(sums, gradients, strict=True))

        zeros = [tf.zeros(variable.shape) for variable in self.model.trainable_variables]
        start = (0, 0.0, *zeros)
        _, loss, *gradients = tf.while_loop(lambda part, *_: part < parts, body, start, parallel_iterations=1)
        return loss, gradients

    def _apply(self, gradients):
        optimizer, variables = self.model.optimizer, self.model.trainable_variables
        self.strategy.run(lambda gradients: optimizer.apply(gradients, variables), (gradients,))
        if self.averages:
            done = tf.cast(optimizer.iterations, tf.float32)
            # The first steps count for less than the decay says, so that the start is forgotten.
            decay = tf.minimum(self.settings.weight_averaging, done / (9.0 + done))

            def blend(average, value, decay):
                average.assign(decay * average + (1.0 - decay) * tf.convert_to_tensor(value))

            for average, variable in zip(self.averages, variables, strict=True):
                self.strategy.extended.update(average, blend, args=(variable.value, decay), group=False)
        if self.scale is not None:
            grows = self.good_steps + 1 >= GROWTH
            self.scale.assign(tf.where(grows, self.scale * 2.0, self.scale))
            self.good_steps.assign(tf.where(grows, 0, self.good_steps + 1))
        return tf.constant(True)

    def _skip(self):
        if self.scale is not None:
            self.scale.assign(tf.maximum(self.scale / 2.0, 1.0))
            self.good_steps.assign(0)
        return tf.constant(False)

    def epoch(self, stream: Stream, number: int, last_step: int, report: Callable, stopping=lambda: False) -> None:
        """One epoch, or what is left of it; ended early at `last_step`.

        Args:
            stream: of the training data.
            number: of the epoch, from 0; the steps that `losses` tells of are left out.
            last_step: of the run.
            report: called after each step as report(step, loss, whether a worker was told to end).
            stopping: asked before each step whether this worker was told to end.

        Raises:
            ZooError: loss or gradients are not finite; the message names the step and the batch.
        """
        if len(self.losses) >= stream.steps or self.step >= last_step:
            return
        skip = len(self.losses)
        batches = distributed(self.strategy, lambda wanted: stream.epoch(number, skip, wanted))
        is_long = stream.steps * self.settings.epochs >= LONG and self.strategy.num_replicas_in_sync == 1
        told = {False: tf.constant(0.0), True: tf.constant(1.0)}
        for batch in batches:
            rows = tf.nest.flatten(batch)[0].shape[0] if is_long else None
            train_step = self._traced(batches, rows if rows == stream.batch_size else None)
            loss, norm, stop = train_step(batch, told[bool(stopping())]).numpy().tolist()
            self.step += 1
            if not math.isfinite(loss + norm) and (self.scale is None or float(np.array(self.scale)) <= 1.0):
                what = "a gradient is" if math.isfinite(loss) else "the loss is"
                where = f"(epoch {number + 1}, batch {len(self.losses) + 1} of {stream.steps})"
                raise NotFinite(what, f"at step {self.step} {where}", batch)
            self.losses.append(loss)
            self.norms.append(norm)
            report(self.step, loss, stop > 0)
            if self.step >= last_step:
                break

    def check_finite(self, row: dict) -> None:
        """Raises NotFinite where an epoch's last step broke the weights, which no later step would show."""
        if not math.isfinite(row.get("val_loss", 0.0)):
            raise NotFinite("the validation loss is", f"after step {self.step}")
        if not all(np.isfinite(weight).all() for weight in self.weights()):
            raise NotFinite("weights are", f"after step {self.step}")

    def means(self) -> dict[str, float]:
        """Over the epoch's steps so far, without those that overflowed."""
        figures = {"loss": self.losses, "gradient_norm": self.norms}
        finite = {name: [value for value in values if math.isfinite(value)] for name, values in figures.items()}
        return {name: float(np.mean(values)) if values else math.nan for name, values in finite.items()}

    def weights(self) -> list[np.ndarray]:
        """What the preset will hold: the averages where there are any."""
        values = {id(weight): weight for weight in self.model.weights}
        if self.averages:
            pairs = zip(self.model.trainable_variables, self.averages, strict=True)
            values |= {id(variable): average for variable, average in pairs}
        return [np.array(value) for value in values.values()]

    @contextlib.contextmanager
    def kept_weights(self) -> Iterator[None]:
        """`plain` with the weights that the preset will hold; training's own come back afterwards, and its states."""
        own, states = self.plain.get_weights(), _recurrent_states(self.plain)
        before = [np.array(state) for state in states]
        self.plain.set_weights(self.weights())
        for state in states:
            state.assign(np.zeros(state.shape))
        try:
            yield
        finally:
            self.plain.set_weights(own)
            for state, value in zip(states, before, strict=True):
                state.assign(value)

    def evaluate(self, stream: Stream, callbacks: list = ()) -> dict[str, float]:
        """The figures of the weights that the preset will hold."""
        with self.kept_weights():
            figures = self.plain.evaluate(stream.epoch(0), verbose=0, return_dict=True, callbacks=list(callbacks))
        return {name: float(value) for name, value in figures.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, by name."""
        state = {f"{kind}/{number}": np.array(value) for kind, values in self._variables() for number, value in values}
        return state | {"losses": np.array(self.losses), "norms": np.array(self.norms), "step": np.array(self.step)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes the place that `state` had when it was told."""
        for kind, variables in self._variables():
            for number, variable in variables:
                variable.assign(state[f"{kind}/{number}"])
        self.losses, self.norms = state["losses"].tolist(), state["norms"].tolist()
        self.step = int(state["step"])

    def check_agreement(self) -> None:
        """Raises ZooError where workers would go on from different steps: their folders are not the same."""
        if self.strategy.num_replicas_in_sync == 1:
            return
        replicas = self.strategy.num_replicas_in_sync

        def sums(step):
            return tf.distribute.get_replica_context().all_reduce("sum", tf.stack([step, step * step]))

        # Whole numbers: squares beyond 2^24 are not exact in float32.
        total = tf.function(lambda step: self.strategy.run(sums, (step,)))(tf.constant(self.step, tf.int64))
        total = self.strategy.experimental_local_results(total)[0].numpy()
        if total.tolist() != [replicas * self.step, replicas * self.step**2]:
            raise ZooError(
                f"this worker would go on from step {self.step}, another one from elsewhere: "
                "all workers need the same folder"
            )

    def _variables(self) -> Iterator[tuple[str, Iterator]]:
        metrics = {id(variable) for variable in self.model.metrics_variables}
        # Weights, and the states of random layers.
        yield "model", enumerate(variable for variable in self.model.variables if id(variable) not in metrics)
        yield "recurrent", enumerate(_recurrent_states(self.model))
        yield "optimizer", enumerate(self.model.optimizer.variables)
        yield "average", enumerate(self.averages or [])
        yield "scale", enumerate([self.scale, self.good_steps] if self.scale is not None else [])


def _recurrent_states(model: keras.Model) -> list:
    """The states that recurrent layers carry from batch to batch, which Keras does not count among the variables."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) and layer.stateful]
    return [state for layer in layers for state in tf.nest.flatten(layer.states)]


class NotFinite(ZooError):
    """Something became infinite or no number; `batch` is what the step was given where a step shows it."""

    def __init__(self, what: str, where: str, batch=None):
        kept = "; the batch is kept in not_finite.npz" if batch is not None else ""
        super().__init__(
            f"{what} not finite {where}: lower the learning rate, or clip with training.global_clipnorm{kept}"
        )
        self.batch = batch

    def write(self, path: Path) -> None:
        """The batch as arrays, to be looked at: x, y and the weights, flat and in order."""
        tensors = [part for value in tf.nest.flatten(self.batch) for part in getattr(value, "values", [value])]
        np.savez(path, *[tensor.numpy() for tensor in tensors])


def run(
    loop: Loop,
    train: Stream,
    validation: Stream | None,
    first: int,
    epochs: int,
    last_step: int,
    report: Callable,
    stopping: Callable[[], bool] = lambda: False,
    callbacks: list = (),
) -> Iterator[dict]:
    """Epoch after epoch from `first`, a row of history each; whoever consumes it keeps what it wants of the weights.

    An epoch that `last_step` cuts short has its row, too, but stays under way.
    """
    for number in range(first, epochs):
        if loop.step >= last_step and not loop.losses:
            return
        started, before = time.perf_counter(), len(loop.losses)
        loop.epoch(train, number, last_step, report, stopping)
        seconds = time.perf_counter() - started
        done = min(len(loop.losses) * train.batch_size, train.examples) - before * train.batch_size
        row = {"epoch": number + 1, "step": loop.step, **loop.means()}
        if validation is not None:
            row |= {f"val_{name}": value for name, value in loop.evaluate(validation, callbacks).items()}
        if len(loop.losses) >= train.steps:
            loop.losses, loop.norms = [], []
        row |= {"learning_rate": float(loop.model.optimizer.learning_rate)}
        yield row | {"examples_per_second": round(done / seconds, 1)}
        if loop.step >= last_step:
            return
