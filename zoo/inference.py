"""The functions that use presets: `load`, `pipeline` and `evaluate`."""

import itertools
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from zoo.tasks import settings_class, task_class, task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from zoo import preset as presets
from zoo.data.source import Source
from zoo.data.sources import open_source
from zoo.data.stream import named_errors
from zoo.errors import InputError, ZooError, checked_count, checked_picture
from zoo.layers.folding import fold_batch_normalization
from zoo.layers.model import outputs_of
from zoo.preset.keras_files import is_keras_file, load_keras_file
from zoo.preset.labels import checked_labels
from zoo.registry import has_classes, tapped
from zoo.tasks.outputs.features import Features
from zoo.tasks.raw import named, shown
from zoo.tasks.task import Measured, Task


def load(
    name: str | os.PathLike,
    classes: int | None = None,
    labels: list[str] | None = None,
    freeze: str | None = None,
    taps: Iterable[str] | None = None,
) -> keras.Model:
    """Loads a pretrained model, compiled with the defaults of its task, ready for `fit`.

    Args:
        name: a preset's name, or the path of its folder.
        classes: number of classes. If it differs from the preset's number, the head has new, random weights. With 0 the
            model returns the pooled embeddings and is not compiled.
        labels: names of the classes; `classes` may then be left out. If their number is the preset's, the head is kept:
            these are new names of its classes, in the same order.
        freeze: the layers to freeze: "all"; "all but head"; "up to LAYER"; the name of a part, such as "encoder";
            or "encoder up to LAYER".
        taps: names of layers. The model then returns the outputs of these layers instead of its own outputs, and is not
            compiled: a tensor for one layer, {name: tensor} for several.

    Returns:
        A keras.Model with an `origin`, which says how it was made. A model with one input and one output takes an array
        (or {name: array}) and returns a tensor; otherwise inputs and outputs are dicts. Classifiers return logits.

    Raises:
        ZooError: an unknown preset, layer or part, a damaged preset, a number of labels other than `classes`, or the
            preset's own labels in another order.

    >>> model = zoo.load("lenet5.mnist", classes=5)   # doctest: +SKIP
    """
    if labels is not None:
        labels = checked_labels(labels, None)
        if classes not in (None, len(labels)):
            raise ZooError(f"classes must be the number of labels, {len(labels)}, got {classes}")
    if classes is not None and (classes != 0 or isinstance(classes, bool)):
        checked_count(classes, "classes")
    preset = presets.open_preset(name)
    of_classes = settings_class(preset.record["task"]["name"]).of_classes
    model = presets.load_model(preset, len(labels) if labels else classes, freeze, of_classes=of_classes)
    if labels is not None:
        model.origin.labels = checked_labels(labels, model.origin.labels)
    if taps is not None:
        return tapped(model, taps)
    task = task_of(model)
    if not isinstance(task, Features):
        task.compile(model)
    return model


def _check_errors(errors: str) -> None:
    if errors not in ("raise", "return"):
        raise ZooError(f"errors must be 'raise' or 'return', got {errors!r}")


class Pipeline:
    """Callable that maps raw input to answers; created by `zoo.pipeline`."""

    def __init__(self, model: keras.Model, task: Task, batch_size: int = 32, source: tuple | None = None):
        self.model, self.task, self.batch_size, self._source = model, task, batch_size, source
        serve, specs = task.signatures()["serving_default"]
        # Tasks use TensorFlow ops for control flow, so they do not need AutoGraph; tracing without it takes
        # a third of the time.
        self._serve = tf.function(serve, input_signature=list(specs.values()), autograph=False)
        self._single = task.single()

    def __repr__(self):
        return f"<Pipeline of {self.model.name}, {self.task.name}>"

    def __reduce__(self):
        """A pipeline of a preset is pickled as the preset's path; that of a model contains the weights."""
        if self._source is not None:
            return _reopened, (*self._source, self.batch_size)
        return _rebuilt, (pickle.dumps(self.model), self.model.origin, self.task.settings, self.batch_size)

    def __call__(self, x: Any, errors: str = "raise") -> dict | list[dict]:
        """Returns a dict for one input, and a list of dicts for several inputs.

        Args:
            x: an input that the task takes (a path, an open file, bytes, an array, a PIL image, a text; a dict of these
                for a task with several inputs), or a list, a generator or another iterator of such inputs. For images
                and arrays also a folder: the files in it in sorted order, without hidden files and subfolders. For
                texts also an open file, whose lines are the inputs.
            errors: "raise", or "return" for {"input", "error"} in the place of an item that can't be answered.

        Raises:
            InputError: an input can't be answered; the message names it.
        """
        _check_errors(errors)
        if self.task.is_batch(x):
            return list(self.answers(x, errors))
        answer = self._answer_single(x)
        if errors == "raise":
            _raise(answer)
        return answer

    def answers(self, items: Iterable, errors: str = "raise") -> Iterator[dict]:
        """Answers many inputs in order, one batch at a time, so that only one batch is in memory.

        Args:
            items: inputs, from any iterable; a folder or an open file as for a call of the pipeline.
            errors: as for a call of the pipeline.

        Yields:
            A dict per input, as soon as its batch is done.

        Raises:
            InputError: as for a call of the pipeline.
        """
        _check_errors(errors)
        batch = []
        for item in self.task.items(items):
            batch.append(item)
            if len(batch) == self.batch_size:
                yield from self._answer_batch(batch, errors)
                batch = []
        if batch:
            yield from self._answer_batch(batch, errors)

    def compare(self, items: Iterable, errors: str = "raise") -> list[dict]:
        """Compares each two of several inputs, such as the portraits of two people.

        Args:
            items: two or more inputs, from any iterable; a folder as for a call of the pipeline.
            errors: as for a call of the pipeline.

        Returns:
            {"input", "other"} per pair, with what the task says of it; for errors="return" after the rows {"input",
            "error"} of the inputs that can't be answered.

        Raises:
            InputError: as for a call of the pipeline.
            ZooError: fewer than two inputs, or a task whose answers can't be compared.
        """
        rows = list(self.answers(items, errors))
        if len(rows) < 2:
            raise ZooError(f"two or more inputs are needed to compare them, got {len(rows)}")
        pairs = itertools.combinations([row for row in rows if "error" not in row], 2)
        compared = [
            {"input": first["input"], "other": second["input"], **self.task.compared(first, second)}
            for first, second in pairs
        ]
        return [*(row for row in rows if "error" in row), *compared]

    def _answer_single(self, item) -> dict:
        try:
            encoded = self.task.encode(item)
        except InputError as error:
            return {"input": shown(item), "error": str(error)}
        return self._to_python(item, self._single(encoded))

    def _answer_batch(self, items: list, errors: str) -> Iterator[dict]:
        encoded, rows = [], {}
        for number, item in enumerate(items):
            try:
                encoded.append((number, self.task.encode(item)))
            except InputError as error:
                rows[number] = {"input": shown(item), "error": str(error)}
        if encoded:
            outputs = self._serve(**self.task.collate([value for _, value in encoded]))
            outputs = {name: value.numpy() for name, value in outputs.items()}
            for place, (number, _) in enumerate(encoded):
                rows[number] = self._to_python(items[number], {name: value[place] for name, value in outputs.items()})
        for number in range(len(items)):
            if errors == "raise":
                _raise(rows[number])
            yield rows[number]

    def _to_python(self, item, outputs: dict) -> dict:
        if outputs["error"]:
            return {"input": shown(item), "error": outputs["error"].decode()}
        return {"input": shown(item), **self.task.to_python(outputs)}


def pipeline(name: str | os.PathLike | keras.Model, batch_size: int = 32, **settings) -> Pipeline:
    """Creates a pipeline: a callable that maps raw input to answers.

    Args:
        name: a preset's name or path, the path of a .keras file, or a model from load or create_model. A model with
            classes=0 or taps answers with its outputs, NumPy arrays by name.
        batch_size: number of inputs of a list that are answered together.
        **settings: settings of the task, such as top=3.

    Examples:
        >>> zoo.pipeline("lenet5.mnist")("digit.png")["labels"][0]   # doctest: +SKIP
        '7'
    """
    checked_count(batch_size, "batch_size")
    if isinstance(name, keras.Model):
        # Not a folded copy: if the model is trained further, the pipeline must answer with the new weights.
        return Pipeline(name, task_of(name, **settings), batch_size)
    if is_keras_file(name):
        path, model = Path(name), load_keras_file(name)
    else:
        preset = presets.open_preset(name)
        path, model = preset.path, presets.load_model(preset)
    model = fold_batch_normalization(model)
    return Pipeline(model, task_of(model, **settings), batch_size, (path.absolute(), settings))


def _reopened(path: Path, settings: dict, batch_size: int) -> Pipeline:
    return pipeline(path, batch_size, **settings)


def _rebuilt(pickled: bytes, origin, settings, batch_size: int) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns that an optimizer without steps has no state
        model = pickle.loads(pickled)
    model.origin = origin  # Keras's pickling loses it
    return pipeline(model, batch_size, **settings.model_dump())


def embed(
    name: str | os.PathLike, inputs: Iterable, layer: str | None = None, errors: str = "raise", **settings
) -> Iterator[dict]:
    """Yields {"input", "embeddings"} per input: the output of a preset's model below its head, or of a layer.

    Args:
        name: a preset's name or path.
        inputs: inputs that the preset's task takes, from any iterable.
        layer: the name of a layer, whose output takes the place of the pooled embeddings.
        errors, **settings: as for a pipeline.

    Raises:
        ZooError: an unknown preset or layer, an output without a fixed size, or a model without a head or of texts.
    """
    preset = presets.open_preset(name)
    if layer is not None:
        model = load(name, taps=[layer])
    elif task_class(preset.record["task"]["name"]).embeds:
        model = load(name)
    elif has_classes(preset.record["model"]["name"]):
        try:
            model = load(name, classes=0)
        except ZooError as error:
            if not isinstance(error.__cause__, ValueError):  # not a refusal of the model's builder
                raise
            raise ZooError(f"{preset.name} needs its head, so it has no embeddings below it: choose a layer") from None
    else:
        raise ZooError(f"{preset.name} has no head to leave out, so it has no embeddings")
    built = pipeline(fold_batch_normalization(model), **settings)
    [(output, tensor)] = outputs_of(model).items()
    if None in tensor.shape[1:]:
        raise ZooError(f"{preset.name}: {output} has no fixed size, which embeddings need: choose another layer")
    [key] = built.task.answer_layout
    for row in built.answers(inputs, errors):
        yield row if "error" in row else {"input": row["input"], "embeddings": np.asarray(row[key], "float32")}


def _raise(answer: dict) -> None:
    if "error" in answer:
        raise InputError(named(answer["error"], answer["input"]))


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
    skip_missing: bool = False,
    **settings,
) -> dict:
    """Measures a preset on a data set, by default the data set and the split that its card names.

    Args:
        name: a preset's name or path.
        dataset: a TFDS name, or the path of your own files in the task's layout.
        split: split of the data set.
        limit: use only the first `limit` examples.
        data_dir: the folder where TFDS keeps its data; by default the one of the preset's recipe.
        batch_size: number of examples that are computed together; it does not change the metrics.
        record: write the metrics into preset.json and the model card, as final metrics.
        picture: the file for a picture of the metrics, such as the confusion matrix.
        report: called as report(examples done, examples).
        skip_missing: for a folder with captions.tsv: leave out images that do not exist, with a warning.
        **settings: settings of the task, such as beam=1.

    Returns:
        {"preset", "dataset", "split", "examples", "metrics", "notes", "seconds"}; metrics are fractions, except BLEU
        and chrF, which are between 0 and 100. A note says how a metric was computed; not every metric has one.

    Raises:
        ZooError: an unknown preset, data set or split; classes that differ from the model's; `record` together with
            `limit` or settings.
    """
    preset = presets.open_preset(name)
    dataset, split, own_dir = _test_data(preset, dataset, split)
    if record and limit is not None:
        raise ZooError("metrics of a part of a split can't be recorded: leave out limit or record")
    if record and settings:
        raise ZooError(f"metrics with other settings can't be recorded: leave out {', '.join(settings)} or record")
    checked_count(batch_size, "batch_size")
    if limit is not None:
        checked_count(limit, "limit")
    if picture is not None:
        picture = checked_picture(picture, "picture")
    task = task_of(fold_batch_normalization(presets.load_model(preset)), **settings)
    data_dir = data_dir or own_dir
    source = open_source(dataset, split, task.fields, task.layout, data_dir, limit, skip_missing=skip_missing)
    task.check_source(source)
    started = time.perf_counter()
    with named_errors():
        measured = task.measure(source, batch_size, report)
    seconds = round(time.perf_counter() - started, 2)
    if record:
        _record(preset, measured, source, split)
    if picture is not None:
        _draw(measured, picture, task.name)
    return {
        "preset": preset.name,
        "dataset": source.name,
        "split": split,
        "examples": source.examples,
        "metrics": measured.metrics,
        "notes": measured.how,
        "seconds": seconds,
    }


def _test_data(preset: presets.Preset, dataset: str | None, split: str | None) -> tuple[str, str, str | None]:
    """The data set and the split to measure on, and the folder of TFDS's data that the preset was trained with.

    Arguments that are None are read from the preset.
    """
    usual = preset.record.get("data") or {}
    fitted, _, _ = preset.record.get("provenance", {}).get("fitted_on", "").rpartition(" ")  # "NAME SPLIT"
    dataset = usual.get("name") or fitted or None if dataset is None else dataset
    if dataset is None:
        raise ZooError(f"the card of {preset.name} does not name a data set: give one, such as --dataset mnist")
    if dataset != usual.get("name"):
        return dataset, split or "test", None
    return dataset, split or usual.get("test") or "test", usual.get("data_dir")


def _draw(measured: Measured, picture: Path, task: str) -> None:
    if measured.draw is None:
        raise ZooError(f"{task} has no picture of its metrics: leave out the picture")
    try:
        measured.draw(picture)
    except (OSError, ValueError) as error:
        raise ZooError(f"can't write the picture {picture}: {error.args[-1]}") from None


def _record(preset: presets.Preset, measured: Measured, source: Source, split: str) -> None:
    """Writes metrics into preset.json and the model card; they replace earlier metrics on the same split."""
    where = {"dataset": source.name, "version": source.version, "split": split, "examples": source.examples}
    others = [
        metric
        for metric in preset.record.get("metrics", [])
        if not (metric["name"] in measured.metrics and (metric["dataset"], metric["split"]) == (source.name, split))
    ]
    final = [{"name": key, "value": value, **where, "final": True} for key, value in measured.metrics.items()]
    for metric in final:
        metric |= {"how": measured.how[metric["name"]]} if metric["name"] in measured.how else {}
    presets.update(preset, metrics=[*final, *others])
