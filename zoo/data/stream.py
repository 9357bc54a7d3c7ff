"""The input pipeline: read, prepare, keep, shuffle, enumerate, skip, augment, batch, finish, prefetch."""

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator

import tensorflow as tf

from zoo.errors import ZooError

# Sizes of the shuffle window. A data set with fewer examples is shuffled completely. SHUFFLE is for prepared examples,
# which are in memory anyway. SHUFFLE_RAW is for raw examples, for which the window needs additional memory.
SHUFFLE, SHUFFLE_RAW = 65_536, 10_000
KEEP_BYTES = 1 << 30
_REMEDY = "repair or remove it"
# Number of batches that are sorted by length together, and the most that they, or the raw examples of a shuffle window,
# may take. Sorting copies the items, so that all images of a data set would take several times its size.
WINDOW, WINDOW_BYTES = 100, 1 << 26


class Stream:
    """Batches for training or evaluation; epoch e is a function of (seed, e) alone.

    The order of the steps has reasons. Examples are *read* and *prepared* (decoded and framed: all computation without
    random numbers). If they fit in memory, they are *kept*, so that later epochs do not decode them again. They are
    *shuffled* with the epoch's seed and *enumerated*, so that the random numbers of an example depend on its place in
    the epoch and not on timing. The batches that a resumed run has already done are *skipped*. The other examples are
    *augmented*, *batched*, *finished* (scaling, and augmentation that is faster on a batch) and *prefetched*. Examples
    that do not fit in memory are shuffled raw and prepared after the skip, because encoded examples take little memory
    and skipped examples are then not decoded.

    Items of different sizes, such as sentences, are padded to the longest item of their batch. With `length`, the
    batches of a shuffled epoch have items of about the same length: the items of a hundred batches (fewer if they are
    large), in the epoch's order, are sorted by length and divided into batches, and the batches are shuffled. Skipped
    items are then prepared too, because their length must be known. With `group`, the items of a hundred batches are
    ordered so that several of a group lie side by side, such as pictures of a person.

    Args:
        dataset: the raw examples, {field: tensor}.
        prepare: example -> prepared.
        augment: (prepared, seed (2,)) -> prepared; None for no random changes.
        finish: a batch of prepared -> (inputs, y) or (inputs, y, weights).
        examples: number of examples.
        batch_size: size of every batch but the last.
        seed: seed of the order and of augmentation.
        shuffle: whether epochs are shuffled.
        length: a prepared item -> () its length; with None the items are not sorted.
        longest: greatest size of an axis of unknown size, to estimate the memory for kept items; None if unknown.
        group: a prepared item -> () the number of its group; with None items are in no groups.
        group_size: of a group, so many items lie side by side in a shuffled epoch, as far as it has them.
        keep_bytes: most bytes of prepared items that are kept in memory; KEEP_BYTES by default.
        padding: specs of a prepared item -> padding values of the same structure, where None means zeros. By default
            all padding is zero.
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
        padding: Callable | None = None,
        keep_bytes: int | None = None,
        group: Callable | None = None,
        group_size: int = 1,
    ):
        prepared = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        self.is_kept = _bytes(prepared, examples, longest) < (KEEP_BYTES if keep_bytes is None else keep_bytes)
        batch = _bytes(prepared, batch_size, longest)
        self.window = WINDOW if math.isinf(batch) else max(1, min(WINDOW, int(WINDOW_BYTES // batch)))
        self.raw = None if self.is_kept else dataset
        size = _bytes(dataset, 1, None)  # infinite for encoded files and texts, which are small
        self.raw_window = (
            SHUFFLE_RAW if math.isinf(size) else min(SHUFFLE_RAW, max(batch_size, int(WINDOW_BYTES // max(size, 1))))
        )
        self.prepared = prepared.cache() if self.is_kept else prepared
        self.prepare, self.augment, self.finish = prepare, augment, finish
        self.examples, self.batch_size = examples, batch_size
        self.seed, self.shuffle, self.length, self.padding = seed, shuffle, length, padding
        self.group, self.group_size = group, group_size

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return -(-self.examples // self.batch_size)

    def epoch(self, number, skip: int = 0, wanted: Callable | None = None) -> tf.data.Dataset:
        """The batches of one epoch.

        Args:
            number: number of the epoch, an int or a () int64 tensor.
            skip: number of batches to leave out at the start.
            wanted: (row, number of rows in its batch), () int64 each -> whether the row is needed. Rows that are not
                needed become zeros without being decoded, unless they were prepared before.
        """
        number, skip = tf.cast(number, tf.int64), tf.cast(skip, tf.int64)
        if wanted is not None or not tf.executing_eagerly():
            return self._epoch(number, skip, wanted)
        traced, spec = self._traced
        return tf.data.experimental.from_variant(traced(number, skip), spec).with_options(options())

    @functools.cached_property
    def _traced(self) -> tuple[Callable[[tf.Tensor, tf.Tensor], tf.Tensor], tuple]:
        """`_epoch` as a graph, and the spec of its batches. Without it, Python sets all steps up again for each epoch.

        With tf.function, AutoGraph would convert `_epoch` too, which takes longer than an epoch's steps.
        """
        specs = []

        def variant(number, skip):
            dataset = self._epoch(number, skip)
            specs.append(dataset.element_spec)
            return tf.data.experimental.to_variant(dataset)

        return tf.compat.v1.wrap_function(variant, [tf.TensorSpec((), tf.int64)] * 2), specs[0]

    def _epoch(self, number: tf.Tensor, skip: tf.Tensor, wanted: Callable | None = None) -> tf.data.Dataset:
        seed = tf.stack([tf.constant(self.seed, tf.int64), number])
        dataset = self.prepared if self.is_kept else self.raw
        if self.shuffle:
            window = min(self.examples, SHUFFLE if self.is_kept else self.raw_window)
            order = tf.random.stateless_uniform((), seed, 0, 2**31 - 1, tf.int64)
            dataset = _shuffled(dataset, window, self.seed, order)
        is_raw = not self.is_kept
        by_group = self.group is not None and self.group_size > 1
        if self.shuffle and (self.length is not None or by_group):
            if is_raw:  # length and group are known only after `prepare`
                dataset = dataset.map(self.prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
                is_raw = False
            if by_group:
                dataset = self._reordered(dataset, self.group, self._by_group, seed)
            else:
                dataset = self._reordered(dataset, self.length, self._by_length, seed)

        def item(index, example):  # example: the result of `prepare`, or its argument if is_raw
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
        values = self.padding(dataset.element_spec) if self.padding else None
        return dataset.padded_batch(self.batch_size, padding_values=values)

    def _reordered(self, dataset, key: Callable, order: Callable, seed):
        """The same items in another order: `order` of their keys, a window of many batches at a time.

        Args:
            key: a prepared item -> () its key.
            order: keys (N,) and a seed -> the places of the items, (N,).
        """
        window = self.window * self.batch_size

        def ordered(number, keys, items):
            places = order(keys, tf.random.experimental.stateless_fold_in(seed, number))
            return tf.nest.map_structure(lambda part: tf.gather(part, places), items)

        def with_key(*item):
            item = item[0] if len(item) == 1 else item
            return key(item), item

        windows = dataset.map(with_key).ragged_batch(window).enumerate()
        items = windows.map(lambda number, both: ordered(number, *both)).unbatch()
        return items.map(lambda *item: tf.nest.map_structure(_dense, item))

    def _by_length(self, lengths, seed):
        """An order in which each batch has items of about the same length."""
        draws, count = tf.random.experimental.stateless_split(seed, 2), tf.size(lengths)
        # Items of the same length are in random order.
        order = tf.argsort(tf.cast(lengths, tf.float32) + tf.random.stateless_uniform([count], draws[0]))
        whole = count // self.batch_size
        turns = tf.argsort(tf.random.stateless_uniform([whole], draws[1]))
        rows = tf.gather(tf.reshape(order[: whole * self.batch_size], [whole, self.batch_size]), turns)
        return tf.concat([tf.reshape(rows, [-1]), order[whole * self.batch_size :]], axis=0)

    def _by_group(self, groups, seed):
        """An order in which `group_size` items of a group lie side by side; the parts of groups are shuffled."""
        order = tf.argsort(groups, stable=True)  # the items of a group in the epoch's order
        sorted_groups = tf.gather(groups, order)
        first = tf.searchsorted(sorted_groups, sorted_groups, side="left")
        part = (tf.range(tf.size(groups)) - first) // self.group_size  # of the item's group
        is_new = tf.concat([[True], (part[1:] != part[:-1]) | (sorted_groups[1:] != sorted_groups[:-1])], axis=0)
        number = tf.cumsum(tf.cast(is_new[: tf.size(groups)], tf.int32)) - 1
        turns = tf.random.stateless_uniform([tf.size(groups)], seed)
        return tf.gather(order, tf.argsort(tf.gather(turns, number), stable=True))

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

    def in_order(self, version: int = 0) -> tf.data.Dataset:
        """The batches in the order of the data set, without shuffling.

        Args:
            version: 0 for items without augmentation; other numbers augment with other seeds.
        """
        dataset = self.prepared
        if version:
            # Epochs have numbers from 0, so their seeds are others.
            seed = tf.constant([self.seed, -version], tf.int64)

            def augmented(index, item):
                return self.augment(item, tf.random.experimental.stateless_fold_in(seed, index))

            dataset = dataset.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        dataset = self._batched(dataset).map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(2).with_options(options())

    def epochs(self, count: int) -> tf.data.Dataset:
        """Several epochs in a row. It has no state, so that the workers of tf.data service can take one epoch each."""
        return tf.data.Dataset.range(count).flat_map(self.epoch).with_options(options())

    def counted(self) -> tf.data.Dataset:
        """A data set for Keras's `fit`: each iteration over it is the next epoch, from 0."""
        counter = tf.Variable(-1, dtype=tf.int64, trainable=False)
        single = tf.data.Dataset.from_tensors(0).map(lambda _: counter.assign_add(1))
        dataset = single.flat_map(self.epoch).apply(tf.data.experimental.assert_cardinality(self.steps))
        dataset._epoch_counter = counter  # the variable must live as long as the data set
        return dataset.with_options(options())


def _shuffled(dataset: tf.data.Dataset, window: int, seed: int, order: tf.Tensor) -> tf.data.Dataset:
    """Dataset.shuffle with a tensor as seed, which Dataset.shuffle refuses inside a tf.data function."""
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


def readable(error: tf.Tensor, file) -> tf.Operation:
    """An assertion in the graph that an example has no error; `named_errors` converts its failure.

    Args:
        error: () string, "" for a good example.
        file: the name of the example's file, a str or () string.
    """
    return tf.debugging.Assert(error == "", [file, error, _REMEDY])


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """While a stream is consumed, converts the error of an unreadable file to a ZooError that names the file."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        match = re.search(rf"assertion failed: \[(.*)\] \[(.*)\] \[{_REMEDY}\]", error.message)
        if not match:
            raise
        raise ZooError(f"{match[1]}: {match[2]}; {_REMEDY}") from None


def options() -> tf.data.Options:
    chosen = tf.data.Options()
    # The autotuner sometimes stalls an epoch for seconds; without it AUTOTUNE means one call per core.
    chosen.autotune.enabled = False
    chosen.deterministic = True
    return chosen


def _dense(value):
    """An item with two axes of unknown size comes out of `ragged_batch` as a ragged tensor with rows of one length."""
    return value.to_tensor() if isinstance(value, tf.RaggedTensor) else value


def _nothing(spec: tf.TensorSpec) -> tf.Tensor:
    """Zeros, or empty strings, in the shape of a spec; axes of unknown size have size 0."""
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)


def _bytes(dataset: tf.data.Dataset, examples: int, longest: int | None) -> float:
    """The greatest number of bytes that the examples may take; infinite if their size is unknown."""
    total = 0.0
    for spec in tf.nest.flatten(dataset.element_spec):
        if spec.shape.rank is None or spec.dtype == tf.string or not (longest or spec.shape.is_fully_defined()):
            return float("inf")
        total += math.prod(size or longest for size in spec.shape) * spec.dtype.size
    return total * examples
