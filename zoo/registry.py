"""The registry of models, read from the models' files without importing them.

Every model is one file, below zoo/models/ or in a package that another distribution lists in its entry-point group
`zoo.models`. The arguments of @register_model are literals, so a listing reads them with `ast` and does not import the
file; create_model imports it.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, unknown

MODELS = Path(__file__).parent / "models"
# Types of the arguments of @register_model that are not strings.
_TYPES = {"parameters": (int, dict), "variants": (dict,), "settings": (dict,), "tiny": (dict,), "parts": (dict,)}

# Task settings that say how a raw input becomes a tensor; a model shares them with the part that reads the input.
_INPUT_SETTINGS = ("colour", "polarity", "centre", "fraction", "low", "high", "margin")


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the model's file states about one registered name."""

    name: str
    task: str
    paper: str
    parameters: int | None  # number of trainable parameters at the paper's size; None if not stated
    settings: dict  # the task settings that the model needs
    overrides: dict  # the builder's arguments for this variant
    tiny: dict  # the builder's arguments for a model small enough for tests
    loss: str | None  # name of a Keras loss or of a function in the model's file; None: the task's loss
    parts: dict  # models inside this one: builder argument -> task of the models that fit
    settings_from: str | None  # the part whose settings of the raw input the model shares
    description: str  # the first line of the builder's docstring
    module: str
    builder: str
    path: Path

    def function(self) -> Callable:
        """Imports the model's file and returns the builder."""
        return getattr(importlib.import_module(self.module), self.builder)

    def loss_function(self) -> Callable:
        """The function named by `loss`, (y_true, y_pred) -> (B,), from the model's file or else from Keras."""
        import keras

        own = getattr(importlib.import_module(self.module), self.loss, None)
        return own or keras.losses.get(self.loss)


@dataclasses.dataclass
class Origin:
    """How a model was created, stored as `model.origin`. A clone or a wrapped model has no origin."""

    model: str
    overrides: dict  # literals; a part is {"model": name, "overrides": {...}}
    task: str
    settings: dict = dataclasses.field(default_factory=dict)
    labels: list[str] | None = None
    data_labels: list[str] | None = None  # names of the classes in the training data, in the order of `labels`
    assets: dict[str, bytes] = dataclasses.field(default_factory=dict)
    data: dict | None = None  # name, version and split of the last data set that was opened for this model
    preset: str | None = None  # the name of the preset that the model was loaded from
    terms: dict = dataclasses.field(default_factory=dict)  # the terms of that preset
    parent: Any = None  # that preset, a zoo.preset.Preset, if all weights of this model come from it
    digest: str | None = None  # hash of the weights as loaded, to detect later training
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)  # name -> zoo.preset.parts.Part, if from a preset


def register_model(
    name: str | None = None,
    *,
    task: str,
    paper: str,
    parameters: int | dict[str, int] | None = None,
    variants: dict[str, dict] | None = None,
    settings: dict | None = None,
    tiny: dict | None = None,
    loss: str | None = None,
    parts: dict[str, str] | None = None,
    settings_from: str | None = None,
) -> Callable:
    """Registers the decorated builder under `name`, or under each name in `variants`.

    Every argument must be a literal, because a listing reads the file without running it.

    Args:
        name: the model's name, if it has no variants; by default the builder's name.
        task: the model's default task, which defines its raw input and its answers.
        paper: authors, year, title and address.
        parameters: the number of trainable parameters at the paper's size, or a dict with one number per variant.
        variants: name -> keyword arguments of the builder.
        settings: the task settings that the model needs (scaling, polarity, ...).
        tiny: keyword arguments for a model small enough for tests.
        loss: the name of a Keras loss, or of a function in the same file, that replaces the task's loss.
        parts: models inside this one, {name: task of the models that fit}. The name is an argument of the builder,
            which gets a keras.Model with this name and must call it as one layer. To read inner tensors of the part,
            the builder creates `keras.Model(encoder.input, {"grid": encoder.get_layer(...).output}, name=encoder.name)`
            and keeps only that model.
        settings_from: the part that reads the model's raw input; the model takes its settings for this input, such as
            the scaling of pixels.
    """
    del name, task, paper, parameters, variants, settings, tiny, loss, parts, settings_from  # `entries` reads the file
    return lambda builder: builder


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
    overrides = {**entry.overrides, **overrides}
    if classes is not None:
        overrides["classes"] = classes
    builder = entry.function()
    known = inspect.signature(builder).parameters
    for key in overrides:
        if key == "classes" and key not in known:
            raise ZooError(f"{name} has no classes: leave out classes and labels")
        if key not in known:
            raise unknown(f"argument of {name}", key, known)
    _check_sizes(name, overrides, known)
    parts = {part: _part(entry, part, overrides.get(part, known[part].default)) for part in entry.parts}
    try:
        model = builder(**{**overrides, **{part: _renamed(inner, part) for part, inner in parts.items()}})
    except RecursionError:
        raise ZooError(f"{name}: {overrides} make it too deep for Keras") from None
    except (ValueError, TypeError) as error:
        raise ZooError(f"{name}: {' '.join(str(error).split())[:300]}") from error
    for part, inner in parts.items():
        _check_embedded(name, model, part, inner)
    overrides |= {part: _plan(inner) for part, inner in parts.items()}
    overrides = {key: value for key, value in overrides.items() if entry.overrides.get(key, ...) != value}
    settings = dict(entry.settings)
    if entry.settings_from:
        own = parts[entry.settings_from].origin.settings
        settings = {key: own[key] for key in _INPUT_SETTINGS if key in own} | settings
    model.origin = Origin(model=name, overrides=overrides, task=entry.task, settings=settings)
    freeze_layers(model, freeze)
    return model if taps is None else tapped(model, taps)


def _check_sizes(name: str, overrides: dict, known) -> None:
    """Checks `classes` and `input_shape`, because Keras's error messages for them are less clear."""
    classes, shape = overrides.get("classes"), overrides.get("input_shape")
    if classes is not None and (not isinstance(classes, int) or isinstance(classes, bool) or classes < 0):
        raise ZooError(f"{name}: classes must be an integer >= 0, got {classes!r}")
    if shape is not None:
        usual = known["input_shape"].default
        sizes = shape if isinstance(shape, (tuple, list)) else ()
        is_valid = sizes and all(isinstance(size, int) and size > 0 for size in sizes)
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
        headless = {"classes": 0} if _has_classes(value["model"]) else {}
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


def _has_classes(name: str) -> bool:
    return "classes" in inspect.signature(entries()[name].function()).parameters


def _renamed(model, name: str):
    """A model that shares the layers of `model`, under another name."""
    import keras

    return keras.Model(model.input, model.output, name=name)


def _plan(model) -> dict:
    """The literal that rebuilds a part; it always states `classes`, because a part has no head by default."""
    name, overrides = model.origin.model, dict(model.origin.overrides)
    if _has_classes(name) and "classes" not in overrides:
        entry = entries()[name]
        default = inspect.signature(entry.function()).parameters["classes"].default
        overrides["classes"] = entry.overrides.get("classes", default)
    return {"model": name, "overrides": overrides}


def tapped(model, taps: Iterable[str]):
    """A model that shares the layers of `model` and outputs {name: tensor} of the layers `taps`; it has no origin."""
    import keras

    names = [layer.name for layer in model.layers]
    taps = [taps] if isinstance(taps, str) else list(taps)
    if not taps:
        raise ZooError(f"taps must name at least one layer of {model.name}, got {taps!r}")
    for tap in taps:
        if tap not in names:
            raise unknown(f"layer of {model.name}", tap, names)
    return keras.Model(model.input, {tap: model.get_layer(tap).output for tap in taps}, name=model.name)


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
        if len(frozen) == len(names) and "logits" in model.output:
            raise ZooError(
                f"{model.name} has no head of its own, as its output weights are its embeddings: "
                "give freeze='up to LAYER'"
            )
    elif isinstance(freeze, str) and freeze.startswith("up to "):
        last = freeze.removeprefix("up to ")
        if last not in names:
            raise unknown(f"layer of {model.name}", last, names)
        frozen = set(names[: names.index(last) + 1])
    elif isinstance(freeze, str) and freeze in parts:
        frozen = {freeze}
    else:
        also = "".join(f", {part!r}" for part in parts)
        raise ZooError(f"freeze must be one of 'all', 'all but head', 'up to LAYER'{also}, got {freeze!r}")
    for layer in model.layers:
        layer.trainable = layer.name not in frozen


def entries() -> dict[str, Entry]:
    """Every registered name with its entry; this package's models come first."""
    table: dict[str, Entry] = {}
    for path in _files(MODELS):
        module = ".".join(("zoo.models", *path.relative_to(MODELS).with_suffix("").parts))
        for entry in _read(path, module, path.stat().st_mtime_ns):
            if entry.name in table:
                raise ZooError(f"model {entry.name!r} is registered in {table[entry.name].path} and again in {path}")
            table[entry.name] = entry
    for distribution, path, module in _third_parties():
        try:
            others = list(_read(path, module, path.stat().st_mtime_ns))
        except (ZooError, OSError) as error:
            warnings.warn(f"models of {distribution} are left out: {error}", stacklevel=2)
            continue
        for entry in others:
            if entry.name in table:
                message = f"model {entry.name!r} of {distribution} is left out: the name is taken"
                warnings.warn(message, stacklevel=2)
            else:
                table[entry.name] = entry
    return table


def _files(folder: Path) -> list[Path]:
    """The Python files below a folder, except hidden ones, which editors create."""
    files = sorted(folder.rglob("*.py"))
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _third_parties() -> Iterator[tuple[str, Path, str]]:
    """(distribution, file, module) of each model file that an entry point of group zoo.models names.

    The top-level package is located but not imported; files inside it are found by their paths.
    """
    points = [
        (point.dist.name if point.dist else point.name, point) for point in metadata.entry_points(group="zoo.models")
    ]
    for distribution, point in sorted(points, key=lambda pair: (pair[0], pair[1].name)):
        top, *rest = point.value.split(":")[0].split(".")
        spec = find_spec(top) if top else None
        if spec is None or not (spec.submodule_search_locations or spec.origin):
            warnings.warn(f"models of {distribution} are left out: no module {point.value}", stacklevel=3)
            continue
        folders = list(spec.submodule_search_locations or [])
        base = Path(folders[0]).joinpath(*rest) if folders else Path(spec.origin).with_suffix("").joinpath(*rest)
        if base.is_dir():
            for path in _files(base):
                inner = [part for part in path.relative_to(base).with_suffix("").parts if part != "__init__"]
                yield distribution, path, ".".join((top, *rest, *inner))
        elif base.with_suffix(".py").is_file():
            yield distribution, base.with_suffix(".py"), ".".join((top, *rest))
        else:
            warnings.warn(f"models of {distribution} are left out: no module {point.value}", stacklevel=3)


@functools.cache
def _read(path: Path, module: str, changed: int) -> tuple[Entry, ...]:
    """The entries of one model file; `changed`, its modification time, is part of the cache's key."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise ZooError(f"{path} is not valid Python: {error}") from error
    table = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _name(decorator.func) == "register_model":
                    table.extend(_entries(node, decorator, path, module))
                elif _name(decorator) == "register_model":
                    raise ZooError(f"{path}:{decorator.lineno}: @register_model must be called with arguments")
    return tuple(table)


def _name(node: ast.expr) -> str | None:
    return getattr(node, "id", None) or getattr(node, "attr", None)


def _entries(builder: ast.FunctionDef, decorator: ast.Call, path: Path, module: str) -> Iterator[Entry]:
    where = f"{path}:{decorator.lineno}"
    try:
        facts = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
        facts |= dict(zip(["name"], map(ast.literal_eval, decorator.args), strict=True)) if decorator.args else {}
    except (ValueError, TypeError) as error:  # a TypeError: a list as the key of a dict
        raise ZooError(f"{where}: the arguments of @register_model must be literals") from error
    known = set(inspect.signature(register_model).parameters)
    for key in facts:
        if key not in known:
            raise ZooError(f"{where}: {unknown('argument of @register_model', key, known)}")
    for key in ("task", "paper"):
        if key not in facts:
            raise ZooError(f"{where}: @register_model lacks {key}=")
    for key, value in facts.items():
        kinds = _TYPES.get(key, (str,))
        if not isinstance(value, kinds) and (value is not None or key in ("task", "paper")):
            raise ZooError(f"{where}: {key} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    _check_parts(facts.get("parts") or {}, builder, where)
    if facts.get("settings_from") not in (None, *(facts.get("parts") or {})):
        raise ZooError(f"{where}: settings_from must name one of the parts, got {facts['settings_from']!r}")
    variants = facts.get("variants") or {facts.get("name") or builder.name: {}}
    parameters = facts.get("parameters")
    for name, overrides in variants.items():
        if not isinstance(name, str) or not isinstance(overrides, dict):
            raise ZooError(f"{where}: variants must map names to dicts of overrides, got {name!r}: {overrides!r}")
        yield Entry(
            name=name,
            task=facts["task"],
            paper=facts["paper"],
            parameters=parameters.get(name) if isinstance(parameters, dict) else parameters,
            settings=facts.get("settings") or {},
            overrides=overrides,
            tiny=facts.get("tiny") or {},
            loss=facts.get("loss"),
            parts=facts.get("parts") or {},
            settings_from=facts.get("settings_from"),
            description=(ast.get_docstring(builder) or "").partition("\n")[0],
            module=module,
            builder=builder.name,
            path=path,
        )


def _check_parts(parts: dict, builder: ast.FunctionDef, where: str) -> None:
    arguments = {argument.arg for argument in [*builder.args.args, *builder.args.kwonlyargs]}
    for part, task in parts.items():
        if not isinstance(part, str) or not isinstance(task, str):
            raise ZooError(f"{where}: parts must map names of arguments to names of tasks, got {parts!r}")
        if part not in arguments:
            raise ZooError(f"{where}: parts: {unknown(f'argument of {builder.name}', part, arguments)}")
