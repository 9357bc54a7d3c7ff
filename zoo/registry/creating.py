"""Builds models from registered builders, and adapts them: parts, taps, frozen layers."""

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from zoo.errors import ZooError, unknown
from zoo.origin import Origin
from zoo.registry.reading import Entry, entries

# Task settings that say how a raw input becomes a tensor; a model shares them with the part that reads the input.
_INPUT_SETTINGS = ("colour", "polarity", "centre", "fraction", "low", "high", "margin")


def create_model(
    name: str, classes: int | None = None, freeze: str | None = None, taps: Iterable[str] | None = None, **overrides
):
    """Builds an untrained model. `zoo.create_model` documents the arguments, and also accepts presets as parts.

    Args:
        **overrides: the builder's own keyword arguments. A part is the name of a registered model or a dict
            {"model": name, "overrides": {...}}, which are built without a head; or a keras.Model with an `origin`,
            whose layers the new model uses.

    Returns:
        A keras.Model whose `origin` records how it was created. `origin.overrides` contains literals only, from which
        this function builds the same model again.

    Raises:
        ZooError: an unknown model or argument, or a value that the builder refuses.
    """
    table = entries()
    if not isinstance(name, str) or name not in table:
        raise unknown("model", name, table)
    entry = table[name]
    _check_axes()
    overrides = {**entry.overrides, **overrides}
    if classes is not None:
        overrides["classes"] = classes
    builder = entry.function()
    known = inspect.signature(builder).parameters
    for key in overrides:
        if key == "classes" and key not in known:
            raise ZooError(f"{name} has no classes: leave out classes and labels")
        if key in ("weights", "pretrained") and key not in known:
            raise ZooError(f"create_model builds untrained models, without {key}=: zoo.load(PRESET) loads weights")
        if key not in known:
            raise unknown(f"argument of {name}", key, known)
    _check_sizes(name, overrides, known)
    from zoo.layers.keras_private import graph  # imports Keras
    from zoo.layers.model import named, with_origin

    parts = {part: _part(entry, part, overrides.get(part, known[part].default)) for part in entry.parts}
    try:
        model = builder(**{**overrides, **{part: named(inner, part) for part, inner in parts.items()}})
    except RecursionError:
        raise ZooError(f"{name}: {overrides} make it too deep for Keras") from None
    except (ValueError, TypeError) as error:
        raise ZooError(f"{name}: {' '.join(str(error).split())[:300]}") from error
    if not hasattr(model, "layers"):
        raise ZooError(f"{name}: its builder must return a keras.Model, got {model!r}")
    for part, inner in parts.items():
        _check_embedded(name, model, part, inner)
    overrides |= {part: _plan(inner) for part, inner in parts.items()}
    overrides = {key: value for key, value in overrides.items() if entry.overrides.get(key, ...) != value}
    settings = dict(entry.settings)
    if entry.settings_from:
        own = parts[entry.settings_from].origin.settings
        settings = {key: own[key] for key in _INPUT_SETTINGS if key in own} | settings
    origin = Origin(model=name, overrides=overrides, task=entry.task, settings=settings)
    model = with_origin(model, origin, _output_name(graph(model), overrides, known))
    freeze_layers(model, freeze)
    return model if taps is None else tapped(model, taps)


def _output_name(model, overrides: dict, known) -> str:
    """The name of the output if the builder returns a model of tensors."""
    if "classes" not in known:
        return model.output_names[0]
    return "embeddings" if overrides.get("classes", known["classes"].default) == 0 else "logits"


def _check_axes() -> None:
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise ZooError(
            "Keras's image_data_format is channels_first, but models here need channels_last: "
            'call keras.config.set_image_data_format("channels_last")'
        )


_POSITIVE = ("units", "size", "embedding", "window", "segment", "negatives", "vocabulary", "context")


def _check_sizes(name: str, overrides: dict, known) -> None:
    """Checks numbers of layers, units and the like, because Keras's errors for them are less clear or come later."""
    for key, value in overrides.items():
        if key in _POSITIVE and type(known[key].default) is int and type(value) is int and value < 1:
            raise ZooError(f"{name}: {key} must be an integer >= 1, got {value}")
    classes, shape = overrides.get("classes"), overrides.get("input_shape")
    if classes is not None and (not isinstance(classes, int) or isinstance(classes, bool) or classes < 0):
        raise ZooError(f"{name}: classes must be an integer >= 0, got {classes!r}")
    if shape is not None:
        usual = known["input_shape"].default
        sizes = shape if isinstance(shape, (tuple, list)) else ()
        is_valid = sizes and all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes)
        if not is_valid or isinstance(usual, tuple) and len(sizes) != len(usual):
            raise ZooError(f"{name}: input_shape must be integers >= 1 such as {usual}, got {shape!r}")


def _part(entry: Entry, part: str, value: Any):
    """The model of a part, from the value given to create_model."""
    where, task = f"{entry.name}: {part}", entry.parts[part]
    if isinstance(value, str):
        value = {"model": value}
    if isinstance(value, dict):
        if not {"model"} <= set(value) <= {"model", "overrides"} or not isinstance(value.get("overrides", {}), dict):
            raise ZooError(f'{where} must be {{"model": name, "overrides": {{...}}}}, got {value!r}')
        fitting = [name for name, other in entries().items() if other.task == task]
        if value["model"] not in entries():
            raise unknown(f"model for {part} of {entry.name}", value["model"], fitting)
        headless = {"classes": 0} if has_classes(value["model"]) else {}
        value = create_model(value["model"], **{**headless, **value.get("overrides", {})})
    if getattr(value, "origin", None) is None or not hasattr(value, "layers"):
        raise ZooError(f"{where} must be the name of a model or preset of {task}, or such a model, got {value!r}")
    if value.origin.task != task:
        raise ZooError(f"{where} must be a model of {task}, but {value.origin.model} is a model of {value.origin.task}")
    return value


def _check_embedded(name: str, model, part: str, inner) -> None:
    """Checks that the builder put the part into one layer, so that a preset can leave out the part's weights."""
    layers = [layer for layer in model.layers if layer.name == part]
    if not layers:
        raise ZooError(f"{name}: its builder must call the part {part} as one layer named {part!r}")
    outside = {id(weight) for weight in inner.weights} - {id(weight) for weight in layers[0].weights}
    if any(id(weight) in outside for weight in model.weights):
        raise ZooError(f"{name}: its builder must keep nothing of the part {part} except the layer {part!r}")


def has_classes(name: str) -> bool:
    """Whether a model's builder has the argument `classes`."""
    return "classes" in inspect.signature(entries()[name].function()).parameters


def _plan(model) -> dict:
    """The literal that rebuilds a part; it always states `classes`, because a part has no head by default."""
    name, overrides = model.origin.model, dict(model.origin.overrides)
    if has_classes(name) and "classes" not in overrides:
        entry = entries()[name]
        default = inspect.signature(entry.function()).parameters["classes"].default
        overrides["classes"] = entry.overrides.get("classes", default)
    return {"model": name, "overrides": overrides}


def tapped(model, taps: Iterable[str]):
    """A model that shares the layers of `model` and returns the outputs of the layers `taps`.

    It returns a tensor for one tap, and {name: tensor} for several. Its origin is that of `model`, with the taps.
    """
    from zoo.layers.model import with_origin
    import keras  # isort: skip

    taps = [taps] if isinstance(taps, str) else list(taps)
    if not taps:
        raise ZooError(f"taps must name at least one layer of {model.name}, got {taps!r}")
    short = keras.Model(model.input, {tap: _tap(model, tap) for tap in taps}, name=model.name)
    origin = getattr(model, "origin", None)
    return short if origin is None else with_origin(short, dataclasses.replace(origin, taps=taps), taps[0])


def _tap(model, name: str):
    """The output of a layer; of a nested model, in the graph of `model` and not in the nested model's own graph."""
    from zoo.layers.keras_private import inbound_nodes
    from zoo.layers.slicing import output_of

    layer = next((layer for layer in model.layers if layer.name == name), None)
    if layer is None or hasattr(layer, "layers") or len(inbound_nodes(layer)) != 1 or isinstance(layer.output, list):
        return output_of(model, name)
    return layer.output


def is_head(layer_name: str) -> bool:
    """Whether a layer belongs to the head, which a change of classes replaces: its name starts with "head"."""
    return layer_name.startswith("head")


def freeze_layers(model, freeze: str | None) -> None:
    """Sets `trainable` of the model's layers; `freeze` is the argument of create_model."""
    if freeze is None:
        return
    names = [layer.name for layer in model.layers]
    entry = entries().get(model.origin.model) if hasattr(model, "origin") else None
    parts = entry.parts if entry else {}
    if freeze == "all":
        frozen = set(names)
    elif freeze == "all but head":
        frozen = {name for name in names if not is_head(name)}
        outputs = model.output if isinstance(model.output, dict) else model.output_names
        if len(frozen) == len(names) and "logits" in outputs:
            raise ZooError(
                f"{model.name} has no head of its own, as its output weights are its embeddings: "
                "give freeze='up to LAYER'"
            )
    elif isinstance(freeze, str) and freeze.startswith("up to "):
        frozen = _up_to(model, freeze.removeprefix("up to "))
    elif isinstance(freeze, str) and freeze in parts:
        frozen = {freeze}
    elif isinstance(freeze, str) and freeze.partition(" up to ")[0] in parts:
        name, _, last = freeze.partition(" up to ")
        part = model.get_layer(name)
        _freeze(model, set())  # before the part, as it sets the layers inside the part
        _freeze(part, _up_to(part, last))
        return
    else:
        also = "".join(f", {part!r}, '{part} up to LAYER'" for part in parts)
        raise ZooError(f"freeze must be one of 'all', 'all but head', 'up to LAYER'{also}, got {freeze!r}")
    _freeze(model, frozen)


def _up_to(model, last: str) -> set[str]:
    names = [layer.name for layer in model.layers]
    if last not in names:
        raise unknown(f"layer of {model.name}", last, names)
    return set(names[: names.index(last) + 1])


def _freeze(model, names: set[str]) -> None:
    for layer in model.layers:
        layer.trainable = layer.name not in names
