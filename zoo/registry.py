"""The registry: which models there are, read from their files without importing them.

A model is one file below zoo/models/, or in a package that another distribution names in its entry-point group
`zoo.models`. The arguments of @register_model are literals, so a listing reads them with `ast`; only create_model
imports a file.
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
# What the arguments of @register_model are, where they are no strings.
_KINDS = {"parameters": (int, dict), "variants": (dict,), "settings": (dict,), "tiny": (dict,)}


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a model's file says about one registered name."""

    name: str
    task: str
    paper: str
    parameters: int | None  # trainable, at the paper's size, everything thawed; None where the paper states none
    settings: dict  # what the model wants of its task
    overrides: dict  # what makes this variant of the builder
    tiny: dict  # overrides that make it small enough for a test
    loss: str | None  # a Keras loss or a function of the model's file; None: the task's
    description: str  # the first line of the builder's docstring
    module: str
    builder: str
    path: Path

    def function(self) -> Callable:
        """The builder; imports the model's file."""
        return getattr(importlib.import_module(self.module), self.builder)

    def loss_function(self) -> Callable:
        """The loss that the entry names, (y_true, y_pred) -> (B,): of the model's file, else of Keras."""
        import keras

        own = getattr(importlib.import_module(self.module), self.loss, None)
        return own or keras.losses.get(self.loss)


@dataclasses.dataclass
class Origin:
    """How a model came to be; `model.origin`. A clone or a wrapped model has none."""

    model: str
    overrides: dict
    task: str
    settings: dict = dataclasses.field(default_factory=dict)
    labels: list[str] | None = None
    assets: dict[str, bytes] = dataclasses.field(default_factory=dict)
    data: dict | None = None  # name, version and split of the last data set made for this model
    preset: str | None = None  # the name of the preset it was loaded from
    terms: dict = dataclasses.field(default_factory=dict)  # that preset's
    parent: Any = None  # that zoo.preset.Preset, where all of its weights were taken over
    digest: str | None = None  # of the weights as loaded: a fitted model has others


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
) -> Callable:
    """Registers the decorated builder under `name`, or one name a row of `variants` (name -> overrides).

    Every argument is a literal: the listing reads the file and does not run it.

    Args:
        name: the model's name, of one builder without variants.
        task: the task whose way from raw input to answer it takes by default.
        paper: authors, year, title and where to find it.
        parameters: trainable parameters at the paper's size, or a table of them, one a variant.
        variants: name -> keyword arguments of the builder.
        settings: what the model wants of its task (scaling, polarity, ...).
        tiny: keyword arguments that make it small enough for a test.
        loss: a Keras loss's name or a function of the same file, in place of the task's loss.
    """
    del name, task, paper, parameters, variants, settings, tiny, loss  # `entries` reads them from the source
    return lambda builder: builder


def create_model(
    name: str, classes: int | None = None, freeze: str | None = None, taps: Iterable[str] | None = None, **overrides
):
    """Builds an untrained model; the paper's values are the defaults.

    Args:
        name: a registered model, such as "lenet5".
        classes: size of the last layer; 0 gives the pooled `embeddings` below it.
        freeze: "all", "all but head", or "up to LAYER" (that layer included): these layers are not trained.
        taps: names of layers whose outputs the model gives, {name: tensor}, in place of its own.
        **overrides: the builder's own keyword arguments.

    Returns:
        A keras.Model whose `origin` says how it was made.

    Raises:
        ZooError: no such model, no such argument, or a value that the builder refuses.

    >>> zoo.create_model("lenet5", classes=26).count_params()   # doctest: +SKIP
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
    try:
        model = builder(**overrides)
    except RecursionError:
        raise ZooError(f"{name}: {overrides} make it too deep for Keras") from None
    except (ValueError, TypeError) as error:
        raise ZooError(f"{name}: {' '.join(str(error).split())[:300]}") from error
    overrides = {key: value for key, value in overrides.items() if entry.overrides.get(key, ...) != value}
    model.origin = Origin(model=name, overrides=overrides, task=entry.task, settings=dict(entry.settings))
    freeze_layers(model, freeze)
    return model if taps is None else tapped(model, taps)


def _check_sizes(name: str, overrides: dict, known) -> None:
    """Refuses what is no number of classes and no shape, which Keras would say less plainly."""
    classes, shape = overrides.get("classes"), overrides.get("input_shape")
    if classes is not None and (not isinstance(classes, int) or isinstance(classes, bool) or classes < 0):
        raise ZooError(f"{name}: classes={classes!r} is no number of classes")
    if shape is not None:
        usual = known["input_shape"].default
        sizes = shape if isinstance(shape, (tuple, list)) else ()
        good = sizes and all(isinstance(size, int) and size > 0 for size in sizes)
        if not good or isinstance(usual, tuple) and len(sizes) != len(usual):
            raise ZooError(f"{name}: input_shape={shape!r} is no shape of whole numbers, such as {usual}")


def tapped(model, taps: Iterable[str]):
    """A model on the same layers that gives the outputs of those named, {name: tensor}; it keeps no origin."""
    import keras

    names = [layer.name for layer in model.layers]
    taps = [taps] if isinstance(taps, str) else list(taps)
    if not taps:
        raise ZooError(f"taps={taps!r} names no layer of {model.name}")
    for tap in taps:
        if tap not in names:
            raise unknown(f"layer of {model.name}", tap, names)
    return keras.Model(model.input, {tap: model.get_layer(tap).output for tap in taps}, name=model.name)


def is_head(layer_name: str) -> bool:
    """The head is every layer named `head*`: what a change of classes replaces."""
    return layer_name.startswith("head")


def freeze_layers(model, freeze: str | None) -> None:
    """Sets `trainable` of the model's layers by create_model's `freeze`."""
    if freeze is None:
        return
    names = [layer.name for layer in model.layers]
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
    else:
        raise ZooError(f"freeze={freeze!r} is none of 'all', 'all but head', 'up to LAYER'")
    for layer in model.layers:
        layer.trainable = layer.name not in frozen


def entries() -> dict[str, Entry]:
    """Every registered name and what its file says, ours first."""
    table: dict[str, Entry] = {}
    for path in _files(MODELS):
        module = ".".join(("zoo.models", *path.relative_to(MODELS).with_suffix("").parts))
        for entry in _read(path, module, path.stat().st_mtime_ns):
            if entry.name in table:
                raise ZooError(f"model {entry.name!r} is registered in {table[entry.name].path} and again in {path}")
            table[entry.name] = entry
    for distribution, path, module in _third_parties():
        try:
            found = list(_read(path, module, path.stat().st_mtime_ns))
        except (ZooError, OSError) as error:
            warnings.warn(f"models of {distribution} are left out: {error}", stacklevel=2)
            continue
        for entry in found:
            if entry.name in table:
                message = f"model {entry.name!r} of {distribution} is left out: the name is taken"
                warnings.warn(message, stacklevel=2)
            else:
                table[entry.name] = entry
    return table


def _files(folder: Path) -> list[Path]:
    """The Python files below a folder, without hidden ones, which editors leave."""
    found = sorted(folder.rglob("*.py"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _third_parties() -> Iterator[tuple[str, Path, str]]:
    """(distribution, file, module) of each model file that an entry point of group zoo.models names.

    The top-level package is located, not imported; the rest of the way is by path.
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
    """The entries of one model file; `changed` is its time of change, so that an edited file is read again."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise ZooError(f"{path} is no Python: {error}") from error
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _name(decorator.func) == "register_model":
                    found.extend(_entries(node, decorator, path, module))
                elif _name(decorator) == "register_model":
                    raise ZooError(f"{path}:{decorator.lineno}: @register_model needs its arguments")
    return tuple(found)


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
        kinds = _KINDS.get(key, (str,))
        if not isinstance(value, kinds) and (value is not None or key in ("task", "paper")):
            raise ZooError(f"{where}: {key}={value!r} is no {' or '.join(kind.__name__ for kind in kinds)}")
    variants = facts.get("variants") or {facts.get("name") or builder.name: {}}
    parameters = facts.get("parameters")
    for name, overrides in variants.items():
        if not isinstance(name, str) or not isinstance(overrides, dict):
            raise ZooError(f"{where}: variants={{{name!r}: {overrides!r}}} is no table of names and their overrides")
        yield Entry(
            name=name,
            task=facts["task"],
            paper=facts["paper"],
            parameters=parameters.get(name) if isinstance(parameters, dict) else parameters,
            settings=facts.get("settings") or {},
            overrides=overrides,
            tiny=facts.get("tiny") or {},
            loss=facts.get("loss"),
            description=(ast.get_docstring(builder) or "").partition("\n")[0],
            module=module,
            builder=builder.name,
            path=path,
        )
