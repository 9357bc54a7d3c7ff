"""Joins a data set to a model's preprocessing."""

from collections.abc import Callable

import keras
import tensorflow as tf

from zoo.data.sources import Source, open_source
from zoo.data.stream import Stream
from zoo.errors import ZooError, checked_count
from zoo.tasks import task_of
from zoo.tasks.task import Task


def dataset(
    name: str,
    split: str = "train",
    *,
    model: keras.Model,
    batch_size: int = 32,
    augment: bool | dict = False,
    shuffle: bool | None = None,
    seed: int = 0,
    epochs: int | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
) -> tf.data.Dataset:
    """A tf.data.Dataset of (inputs, y) batches, ready for model.fit and model.evaluate; of texts (inputs, y, weights).

    Args:
        name: a TFDS name, or a path: of a folder with one subfolder of files a class, images or .npy for tensors; for
            translation of a file with a source, a tab and a target a line.
        split: "train", "validation", "test", or TFDS's slices.
        model: from load or create_model; its task preprocesses.
        batch_size: of every batch but the last.
        augment: training's random changes: True for those that the model was trained with, or a dict of the task's
            own, such as {"flip": True, "crop": 0.35} for images; their range is in the task's documentation.
        shuffle: by default the train split is shuffled, others are not.
        seed: each iteration over the data set is an epoch e; its order and augmentation follow from (seed, e).
        epochs: so many in one iteration over the data set, each with an order and augmentation of its own; for fit with
            `steps_per_epoch`, and for tf.data service, whose workers then take an epoch each.
        data_dir: where TFDS keeps its data.
        limit: only the first so many examples.

    Raises:
        ZooError: no such data set or split, or not as many classes as the model has.

    >>> model.fit(zoo.dataset("mnist", model=model, augment=True))   # doctest: +SKIP
    """
    checked_count(batch_size, "batch_size")
    if epochs is not None:
        checked_count(epochs, "epochs")
    task = task_of(model, **({"augment": augment} if isinstance(augment, dict) else {}))
    source = open_source(name, split, task.fields, data_dir, limit)
    check_labels(task, source)
    if model.origin.labels is None:
        model.origin.labels = source.labels
    if shuffle is None:
        shuffle = split.startswith("train")
    if shuffle:
        task.check(source)
    if shuffle or model.origin.data is None:  # what it is fitted on, and not what it is measured on afterwards
        model.origin.data = {"name": source.name, "version": source.version, "split": split}
    batches = stream(task, source, batch_size, seed, augment=bool(augment), shuffle=shuffle)
    return batches.counted() if epochs is None else batches.epochs(epochs)


def check_labels(task: Task, source: Source) -> None:
    classes = getattr(task, "classes", None)
    if classes and source.labels and len(source.labels) != classes:
        raise ZooError(
            f"{source.name} has {len(source.labels)} classes, the model {classes}: "
            f"load or create it with classes={len(source.labels)}"
        )
    known, others = set(task.labels or ()), set(source.labels or ())
    if known & others and others - known:  # with no name in common they may be the same classes, renamed
        raise ZooError(
            f"{source.name} has classes that the model does not know, such as {sorted(others - known)[0]!r}; it knows "
            f"{', '.join(sorted(known)[:10])}: to train it on these, load it with labels=[...] of their names"
        )


def _same_numbers(task: Task, source: Source) -> Callable[[dict], dict]:
    """Examples with the model's numbers of the classes, where the data set counts the same names in another order."""
    if not task.labels or not source.labels or set(task.labels) != set(source.labels):
        return lambda example: example
    numbers = tf.constant([task.labels.index(label) for label in source.labels], tf.int64)
    return lambda example: {**example, "label": tf.gather(numbers, example["label"])}


def stream(
    task: Task,
    source: Source,
    batch_size: int,
    seed: int = 0,
    *,
    augment: bool,
    shuffle: bool,
    finish: Callable | None = None,
) -> Stream:
    """The task's way through the one input pipeline, to model inputs or to what `finish` makes of prepared items."""
    renumbered = _same_numbers(task, source)

    @tf.autograph.experimental.do_not_convert  # its errors come as they are, and tracing is quicker
    def prepare(stub):
        example = renumbered(source.load(stub))
        return task.prepare(task.read(example)), task.targets(example)

    def augmented(item, seed):
        prepared, y = item
        return task.augment(prepared, seed), y

    def finished(prepared, y):
        return (finish(prepared), y) if finish else task.batch(prepared, y)

    return Stream(
        source.stubs,
        prepare,
        augmented if augment else None,
        finished,
        source.examples,
        batch_size,
        seed,
        shuffle,
        task.length,
        task.longest,
    )
