"""A run's checkpoints: one .npz file each, whole or not there, the newest few kept."""

import contextlib
import json
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.errors import ZooError

COST = 0.02  # the greatest share of a run's time that goes into its checkpoints


class Checkpoints:
    """States of a run in a folder.

    A file is written aside, brought to the disk and renamed, so that a kill or a full disk costs the newest state at
    most. Its zip container carries a checksum of each array: what is damaged shows when it is read, and the one
    before takes its place.

    Args:
        folder: made when the first one is written.
        kept: how many stay.
        seconds: least time between two.
        warn: told in one line what went wrong and was got over.
    """

    def __init__(self, folder: Path, kept: int, seconds: float, warn: Callable[[str], None]):
        self.folder, self.kept, self.seconds, self.warn = folder, kept, seconds, warn
        self.ended, self.cost = time.perf_counter(), 0.0

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one, by the clock and by what it cost."""
        return time.perf_counter() - self.ended >= max(self.seconds, self.cost / COST)

    def save(self, step: int, facts: dict, arrays: dict[str, np.ndarray]) -> None:
        """Writes the state after `step`; a disk that takes no more is told of, and the older states stay.

        Args:
            step: of the run.
            facts: whatever JSON holds.
            arrays: by name.
        """
        started = time.perf_counter()
        content = {**arrays, "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
        hidden = None
        try:
            self.folder.mkdir(exist_ok=True)
            for half in self.folder.glob(".*.npz"):  # of a run that was killed
                half.unlink()
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".npz", delete=False) as file:
                hidden = Path(file.name)
                np.savez(file, **content)
                file.flush()
                os.fsync(file.fileno())
            new = self.folder / f"step_{step:09}.npz"
            hidden.replace(new)
            older = [file for file in self.files() if file < new]
            damaged = [file for file in self.files() if file > new]  # the run went on from one before them
            for file in [*older[: max(0, len(older) + 1 - self.kept)], *damaged]:
                file.unlink()
        except OSError as error:
            if hidden is not None:
                hidden.unlink(missing_ok=True)
            self.warn(f"no checkpoint at step {step}, {self.folder}: {error.strerror}; the older ones stand")
        self.ended = time.perf_counter()
        self.cost = self.ended - started

    def newest(self) -> tuple[dict, dict[str, np.ndarray]] | None:
        """Facts and arrays of the newest checkpoint that is whole; None where there is none.

        Raises:
            ZooError: there are checkpoints, and none is whole.
        """
        for file in reversed(self.files()):
            try:
                with np.load(file, allow_pickle=False) as content:
                    arrays = {name: content[name] for name in content.files}
                return json.loads(arrays.pop("facts").tobytes()), arrays
            except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
                self.warn(f"{file} is damaged; looking for the checkpoint before it")
        if self.files():
            raise ZooError(f"every checkpoint in {self.folder} is damaged: remove the run's folder to begin again")
        return None

    def files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.npz"))

    def clear(self) -> None:
        """Removes them, and what a kill left half-written."""
        for file in [*self.files(), *self.folder.glob(".*.npz")]:
            file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()
