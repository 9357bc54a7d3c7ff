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
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from zoo.errors import ZooError, unknown, warn_once

MODELS = Path(__file__).parents[1] / "models"
# Types of the arguments of @register_model that are not strings.
_TYPES = {"parameters": (int, dict), "variants": (dict,), "settings": (dict,), "tiny": (dict,), "parts": (dict,)}
_TYPES |= {"loss": (str, dict), "explanations": (dict,)}


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
    # Name of a Keras loss or of a function in the model's file, or a dict of them by output; None: the task's loss.
    loss: str | dict[str, str] | None
    parts: dict  # models inside this one: builder argument -> task of the models that fit
    settings_from: str | None  # the part whose settings of the raw input the model shares
    explanations: dict  # kinds of explanation that the task's other models lack: kind -> module
    arguments: dict  # the builder's arguments and their defaults for this variant; ... for an argument without one
    description: str  # the first line of the builder's docstring
    module: str
    builder: str
    path: Path

    def function(self) -> Callable:
        """Imports the model's file and returns the builder."""
        return getattr(importlib.import_module(self.module), self.builder)

    def loss_function(self) -> Callable | dict[str, Callable]:
        """The function named by `loss`, (y_true, y_pred) -> (B,), from the model's file or else from Keras.

        If `loss` is a dict by output, so is the result.
        """
        if isinstance(self.loss, dict):
            return {output: self._loss_function(name) for output, name in self.loss.items()}
        return self._loss_function(self.loss)

    def _loss_function(self, name: str) -> Callable:
        import keras

        return getattr(importlib.import_module(self.module), name, None) or keras.losses.get(name)


def register_model(
    name: str | None = None,
    *,
    task: str,
    paper: str,
    parameters: int | dict[str, int] | None = None,
    variants: dict[str, dict] | None = None,
    settings: dict | None = None,
    tiny: dict | None = None,
    loss: str | dict[str, str] | None = None,
    parts: dict[str, str] | None = None,
    settings_from: str | None = None,
    explanations: dict[str, str] | None = None,
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
        loss: the name of a Keras loss, or of a function in the same file, that replaces the task's loss. A dict of them
            by output gives further outputs a loss, and the output that the task reads keeps the task's.
        parts: models inside this one, {name: task of the models that fit}. The name is an argument of the builder,
            which gets a keras.Model with this name and must call it as one layer. To read inner tensors of the part,
            the builder creates `keras.Model(encoder.input, {"grid": encoder.get_layer(...).output}, name=encoder.name)`
            and keeps only that model.
        settings_from: the part that reads the model's raw input; the model takes its settings for this input, such as
            the scaling of pixels.
        explanations: kinds of explanation that the task's other models lack, {kind: module} (see zoo/explaining/). They
            come before those of the task, so that the first is the default.
    """
    # `entries` reads the arguments from the file.
    del name, task, paper, parameters, variants, settings, tiny, loss, parts, settings_from, explanations
    return lambda builder: builder


def entries() -> dict[str, Entry]:
    """Every registered name with its entry; this package's models come first."""
    table: dict[str, Entry] = {}
    for path in _files(MODELS):
        module = ".".join(("zoo.models", *path.relative_to(MODELS).with_suffix("").parts))
        try:
            read = _read(path, module, path.stat().st_mtime_ns)
        except (ZooError, OSError) as error:  # the other models must remain usable
            warn_once(f"models of {path.name} are left out: {error}", stacklevel=2)
            continue
        for entry in read:
            if entry.name in table:
                raise ZooError(f"model {entry.name!r} is registered in {table[entry.name].path} and again in {path}")
            table[entry.name] = entry
    for distribution, path, module in _third_parties():
        try:
            others = list(_read(path, module, path.stat().st_mtime_ns))
        except (ZooError, OSError) as error:
            warn_once(f"models of {distribution} are left out: {error}", stacklevel=2)
            continue
        for entry in others:
            if entry.name in table:
                message = f"model {entry.name!r} of {distribution} is left out: the name is taken"
                warn_once(message, stacklevel=2)
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
            warn_once(f"models of {distribution} are left out: no module {point.value}", stacklevel=3)
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
            warn_once(f"models of {distribution} are left out: no module {point.value}", stacklevel=3)


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
    for key in ("loss", "explanations"):
        if isinstance(facts.get(key), dict) and not all(
            isinstance(part, str) for pair in facts[key].items() for part in pair
        ):
            raise ZooError(f"{where}: {key} must map names to names, got {facts[key]!r}")
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
            explanations=facts.get("explanations") or {},
            arguments=_arguments(builder) | overrides,
            description=(ast.get_docstring(builder) or "").partition("\n")[0],
            module=module,
            builder=builder.name,
            path=path,
        )


def _arguments(builder: ast.FunctionDef) -> dict:
    """The arguments of a function and their defaults; a default that is not a literal as its source text."""
    given = builder.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults + given.kw_defaults
    values = {}
    for argument, default in zip([*positional, *given.kwonlyargs], defaults, strict=True):
        try:
            values[argument.arg] = ... if default is None else ast.literal_eval(default)
        except (ValueError, TypeError):
            values[argument.arg] = ast.unparse(default)
    return values


def _check_parts(parts: dict, builder: ast.FunctionDef, where: str) -> None:
    arguments = {argument.arg for argument in [*builder.args.args, *builder.args.kwonlyargs]}
    for part, task in parts.items():
        if not isinstance(part, str) or not isinstance(task, str):
            raise ZooError(f"{where}: parts must map names of arguments to names of tasks, got {parts!r}")
        if part not in arguments:
            raise ZooError(f"{where}: parts: {unknown(f'argument of {builder.name}', part, arguments)}")
