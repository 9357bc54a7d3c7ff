"""`zoo.tune`: searches the settings of a recipe with KerasTuner, by their validation scores."""

import contextlib
import csv
import io
import json
import math
import os
import shutil
import signal
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pydantic

from zoo.errors import Stopped, ZooError, checked_count, checked_path, unknown
from zoo.files import whole_folder
from zoo.tasks import task_class
from zoo.training import setup
from zoo.training.not_finite import NotFinite
from zoo.training.recipe import as_toml, read_recipe
from zoo.training.run import train
from zoo.training.workdir import Workdir, differences

METHODS = ("bayesian", "hyperband", "random")
SEARCH, TABLE, BEST = "tuning.json", "trials.csv", "best.toml"
TUNER, TRIALS = "tuner", "trials"


class Range(pydantic.BaseModel):
    """The range of a setting: a list of `values`, or the numbers from `min` to `max`; integers if both are.

    A value may be a list or a table, for a setting that takes one.
    """

    model_config = pydantic.ConfigDict(extra="forbid")
    values: list[bool | int | pydantic.FiniteFloat | str | list | dict] | None = pydantic.Field(None, min_length=1)
    min: int | pydantic.FiniteFloat | None = None
    max: int | pydantic.FiniteFloat | None = None
    step: int | pydantic.FiniteFloat | None = pydantic.Field(None, gt=0)
    sampling: Literal["linear", "log"] = "linear"

    @pydantic.model_validator(mode="after")
    def is_one_of_two(self):
        others = {"min", "max", "step", "sampling"} & self.model_fields_set
        if self.values is not None:
            if others:
                raise ValueError("give either values, or min and max, not both")
            return self
        if self.min is None or self.max is None:
            raise ValueError("give either values, or min and max")
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.step is not None and self.sampling == "linear" and self.step > self.max - self.min:
            raise ValueError("step must be at most max - min")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError("min must be above 0 for log sampling")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError("step must be above 1 for log sampling, as it is a factor")
        return self

    @property
    def is_integer(self) -> bool:
        return all(isinstance(value, int) for value in (self.min, self.max, self.step or 1))


def tune(
    recipe: str | os.PathLike,
    space: str | os.PathLike | dict,
    out: str | os.PathLike,
    *,
    trials: int = 10,
    method: str = "bayesian",
    report: Callable[[int, int, dict], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
    **overrides,
) -> dict:
    """Searches a recipe's settings for the best validation score. A second call with the same folder continues.

    Each trial is a run in OUT/trials. "hyperband" (Li et al. 2018, arXiv 1603.06560) gives many trials the first
    epochs of the recipe's schedule and continues the best of them; "bayesian" fits a Gaussian process to the trials
    (Snoek et al. 2012, arXiv 1206.2944) after a random third of them; both come from KerasTuner.

    Args:
        recipe: as in `zoo.train`.
        space: path of a TOML file, or a dict: a setting of the recipe, such as "training.optimizer.learning_rate", to
            its range: {"values": [...]}, or {"min", "max"} with "step" or "sampling" = "log". Values are integers if
            min and max are.
        out: folder of the search: `trials.csv`, `best.toml` and the runs.
        trials: maximum number of trials; hyperband's number also depends on the epochs, and may be lower.
        method: "bayesian", "hyperband" or "random".
        report: called as report(trials done, trials, {"trial", "score", **settings}) after each trial.
        warn: called with one line about a trial that failed.
        **overrides: differences from the recipe.

    Returns:
        {"recipe": path of best.toml, "trials": number of trials, "score", "settings"}; the score is the best value of
        the task's criterion on the validation data, such as its accuracy.

    Raises:
        ZooError: KerasTuner is not installed, the recipe has no validation data, the space is empty or has values
            that the recipe refuses, the folder holds another search, or no trial succeeded.
    """
    checked_count(trials, "trials")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    try:
        import keras_tuner
    except ImportError:
        raise ZooError('zoo.tune needs KerasTuner: pip install "keras-zoo[tune]"') from None
    out, ranges = checked_path(out, "out"), read_space(space)
    search = _Search(recipe, overrides, ranges, out, report, warn)
    oracle = _oracle(keras_tuner, method, trials, search)
    with Workdir(out).in_use():
        _same_search(out, search.description(method))
        return _run(keras_tuner, search, oracle)


def _oracle(keras_tuner, method: str, trials: int, search: "_Search"):
    """KerasTuner's part that chooses the settings of the next trial."""
    seed, epochs = search.plain.seed, search.plain.training.epochs
    options = {
        "objective": keras_tuner.Objective("score", search.criterion.direction),
        "hyperparameters": _hyperparameters(keras_tuner, search.ranges),
        "tune_new_entries": False,
        "max_consecutive_failed_trials": math.inf,
        "seed": seed + 1,  # KerasTuner reads 0 as no seed
    }
    oracles = keras_tuner.oracles
    if method == "hyperband":
        oracle = oracles.HyperbandOracle(max_epochs=epochs, **options)
        oracle.max_trials = trials
        return oracle
    if method == "bayesian":
        first = max(3, trials // 3)
        return oracles.BayesianOptimizationOracle(max_trials=trials, num_initial_points=first, **options)
    return oracles.RandomSearchOracle(max_trials=trials, **options)


def _run(keras_tuner, search: "_Search", oracle) -> dict:
    """Runs all trials that are left, and returns the results."""
    out = search.out
    try:
        tuner = _tuner(keras_tuner)(search, oracle, directory=str(out), project_name=TUNER)
    except (ValueError, KeyError, TypeError):
        raise ZooError(f"a file in {out / TUNER} can't be read: remove {out} to start again") from None
    tuner.save()  # a search that ends in its first trial continues with this trial
    try:
        tuner.search(verbose=0)
    except keras_tuner.errors.FatalError as error:
        cause = error.__cause__
        if isinstance(cause, Stopped):
            name = signal.Signals(cause.number).name
            message = f"stopped by {name}; the same command continues the search in {out}"
            raise Stopped(message, cause.number) from None
        if isinstance(cause, ZooError) and not tuner.oracle.end_order:
            for name in (SEARCH, TUNER, TRIALS):  # recipe or space have a mistake: these files have no use
                _remove(out / name)
        raise cause from None
    return search.results(tuner.oracle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_space(space: str | os.PathLike | dict) -> dict[str, Range]:
    """Ranges by setting, from a TOML file or a dict; keys may be dotted or nested.

    Raises:
        ZooError: the file can't be read, it has no setting, or a range is not valid.
    """
    name = "space"
    if not isinstance(space, dict):
        name = checked_path(space, "space")
        try:
            space = tomllib.loads(name.read_text(encoding="utf-8"))
        except OSError as error:
            raise ZooError(f"space {name}: {error.strerror}") from None
        except ValueError as error:
            raise ZooError(f"space {name} must be a TOML file: {error}") from None
    ranges = {}
    for key, value in _leaves(space):
        try:
            ranges[key] = Range.model_validate(value)
        except pydantic.ValidationError as error:
            what = error.errors()[0]
            place = " ".join(map(str, what["loc"][:1]))
            reason = f"{place} {what['msg']}".strip().removeprefix("Value error, ")
            raise ZooError(
                f"space {name}: {key}: {reason}; keys of a range: values, or min, max, step, sampling"
            ) from None
    if not ranges:
        raise ZooError(
            f'space {name} has no setting; add e.g. "training.optimizer.learning_rate" = {{min = 1e-4, ...}}'
        )
    return ranges


def _leaves(table: dict, where: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in table.items():
        is_range = not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values())
        leaves += [(where + key, value)] if is_range else _leaves(value, f"{where}{key}.")
    return leaves


def _hyperparameters(keras_tuner, ranges: dict[str, Range]):
    parameters = keras_tuner.HyperParameters()
    for key, limits in ranges.items():
        if limits.values is not None:  # by index: KerasTuner's values have one type, and it takes bools for numbers
            parameters.Choice(key, list(range(len(limits.values))), ordered=False)
        else:
            kind = parameters.Int if limits.is_integer else parameters.Float
            kind(key, limits.min, limits.max, step=limits.step, sampling=limits.sampling)
    return parameters


def _same_search(out: Path, description: dict) -> None:
    """Writes the search's description; raises ZooError if the folder holds another search or other files."""
    text = json.dumps(description, indent=1)
    if (out / SEARCH).exists():
        try:
            old = dict(json.loads((out / SEARCH).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ZooError(f"{out / SEARCH} can't be read: remove the folder to start again") from None
        if changes := differences(old, json.loads(text)):
            raise ZooError(f"{out} holds another search: {changes}; choose another folder")
        return
    if any(entry.name != ".lock" for entry in out.iterdir()):
        raise ZooError(f"{out} holds files that do not belong to a search: choose another folder")
    Workdir(out).write(SEARCH, text)


class _Search:
    """The runs of a search, and its results.

    Raises:
        ZooError: the recipe refuses a value of a range, or has no validation data.
    """

    def __init__(self, recipe, overrides, ranges, out, report, warn):
        self.recipe, self.overrides, self.ranges, self.out = recipe, overrides, ranges, out
        self.report, self.warn = report or (lambda *_: None), warn
        _, self.plain = read_recipe(recipe, overrides)
        if self.plain.stages:
            raise ZooError(f"recipe {recipe} has several stages: to search its first stage, set stages = []")
        self._check_ranges()
        sources = setup.open_sources(self.plain)
        if "validation" not in sources:
            raise ZooError(f"recipe {recipe} has no validation data to score trials on: set data.validation")
        self.source = sources["train"]
        self.criterion = task_class(setup.task_name(self.plain)).criterion

    def _check_ranges(self) -> None:
        """Reads the recipe with each value, or with both ends, of each range."""
        ends = {key: limits.values or [limits.min, limits.max] for key, limits in self.ranges.items()}
        first = {key: values[0] for key, values in ends.items()}
        for key, values in ends.items():
            for value in values:
                read_recipe(self.recipe, {**self.overrides, **first, key: value})

    def description(self, method: str) -> dict:
        """What another search in the same folder must have in common with this one."""
        space = {key: limits.model_dump(exclude_none=True) for key, limits in self.ranges.items()}
        return {"recipe": self.plain.model_dump(), "space": space, "method": method}

    def settings(self, trial) -> dict:
        values = trial.hyperparameters.values
        return {
            key: values[key] if limits.values is None else limits.values[values[key]]
            for key, limits in self.ranges.items()
        }

    def run(self, trial) -> float:
        """The score of a trial's best epoch; a trial of hyperband may continue a copy of another trial's run."""
        values = trial.hyperparameters.values
        folder = self.out / TRIALS / trial.trial_id
        before = values.get("tuner/trial_id")
        if before and not folder.exists():
            with whole_folder(folder) as hidden:
                shutil.copytree(self.out / TRIALS / before, hidden, dirs_exist_ok=True)
        changes = {**self.overrides, **self.settings(trial)}
        _, recipe = read_recipe(self.recipe, changes)
        steps = None
        if "tuner/epochs" in values:
            steps = values["tuner/epochs"] * setup.steps_per_epoch(recipe, self.source)
        train(self.recipe, folder, steps=steps, warn=lambda _: None, **changes)
        with open(folder / "history.csv", newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        return max(rows, key=self.criterion.score)[f"val_{self.criterion.metric}"]

    def results(self, oracle) -> dict:
        """Writes the table and the best recipe, and returns the result of `tune`."""
        ended = [oracle.trials[number] for number in oracle.end_order]
        done = [trial for trial in ended if trial.status == "COMPLETED"]
        done.sort(key=lambda trial: trial.score, reverse=self.criterion.direction == "max")
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["trial", "score", "epochs", *self.ranges])
        for trial in done:
            settings = self.settings(trial)
            epochs = trial.hyperparameters.values.get("tuner/epochs", "")
            rows.writerow([trial.trial_id, trial.score, epochs, *(settings[key] for key in self.ranges)])
        workdir = Workdir(self.out)
        workdir.write(TABLE, text.getvalue())
        if not done:
            raise ZooError(f"no trial in {self.out} succeeded: check the ranges of the space")
        best = self.settings(done[0])
        workdir.write(BEST, as_toml(read_recipe(self.recipe, {**self.overrides, **best})[1]))
        return {"recipe": str(self.out / BEST), "trials": len(ended), "score": done[0].score, "settings": best}


def _tuner(keras_tuner):
    class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
        """KerasTuner's loop over trials; each trial is a run of `train`."""

        def __init__(self, search: _Search, oracle, **place):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it reloads
                super().__init__(oracle, **place)
            self.searching = search

        def run_trial(self, trial, **_):
            try:
                return {"score": self.searching.run(trial)}
            except Stopped as error:
                raise keras_tuner.errors.FatalError(str(error)) from error
            except ZooError as error:
                # A mistake in the recipe shows in the first trial; a later error concerns its own trial only.
                if not isinstance(error, NotFinite) and not self.oracle.end_order:
                    raise keras_tuner.errors.FatalError(str(error)) from error
                self.searching.warn(f"trial {trial.trial_id}: {error}")
                raise keras_tuner.errors.FailedTrialError(str(error)) from None
            except Exception as error:  # KerasTuner would print it and start the next trial
                raise keras_tuner.errors.FatalError(str(error)) from error

        def on_trial_end(self, trial):
            with contextlib.redirect_stdout(io.StringIO()):
                super().on_trial_end(trial)
            facts = {"trial": trial.trial_id, "score": trial.score, **self.searching.settings(trial)}
            self.searching.report(len(self.oracle.end_order), self.oracle.max_trials, facts)

    return Tuner
