"""Using presets: load (compiled), pipeline, evaluate."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from zoo.tasks import task_of  # first: it checks Keras's backend

import keras  # isort: skip
import tensorflow as tf

from zoo import preset as presets
from zoo.errors import InputError, ZooError, checked_count, checked_picture
from zoo.layers.folding import fold_batch_normalization
from zoo.registry import tapped
from zoo.tasks.task import Task


def load(
    name: str | os.PathLike,
    classes: int | None = None,
    labels: list[str] | None = None,
    freeze: str | None = None,
    taps: Iterable[str] | None = None,
) -> keras.Model:
    """A pretrained model, compiled with its task's defaults: `fit` works at once.

    Args:
        name: a preset's name, or the path of its folder.
        classes: another number of classes; the head then starts fresh. 0 gives the pooled `embeddings`, not compiled.
        labels: their names; gives `classes` where that is left out.
        freeze: "all", "all but head" or "up to LAYER".
        taps: names of layers whose outputs the model gives, {name: tensor}, in place of its own; not compiled.

    Raises:
        ZooError: no such preset or layer, a damaged preset, or labels and classes that disagree.

    >>> model = zoo.load("lenet5.mnist", classes=5)   # doctest: +SKIP
    """
    if labels is not None and classes not in (None, len(labels)):
        raise ZooError(f"classes={classes}, but {len(labels)} labels are given")
    if labels is not None and (isinstance(labels, str) or not all(isinstance(label, str) for label in labels)):
        raise ZooError(f"labels={labels!r} is no list of strings")
    if labels is not None and ("" in labels or len(set(labels)) < len(labels)):
        raise ZooError(f"labels={labels!r} has a name twice, or one that is empty")
    if classes is not None and (classes != 0 or isinstance(classes, bool)):
        checked_count(classes, "classes")
    model = presets.load_model(presets.open_preset(name), len(labels) if labels else classes, freeze)
    if labels is not None:
        model.origin.labels = list(labels)
    if taps is not None:
        return tapped(model, taps)
    task = task_of(model)
    if classes != 0:
        task.compile()
    return model


class Pipeline:
    """Raw input to answers. Made by `pipeline`."""

    def __init__(self, model: keras.Model, task: Task, batch_size: int = 32):
        self.model, self.task, self.batch_size = model, task, batch_size
        serve, spec = task.signatures()["serving_default"]
        # Tasks write their control flow as ops: without AutoGraph's rewriting, tracing takes a third of the time.
        self._serve = tf.function(serve, input_signature=list(spec.values()), autograph=False)
        self._one = task.one()

    def __call__(self, x: Any, errors: str = "raise") -> dict | list[dict]:
        """One input gives one dict, a list a list of dicts.

        Args:
            x: a path, bytes, an array, a PIL image, a sentence: what the task takes; or a list of them.
            errors: "raise", or "return" for {"input", "error"} in the place of an item that can't be answered.

        Raises:
            InputError: an input can't be answered; the message names it.
        """
        if errors not in ("raise", "return"):
            raise ZooError(f"errors={errors!r} is none of 'raise', 'return'")
        if self.task.is_batch(x):
            answers = list(self.stream(x, errors))
        else:
            answers = self._single(x)
            if errors == "raise":
                _raise(answers)
        return answers

    def stream(self, items: Iterable, errors: str = "raise") -> Iterator[dict]:
        """Answers in order, one batch in memory at a time."""
        batch = []
        for item in items:
            batch.append(item)
            if len(batch) == self.batch_size:
                yield from self._batch(batch, errors)
                batch = []
        if batch:
            yield from self._batch(batch, errors)

    def _single(self, item) -> dict:
        try:
            encoded = self.task.encode(item)
        except InputError as error:
            return {"input": shown(item), "error": str(error)}
        return self._told(item, self._one(encoded))

    def _batch(self, items: list, errors: str) -> Iterator[dict]:
        encoded, told = [], {}
        for number, item in enumerate(items):
            try:
                encoded.append((number, self.task.encode(item)))
            except InputError as error:
                told[number] = {"input": shown(item), "error": str(error)}
        if encoded:
            answers = self._serve(**self.task.collate([value for _, value in encoded]))
            answers = {key: value.numpy() for key, value in answers.items()}
            for row, (number, _) in enumerate(encoded):
                told[number] = self._told(items[number], {key: value[row] for key, value in answers.items()})
        for number in range(len(items)):
            if errors == "raise":
                _raise(told[number])
            yield told[number]

    def _told(self, item, answers: dict) -> dict:
        if answers["error"]:
            return {"input": shown(item), "error": answers["error"].decode()}
        return {"input": shown(item), **self.task.told(answers)}


def pipeline(name: str | os.PathLike | keras.Model, batch_size: int = 32, **settings) -> Pipeline:
    """A function from raw input to answers.

    Args:
        name: a preset's name or path, or a model from load or create_model.
        batch_size: items answered at a time, of a list.
        **settings: task settings, such as top=3.

    >>> zoo.pipeline("lenet5.mnist")("digit.png")["labels"][0]   # doctest: +SKIP
    '7'
    """
    checked_count(batch_size, "batch_size")
    if isinstance(name, keras.Model):
        model = name  # as it is: it may be trained further, and the pipeline answers with what it learns
    else:
        model = fold_batch_normalization(presets.load_model(presets.open_preset(name)))
    return Pipeline(model, task_of(model, **settings), batch_size)


def shown(item: Any) -> str:
    """How an input is named in answers and errors."""
    if isinstance(item, (str, os.PathLike)):  # names and lines may hold what is no text
        return re.sub("[\ud800-\udfff]", "\ufffd", os.fspath(item))
    if isinstance(item, (bytes, bytearray, memoryview)):
        return f"<{len(item)} bytes>"
    if hasattr(item, "shape"):
        return f"<array {' x '.join(map(str, item.shape))}>"
    return f"<{type(item).__name__}>"


def _raise(answer: dict) -> None:
    if "error" in answer:
        known = answer["input"] in answer["error"]
        raise InputError(answer["error"] if known else f"{answer['input']}: {answer['error']}")


def evaluate(
    name: str | os.PathLike,
    dataset: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    data_dir: str | os.PathLike | None = None,
    batch_size: int = 128,
    record: bool = False,
    picture: str | os.PathLike | None = None,
    report: Callable[[int, int], None] | None = None,
    **settings,
) -> dict:
    """Measures a preset on a data set, by default the one and the split that its card names.

    Args:
        name: a preset's name or path.
        dataset: a TFDS name, a folder with one subfolder a class, or a file of pairs of texts.
        split: of the data set.
        limit: only the first so many examples.
        data_dir: where TFDS keeps its data.
        batch_size: of the computation; no influence on the figures.
        record: write the figures into preset.json and card, as final ones.
        picture: where to draw the confusion matrix, or what else the task shows.
        report: called as report(examples done, examples).
        **settings: task settings, such as beam=1.

    Returns:
        {"preset", "dataset", "split", "examples", "metrics", "seconds"}; metrics are fractions, but for BLEU and chrF,
        which go from 0 to 100.

    Raises:
        ZooError: no such preset, data set or split; classes that don't match; a record of a part of a split.
    """
    from zoo.data.sources import open_source
    from zoo.data.stream import named_errors
    from zoo.tasks.dataset import check_labels

    preset = presets.open_preset(name)
    usual = preset.record.get("data") or {}
    dataset = usual.get("name") if dataset is None else dataset
    if dataset is None:
        raise ZooError(f"the card of {preset.name} names no data set: give one, as in --dataset mnist")
    split = split or (usual.get("test") if dataset == usual.get("name") else None) or "test"
    if record and limit is not None:
        raise ZooError("a figure on a part of a split is not recorded: leave out limit or record")
    if record and settings:
        raise ZooError(f"a figure by other settings is not recorded: leave out {', '.join(settings)} or record")
    checked_count(batch_size, "batch_size")
    if limit is not None:
        checked_count(limit, "limit")
    if picture is not None:
        picture = checked_picture(picture, "picture")
    model = fold_batch_normalization(presets.load_model(preset))
    task = task_of(model, **settings)
    source = open_source(dataset, split, task.fields, data_dir, limit)
    check_labels(task, source)
    started = time.perf_counter()
    with named_errors():
        measured = task.measure(source, batch_size, report)
    figures = measured.metrics
    result = {
        "preset": preset.name,
        "dataset": source.name,
        "split": split,
        "examples": source.examples,
        "metrics": figures,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if picture is not None:
        try:
            measured.draw(picture)
        except (OSError, ValueError) as error:
            raise ZooError(f"can't write the picture {picture}: {error.args[-1]}") from None
    if record:
        where = {"dataset": source.name, "version": source.version, "split": split, "examples": source.examples}
        others = [
            metric
            for metric in preset.record.get("metrics", [])
            if not (metric["name"] in figures and (metric["dataset"], metric["split"]) == (source.name, split))
        ]
        final = [{"name": key, "value": value, **where, "final": True} for key, value in figures.items()]
        for metric in final:
            metric |= {"how": measured.how[metric["name"]]} if metric["name"] in measured.how else {}
        presets.update(preset, metrics=[*final, *others])
    return result
