"""Runs an export in a process that can't import zoo."""

import json
import subprocess
import sys
from pathlib import Path

# Runs an export where keras-zoo, Keras and TensorFlow can't be imported.
ALONE = """
import runpy, sys
for name in ("zoo", "keras", "tensorflow"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(version: Path, *arguments) -> tuple[int, list[dict]]:
    """Runs run.py of an export: (exit status, the rows of JSON that it prints)."""
    command = [sys.executable, "-P", "-c", ALONE, version / "run.py", "--json", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def by_label(answer: dict) -> dict[str, float]:
    """Scores by their label."""
    return dict(zip(answer["labels"], answer["scores"], strict=True))
