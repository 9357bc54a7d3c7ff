"""Recipes: TOML files that say how a preset is trained. They override the defaults of the task."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import tomlkit

from zoo import preset, registry
from zoo.errors import ZooError, checked_path, unknown
from zoo.tasks import settings_class

RECIPES = Path(__file__).parent / "recipes"

NONE = ""  # means None, because TOML has no null value
_RENAMED = {"keep_features": "keep_frozen"}  # keys of [training] in recipes of earlier versions


# Kind of a pydantic error -> its message.
_REASONS = {
    "model_type": "must be a table of settings",
    "dict_type": "must be a table of settings",
    "string_type": "must be a string",
    "missing": "is missing",
}


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Fraction = Annotated[float, pydantic.Field(gt=0, lt=1)]
Count = Annotated[int, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=1, lt=2**31)]
Whole = Annotated[int, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=0, lt=2**31)]
Positive = Annotated[float, pydantic.BeforeValidator(_no_bool), pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.BeforeValidator(_no_bool), pydantic.Field(ge=0, allow_inf_nan=False)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", coerce_numbers_to_str=True, protected_namespaces=())

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if key in optional and value == NONE else value for key, value in values.items()}


class Data(_Section):
    """The data set: the name of a TFDS data set, or a folder or file in a layout of the task."""

    name: str | None = None
    folder: str | None = None
    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"
    data_dir: str | None = None
    skip_missing: bool = False  # for a folder with a table of its files: leave out files that do not exist


class Optimizer(_Section):
    # "task": the updates of the task itself, which need no gradients of the whole model (see `Task.update`)
    name: Literal["sgd", "adam", "adamw", "task"] = "adam"
    learning_rate: Positive = 1e-3
    momentum: float = pydantic.Field(0.0, ge=0, lt=1)  # for sgd
    nesterov: bool = False  # for sgd
    weight_decay: NotNegative = (
        0.0  # for sgd and adamw; multiplied by the learning rate; not for biases and normalisation weights
    )

    @pydantic.model_validator(mode="after")
    def _check_weight_decay(self):
        if self.weight_decay and self.name == "adam":
            raise ValueError("adam has no weight_decay: use adamw or sgd")
        if self.name == "task" and (self.weight_decay or self.momentum or self.nesterov):
            raise ValueError("task has neither weight_decay nor momentum: use another optimizer")
        return self


class Schedule(_Section):
    name: Literal["constant", "step", "linear", "cosine", "one_cycle"] = "constant"  # linear and cosine fall to 0
    warmup_steps: Whole = 0  # the learning rate rises linearly from 0
    warmup_share: float = pydantic.Field(0.0, ge=0, lt=1)  # fraction of the run's steps, used if warmup_steps is 0
    # For "step": the fractions of the run's steps after which the rate drops.
    drops: list[Fraction] = pydantic.Field([0.5, 0.75], min_length=1)
    factor: Fraction = 0.1  # for "step": the factor by which each drop multiplies the rate

    @pydantic.field_validator("drops")
    @classmethod
    def _in_order(cls, drops: list[float]) -> list[float]:
        if drops != sorted(set(drops)):
            raise ValueError("must be increasing fractions")
        return drops


class Training(_Section):
    epochs: Count
    batch_size: Count
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    global_clipnorm: Positive | None = None
    # Number of parts that a batch is divided into; they run one after the other to save memory. Batch normalisation and
    # dropout see one part at a time.
    accumulation: Count = 1
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    weight_averaging: Fraction | None = None
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    augment: bool = True  # random changes; without them, training still draws a caption of each image in each epoch
    # Run the frozen part of the model once per example, and train the rest on its outputs; inputs are not augmented.
    keep_frozen: bool = False
    # With keep_frozen: the number of versions of each training example whose frozen outputs are stored. The first one
    # is not augmented, the others are; an epoch draws one version of each example.
    frozen_versions: Count = 1
    # Self-critical sequence training: the metric that rewards sampled answers, and the number of samples per example.
    self_critical: str | None = None
    samples: int = pydantic.Field(5, ge=2)
    # The fraction of the weights that the run starts from in the weights that it leaves (Wortsman et al. 2022, Robust
    # fine-tuning of zero-shot models, arXiv 2109.01903).
    start_share: float = pydantic.Field(0.0, ge=0, lt=1)
    keep: Literal["best", "last"] = "best"
    early_stopping: Count | None = None  # ends the run after this number of epochs without a better score
    checkpoint_seconds: NotNegative = 120.0  # minimum time between two checkpoints
    checkpoints_kept: Count = 3

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_renamed(cls, values: Any) -> Any:
        return _todays_keys(values) if isinstance(values, dict) else values

    @pydantic.model_validator(mode="after")
    def _parts_have_rows(self):
        if self.accumulation > self.batch_size:
            raise ValueError(f"accumulation = {self.accumulation} must be at most batch_size = {self.batch_size}")
        if self.self_critical and self.label_smoothing:
            raise ValueError("label_smoothing must be 0 with self_critical: sampled answers are rewarded as they are")
        if self.optimizer.name == "task":
            others = {"global_clipnorm": None, "accumulation": 1, "precision": "float32", "weight_averaging": None,
                      "label_smoothing": 0.0, "keep_frozen": False, "self_critical": None}  # fmt: skip
            for key, value in others.items():
                if getattr(self, key) != value:
                    raise ValueError(f'{key} must be left out with optimizer.name = "task"')
        if self.frozen_versions > 1 and not (self.keep_frozen and self.augment):
            raise ValueError(f"frozen_versions = {self.frozen_versions} needs keep_frozen = true and augment = true")
        return self


class Pretraining(_Section):
    """Layer by layer, as restricted Boltzmann machines, before the training (see `training/pretraining.py`)."""

    split: str | None = None  # of the data set, whose labels are not used; by default that of training
    first_epochs: Whole = 225  # of the first machine, whose visible units are Gaussian
    first_learning_rate: Positive = 0.002
    epochs: Whole = 75  # of each other machine
    learning_rate: Positive = 0.02
    batch_size: Count = 128  # rows, such as frames
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    weight_decay: NotNegative = 0.0002


class Whitening(_Section):
    """Sets the last layer by the differences within people, before the training (see `training/whitening.py`)."""

    epochs: Count = 8  # over the training data, with random changes
    shrinkage: Positive = 0.3  # how much of the mean variance within people is added to that of each direction


class Stage(_Section):
    """A later stage of a run: it starts from the preset of the stage before it."""

    freeze: str | None = None
    model_overrides: dict[str, Any] = {}  # arguments of the builder that leave the weights as they are
    data: dict[str, Any] = {}  # differences from the recipe's [data]
    training: dict[str, Any] = {}  # differences from the recipe's [training]

    @pydantic.model_validator(mode="after")
    def _is_not_empty(self):
        if not self.model_fields_set:
            raise ValueError("must have freeze, model_overrides, data or training")
        return self


class Recipe(_Section):
    model: str | None = None
    start_from: str | None = None
    freeze: str | None = None
    seed: Whole = 0
    terms: str = "not stated"  # terms of use of the weights
    domain: str | None = None  # the inputs that the preset is for, such as "captions of photos, English to German"
    model_overrides: dict[str, Any] = {}
    data: Data = Data()
    task: dict[str, Any] = {}
    pretraining: Pretraining | None = None
    whitening: Whitening | None = None
    training: Training
    stages: list[Stage] = []  # after the first

    @pydantic.model_validator(mode="after")
    def _check_start(self):
        if self.training.start_share and not self.start_from:
            raise ValueError("training.start_share needs start_from: new weights have nothing to share")
        if self.pretraining and self.start_from:
            raise ValueError("pretraining is for new weights: leave out start_from")
        return self

    @pydantic.model_validator(mode="after")
    def _check_stages(self):
        for number in range(len(self.stages)):
            try:
                self._stage(number, f"stage{number + 1}")
            except pydantic.ValidationError as error:
                raise ValueError(f"stage {number + 2}: {_first(error)}") from None
        return self

    def _stage(self, number: int, start_from: str) -> "Recipe":
        stage, content = self.stages[number], self.model_dump()
        return Recipe.model_validate({
            **content, "model": None, "model_overrides": stage.model_overrides, "start_from": start_from,
            "freeze": stage.freeze, "pretraining": None, "whitening": None,
            "data": _merged(content["data"], stage.data), "training": _merged(content["training"], stage.training),
            "stages": [],
        })  # fmt: skip

    def runs(self, out: Path) -> list[tuple[Path, "Recipe"]]:
        """The folder and the recipe of each stage; the last stage has the folder `out`, and the others are in it."""
        folders = [Path(os.path.abspath(out)) / f"stage{number + 1}" for number in range(len(self.stages))]
        recipes = [self.model_copy(update={"stages": []})]
        recipes += [self._stage(number, str(folder)) for number, folder in enumerate(folders)]
        return list(zip([*folders, out], recipes, strict=True))


def read_recipe(name: str | os.PathLike, overrides: dict | None = None) -> tuple[str, Recipe]:
    """Reads a recipe and checks it.

    Args:
        name: a recipe of the package ("lenet5.mnist"), the path of a TOML file, or the name of a model, which gets the
            default recipe of its task.
        overrides: changes to the recipe, nested ({"training": {"epochs": 3}}) or dotted ({"training.epochs": 3}). A
            data.name or data.folder replaces the whole data section, including the splits.

    Returns:
        The name of the preset that the recipe trains, and the recipe with all settings.

    Raises:
        ZooError: there is no such recipe, or it has an unknown key or a wrong value.
    """
    name = os.fspath(checked_path(name, "recipe") if not isinstance(name, str) else name)
    table = registry.entries()
    if preset.is_path(name):
        content, label = _today(_toml(Path(name))), Path(name).stem
    elif (RECIPES / f"{name}.toml").is_file():
        content, label = _toml(RECIPES / f"{name}.toml"), name
    elif name in table:
        content, label = {"model": name}, f"{name}.mine"
    else:
        raise unknown("recipe or model", name, [*recipes(), *table])
    changes = [_today(_nested(key, value)) for key, value in (overrides or {}).items()]
    if any(_names_data(change) for change in changes):
        content = {**content, "data": {}}  # also removes the splits of the old data set
    for change in changes:
        content = _merged(content, _numbered(change, content.get("stages")))
    defaults = RECIPES / "defaults" / f"{_task(content, name)}.toml"
    defaults = _toml(defaults if defaults.is_file() else defaults.with_name("other_tasks.toml"))
    try:
        recipe = Recipe.model_validate(_merged(defaults, content))
    except pydantic.ValidationError as error:
        raise ZooError(f"recipe {name}: {_first(error)}") from None
    if (recipe.data.name is None) == (recipe.data.folder is None):
        raise ZooError(f"recipe {name}: give one of data.name and data.folder, as in --set data.name=mnist")
    settings = settings_class(_task(content, name)).from_toml(recipe.task) if recipe.task else {}
    return label, recipe.model_copy(update={"task": settings})


def recipes() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def parse_setting(text: str) -> tuple[str, Any]:
    """ "training.epochs=3" -> ("training.epochs", 3); a value that is not valid TOML is read as a string."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ZooError(f"--set takes key=value, as in --set training.epochs=3, got {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def as_toml(recipe: Recipe) -> str:
    """The recipe as TOML text; reading it gives the same recipe."""
    content = recipe.model_dump(exclude_none=True)
    # A missing key means None, except for these, which have other defaults.
    for section, keys in (("data", ("validation", "test")), ("training", Training.model_fields)):
        content[section] |= {key: NONE for key in keys if getattr(getattr(recipe, section), key) is None}
    content["task"] = {key: NONE if value is None else value for key, value in recipe.task.items()}
    return tomlkit.dumps(content)


def _task(content: dict, name: str) -> str:
    start, model = content.get("start_from"), content.get("model")
    if bool(start) == bool(model):
        raise ZooError(f"recipe {name}: give one of model and start_from")
    if not isinstance(start or model, str):
        raise ZooError(
            f"recipe {name}: model and start_from must be names, got {start or model!r}; "
            "put arguments into model_overrides"
        )
    if start and content.get("model_overrides"):
        raise ZooError(f"recipe {name}: model_overrides need a new model, but the recipe starts from {start}")
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
        raise ZooError(f"{path} must be a TOML file: {error}") from None


def _today(content: dict) -> dict:
    """The content of a recipe with current keys."""
    training = content.get("training")
    return {**content, "training": _todays_keys(training)} if isinstance(training, dict) else content


def _todays_keys(training: dict) -> dict:
    return {_RENAMED.get(key, key): value for key, value in training.items()}


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


def _numbered(change: dict, stages: Any) -> dict:
    """A change of single stages, {"stages": {"2": {...}}}, as one of the list `stages`; other changes as they are.

    The number is that of the stage in messages and folders; stage 1 is the recipe itself.
    """
    wanted = change.get("stages")
    if not isinstance(wanted, dict) or not all(str(number).isdigit() for number in wanted):
        return change
    changed = list(stages) if isinstance(stages, list) else []
    for number, own in wanted.items():
        if int(number) == 1:
            raise ZooError("stages.1: stage 1 has the keys of the recipe itself: leave out stages.1")
        if not 2 <= int(number) < len(changed) + 2:
            raise ZooError(f"stages.{number}: the recipe has {len(changed) + 1} stages, counted from 1")
        before = changed[int(number) - 2]
        changed[int(number) - 2] = _merged(before, own) if isinstance(before, dict) and isinstance(own, dict) else own
    return {**change, "stages": changed}


def _first(error: pydantic.ValidationError) -> str:
    """The first error in one line; for an unknown key, it names the nearest known key."""
    first = error.errors()[0]
    place, section, stage = [str(part) for part in first["loc"]], Recipe, ""
    if not place:  # of a validator of the recipe
        return first["msg"].removeprefix("Value error, ")
    if place[0] == "stages":
        if first["type"] in ("list_type", "model_type"):
            return f"stages must be tables, got {first['input']!r}: begin each later stage with a line [[stages]]"
        section, stage = Stage, f"stage {int(place[1]) + 2}"
        if len(place) == 2:  # of a validator of the stage
            return f"{stage} {first['msg'].removeprefix('Value error, ')}"
        place, stage = place[2:], f"{stage}: "
    *parents, key = place
    where = ".".join(place)
    if first["type"] != "extra_forbidden":
        reason = _REASONS.get(first["type"], first["msg"])
        reason = reason.removeprefix("Value error, ")
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        return f"{stage}{where}{value}: {reason[0].lower()}{reason[1:]}"
    for parent in parents:
        kind = section.model_fields[parent].annotation
        section = next((each for each in get_args(kind) if each is not type(None)), kind)  # of an optional section
    near = difflib.get_close_matches(key, section.model_fields, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(section.model_fields)}"
    return f"{stage}unknown key {where}; {hint}"
