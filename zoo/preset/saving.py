"""`zoo.save`: writes a model and its task as a preset."""

import dataclasses
import datetime
import os
import platform
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from zoo.tasks import bound, task_class, task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from zoo import preset as presets
from zoo.errors import ZooError, checked_path
from zoo.inference import Pipeline, pipeline
from zoo.layers.keras_private import flatten_layers
from zoo.preset import Preset, weights
from zoo.preset.labels import checked_labels
from zoo.preset.parts import copied_parts, referenced
from zoo.registry import Origin, create_model
from zoo.tasks.answers import as_json


def save(
    model: keras.Model | str | os.PathLike,
    path: str | os.PathLike,
    like: str | None = None,
    labels: list[str] | None = None,
    storage: str | None = None,
    samples: Iterable[str | os.PathLike] | None = None,
) -> Preset:
    """Writes a preset, whole or not at all.

    If a model was loaded from a preset and not trained further, the new preset keeps the old metrics and provenance. If
    it was trained, the new preset names the old one as the model it started from and keeps the terms of the old data.

    Args:
        model: a model from load or create_model; or the name or path of a preset, which is converted.
        path: the preset's folder.
        like: a preset with the model's task and architecture, for a model without an origin (a clone, a wrapped model).
        labels: names of the classes; by default the names from the model's preset or data set, else numbers.
        storage: "float32", "float16" or "int8"; by default the storage of the preset that `model` is or was loaded
            from, and float32 for a new or trained model.
        samples: files that are stored in the preset with the model's answers; by default the samples of that preset.

    Raises:
        ZooError: the model has no origin or was quantized, labels don't match, a sample can't be answered, or `path`
            can't be written or has files of these names that are not a preset's.
    """
    path = checked_path(path, "path")
    if getattr(getattr(model, "origin", None), "taps", None):
        raise ZooError(f"{model.name} has taps, so it lacks layers: save the model without taps")
    parent = None
    if not isinstance(model, keras.Model):
        parent = presets.open_preset(model)
        model = presets.load_model(parent)
    elif like is not None:
        model = _with_origin(model, like)
    task_of(model)  # raises if there is no origin, or the task does not fit
    _check_can_be_saved(model, path)
    parent = parent or _unchanged_preset(model)
    origin = model.origin
    if origin.digest and task_class(origin.task).Settings.measured and weights.digest(model) != origin.digest:
        inherited = task_class(origin.task).Settings.inherited(origin.settings)
        origin = model.origin = dataclasses.replace(origin, settings=inherited, digest=None)
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
        domain=kept.get("domain"),
    )


def _check_can_be_saved(model: keras.Model, path: Path) -> None:
    """Raises ZooError if the folder has files that are not a preset's, or the weights can't be loaded again."""
    if not (path / "preset.json").exists():
        for name in (presets.WEIGHTS, "README.md", "assets", "samples"):
            if (path / name).exists():
                raise ZooError(f"{path} has {name}, but is not a preset: choose another folder, or remove {name}")
    for layer in flatten_layers(model):
        if getattr(layer, "quantization_mode", None):
            raise ZooError(f'{model.name} is quantized, layer {layer.name}: save it before, with storage="int8"')


def _with_origin(model: keras.Model, like: str) -> keras.Model:
    """The model of the preset `like`, with the weights of `model`."""
    values, model = model.get_weights(), presets.load_model(presets.open_preset(like))
    try:
        model.set_weights(values)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ZooError(f"the model's weights do not fit the architecture of {like}: {reason}") from None
    return model


def _unchanged_preset(model: keras.Model) -> Preset | None:
    """The preset that the model was loaded from, if weights, settings, assets and classes are unchanged."""
    origin = model.origin
    parent = origin.parent or _reopened(origin)
    if parent is None or origin.taps or weights.digest(model) != origin.digest:
        return None
    record = parent.record
    settings = {key: value for key, value in record["task"]["settings"].items() if key != "labels"}
    has_head = origin.overrides.get("classes") == record["model"]["overrides"].get("classes")
    is_unchanged = origin.settings == settings and origin.assets == parent.assets() and has_head
    return parent if is_unchanged else None


def _reopened(origin: Origin) -> Preset | None:
    """The preset that a model of a .keras file or a copy was loaded from, if its name still leads to its weights."""
    if origin.preset is None or origin.digest is None:
        return None
    try:
        preset = presets.open_preset(origin.preset)
        return preset if weights.digest(presets.load_model(preset)) == origin.digest else None
    except ZooError:
        return None


def inherited_terms(origin: Origin, data: str | None = None) -> dict[str, str]:
    """Terms of a model's training data: `data`, and the terms of the presets that it started from or contains."""
    seen = origin.terms.get("data")
    terms = [data, f"{origin.preset}, which it started from: {seen}" if seen else None]
    terms += [part.text(name) for name, part in origin.parts.items() if part.text(name) not in (seen or "")]
    return {"data": "; ".join(filter(None, terms))} if any(terms) else {}


def _relabelled(model: keras.Model, labels: list[str]) -> Origin:
    """The model's origin with other labels; raises ZooError if they don't match."""
    origin = model.origin
    changed = dataclasses.replace(origin, labels=checked_labels(labels, origin.labels))
    bound(task_class(origin.task), model, origin.settings, changed.labels)  # raises if their number is wrong
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
    domain: str | None = None,
) -> Preset:
    """Writes a model and the facts about it as a preset; if `samples` is None, it takes the samples of `old`."""
    origin = model.origin
    kept = referenced(model)
    copied = copied_parts(model, kept)
    if copied:
        provenance = {**provenance, "parts": copied}
    others = {f"assets/{file}": content for file, content in origin.assets.items()}
    shown = _samples(samples, old)
    answer = pipeline(_as_stored(model, storage, kept)) if shown else None
    answered = [{"input": name, "answer": _answer(answer, name, content)} for name, content in shown.items()]
    others |= shown
    settings = dict(origin.settings)
    if origin.labels is not None:
        settings["labels"] = origin.labels
    record = {
        "name": name,
        **({"domain": domain} if domain else {}),
        "model": {"name": origin.model, "overrides": origin.overrides},
        **({"parts": kept} if kept else {}),
        "task": {"name": origin.task, "settings": settings, **_data_labels(origin)},
        "parameters": _parameters(origin),
        "data": data,
        "provenance": provenance,
        "metrics": metrics,
        "terms": terms,
        "samples": answered,
        **({"op_libraries": libraries} if (libraries := task_of(model).op_libraries()) else {}),
    }
    return presets.write(Path(path), record, model, storage, others)


def _data_labels(origin: Origin) -> dict[str, list[str]]:
    """The entry of preset.json for the names of the classes in the training data, if the labels are other names."""
    is_other = origin.labels is not None and origin.data_labels not in (None, origin.labels)
    return {"data_labels": origin.data_labels} if is_other else {}


def _samples(samples: Iterable[str | os.PathLike] | None, old: Preset | None) -> dict[str, bytes]:
    """{name in the preset: content} of the samples; if `samples` is None, the samples of `old`."""
    if samples is None and old is not None:
        return {row["input"]: old.file(row["input"]).read_bytes() for row in old.record.get("samples", [])}
    contents = {}
    for sample in [checked_path(sample, "sample") for sample in samples or ()]:
        if f"samples/{sample.name}" in contents:
            raise ZooError(f"two samples are named {sample.name}: rename one of them")
        contents[f"samples/{sample.name}"] = _bytes(sample)
    return contents


def _bytes(sample: Path) -> bytes:
    try:
        return sample.read_bytes()
    except OSError as error:
        raise ZooError(f"sample {sample}: {error.strerror}") from None


def _as_stored(model: keras.Model, storage: str, parts: Collection[str]) -> keras.Model:
    """A copy of the model with weights rounded as in `storage`; `parts` are in other presets and are not rounded."""
    twin = create_model(model.origin.model, **model.origin.overrides)
    with tempfile.TemporaryDirectory() as folder:
        try:
            weights.write(model, Path(folder) / presets.WEIGHTS, storage, parts)
        except OSError as error:
            raise ZooError(f"can't write a temporary file in {folder}: {error.strerror or error}") from None
        weights.read(twin, Path(folder) / presets.WEIGHTS, parts)
    for part in parts:
        twin.get_layer(part).set_weights(model.get_layer(part).get_weights())
    twin.origin = model.origin
    return twin


def _answer(answer: Pipeline, name: str, content: bytes) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        try:
            row = answer(answer.task.sample(path), errors="return")
        except ValueError as error:  # a text that is not UTF-8, or damaged JSON
            row = {"error": str(error)}
    if "error" in row:
        raise ZooError(f"{name} can't be a sample: {row['error']}")
    return as_json({key: value for key, value in row.items() if key != "input"})


def _parameters(origin: Origin) -> int:
    """The number of trainable parameters if nothing is frozen.

    They are counted on a new model, because layers at any depth of this model may be frozen; its builder may freeze
    layers, too.
    """
    model = create_model(origin.model, **origin.overrides)
    for layer in flatten_layers(model):  # Keras's setter for a model does not reach the layers of nested models
        layer.trainable = True
    return int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
