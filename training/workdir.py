"""A run's folder: in use by one run, its recipe and history, and what it ran on."""

import base64
import contextlib
import csv
import datetime
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import filelock
import keras
import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.training.recipe import Recipe, as_toml
from zoo.training.setup import Adapted

RECIPE, HISTORY, FACTS, ADAPTED, LOCK = "recipe.toml", "history.csv", "run.json", "adapted.json", ".lock"
FEATURES, BAD_BATCH = "features.npz", "not_finite.npz"
_RESULTS = ("checkpoints", "preset.json", HISTORY)  # where one of them is, a run came further than its beginning
_MARK = "# The recipe of the run in this folder, with every setting.\n"  # tells it from one that somebody wrote
# What a run may be continued with that it was not begun with: none of them changes the weights.
_FREE = {"training.checkpoint_seconds", "training.checkpoints_kept", "data.data_dir", "data.test", "terms"}


class Workdir:
    """The folder of a run.

    Args:
        path: of the folder; nothing is written before `begin`.
        is_chief: whether this process writes; the other workers only read.
        is_alone: whether there are no other workers.
    """

    def __init__(self, path: Path, is_chief: bool = True, is_alone: bool = True):
        self.path, self.is_chief, self.is_alone = path, is_chief, is_alone

    @contextlib.contextmanager
    def in_use(self, patience: float = 0.0, lock: str = LOCK) -> Iterator[None]:
        """Holds the folder for this run; a folder that it made and left empty is taken away again.

        Args:
            patience: seconds that it waits for another run to leave the folder.
            lock: the file that is locked.

        Raises:
            ZooError: another run holds it, or it can't be made.
        """
        if not self.is_chief:
            yield
            return
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # The system frees the lock when its process ends, however it ends.
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
            (self.path / lock).unlink(missing_ok=True)  # first: one who waits would lose the file that it locked
            held.release()
            if is_new:
                with contextlib.suppress(OSError):
                    self.path.rmdir()

    def holds_run(self) -> bool:
        """Whether a run was begun here.

        Raises:
            ZooError: the folder holds something that no run made.
        """
        recipe = self.path / RECIPE
        if recipe.is_file() and (
            self._facts() or self._has_results() or recipe.read_bytes().startswith(_MARK.encode())
        ):
            return True
        if self.is_chief and (others := sorted(file.name for file in self.path.glob("[!.]*"))):
            raise ZooError(f"{self.path} holds {others[0]}, which is no run's: choose a new folder, or an empty one")
        return False

    def resumes(self, recipe: Recipe) -> bool:
        """Whether the run here goes on with this recipe.

        A run of another recipe that ended in an error before there was a checkpoint or an epoch will give way to a new
        one.

        Raises:
            ZooError: the folder holds something that no run made, or a run of another recipe; the message shows the
                differences.
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
            begun, asked = (
                dict(_flat(Recipe.model_validate(tomllib.loads(text)).model_dump()))
                for text in (there, as_toml(recipe))
            )
        except (OSError, ValueError):
            raise ZooError(f"{self.path / RECIPE} can't be read: remove the folder to begin again") from None
        keys = [key for key in {**begun, **asked} if key not in _FREE and begun.get(key) != asked.get(key)]
        if keys:
            shown = "; ".join(f"{key} was {begun.get(key)!r} and is {asked.get(key)!r}" for key in keys[:4])
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise ZooError(f"{self.path} holds a run of another recipe: {shown}{more}; choose another folder")

    def begin(self, recipe: Recipe, strategy: tf.distribute.Strategy, adapted: Adapted) -> None:
        """Writes the recipe with every setting, what the task learned from the data, and what the run runs on."""
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
            for name in (RECIPE, FACTS, ADAPTED, FEATURES, BAD_BATCH):  # of a run that gives way
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        self.write_recipe(recipe)  # first: it marks the folder as a run's
        self.write(FACTS, json.dumps(facts, indent=1))
        settings, assets, overrides = adapted
        coded = {name: base64.b64encode(content).decode() for name, content in assets.items()}
        if any(adapted):
            self.write(ADAPTED, json.dumps({"settings": settings, "assets": coded, "overrides": overrides}))

    def write_recipe(self, recipe: Recipe) -> None:
        self.write(RECIPE, _MARK + as_toml(recipe))

    def end(self) -> None:
        """Notes that the run came to its end."""
        ended = datetime.datetime.now().isoformat(timespec="seconds")
        self.write(FACTS, json.dumps({**(self._facts() or {}), "ended": ended}, indent=1))

    def was_cut(self) -> bool:
        """Whether the run here is known not to have come to its end."""
        facts = self._facts()
        return facts is not None and "ended" not in facts

    def _facts(self) -> dict | None:
        try:
            facts = json.loads((self.path / FACTS).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def adapted(self) -> Adapted | None:
        """What `begin` was given; None where it is not there, and can be learned again."""
        try:
            told = json.loads((self.path / ADAPTED).read_text("utf-8"))
            assets = {name: base64.b64decode(content) for name, content in told["assets"].items()}
            return told["settings"], assets, told["overrides"]
        except (OSError, ValueError, KeyError):
            return None

    def write_history(self, history: list[dict]) -> None:
        """history.csv, a row an epoch."""
        text = io.StringIO(newline="")
        rows = csv.DictWriter(text, history[0], lineterminator="\n")
        rows.writeheader()
        rows.writerows(history)
        self.write(HISTORY, text.getvalue())

    def write(self, name: str, text: str) -> None:
        """A text file, whole or as it was."""
        if self.is_chief:
            with self.whole(name) as hidden:
                hidden.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """A path to write to, which becomes the file `name` when everything is there; ZooError where it can't."""
        hidden = self.path / f".{name}"
        try:
            yield hidden
            hidden.replace(self.path / name)
        except OSError as error:
            raise ZooError(f"can't write {self.path / name}: {error.strerror or error}") from None
        finally:
            hidden.unlink(missing_ok=True)


def hardware() -> str:
    """The machine in words, for cards."""
    devices = [device.device_type for device in tf.config.list_physical_devices() if device.device_type != "CPU"]
    return ", ".join([f"{os.cpu_count()} cores {platform.machine()}", *devices])


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def _revision() -> str | None:
    """The git revision of the code, with "+" where it was changed since; None where it lies in no checkout."""
    told = []
    here = Path(__file__)
    for command in (
        ["ls-files", "--error-unmatch", here.name],  # the checkout may be another project's, with us installed in it
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--untracked-files=no"],
    ):
        try:
            done = subprocess.run(["git", "-C", str(here.parent), *command], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        told.append(done.stdout.strip())
    return told[1] + ("+" if told[2] else "")


def _flat(table: dict, where: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value
