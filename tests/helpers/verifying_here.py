"""`zoo.verify` without a process of its own."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from zoo.exporting import run_saved_model, verifying


@contextlib.contextmanager
def verifying_here() -> Iterator[None]:
    """Inside the block, `zoo.verify` runs SavedModels in this process, as importing TensorFlow again takes seconds."""

    def run(arguments: list) -> subprocess.CompletedProcess:
        script, *rest = map(str, arguments)
        assert script == run_saved_model.__file__
        run_saved_model.main(*rest)
        return subprocess.CompletedProcess(arguments, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifying, "_run", run)
        yield
