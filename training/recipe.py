"""Recipes: TOML files that say how a preset is made. Only differences from the task's defaults are written."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import tomlkit

from zoo import preset, registry
from zoo.errors import ZooError, checked_path, unknown

RECIPES = Path(__file__).parent / "recipes"

NONE = ""  # stands for None, which TOML has not, where a setting can be none


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


Share = Annotated[float, pydantic.Field(gt=0, lt=1)]
Count = Annotated[int, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=1, lt=2**31)]
Whole = Annotated[int, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=0, lt=2**31)]
Positive = Annotated[float, pydantic.BeforeValidator(_no_bool), pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=0, allow_inf_nan=False)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", coerce_numbers_to_str=True, protected_namespaces=())

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_none(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if key in optional and value == NONE else value for key, value in given.items()}


class Data(_Section):
    """Where the examples come from: a TFDS name, a folder with one subfolder a class, or a file of pairs of texts."""

    name: str | None = None
    folder: str | None = None
    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"
    data_dir: str | None = None


class Optimizer(_Section):
    name: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-3
    momentum: float = pydantic.Field(0.0, ge=0, lt=1)  # of sgd
    nesterov: bool = False  # of sgd
    weight_decay: NotNegative = 0.0  # of sgd and adamw, times the rate; biases and norms are left alone

    @pydantic.model_validator(mode="after")
    def _takes_what_is_given(self):
        if self.weight_decay and self.name == "adam":
            raise ValueError("weight_decay is of sgd and adamw, and the optimizer is adam")
        return self


class Schedule(_Section):
    name: Literal["constant", "step", "cosine", "one_cycle"] = "constant"
    warmup_steps: Whole = 0  # in a straight line from nothing
    warmup_share: float = pydantic.Field(0.0, ge=0, lt=1)  # of the run's steps, where warmup_steps is 0
    # Of step: the shares of the run after which the rate drops.
    drops: list[Share] = pydantic.Field([0.5, 0.75], min_length=1)
    factor: Share = 0.1  # of step: what it drops to

    @pydantic.field_validator("drops")
    @classmethod
    def _in_order(cls, drops: list[float]) -> list[float]:
        if drops != sorted(set(drops)):
            raise ValueError("shares that grow are expected")
        return drops


class Training(_Section):
    epochs: Count
    batch_size: Count
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    global_clipnorm: Positive | None = None
    # Parts that a batch goes through the model in, so that it fits the memory; batch normalisation and dropout see
    # the parts.
    accumulation: Count = 1
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    weight_averaging: Share | None = None
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    augment: bool = True
    keep_features: bool = False  # compute what is frozen once; with freeze = "all but head", without augmentation
    keep: Literal["best", "last"] = "best"
    early_stopping: Count | None = None  # epochs without a better validation figure
    checkpoint_seconds: NotNegative = 120.0  # at least so long between two checkpoints
    checkpoints_kept: Count = 3

    @pydantic.model_validator(mode="after")
    def _parts_have_rows(self):
        if self.accumulation > self.batch_size:
            raise ValueError(f"accumulation = {self.accumulation} is more parts than the {self.batch_size} of a batch")
        return self


class Recipe(_Section):
    model: str | None = None
    start_from: str | None = None
    freeze: str | None = None
    seed: Whole = 0
    terms: str = "not stated"  # of the weights
    model_overrides: dict[str, Any] = {}
    data: Data = Data()
    task: dict[str, Any] = {}
    training: Training


def read_recipe(name: str | os.PathLike, overrides: dict | None = None) -> tuple[str, Recipe]:
    """Reads a recipe and checks it.

    Args:
        name: a recipe of the package ("lenet5.mnist"), the path of a TOML file, or a model's name, which is trained
            by its task's default recipe.
        overrides: differences, nested ({"training": {"epochs": 3}}) or dotted ({"training.epochs": 3}). Another
            data.name or data.folder takes the place of the recipe's data set and of its splits.

    Returns:
        The name of the preset it makes, and the recipe with every setting filled in.

    Raises:
        ZooError: no such recipe, or a key or value that is not one of a recipe's.
    """
    name = os.fspath(checked_path(name, "recipe") if not isinstance(name, str) else name)
    table = registry.entries()
    if preset.is_path(name):
        content, label = _toml(Path(name)), Path(name).stem
    elif (RECIPES / f"{name}.toml").is_file():
        content, label = _toml(RECIPES / f"{name}.toml"), name
    elif name in table:
        content, label = {"model": name}, f"{name}.mine"
    else:
        raise unknown("recipe or model", name, [*recipes(), *table])
    changes = [_nested(key, value) for key, value in (overrides or {}).items()]
    if any(_names_data(change) for change in changes):
        content = {**content, "data": {}}  # the recipe's data set goes, and its splits with it
    for change in changes:
        content = _merged(content, change)
    defaults = _toml(RECIPES / "defaults" / f"{_task(content, name)}.toml")
    try:
        recipe = Recipe.model_validate(_merged(defaults, content))
    except pydantic.ValidationError as error:
        raise ZooError(f"recipe {name}: {_first(error)}") from None
    if (recipe.data.name is None) == (recipe.data.folder is None):
        raise ZooError(f"recipe {name}: give one of data.name and data.folder, as in --set data.name=mnist")
    return label, recipe


def recipes() -> list[str]:
    """Names of the package's recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def parse_setting(text: str) -> tuple[str, Any]:
    """ "training.epochs=3" -> ("training.epochs", 3): the value is read as TOML, and as a string where it is none."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ZooError(f"--set {text!r} is no key=value, as in --set training.epochs=3")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def as_toml(recipe: Recipe) -> str:
    """A recipe as a TOML text that gives the same recipe."""
    told = recipe.model_dump(exclude_none=True)
    # Only these have other defaults, their own or the task's.
    for section, keys in (("data", ("validation", "test")), ("training", Training.model_fields)):
        told[section] |= {key: NONE for key in keys if getattr(getattr(recipe, section), key) is None}
    return tomlkit.dumps(told)


def _task(content: dict, name: str) -> str:
    start, model = content.get("start_from"), content.get("model")
    if bool(start) == bool(model):
        raise ZooError(f"recipe {name}: give one of model and start_from")
    if not isinstance(start or model, str):
        raise ZooError(f"recipe {name}: {start or model!r} is no name; a model's arguments go into model_overrides")
    if start and content.get("model_overrides"):
        raise ZooError(f"recipe {name}: model_overrides are of a new model, and this one starts from {start}")
    if start:
        return preset.open_preset(start).record["task"]["name"]
    if model not in registry.entries():
        raise unknown("model", model, registry.entries())
    return registry.entries()[model].task


def _toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ZooError(f"there is no recipe {path}") from None
    except IsADirectoryError:
        raise ZooError(f"{path} is a folder: a recipe is a TOML file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ZooError(f"{path} is no TOML file: {error}") from None


def _nested(key: str, value: Any) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _names_data(change: dict) -> bool:
    data = change.get("data")
    return isinstance(data, dict) and any(data.get(key) is not None for key in ("name", "folder"))


def _merged(base: dict, over: dict) -> dict:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def _first(error: pydantic.ValidationError) -> str:
    """The first finding in one line; for an unknown key the nearest known one."""
    found = error.errors()[0]
    *parents, key = [str(part) for part in found["loc"]]
    where = ".".join([*parents, key])
    if found["type"] != "extra_forbidden":
        told = "a table of settings is expected" if found["type"] == "model_type" else found["msg"]
        told = told.removeprefix("Value error, ")
        value = "" if isinstance(found["input"], dict) else f" = {found['input']!r}"
        return f"{where}{value}: {told[0].lower()}{told[1:]}"
    section: Any = Recipe
    for parent in parents:
        section = section.model_fields[parent].annotation
    near = difflib.get_close_matches(key, section.model_fields, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(section.model_fields)}"
    return f"unknown key {where}; {hint}"
