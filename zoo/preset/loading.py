"""Creates models, which may contain presets, and loads presets with their weights; works on every Keras backend."""

import inspect
import os
from collections.abc import Iterable
from typing import Any

from zoo import registry
from zoo.errors import ZooError, unknown
from zoo.preset import cache
from zoo.preset.folders import is_folder, is_path, names, open_preset
from zoo.preset.parts import open_part, part_of
from zoo.preset.preset import WEIGHTS, Preset

OF_CLASSES = ("wordnet_ids.txt",)  # assets that describe the classes of a head


def create_model(
    name: str, classes: int | None = None, freeze: str | None = None, taps: Iterable[str] | None = None, **overrides
):
    """Builds an untrained model; the paper's values are the defaults.

    Args:
        name: a registered model, such as "lenet5". For a preset with trained weights use `zoo.load`.
        classes: size of the last layer; 0 leaves it out, and the model returns the pooled `embeddings` below it.
        freeze: the layers that are not trained: "all", "all but head", "up to LAYER" (that layer included), or the
            name of a part.
        taps: names of layers; the model returns their outputs instead of its own: a tensor for one layer, {name:
            tensor} for several.
        **overrides: the builder's own keyword arguments. A part is a model inside the model. Its value is the name
            or path of a preset, which brings its weights, or {"preset": name, "overrides": {...}} with arguments of
            its builder that leave the weights as they are, such as another `input_shape`; the name of a registered
            model or a dict {"model": name, "overrides": {...}}, which get new weights; or a keras.Model with an
            `origin`, whose layers the new model uses.

    Returns:
        A keras.Model whose `origin` records how it was created. If it has one input and one output, it takes an array
        (or {name: array}) and returns a tensor; otherwise inputs and outputs are dicts.

    Raises:
        ZooError: an unknown model, preset or argument, or a value that the builder refuses.

    >>> zoo.create_model("lenet5", classes=26).count_params()   # doctest: +SKIP
    """
    table = registry.entries()
    if not (isinstance(name, str) and name in table) and _is_preset(name):
        raise ZooError(f"{os.fspath(name)} is a preset, whose weights zoo.load loads; create_model makes new models")
    declared = table[name].parts if isinstance(name, str) and name in table else {}
    loaded = {part: _loaded(part, overrides[part], declared[part]) for part in declared if part in overrides}
    model = registry.create_model(name, classes, freeze, **{**overrides, **loaded})
    parts = {part: part_of(model, part, inner) for part, inner in loaded.items() if hasattr(inner, "origin")}
    model.origin.parts = {part: source for part, source in parts.items() if source is not None}
    return model if taps is None else registry.tapped(model, taps)


def _is_preset(name: Any) -> bool:
    return isinstance(name, os.PathLike) or isinstance(name, str) and (is_path(name) or name in names())


def _loaded(part: str, value: Any, task: str) -> Any:
    """The model of a part if the value names a preset; any other value unchanged."""
    if isinstance(value, dict) and "preset" in value:
        name, changes = value["preset"], value.get("overrides", {})
        is_plan = isinstance(name, (str, os.PathLike)) and isinstance(changes, dict)
        if not is_plan or not {*value} <= {"preset", "overrides"}:
            raise ZooError(f'{part} must be {{"preset": name, "overrides": {{...}}}}, got {value!r}')
        return _headless(open_preset(name), changes)
    if not isinstance(value, (str, os.PathLike)) or value in registry.entries():
        return value
    is_named = not isinstance(value, str) or is_path(value) or value in names() or cache.available(value)
    if not is_named and not is_folder(value):
        fitting = [name for name, entry in registry.entries().items() if entry.task == task]
        raise unknown(f"model or preset for {part}", value, [*fitting, *names()])
    return _headless(open_preset(value))


def _headless(preset: Preset, changes: dict | None = None):
    """A preset's model for use as a part: without its head, if the builder can leave the head out."""
    entry = registry.entries().get(preset.record["model"]["name"])
    has_classes = entry is not None and "classes" in inspect.signature(entry.function()).parameters
    return load_model(preset, classes=0 if has_classes else None, changes=changes)


def load_model(
    preset: Preset,
    classes: int | None = None,
    freeze: str | None = None,
    settings: dict | None = None,
    keep_head: bool = True,
    changes: dict | None = None,
    of_classes: Iterable[str] = (),
):
    """A preset's model with its weights, not compiled; works on every Keras backend.

    Args:
        preset: the preset, from open_preset.
        classes: size of the last layer; if it differs from the preset's, the head gets new weights; 0: no head.
        freeze: as in create_model.
        settings: task settings that replace those of the preset.
        keep_head: whether a head of the right size keeps its weights and labels; if not, it gets new weights.
        changes: arguments of the builder that differ from those of the preset; the weights must fit nevertheless.
        of_classes: names of the recorded settings that another head drops.
    """
    from zoo.layers.model import outputs_of  # imports Keras
    from zoo.preset import weights  # imports NumPy and h5py, which listings do without

    record = preset.record
    parts = record.get("parts") or {}
    overrides = {**record["model"]["overrides"], **(changes or {}), **{part: _part(preset, part) for part in parts}}
    try:
        model = create_model(record["model"]["name"], **overrides)
    except (ZooError, TypeError) as error:
        raise ZooError(f"{preset.path / 'preset.json'} can't be used: {error}") from error
    weights.read(model, preset.file(WEIGHTS), without=parts)
    recorded, task = record["task"]["settings"], record["task"]["name"]
    labels = recorded.get("labels")
    logits = outputs_of(model).get("logits")
    is_changed = classes is not None and (not keep_head or logits is None or classes != logits.shape[-1])
    if is_changed:
        trained = model
        model = create_model(record["model"]["name"], **{**overrides, "classes": classes})
        _copy_all_but_head(trained, model, preset)
        recorded = {key: value for key, value in recorded.items() if key not in of_classes}
        labels = None
    settings = {key: value for key, value in {**recorded, **(settings or {})}.items() if key != "labels"}
    registry.freeze_layers(model, freeze)
    origin = model.origin
    origin.task, origin.settings, origin.labels = task, settings, labels
    origin.data_labels = None if labels is None else record["task"].get("data_labels") or labels
    origin.preset, origin.terms = preset.name, record.get("terms", {})
    origin.assets = preset.assets()
    if is_changed:  # what describes the classes of the old head is left out; a vocabulary stays
        origin.assets = {name: content for name, content in origin.assets.items() if name not in OF_CLASSES}
    if not is_changed or classes == 0:
        origin.parent, origin.digest = preset, weights.digest(model)
    return model


def _part(preset: Preset, part: str):
    """The model of a part whose weights are in another preset."""
    changes = dict(preset.record["model"]["overrides"][part].get("overrides", {}))
    return load_model(open_part(preset, part), classes=changes.pop("classes", None), changes=changes)


def _copy_all_but_head(source, target, preset: Preset) -> None:
    """Copies the weights of layers of the same name; layers without a name of their own are matched by their order."""
    before = [layer for layer in source.layers if layer.weights and not registry.is_head(layer.name)]
    after = [layer for layer in target.layers if layer.weights and not registry.is_head(layer.name)]
    named = {layer.name: layer for layer in before}
    for place, layer in enumerate(after):
        try:
            layer.set_weights((named.get(layer.name) or before[place]).get_weights())
        except (ValueError, IndexError) as error:
            raise ZooError(f"layer {layer.name} does not fit the weights of {preset.name}: {error}") from error
