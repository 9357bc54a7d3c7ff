"""The training loop: one step for every strategy, repeated for an epoch."""

import contextlib
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.layers.keras_private import sum_gradients_ourselves
from zoo.training.carried import Carried
from zoo.training.evaluation import Evaluation
from zoo.training.not_finite import NotFinite
from zoo.training.objective import Objective, of
from zoo.training.recipe import Training
from zoo.training.self_critical import SelfCritical
from zoo.training.strategies import distributed, replica_rows

# Runs of at least this many steps trace a second graph for full batches, whose size is fixed. This saves 5 % of the
# time of a small network; in shorter runs, tracing takes longer than it saves.
LONG = 1000
# The loss scale of float16 starts at SCALE, halves when a gradient overflows, and doubles after GROWTH good steps. An
# overflow at LOWEST ends the run.
SCALE, GROWTH, LOWEST = 2.0**15, 2000, 1.0


class Loop:
    """Trains a model on a stream.

    In each step the mean loss of each replica is weighted by its fraction of the global batch's weights; gradients are
    summed over replicas once, checked for finite values, clipped and applied. So the same global batch gives the same
    step on one device and on many; Keras's optimizers would clip before they sum. A step whose gradients overflow
    changes no weights.

    Args:
        model: built in the strategy's scope and compiled; its optimizer is built, too.
        settings: the recipe's training section.
        strategy: of tf.distribute.
        plain: the same model in float32 and outside the strategy, for evaluation and the preset. By default `model`.
        objective: losses and metrics. By default the model's compiled loss.
        carried: the state that is carried from batch to batch. With carried state, every batch has `rows` rows.
        sampled: makes the targets by sampling answers from the model; validation stays as it is.
        rows: number of rows of a batch; needed only with carried state.
        update: the task's own updates (see `Task.update`), in the place of gradients and optimizer.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: Training,
        strategy: tf.distribute.Strategy,
        plain: keras.Model | None = None,
        objective: Objective | None = None,
        carried: Carried | None = None,
        rows: int = 1,
        sampled: SelfCritical | None = None,
        update: Callable | None = None,
    ):
        self.model, self.settings, self.strategy, self.update = model, settings, strategy, update
        self.plain, self.carried, self.rows = plain or model, carried or Carried(), rows
        objective = objective or Objective(model.loss)
        self.sampled, self.objective = sampled, sampled.objective if sampled else objective
        self.measured = Evaluation(self.plain, objective, self.carried)
        self.step = 0
        self.losses: list[float] = []  # one per step of the current epoch
        self.norms: list[float] = []  # gradient norms, one per step of the current epoch
        self.averages = self.scale = None
        self._graphs: dict[int | None, Callable] = {}  # the step by number of rows
        sum_gradients_ourselves(model.optimizer)  # before clipping; Keras sums after it
        with strategy.scope():
            zeros = self.carried.zeros(model, rows)
            self.carried_state = {name: tf.Variable(value, trainable=False) for name, value in zeros.items()}
            if settings.weight_averaging:
                self.averages = [tf.Variable(weight, trainable=False) for weight in model.trainable_variables]
            if settings.precision == "mixed_float16":
                self.scale = tf.Variable(SCALE, trainable=False)
                self.good_steps = tf.Variable(0, trainable=False)

    def _traced(self, batches, rows: int | None) -> Callable:
        """The step as a graph for batches of `rows` rows, or of any size if `rows` is None.

        By default TensorFlow traces a graph for the first batch size, and a general graph when a second size occurs.
        The two graphs round sums differently, so a continued run would not equal an uninterrupted run to the bit.
        """
        if rows not in self._graphs:
            spec = None
            if hasattr(batches, "element_spec"):
                types = batches.element_spec
                if rows:
                    types = tf.nest.map_structure(
                        lambda each: tf.TensorSpec([rows, *each.shape[1:]], each.dtype), types
                    )
                spec = [types, tf.TensorSpec(())]
            step = self._own_step if self.update else self._train_step
            # AutoGraph would take seconds to convert the step, whose only branches are those of tf.cond.
            self._graphs[rows] = tf.function(step, input_signature=spec, autograph=False)
        return self._graphs[rows]

    def _train_step(self, batch, stop):
        x, y, weight = (*batch, None)[:3]
        figures, gradients, state = self.strategy.run(self._replica_step, (x, y, weight, stop))
        loss, norm, stop = (self.strategy.experimental_local_results(value)[0] for value in figures)
        with self.strategy.scope():
            tf.cond(tf.math.is_finite(norm), lambda: self._apply(gradients), self._skip)
            for name, variable in self.carried_state.items():
                variable.assign(self.strategy.experimental_local_results(state[name])[0])
        return tf.stack([loss, norm, stop])  # stacked, for one transfer to Python

    def _own_step(self, batch, stop):
        """A step by the task's own updates, on one device."""
        optimizer = self.model.optimizer
        loss, norm = self.update(self.model, *batch, optimizer.learning_rate)
        optimizer.iterations.assign_add(1)
        return tf.stack([loss, norm, stop])

    def _replica_step(self, x, y, weight, stop):
        """(loss, gradient norm, stop), gradients and carried state of the global batch, the same on every replica."""
        if self.sampled:
            x, y, weight = self.sampled.batch(x, y, self.model.optimizer.iterations)
        rows = tf.shape(tf.nest.flatten(x)[0])[0]
        weight = tf.ones((rows,)) if weight is None else weight
        total = tf.nest.map_structure(lambda own: self._sum(tf.reduce_sum(own)), weight)
        x = self.carried.fed(x, self._own_rows())
        if self.settings.accumulation == 1:
            loss, gradients, state = self._gradients(x, y, weight, total)
        else:
            loss, gradients, state = self._accumulated(x, y, weight, total, rows)
        names, state = list(state), self._all_rows(list(state.values()))
        # One all-reduce for all tensors, because strategies pack them. The sum of `stop` is above 0 if any worker got a
        # signal. tf.identity copies `stop` to the device, because an argument of the step is not on a device yet.
        loss, stop, *sums = self._sum([loss, tf.identity(stop), *gradients, *state])
        gradients, state = sums[: len(gradients)], dict(zip(names, sums[len(gradients) :], strict=True))
        state = {name: tf.cast(value, self.carried_state[name].dtype) for name, value in state.items()}
        if self.scale is not None:
            gradients = [gradient / self.scale for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if self.settings.global_clipnorm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.global_clipnorm, norm)
        return (loss, norm, stop), gradients, state

    def _sum(self, values):
        """The sums over the replicas; of one replica, the values themselves.

        `all_reduce` has a custom gradient, and TensorFlow keeps the graphs of these until the process ends.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return values
        return tf.distribute.get_replica_context().all_reduce("sum", values)

    def _own_rows(self) -> dict[str, tf.Tensor]:
        """The carried state of this replica's rows."""
        begin, end, _ = replica_rows(self.rows)
        return {name: tf.convert_to_tensor(value)[begin:end] for name, value in self.carried_state.items()}

    def _all_rows(self, state: list[tf.Tensor]) -> list[tf.Tensor]:
        """This replica's rows of the carried state, and zeros elsewhere: the sum over replicas is the whole state.

        Values that are not finite, as after an overflow in half precision, become zero.
        """
        begin, end, is_own = replica_rows(self.rows)
        whole = []
        for value in state:
            if value.dtype.is_floating:
                value = tf.where(tf.math.is_finite(value), value, 0.0)
            else:
                # Strategies sum tensors of one type. Integers up to 2^24, such as token ids, are exact.
                value = tf.cast(value, tf.float32)
            value *= tf.cast(is_own, value.dtype)
            value = tf.pad(value, [[begin, self.rows - end], *[[0, 0]] * (value.shape.rank - 1)])
            whole.append(tf.ensure_shape(value, (self.rows, *value.shape[1:])))
        return whole

    def _gradients(self, x, y, weight, total):
        """This replica's share of the loss, the gradients of that share, and the new carried state of its rows."""
        replicas = tf.cast(tf.distribute.get_replica_context().num_replicas_in_sync, tf.float32)
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            # A sample's probability is that of the model that drew it, without dropout.
            outputs = self.model(x, training=not self.sampled)
            loss = 0.0
            for name, value in self.objective.values(self.model, y, outputs, weight).items():
                # Keras divides a loss by the number of replicas; this undoes that and weights by the fraction instead.
                fraction = tf.math.divide_no_nan(tf.reduce_sum(of(weight, name)), of(total, name))
                loss += value * (replicas * fraction)
            scaled = loss if self.scale is None else loss * self.scale
        gradients = tape.gradient(scaled, variables, unconnected_gradients="zero")
        gradients = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]
        return loss, gradients, self.carried.taken(self.model, outputs)

    def _accumulated(self, x, y, weight, total, rows):
        """The sum of `_gradients` over the parts of a batch, computed one after the other."""
        parts = tf.minimum(self.settings.accumulation, rows)
        names = list(self.carried_state)
        before = [x[name] for name in names]

        def body(part, loss, sums, state):
            begin, end = rows * part // parts, rows * (part + 1) // parts
            x_, y_, weight_ = tf.nest.map_structure(lambda tensor: tensor[begin:end], (x, y, weight))
            more, gradients, after = self._gradients(x_, y_, weight_, total)
            state = [
                tf.ensure_shape(tf.concat([value[:begin], after[name], value[end:]], axis=0), value.shape)
                for name, value in zip(names, state, strict=True)
            ]
            return part + 1, loss + more, [old + new for old, new in zip(sums, gradients, strict=True)], state

        zeros = [tf.zeros(variable.shape) for variable in self.model.trainable_variables]
        start = (0, 0.0, zeros, before)
        _, loss, gradients, state = tf.while_loop(lambda part, *_: part < parts, body, start, parallel_iterations=1)
        return loss, gradients, dict(zip(names, state, strict=True))

    def _apply(self, gradients):
        optimizer, variables = self.model.optimizer, self.model.trainable_variables
        self.strategy.run(lambda gradients: optimizer.apply(gradients, variables), (gradients,))
        if self.averages:
            done = tf.cast(optimizer.iterations, tf.float32)
            # The decay is smaller at first, so that the average forgets the initial weights.
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
            self.scale.assign(self.scale / 2.0)
            self.good_steps.assign(0)
        return tf.constant(False)

    def epoch(self, stream: Stream, number: int, last_step: int, report: Callable, stopping=lambda: False) -> None:
        """Trains for one epoch, or for the rest of it; stops early at `last_step`.

        Args:
            stream: the training data.
            number: index of the epoch, from 0. The first len(losses) steps are skipped, because they are done.
            last_step: the last step of the run.
            report: called after each step as report(step, loss, whether any worker should stop).
            stopping: called before each step; returns whether this worker should stop.

        Raises:
            NotFinite: loss or gradients are not finite; the message names the step and the batch.
        """
        if len(self.losses) >= stream.steps or self.step >= last_step:
            return
        skip = len(self.losses)
        if not skip:
            for variable in self.carried_state.values():
                variable.assign(tf.zeros_like(variable))
        batches = distributed(self.strategy, lambda wanted: stream.epoch(number, skip, wanted))
        is_long = stream.steps * self.settings.epochs >= LONG and self.strategy.num_replicas_in_sync == 1
        flags = {False: tf.constant(0.0), True: tf.constant(1.0)}
        for batch in batches:
            rows = tf.nest.flatten(batch)[0].shape[0] if is_long else None
            train_step = self._traced(batches, rows if rows == stream.batch_size else None)
            loss, norm, stop = train_step(batch, flags[bool(stopping())]).numpy().tolist()
            self.step += 1
            if not math.isfinite(loss + norm) and (self.scale is None or float(np.array(self.scale)) < LOWEST):
                what = "a gradient is" if math.isfinite(loss) else "the loss is"
                where = f"(epoch {number + 1}, batch {len(self.losses) + 1} of {stream.steps})"
                raise NotFinite(what, f"at step {self.step} {where}", batch)
            self.losses.append(loss)
            self.norms.append(norm)
            report(self.step, loss, stop > 0)
            if self.step >= last_step:
                break

    def check_finite(self, row: dict) -> None:
        """Raises NotFinite if the weights or the validation loss are not finite after the last step of an epoch."""
        if not math.isfinite(row.get("val_loss", 0.0)):
            raise NotFinite("the validation loss is", f"after step {self.step}")
        if not all(np.isfinite(weight).all() for weight in self.weights()):
            raise NotFinite("weights are", f"after step {self.step}")

    def means(self, stream: Stream) -> dict[str, float]:
        """The mean loss of the epoch's examples so far, and the mean gradient norm of its steps.

        Steps that overflowed are left out. The mean over examples weights the last batch, which may have fewer rows.
        """
        last = stream.examples / stream.batch_size - (stream.steps - 1)  # rows of the last batch, of a full one's
        shares = [last if step + 1 == stream.steps else 1.0 for step in range(len(self.losses))]
        return {"loss": _mean(self.losses, shares), "gradient_norm": _mean(self.norms, [1.0] * len(self.norms))}

    def weights(self) -> list[np.ndarray]:
        """The weights that the preset will have: averages if weight averaging is on, else the model's own."""
        values = {id(weight): weight for weight in self.model.weights}
        if self.averages:
            pairs = zip(self.model.trainable_variables, self.averages, strict=True)
            values |= {id(variable): average for variable, average in pairs}
        return [np.array(value) for value in values.values()]

    @contextlib.contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Sets the weights of `plain` to `weights()` inside the block, and restores its own weights afterwards."""
        own = self.plain.get_weights()
        self.plain.set_weights(self.weights())
        try:
            yield
        finally:
            self.plain.set_weights(own)

    def evaluate(self, stream: Stream, after_batch: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Losses and metrics with the weights that the preset will have; calls `after_batch` after each batch."""
        with self.kept_weights():
            return self.measured(stream.epoch(0), after_batch)

    def state(self) -> dict[str, np.ndarray]:
        """All arrays that later steps depend on, by name."""
        state = {f"{kind}/{number}": np.array(value) for kind, values in self._variables() for number, value in values}
        return state | {"losses": np.array(self.losses), "norms": np.array(self.norms), "step": np.array(self.step)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Returns to the step at which `state` was taken."""
        for kind, variables in self._variables():
            for number, variable in variables:
                variable.assign(state[f"{kind}/{number}"])
        self.losses, self.norms = state["losses"].tolist(), state["norms"].tolist()
        self.step = int(state["step"])

    def check_agreement(self) -> None:
        """Raises ZooError if workers would continue from different steps, because their folders differ."""
        if self.strategy.num_replicas_in_sync == 1:
            return
        replicas = self.strategy.num_replicas_in_sync

        def sums(step):
            return tf.distribute.get_replica_context().all_reduce("sum", tf.stack([step, step * step]))

        # Integers, because squares above 2^24 are not exact in float32.
        total = tf.function(lambda step: self.strategy.run(sums, (step,)))(tf.constant(self.step, tf.int64))
        total = self.strategy.experimental_local_results(total)[0].numpy()
        if total.tolist() != [replicas * self.step, replicas * self.step**2]:
            raise ZooError(
                f"this worker would continue from step {self.step}, another worker from a different step: "
                "all workers must use the same folder"
            )

    def _variables(self) -> Iterator[tuple[str, Iterator]]:
        metrics = {id(variable) for variable in self.model.metrics_variables}
        # Weights, and the seed states of random layers.
        yield "model", enumerate(variable for variable in self.model.variables if id(variable) not in metrics)
        yield "carried", self.carried_state.items()
        yield "optimizer", enumerate(self.model.optimizer.variables)
        yield "average", enumerate(self.averages or [])
        yield "scale", enumerate([self.scale, self.good_steps] if self.scale is not None else [])


def _mean(values: list[float], shares: list[float]) -> float:
    """The weighted mean of the finite values; NaN if there are none."""
    finite = np.isfinite(values)
    return float(np.average(np.array(values)[finite], weights=np.array(shares)[finite])) if finite.any() else math.nan
