"""A run's checkpoints: one .npz file each, complete or absent; the newest few are kept."""

import contextlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import whole_file

COST = 0.02  # the largest fraction of a run's time that checkpoints may take


class Checkpoints:
    """States of a run in a folder.

    A file is written under a hidden name, synced and renamed, so a killed process or a full disk loses the newest
    state only. The zip format stores a checksum of each array: a damaged file raises an error when it is read, and
    the previous checkpoint is used.

    Args:
        folder: created with the first checkpoint.
        kept: number of files to keep.
        seconds: minimum time between two checkpoints.
        warn: called with one line about a problem that does not end the run.
    """

    def __init__(self, folder: Path, kept: int, seconds: float, warn: Callable[[str], None]):
        self.folder, self.kept, self.seconds, self.warn = folder, kept, seconds, warn
        self.ended, self.cost = time.perf_counter(), 0.0

    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint, also in proportion to the time it took."""
        return time.perf_counter() - self.ended >= max(self.seconds, self.cost / COST)

    def save(self, step: int, facts: dict, arrays: dict[str, np.ndarray]) -> None:
        """Writes the state after `step`; if the disk is full, it warns and keeps the older states.

        Args:
            step: of the run.
            facts: a JSON object.
            arrays: by name.
        """
        started = time.perf_counter()
        content = {**arrays, "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
        new = self.folder / f"step_{step:09}.npz"
        try:
            self.folder.mkdir(exist_ok=True)
            for half in self.folder.glob(".*.npz"):  # from a killed run
                half.unlink()
            with whole_file(new, sync=True) as hidden:
                np.savez(hidden, **content)
            older = [file for file in self.files() if file < new]
            damaged = [file for file in self.files() if file > new]  # the run continued from an earlier checkpoint
            for file in [*older[: max(0, len(older) + 1 - self.kept)], *damaged]:
                file.unlink()
        except OSError as error:
            self.warn(
                f"no checkpoint at step {step}, {self.folder}: {error.strerror or error}; older checkpoints are kept"
            )
        self.ended = time.perf_counter()
        self.cost = self.ended - started

    def newest(self) -> tuple[dict, dict[str, np.ndarray]] | None:
        """Facts and arrays of the newest undamaged checkpoint; None if there are no checkpoints.

        Raises:
            ZooError: all checkpoints are damaged.
        """
        for file in reversed(self.files()):
            try:
                with np.load(file, allow_pickle=False) as content:
                    arrays = {name: content[name] for name in content.files}
                return json.loads(arrays.pop("facts").tobytes()), arrays
            except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
                self.warn(f"{file} is damaged; using the checkpoint before it")
        if self.files():
            raise ZooError(f"every checkpoint in {self.folder} is damaged: remove the run's folder to start again")
        return None

    def files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.npz"))

    def clear(self) -> None:
        """Removes all checkpoints, also files that a killed run left incomplete."""
        for file in [*self.files(), *self.folder.glob(".*.npz")]:
            file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()
