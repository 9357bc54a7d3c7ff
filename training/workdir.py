"""A run's folder: its lock, recipe, history, and the facts about machine and versions."""

import base64
import contextlib
import csv
import datetime
import io
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import filelock
import keras
import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.files import whole_file
from zoo.training.recipe import Recipe, as_toml
from zoo.training.setup import Adapted, with_todays_names

RECIPE, HISTORY, FACTS, ADAPTED, LOCK = "recipe.toml", "history.csv", "run.json", "adapted.json", ".lock"
FROZEN, BAD_BATCH = "frozen.json", "not_finite.npz"
_RESULTS = ("checkpoints", "preset.json", HISTORY)  # if one exists, the run has made progress
_STAGE = re.compile(r"stage\d+")  # folders of earlier stages
_MARK = "# The recipe of the run in this folder, with every setting.\n"  # not at the top of a user's own recipe
# A continued run may change these: they do not change the weights.
_FREE = {"training.checkpoint_seconds", "training.checkpoints_kept", "data.data_dir", "data.test", "terms", "domain"}


class CantWrite(ZooError):
    """A file of a run can't be written."""


class Workdir:
    """The folder of a run.

    Args:
        path: of the folder; `begin` writes the first files.
        is_chief: whether this process writes; other workers only read.
        is_alone: whether this process is the only worker.
    """

    def __init__(self, path: Path, is_chief: bool = True, is_alone: bool = True):
        self.path, self.is_chief, self.is_alone = path, is_chief, is_alone

    @contextlib.contextmanager
    def in_use(self, patience: float = 0.0, lock: str = LOCK) -> Iterator[None]:
        """Locks the folder for this run; at the end a folder that it created is removed if it is empty.

        Args:
            patience: seconds to wait for another run to release the folder.
            lock: name of the lock file.

        Raises:
            ZooError: another run uses the folder, or it can't be created.
        """
        if not self.is_chief:
            yield
            return
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # The system releases the lock when the process ends, even if it is killed.
            held = filelock.FileLock(self.path / lock, timeout=patience)
            held.acquire()
        except filelock.Timeout:
            raise ZooError(f"{self.path} is in use by another run: wait for it, or choose another folder") from None
        except OSError as error:
            reason = "it is a file, not a folder" if self.path.is_file() else error.strerror
            raise ZooError(f"can't write into {self.path}: {reason}") from None
        try:
            yield
        finally:
            (self.path / lock).unlink(
                missing_ok=True
            )  # before the release: a waiting run would lose the file it locks next
            held.release()
            if is_new:
                with contextlib.suppress(OSError):
                    self.path.rmdir()

    def holds_run(self) -> bool:
        """Whether the folder holds a run.

        Raises:
            ZooError: the folder holds files that do not belong to a run.
        """
        recipe = self.path / RECIPE
        if recipe.is_file() and (
            self._facts() or self._has_results() or recipe.read_bytes().startswith(_MARK.encode())
        ):
            return True
        others = sorted(file.name for file in self.path.glob("[!.]*") if not _STAGE.fullmatch(file.name))
        if self.is_chief and others:
            raise ZooError(f"{self.path} holds {others[0]}, which is not part of a run: choose a new or empty folder")
        return False

    def resumes(self, recipe: Recipe) -> bool:
        """Whether the folder holds a run of this recipe, which will be continued.

        A run of another recipe is replaced if it failed before its first checkpoint and epoch.

        Raises:
            ZooError: the folder holds files that do not belong to a run, or a run of another recipe; the message
                shows the differences.
        """
        if not self.holds_run():
            return False
        try:
            self._compare(recipe)
        except ZooError:
            if not self.is_chief or not self.is_alone or self._has_results():
                raise
            return False
        return True

    def _has_results(self) -> bool:
        return any((self.path / name).exists() for name in _RESULTS)

    def _compare(self, recipe: Recipe) -> None:
        try:
            there = (self.path / RECIPE).read_text("utf-8")
            old, new = (
                with_todays_names(Recipe.model_validate(tomllib.loads(text))).model_dump()
                for text in (there, as_toml(recipe))
            )
        except (OSError, ValueError):
            raise ZooError(f"{self.path / RECIPE} can't be read: remove the folder to start again") from None
        if changes := differences(old, new, _FREE):
            raise ZooError(f"{self.path} holds a run of another recipe: {changes}; choose another folder")

    def begin(self, recipe: Recipe, strategy: tf.distribute.Strategy, adapted: Adapted) -> None:
        """Writes the recipe with every setting, what the task learned from the data, and facts about the machine."""
        facts = {
            "command": sys.argv,
            "git": _revision(),
            "hardware": hardware(),
            "host": socket.gethostname(),
            "replicas": strategy.num_replicas_in_sync,
            "begun": datetime.datetime.now().isoformat(timespec="seconds"),
            "versions": versions(),
        }
        if self.is_chief:
            for name in (RECIPE, FACTS, ADAPTED, FROZEN, BAD_BATCH):  # of the run that is replaced
                (self.path / name).unlink(missing_ok=True)
            for file in self.path.glob("frozen_*.npy"):
                file.unlink()
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        self.write_recipe(recipe)  # first, as it marks the folder as a run
        self.write(FACTS, json.dumps(facts, indent=1))
        settings, assets, arguments = adapted
        coded = {name: base64.b64encode(content).decode() for name, content in assets.items()}
        if any(adapted):
            self.write(ADAPTED, json.dumps({"settings": settings, "assets": coded, "arguments": arguments}))

    def write_recipe(self, recipe: Recipe) -> None:
        self.write(RECIPE, _MARK + as_toml(recipe))

    def end(self) -> None:
        """Records the end of the run."""
        ended = datetime.datetime.now().isoformat(timespec="seconds")
        self.write(FACTS, json.dumps({**(self._facts() or {}), "ended": ended}, indent=1))

    def was_cut(self) -> bool:
        """Whether the facts say that the run has not ended."""
        facts = self._facts()
        return facts is not None and "ended" not in facts

    def _facts(self) -> dict | None:
        try:
            facts = json.loads((self.path / FACTS).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def adapted(self) -> Adapted | None:
        """What `begin` stored; None if the file is missing, damaged or of an old version: it is learned again."""
        try:
            content = json.loads((self.path / ADAPTED).read_text("utf-8"))
            assets = {name: base64.b64decode(coded) for name, coded in content["assets"].items()}
            return content["settings"], assets, content["arguments"]
        except (OSError, ValueError, KeyError):
            return None

    def write_history(self, history: list[dict]) -> None:
        """Writes history.csv, one row per epoch."""
        text = io.StringIO(newline="")
        rows = csv.DictWriter(text, history[0], lineterminator="\n")
        rows.writeheader()
        rows.writerows(history)
        self.write(HISTORY, text.getvalue())

    def write(self, name: str, text: str) -> None:
        """Writes a text file; if that fails, the old file stays as it was."""
        if self.is_chief:
            with self.whole(name) as hidden:
                hidden.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """`whole_file` of a file in the folder; raises CantWrite if it can't be written."""
        try:
            with whole_file(self.path / name) as hidden:
                yield hidden
        except OSError as error:
            raise CantWrite(f"can't write {self.path / name}: {error.strerror or error}") from None


def hardware() -> str:
    """A description of the machine, for cards."""
    devices = [device.device_type for device in tf.config.list_physical_devices() if device.device_type != "CPU"]
    return ", ".join([f"{os.cpu_count()} cores {platform.machine()}", *devices])


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def _revision() -> str | None:
    """The git revision of the code, with "+" if files were changed; None if the code is not in a git checkout."""
    outputs = []
    here = Path(__file__)
    for command in (
        ["ls-files", "--error-unmatch", here.name],  # fails if keras-zoo is installed inside another project's checkout
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--untracked-files=no"],
    ):
        try:
            done = subprocess.run(["git", "-C", str(here.parent), *command], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        outputs.append(done.stdout.strip())
    return outputs[1] + ("+" if outputs[2] else "")


def differences(old: dict, new: dict, without: Collection[str] = ()) -> str:
    """The first four differences of two nested tables, as text; "" if they are equal. `without` are dotted keys."""
    old, new = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in {**old, **new} if key not in without and old.get(key) != new.get(key)]
    shown = "; ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in keys[:4])
    return shown + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _flat(table: dict, where: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value
