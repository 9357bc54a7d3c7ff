"""`zoo.save`: a model with its task becomes a preset."""

import dataclasses
import datetime
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from zoo.tasks import task_class, task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from zoo import preset as presets
from zoo import weights
from zoo.errors import ZooError
from zoo.inference import pipeline
from zoo.preset import Preset
from zoo.registry import Origin


def save(
    model: keras.Model | str | os.PathLike,
    path: str | os.PathLike,
    like: str | None = None,
    labels: list[str] | None = None,
    storage: str | None = None,
    samples: Iterable[str | os.PathLike] | None = None,
) -> Preset:
    """Writes a preset, whole or not at all.

    Metrics and provenance of a model that was fitted are its own: nothing is taken over from the preset it was loaded
    from but its name. One that was not fitted keeps them.

    Args:
        model: from load or create_model; or a preset's name or path, to convert it.
        path: the preset's folder.
        like: the preset whose task and plan a model has that lost its origin (a clone, a wrapped model).
        labels: names of the classes; by default those of the data set it was fitted on, else their numbers.
        storage: "float32", "float16" or "int8"; by default a preset's own, and float32 for a model.
        samples: files that go into the preset with the answers it gives to them.

    Raises:
        ZooError: no origin, labels that don't match, a sample that can't be answered, or no place to write.
    """
    path = Path(path)
    parent = None
    if not isinstance(model, keras.Model):
        parent = presets.open_preset(model)
        model = presets.load_model(parent)
    elif like is not None:
        values, model = model.get_weights(), presets.load_model(presets.open_preset(like))
        try:
            model.set_weights(values)
        except ValueError as error:
            raise ZooError(f"the model's weights do not fit the plan of {like}: {str(error).splitlines()[0]}") from None
    task_of(model)  # has it an origin, and does the task fit?
    origin = model.origin
    if parent is None and origin.parent and weights.digest(model) == origin.digest:
        parent = origin.parent
    if labels is not None:
        origin = model.origin = _relabelled(model, labels)
    kept = parent.record if parent else {}
    provenance = kept.get("provenance") or {
        "started_from": origin.preset or "nothing",
        **({"fitted_on": f"{origin.data['name']} {origin.data['split']}"} if origin.data else {}),
        "made": datetime.date.today().isoformat(),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "python": platform.python_version()},
    }
    name = path.resolve().name if not kept else kept["name"]
    return write_preset(
        model,
        path,
        name,
        data=kept.get("data"),
        metrics=kept.get("metrics", []),
        provenance=provenance,
        terms=kept.get("terms", {}),
        storage=storage or kept.get("storage", "float32"),
        samples=samples,
        old=parent,
    )


def _relabelled(model: keras.Model, labels: list[str]) -> Origin:
    """The model's origin with other labels; raises ZooError where they don't match."""
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ZooError(f"labels={labels!r} is no list of strings")
    origin, known = model.origin, model.origin.labels or []
    if set(labels) == set(known) and list(labels) != list(known):
        raise ZooError(f"labels are in another order than the model's classes: {', '.join(known)}")
    changed = dataclasses.replace(origin, labels=list(labels))
    task_class(origin.task)(model, origin.settings, changed.labels, origin.assets)  # does their number fit?
    return changed


def write_preset(
    model: keras.Model,
    path: str | os.PathLike,
    name: str,
    *,
    data: dict | None,
    metrics: list[dict],
    provenance: dict,
    terms: dict,
    storage: str,
    samples: Iterable[str | os.PathLike] | None = None,
    old: Preset | None = None,
) -> Preset:
    """Joins what is known of a model into a preset and writes it; `old` gives the samples where none are named."""
    origin = model.origin
    others = {f"assets/{file}": content for file, content in origin.assets.items()}
    answered = []
    if samples is not None:
        answer = pipeline(model)
        for sample in map(Path, samples):
            name_inside = f"samples/{sample.name}"
            if name_inside in others:
                raise ZooError(f"two samples are named {sample.name}: give each a name of its own")
            told = answer(sample)
            others[name_inside] = sample.read_bytes()
            answered.append({"input": name_inside, "answer": _without_input(told)})
    elif old is not None and old.record.get("samples"):
        answered = old.record["samples"]
        others |= {row["input"]: old.file(row["input"]).read_bytes() for row in answered}
        if origin.labels != old.record["task"]["settings"].get("labels"):
            answer = pipeline(model)
            inputs = [row["input"] for row in answered]
            answered = [{"input": name, "answer": _without_input(answer(others[name]))} for name in inputs]
    settings = dict(origin.settings)
    if origin.labels is not None:
        settings["labels"] = origin.labels
    record = {
        "name": name,
        "model": {"name": origin.model, "overrides": origin.overrides},
        "task": {"name": origin.task, "settings": settings},
        "parameters": int(sum(np.prod(weight.shape) for weight in _trainable(model))),
        "data": data,
        "provenance": provenance,
        "metrics": metrics,
        "terms": terms,
        "samples": answered,
    }
    return presets.write(Path(path), record, model, storage, others)


def _without_input(told: dict) -> dict:
    return {key: value for key, value in told.items() if key != "input"}


def _trainable(model: keras.Model) -> list:
    """The weights that training changes with everything thawed."""
    whole = model.trainable
    frozen = {layer.name: layer.trainable for layer in model.layers}
    for part in [model, *model.layers]:
        part.trainable = True
    found = list(model.trainable_weights)
    model.trainable = whole
    for layer in model.layers:
        layer.trainable = frozen[layer.name]
    return found
