"""`zoo.save`: a model with its task becomes a preset."""

import dataclasses
import datetime
import os
import platform
import tempfile
from collections.abc import Iterable
from pathlib import Path

from zoo.tasks import task_class, task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from zoo import preset as presets
from zoo.errors import ZooError, checked_path
from zoo.inference import Pipeline, pipeline
from zoo.preset import Preset, weights
from zoo.registry import Origin, create_model


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
    path = checked_path(path, "path")
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
        known = {key: value for key, value in origin.parent.record["task"]["settings"].items() if key != "labels"}
        if origin.settings == known and origin.assets == origin.parent.assets():
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
        terms=kept.get("terms") or inherited_terms(origin),
        storage=storage or kept.get("storage", "float32"),
        samples=samples,
        old=parent,
    )


def inherited_terms(origin: Origin, data: str | None = None) -> dict[str, str]:
    """Terms of the data that a model has seen: `data`'s, and those of the preset it started from."""
    seen = origin.terms.get("data")
    told = [data, f"{origin.preset}, which it started from: {seen}" if seen else None]
    return {"data": "; ".join(filter(None, told))} if any(told) else {}


def _relabelled(model: keras.Model, labels: list[str]) -> Origin:
    """The model's origin with other labels; raises ZooError where they don't match."""
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise ZooError(f"labels={labels!r} is no list of strings")
    if len(set(labels)) < len(labels):
        raise ZooError(f"labels={labels!r} names a class twice")
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
    shown = {}
    for sample in [checked_path(sample, "sample") for sample in samples or ()]:
        if f"samples/{sample.name}" in shown:
            raise ZooError(f"two samples are named {sample.name}: give each a name of its own")
        shown[f"samples/{sample.name}"] = _bytes(sample)
    if samples is None and old is not None:
        shown = {row["input"]: old.file(row["input"]).read_bytes() for row in old.record.get("samples", [])}
    answer = pipeline(_as_stored(model, storage)) if shown else None
    answered = [{"input": name, "answer": _answer(answer, name, content)} for name, content in shown.items()]
    others |= shown
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


def _bytes(sample: Path) -> bytes:
    try:
        return sample.read_bytes()
    except OSError as error:
        raise ZooError(f"sample {sample}: {error.strerror}") from None


def _as_stored(model: keras.Model, storage: str) -> keras.Model:
    """The model with the rounding that its preset will have."""
    twin = create_model(model.origin.model, **model.origin.overrides)
    with tempfile.TemporaryDirectory() as folder:
        weights.write(model, Path(folder) / presets.WEIGHTS, storage)
        weights.read(twin, Path(folder) / presets.WEIGHTS)
    twin.origin = model.origin
    return twin


def _answer(answer: Pipeline, name: str, content: bytes) -> dict:
    told = answer(content, errors="return")
    if "error" in told:
        raise ZooError(f"{name} can't be a sample: {told['error']}")
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
