"""Code that needs a process or a port of its own."""

import os
import socket
import subprocess
import sys

from tests.helpers.paths import ROOT


def run_child(code: str, *arguments: str, **environment: str) -> str:
    """Runs code in a new process that can import `tests`: its standard output; errors end the test."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]
