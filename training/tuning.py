"""`zoo.tune`: KerasTuner chooses a recipe's settings by its validation figures."""

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
from zoo.training import setup
from zoo.training.loop import NotFinite
from zoo.training.recipe import as_toml, read_recipe
from zoo.training.run import score_of, train
from zoo.training.workdir import Workdir

METHODS = ("bayesian", "hyperband", "random")
ASKED, TABLE, BEST = "tuning.json", "trials.csv", "best.toml"
TUNER, TRIALS = "tuner", "trials"


class Range(pydantic.BaseModel):
    """What a setting may be: one of `values`, or a number from `min` to `max`, whole where both are."""

    model_config = pydantic.ConfigDict(extra="forbid")
    values: list[bool | int | pydantic.FiniteFloat | str] | None = pydantic.Field(None, min_length=1)
    min: int | pydantic.FiniteFloat | None = None
    max: int | pydantic.FiniteFloat | None = None
    step: int | pydantic.FiniteFloat | None = pydantic.Field(None, gt=0)
    sampling: Literal["linear", "log"] = "linear"

    @pydantic.model_validator(mode="after")
    def is_one_of_two(self):
        others = {"min", "max", "step", "sampling"} & self.model_fields_set
        if self.values is not None:
            if others:
                raise ValueError("give values, or min and max, not both")
            return self
        if self.min is None or self.max is None:
            raise ValueError("give values, or min and max")
        if not self.min < self.max:
            raise ValueError("min is not below max")
        if self.step is not None and self.sampling == "linear" and self.step > self.max - self.min:
            raise ValueError("step is more than from min to max")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError("log sampling needs a min above 0")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError("log sampling needs a step above 1, by which it multiplies")
        return self

    @property
    def is_whole(self) -> bool:
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
    """Searches a recipe's settings for the best validation figure; called again, it continues.

    Each trial is a run of its own in OUT/trials. "hyperband" (Li et al. 2018, arXiv 1603.06560) gives many trials few
    epochs of the recipe's course, and the best of them the rest; "bayesian" fits a Gaussian process to the trials so
    far (Snoek et al. 2012, arXiv 1206.2944), after a third of them at random; both by KerasTuner.

    Args:
        recipe: as `zoo.train` takes it.
        space: a TOML file's path, or a dict: a recipe's setting, such as "training.optimizer.learning_rate", and its
            range: {"values": [...]}, or {"min", "max"} with "step" or "sampling" = "log"; whole numbers where min and
            max are whole.
        out: the folder of the search: `trials.csv`, `best.toml` and the runs.
        trials: at most so many; hyperband's own number depends on the epochs, and may be less.
        method: "bayesian", "hyperband" or "random".
        report: called as report(trials done, trials, {"trial", "score", **settings}) after each trial.
        warn: called with one line on a trial that failed.
        **overrides: differences from the recipe.

    Returns:
        {"recipe": path of best.toml, "trials": how many, "score", "settings"}; the score is the validation accuracy
        where there is one, and minus the loss otherwise.

    Raises:
        ZooError: KerasTuner is not installed; a recipe without validation; a space of no settings, or of ones that
            the recipe refuses; a folder that holds another search; no trial that succeeded.
    """
    checked_count(trials, "trials")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    try:
        import keras_tuner
    except ImportError:
        raise ZooError('zoo.tune needs KerasTuner: pip install "keras-zoo[tune]"') from None
    out, ranges = checked_path(out, "out"), read_space(space)
    _, plain = read_recipe(recipe, overrides)
    ends = {key: given.values or [given.min, given.max] for key, given in ranges.items()}
    first = {key: values[0] for key, values in ends.items()}
    for key, values in ends.items():  # are refused before the first trial
        for value in values:
            read_recipe(recipe, {**overrides, **first, key: value})
    sources = setup.open_sources(plain)
    if "validation" not in sources:
        raise ZooError(f"recipe {recipe} has no validation data to choose by: give data.validation")
    asked = {
        "recipe": plain.model_dump(),
        "space": {key: given.model_dump(exclude_none=True) for key, given in ranges.items()},
        "method": method,
    }
    options = {
        "objective": keras_tuner.Objective("score", "max"),
        "hyperparameters": _hyperparameters(keras_tuner, ranges),
        "tune_new_entries": False,
        "max_consecutive_failed_trials": math.inf,
        "seed": plain.seed + 1,  # it takes 0 for none
    }
    if method == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=plain.training.epochs, **options)
        oracle.max_trials = trials
    elif method == "bayesian":
        first = max(3, trials // 3)
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(max_trials=trials, num_initial_points=first, **options)
    else:
        oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=trials, **options)
    with Workdir(out).in_use():
        _same_search(out, asked)
        search = _Search(recipe, overrides, ranges, out, sources["train"].examples, report, warn)
        try:
            tuner = _tuner(keras_tuner)(search, oracle, directory=str(out), project_name=TUNER)
        except (ValueError, KeyError, TypeError):
            raise ZooError(f"a file in {out / TUNER} can't be read: remove {out} to begin again") from None
        tuner.save()  # otherwise a search that is ended in its first trial would begin with another one
        try:
            tuner.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            cause = error.__cause__
            if isinstance(cause, Stopped):
                told = f"stopped by {signal.Signals(cause.number).name}; the same command continues the search in {out}"
                raise Stopped(told, cause.number) from None
            if isinstance(cause, ZooError) and not tuner.oracle.end_order:
                for name in (ASKED, TUNER, TRIALS):  # a mistake in recipe or space: nothing that stays is of use
                    _remove(out / name)
            raise cause from None
        return search.told(tuner.oracle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_space(space: str | os.PathLike | dict) -> dict[str, Range]:
    """The ranges by setting, of a TOML file or of a dict; keys may be dotted or nested.

    Raises:
        ZooError: the file can't be read, it names no setting, or a range is none.
    """
    name = "space"
    if not isinstance(space, dict):
        name = checked_path(space, "space")
        try:
            space = tomllib.loads(name.read_text(encoding="utf-8"))
        except OSError as error:
            raise ZooError(f"space {name}: {error.strerror}") from None
        except ValueError as error:
            raise ZooError(f"space {name} is no TOML file: {error}") from None
    ranges = {}
    for key, given in _leaves(space):
        try:
            ranges[key] = Range.model_validate(given)
        except pydantic.ValidationError as error:
            what = error.errors()[0]
            place = " ".join(map(str, what["loc"][:1]))
            told = f"{place} {what['msg']}".strip().removeprefix("Value error, ")
            raise ZooError(f"space {name}: {key}: {told}; a range has values, or min, max, step, sampling") from None
    if not ranges:
        raise ZooError(f'space {name} names no setting, as in "training.optimizer.learning_rate" = {{min = 1e-4, ...}}')
    return ranges


def _leaves(table: dict, where: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in table.items():
        is_range = not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values())
        found += [(where + key, value)] if is_range else _leaves(value, f"{where}{key}.")
    return found


def _hyperparameters(keras_tuner, ranges: dict[str, Range]):
    chosen = keras_tuner.HyperParameters()
    for key, given in ranges.items():
        if (
            given.values is not None
        ):  # by their places: KerasTuner takes values of one type alone, and bools for numbers
            chosen.Choice(key, list(range(len(given.values))), ordered=False)
        else:
            kind = chosen.Int if given.is_whole else chosen.Float
            kind(key, given.min, given.max, step=given.step, sampling=given.sampling)
    return chosen


def _same_search(out: Path, asked: dict) -> None:
    """Notes what is searched; raises ZooError where the folder holds another search, or something else."""
    text = json.dumps(asked, indent=1)
    if (out / ASKED).exists():
        try:
            there = dict(json.loads((out / ASKED).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ZooError(f"{out / ASKED} can't be read: remove the folder to begin again") from None
        changed = [key for key in asked if there.get(key) != json.loads(text)[key]]
        if changed:
            raise ZooError(f"{out} holds a search with another {' and '.join(changed)}: choose another folder")
        return
    if any(entry.name != ".lock" for entry in out.iterdir()):
        raise ZooError(f"{out} holds something else than a search: choose another folder")
    Workdir(out).write(ASKED, text)


class _Search:
    """The runs of a search, and what it tells."""

    def __init__(self, recipe, overrides, ranges, out, examples, report, warn):
        self.recipe, self.overrides, self.ranges = recipe, overrides, ranges
        self.out, self.examples = out, examples
        self.report, self.warn = report or (lambda *_: None), warn

    def settings(self, trial) -> dict:
        chosen = trial.hyperparameters.values
        return {
            key: chosen[key] if given.values is None else given.values[chosen[key]]
            for key, given in self.ranges.items()
        }

    def run(self, trial) -> float:
        """A trial's score; of hyperband a trial that goes on where another one ended."""
        values = trial.hyperparameters.values
        folder = self.out / TRIALS / trial.trial_id
        before = values.get("tuner/trial_id")
        if before and not folder.exists():
            copy = folder.with_name(f".{folder.name}")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.out / TRIALS / before, copy)
            copy.rename(folder)
        changes = {**self.overrides, **self.settings(trial)}
        _, recipe = read_recipe(self.recipe, changes)
        steps = None
        if "tuner/epochs" in values:
            steps = values["tuner/epochs"] * -(-self.examples // recipe.training.batch_size)
        train(self.recipe, folder, steps=steps, warn=lambda _: None, **changes)
        with open(folder / "history.csv", newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        accuracy, loss = max(map(score_of, rows))
        return accuracy if "val_accuracy" in rows[0] else loss

    def told(self, oracle) -> dict:
        """Writes the table and the best recipe, and returns what `tune` does."""
        ended = [oracle.trials[number] for number in oracle.end_order]
        done = sorted((trial for trial in ended if trial.status == "COMPLETED"), key=lambda trial: -trial.score)
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
            raise ZooError(f"no trial in {self.out} succeeded: look at the ranges of the space")
        best = self.settings(done[0])
        workdir.write(BEST, as_toml(read_recipe(self.recipe, {**self.overrides, **best})[1]))
        return {"recipe": str(self.out / BEST), "trials": len(ended), "score": done[0].score, "settings": best}


def _tuner(keras_tuner):
    class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
        """Runs KerasTuner's trials as runs of ours."""

        def __init__(self, search: _Search, oracle, **place):
            with contextlib.redirect_stdout(io.StringIO()):  # it tells what it reloads
                super().__init__(oracle, **place)
            self.searching = search

        def run_trial(self, trial, **_):
            try:
                return {"score": self.searching.run(trial)}
            except Stopped as error:
                raise keras_tuner.errors.FatalError(str(error)) from error
            except ZooError as error:
                # A mistake in the recipe shows in the first trial; a later one leaves the others what they are.
                if not isinstance(error, NotFinite) and not self.oracle.end_order:
                    raise keras_tuner.errors.FatalError(str(error)) from error
                self.searching.warn(f"trial {trial.trial_id}: {error}")
                raise keras_tuner.errors.FailedTrialError(str(error)) from None
            except Exception as error:  # KerasTuner would print it and go on to the next trial
                raise keras_tuner.errors.FatalError(str(error)) from error

        def on_trial_end(self, trial):
            with contextlib.redirect_stdout(io.StringIO()):
                super().on_trial_end(trial)
            facts = {"trial": trial.trial_id, "score": trial.score, **self.searching.settings(trial)}
            self.searching.report(len(self.oracle.end_order), self.oracle.max_trials, facts)

    return Tuner
