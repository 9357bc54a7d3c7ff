"""Data sets with the preprocessing of a model's task."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.data.sources import Source, open_source
from zoo.data.stream import Stream
from zoo.errors import InputError, ZooError, checked_count
from zoo.registry import Origin
from zoo.tasks import raw, task_of
from zoo.tasks.outputs.features import Features
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
    skip_missing: bool = False,
) -> tf.data.Dataset:
    """A tf.data.Dataset of (inputs, y) batches, for model.fit and model.evaluate; for texts (inputs, y, weights).

    `inputs` is a tensor for a model with one input, else a dict. The data set also fits a model around `model`, such as
    keras.Sequential([model, keras.layers.Dense(3)]).

    Args:
        name: a TFDS name, or the path of your own files in the task's layout: a folder with one subfolder of images (or
            .npy files) per class; for detection a folder with annotations of VOC or COCO; for translation a file of
            lines with a source, a tab and a target. For a folder with the name of a data set, give a path with a
            separator, such as "./mnist".
        split: "train", "validation", "test", "all", or TFDS's slices.
        model: from load or create_model; its task does the preprocessing.
        batch_size: of every batch but the last.
        augment: random changes for training: True for those of the model's own training, or a value of the task's
            setting `augment`, such as {"flip": True, "crop": 0.35} for images.
        shuffle: by default only the train split is shuffled, and no split if the task carries state between batches.
            If it is not shuffled, the examples of a folder of files are in the order of their sorted paths.
            Of an image with several captions, a shuffled or augmented data set draws one in each epoch; others have the
            first one.
        seed: each iteration over the data set is an epoch e; its order and augmentation depend on (seed, e) alone.
        epochs: number of epochs in one iteration over the data set, each with its own order and augmentation; for fit
            with `steps_per_epoch`, and for tf.data service, whose workers then take one epoch each.
        data_dir: where TFDS keeps its data.
        limit: number of examples to use, from the start; None for all.
        skip_missing: for a folder with captions.tsv: leave out images that do not exist, with a warning.

    Raises:
        ZooError: the data set or split is unknown, or its classes are not those of the model. Later, from the model's
            fit, evaluate or predict: a file can't be read; the message names it.

    >>> model.fit(zoo.dataset("mnist", model=model, augment=True))   # doctest: +SKIP
    """
    checked_count(batch_size, "batch_size")
    if epochs is not None:
        checked_count(epochs, "epochs")
    task = task_of(model, **({"augment": augment} if isinstance(augment, dict) else {}))
    source = open_source(name, split, task.fields, task.layout, data_dir, limit, skip_missing=skip_missing)
    task.check_source(source)
    if not isinstance(task, Features):  # a model without a head has no classes
        _remember_classes(model.origin, source)
    is_train = split.startswith("train") if shuffle is None else shuffle
    if shuffle is None:
        shuffle = is_train and not task.carried
    if is_train:
        task.check_examples(source)
    if not shuffle:
        source = source.in_file_order()
    if is_train or model.origin.data is None:  # the training data, not a split for evaluation
        model.origin.data = {"name": source.name, "version": source.version, "split": split}
    batches = stream(
        task, source, batch_size, seed, augment=bool(augment), shuffle=shuffle, draw=bool(augment) or is_train
    )
    if not isinstance(model.input, dict):
        batches.finish = _without_names(batches.finish)
    # Keras warns in every `fit` that it does not shuffle a data set, which this one does itself.
    warnings.filterwarnings("ignore", "`shuffle=True` was passed", UserWarning)
    return batches.counted() if epochs is None else batches.epochs(epochs)


def _remember_classes(origin: Origin, source: Source) -> None:
    """Records the names of the classes of the first data set that is opened for a model."""
    if origin.labels is None:
        origin.labels = source.labels
    if origin.data_labels is None and source.labels:
        is_same = set(origin.labels) == set(source.labels)
        origin.data_labels = list(origin.labels if is_same else source.labels)


def preprocess(model: keras.Model, inputs) -> np.ndarray | dict[str, np.ndarray]:
    """Raw inputs as a batch of the model's inputs, with the preprocessing of its task.

    Args:
        model: from load or create_model.
        inputs: an input that the task takes, which becomes a batch of one, or several, as for a call of a pipeline.

    Returns:
        An array (B, ...) for a model with one input; else a dict of arrays by input, without the inputs that only
        training has, such as a translator's `target`.

    Raises:
        InputError: an input can't be read; the message names it.

    >>> model.predict(zoo.preprocess(model, ["a.jpg", "b.jpg"]))   # doctest: +SKIP
    """
    task = task_of(model)
    if "windows" in type(task.settings).model_fields:
        task = task_of(model, windows=1)
    items = list(task.items(inputs)) if task.is_batch(inputs) else [inputs]
    if not items:
        raise ZooError("inputs must not be an empty list")
    encoded = []
    for item in items:
        try:
            encoded.append(task.encode(item))
        except InputError as error:
            raise InputError(raw.named(str(error), raw.shown(item))) from None
    batch, errors = task.checked(task.collate(encoded))
    for item, error in zip(items, errors.numpy(), strict=True):
        if error:
            raise InputError(raw.named(error.decode(), raw.shown(item)))
    # What only answers need, such as the lengths of sounds, is left out.
    batch = {name: x.numpy() for name, x in task.model_inputs(batch).items() if name in task.model.input}
    return batch if isinstance(model.input, dict) else next(iter(batch.values()))


def _without_names(finish: Callable) -> Callable:
    """A stream's `finish` for a model that takes a tensor."""

    def finished(*item):
        inputs, *others = finish(*item)
        [tensor] = inputs.values()
        return tensor, *others

    return finished


def stream(
    task: Task,
    source: Source,
    batch_size: int,
    seed: int = 0,
    *,
    augment: bool,
    shuffle: bool,
    draw: bool = False,
    finish: Callable | None = None,
) -> Stream:
    """The input pipeline of a source: batches of (inputs, y), or (inputs, y, weights).

    Args:
        draw: whether alternative targets are drawn, as in training.
        finish: replaces `task.batch`: a batch of prepared items -> inputs; the batches are then (inputs, y).

    Raises:
        ZooError: the task carries state between batches, but the examples are shuffled or a batch is not full.
    """
    source = _in_whole_batches(task, source, batch_size, shuffle)
    aligned = task.aligned(source)
    draws = draw and task.draws_targets()

    @tf.autograph.experimental.do_not_convert  # keeps errors as they are, and traces faster
    def prepare(stub):
        example = aligned(source.load(stub))
        return task.prepare(task.read(example)), task.targets(example)

    @tf.autograph.experimental.do_not_convert
    def changed(item, seed):
        prepared, y = item
        if draws:
            y = task.draw_targets(y, seed)
        return task.augment(prepared, y, seed) if augment else (prepared, y)

    def finished(prepared, y):
        return (finish(prepared), y) if finish else task.batch(prepared, y)

    return Stream(
        source.stubs,
        prepare,
        changed if augment or draws else None,
        finished,
        source.examples,
        batch_size,
        seed,
        shuffle,
        task.length,
        task.longest,
        _padding(task),
        task.keep_bytes,
        task.group,
        task.group_size,
    )


def frozen_stream(
    task: Task,
    source: Source,
    batch_size: int,
    seed: int,
    rows: Callable[[tf.Tensor], dict],
    *,
    augment: bool,
    shuffle: bool,
    draw: bool = False,
    versions: int = 1,
) -> Stream:
    """Like `stream`, but the model inputs were computed before, such as the outputs of a frozen part of the model.

    Args:
        rows: function of numbers of examples (B,) -> the model inputs of these examples.
        draw: whether alternative targets are drawn, as in training.
        versions: with `augment`, the number of versions of each example, of which each epoch draws one. Version v of
            example i has the number v * examples + i.
    """
    source = _in_whole_batches(task, source, batch_size, shuffle)
    aligned = task.aligned(source)
    draws = draw and task.draws_targets()

    @tf.autograph.experimental.do_not_convert
    def prepare(number, stub):  # the number, so that shuffling moves no large tensors
        return {"number": number}, task.targets(aligned(source.load(stub)))

    @tf.autograph.experimental.do_not_convert
    def changed(item, seed):
        prepared, y = item
        if draws:
            y = task.draw_targets(y, seed)
        if augment:
            y = task.augment_targets(y, seed)
        if versions == 1:
            return prepared, y
        chosen = tf.random.experimental.stateless_fold_in(seed, versions)  # independent of the targets' draws
        version = tf.random.stateless_uniform((), chosen, 0, versions, tf.int64)
        return {"number": prepared["number"] + version * source.examples}, y

    def finished(prepared, y):
        return task.join(rows(prepared["number"]), y)

    return Stream(
        source.stubs.enumerate(),
        prepare,
        changed if augment or draws else None,
        finished,
        source.examples,
        batch_size,
        seed,
        shuffle,
        task.length,
        task.longest,
        _padding(task),
        group=task.group,
        group_size=task.group_size,
    )


def _in_whole_batches(task: Task, source: Source, batch_size: int, shuffle: bool) -> Source:
    """The examples that a task makes of a source, checked against what carried state needs."""
    source = task.examples(source, batch_size)
    if task.carried and shuffle:
        raise ZooError(f"{task.name} carries state from batch to batch: its examples can't be shuffled")
    if task.carried and source.examples % batch_size:
        raise ZooError(
            f"{task.name} carries state from batch to batch, so every batch must be full: {source.name} has "
            f"{source.examples} examples in {source.split}, which is not a multiple of batch_size {batch_size}"
        )
    return source


def _padding(task: Task) -> Callable | None:
    """A function specs of (prepared, y) -> padding values of the same structure; None if all are zero."""
    if not task.padding:
        return None

    def constants(spec, value: Any):
        if isinstance(spec, dict):
            return {name: constants(own, value.get(name) if isinstance(value, dict) else value)
                    for name, own in spec.items()}  # fmt: skip
        return None if value is None else tf.constant(value, spec.dtype)

    def padding(element_spec):
        prepared, y = element_spec
        return constants(prepared, dict(task.padding)), constants(y, task.padding.get("y"))

    return padding
