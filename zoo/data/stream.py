"""The one input pipeline: read, prepare, keep, shuffle, enumerate, augment, batch, finish, prefetch."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator

import tensorflow as tf

from zoo.errors import ZooError

# Shuffling is complete up to this many examples, and in a window of as many above; what is kept in memory anyway may
# be many, what waits there encoded may not.
SHUFFLE, SHUFFLE_RAW = 65_536, 10_000
KEEP_BYTES = 1 << 30
WINDOW = 100  # batches that are sorted by length together


class Stream:
    """Batches for training or evaluation; epoch e is a function of (seed, e) alone.

    The order of the chain and its reasons: examples are *read* and *prepared* (decoded, framed: whatever needs no
    random number) and *kept* in memory, where they are few enough, so that later epochs do not decode again; then
    they are *shuffled* with the epoch's seed; *enumerated*, so that each example's random numbers depend on its place
    in the epoch and not on timing; what a resumed run has done is *skipped*; the rest *augmented*; *batched*;
    *finished* (scaling, and what augmentation a whole batch goes through faster); and *prefetched*. What is too much
    to be kept is shuffled as it comes and prepared only after the skip: encoded it takes little memory, and what is
    skipped is not decoded.

    Items whose sizes differ, such as sentences, are padded with zeros to the longest of their batch. Where they have a
    `length`, batches are made of items of about the same: a hundred batches' worth, in the epoch's order, is sorted by
    it and cut, and the batches are shuffled; what is skipped is then prepared all the same, for its length.

    Args:
        dataset: of raw examples, {field: tensor}.
        prepare: example -> what the data set is kept as.
        augment: (prepared, seed (2,)) -> prepared; None: nothing is random but the order.
        finish: a batch of prepared -> (inputs, y) or (inputs, y, weights).
        examples: their number.
        batch_size: of every batch but the last.
        seed: of everything random.
        shuffle: whether epochs are shuffled.
        length: a prepared item -> () its length; None: batches are made as items come.
        longest: the most that an axis of unknown size may hold, for the memory that keeping would take; None: unknown.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        prepare: Callable,
        augment: Callable | None,
        finish: Callable,
        examples: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        length: Callable | None = None,
        longest: int | None = None,
    ):
        prepared = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        self.is_kept = _bytes(prepared, examples, longest) < KEEP_BYTES
        self.raw = None if self.is_kept else dataset
        self.prepared = prepared.cache() if self.is_kept else prepared
        self.prepare, self.augment, self.finish = prepare, augment, finish
        self.examples, self.batch_size = examples, batch_size
        self.seed, self.shuffle, self.length = seed, shuffle, length

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.examples // self.batch_size)

    def epoch(self, number, skip: int = 0, wanted: Callable | None = None) -> tf.data.Dataset:
        """The batches of one epoch.

        Args:
            number: of the epoch, an int or a () int64 tensor.
            skip: how many batches are left out at the start.
            wanted: (row of a batch, rows that it has), () int64 each -> whether the row is looked at; of those that are
                not, where data are not kept, zeros take the place and nothing is decoded.
        """
        number = tf.cast(number, tf.int64)
        seed = tf.stack([tf.constant(self.seed, tf.int64), number])
        dataset = self.prepared if self.is_kept else self.raw
        if self.shuffle:
            window = min(self.examples, SHUFFLE if self.is_kept else SHUFFLE_RAW)
            order = tf.random.stateless_uniform((), seed, 0, 2**31 - 1, tf.int64)
            dataset = _shuffled(dataset, window, self.seed, order)
        is_raw = not self.is_kept
        if self.length is not None and self.shuffle:
            if is_raw:  # its length is not known before
                dataset = dataset.map(self.prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
                is_raw = False
            dataset = self._by_length(dataset, seed)

        def item(index, example):  # example: what `prepare` returned, or what it takes
            if is_raw:
                example = self._prepared(index, example, wanted)
            if self.augment is None:
                return example
            return self.augment(example, tf.random.experimental.stateless_fold_in(seed, index))

        dataset = dataset.enumerate().skip(skip * self.batch_size)
        dataset = dataset.map(item, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        dataset = self._batched(dataset).map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(2).with_options(options())

    def _batched(self, dataset):
        shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
        if all(shape.is_fully_defined() for shape in shapes):
            return dataset.batch(self.batch_size)
        return dataset.padded_batch(self.batch_size)

    def _by_length(self, dataset, seed):
        """The same items, so ordered that each batch has some of about the same length."""
        window = WINDOW * self.batch_size

        def ordered(number, lengths, items):
            draws = tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(seed, number), 2)
            count = tf.size(lengths)
            # Which of the same length stand together is drawn, too.
            order = tf.argsort(tf.cast(lengths, tf.float32) + tf.random.stateless_uniform([count], draws[0]))
            whole = count // self.batch_size
            turns = tf.argsort(tf.random.stateless_uniform([whole], draws[1]))
            rows = tf.gather(tf.reshape(order[: whole * self.batch_size], [whole, self.batch_size]), turns)
            order = tf.concat([tf.reshape(rows, [-1]), order[whole * self.batch_size :]], axis=0)
            return tf.nest.map_structure(lambda part: tf.gather(part, order), items)

        def with_length(*item):
            item = item[0] if len(item) == 1 else item
            return self.length(item), item

        windows = dataset.map(with_length).ragged_batch(window).enumerate()
        return windows.map(lambda number, both: ordered(number, *both)).unbatch()

    def _prepared(self, index, example, wanted):
        arguments = example if isinstance(example, tuple) else (example,)
        if wanted is None:
            return self.prepare(*arguments)
        row, first = index % self.batch_size, index - index % self.batch_size
        return tf.cond(
            wanted(row, tf.minimum(self.examples - first, self.batch_size)),
            lambda: self.prepare(*arguments),
            lambda: tf.nest.map_structure(_nothing, self.prepared.element_spec),
        )

    def in_order(self) -> tf.data.Dataset:
        """The batches as the data set has them, with nothing random."""
        dataset = self._batched(self.prepared).map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(2).with_options(options())

    def epochs(self, count: int) -> tf.data.Dataset:
        """So many epochs in a row; it has no state, so that the workers of tf.data service can take an epoch each."""
        return tf.data.Dataset.range(count).flat_map(self.epoch).with_options(options())

    def counted(self) -> tf.data.Dataset:
        """A data set for Keras's fit: its n-th iteration is epoch n, from 0."""
        counter = tf.Variable(-1, dtype=tf.int64, trainable=False)
        one = tf.data.Dataset.from_tensors(0).map(lambda _: counter.assign_add(1))
        dataset = one.flat_map(self.epoch).apply(tf.data.experimental.assert_cardinality(self.steps))
        dataset._epoch_counter = counter  # the variable must live as long as the data set
        return dataset.with_options(options())


def _shuffled(dataset: tf.data.Dataset, window: int, seed: int, order: tf.Tensor) -> tf.data.Dataset:
    """Dataset.shuffle with a tensor as seed, which it does not take inside a tf.data function."""
    flat = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=tf.constant(window, tf.int64),
        seed=tf.constant(seed, tf.int64),
        seed2=order,
        output_types=[spec.dtype for spec in tf.nest.flatten(dataset.element_spec)],
        output_shapes=[spec.shape for spec in tf.nest.flatten(dataset.element_spec)],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(flat, dataset.element_spec)


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """Around the consumption of a stream: a file that can't be read ends it with one line that names it."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(r"assertion failed: \[(.*?)\] \[(.*?)\]", error.message)
        if not found:
            raise
        raise ZooError(f"{found[1]}: {found[2]}; repair or remove it") from None


def options() -> tf.data.Options:
    chosen = tf.data.Options()
    # The autotuner now and then stalls an epoch for seconds; without it AUTOTUNE means one call a core.
    chosen.autotune.enabled = False
    chosen.deterministic = True
    return chosen


def _nothing(spec: tf.TensorSpec) -> tf.Tensor:
    """Zeros, or empty strings, of a shape that fits."""
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)


def _bytes(dataset: tf.data.Dataset, examples: int, longest: int | None) -> float:
    """Memory that the examples would take at most; infinite where their size is not known beforehand."""
    total = 0.0
    for spec in tf.nest.flatten(dataset.element_spec):
        if spec.shape.rank is None or spec.dtype == tf.string or not (longest or spec.shape.is_fully_defined()):
            return float("inf")
        total += math.prod(size or longest for size in spec.shape) * spec.dtype.size
    return total * examples
