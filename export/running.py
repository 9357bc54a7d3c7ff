"""`serve`: runs TensorFlow Serving on the exports of a folder, or the development server."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from zoo.errors import ZooError, checked_path
from zoo.exporting.serving_files import models_config

PATIENCE = 10.0  # seconds to wait for an answer of Docker's daemon


def serving_command(out: Path, port: int, rest_port: int, scratch: Path) -> tuple[list[str] | None, str]:
    """The command that starts TensorFlow Serving, its program or its container.

    Returns:
        The command and "", or None and the reason why TensorFlow Serving can't be started.
    """
    program = os.environ.get("ZOO_MODEL_SERVER") or shutil.which("tensorflow_model_server")
    batching = ["--enable_batching", f"--batching_parameters_file={out}/batching.config"]
    if program:
        config = scratch / "models.config"
        config.write_text(models_config(out, str(out)), encoding="utf-8")
        ports = [f"--port={port}", f"--rest_api_port={rest_port}"]
        return [program, *ports, f"--model_config_file={config}", *batching], ""
    if not shutil.which("docker"):
        return None, "neither tensorflow_model_server nor docker is installed"
    if not _docker_runs():
        return None, "tensorflow_model_server is not installed, and Docker's daemon does not answer"
    ports = ["-p", f"{port}:8500", "-p", f"{rest_port}:8501"]
    files = [argument.replace(f"{out}/", "/models/") for argument in batching]
    mount = ["-v", f"{out}:/models:ro"]
    return ["docker", "run", "--rm", *ports, *mount, "tensorflow/serving",
            "--model_config_file=/models/models.config", *files], ""  # fmt: skip


def _docker_runs() -> bool:
    """Whether Docker's daemon answers; `docker` may be installed without one, or without the right to use it."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def serve(
    out: str | os.PathLike, port: int = 8500, rest_port: int = 8501, is_development: bool = False, tell=print
) -> int:
    """Serves all exports of a folder until it is interrupted, with TensorFlow Serving if it can be started.

    Args:
        out: the folder of all exports.
        port: the port of gRPC.
        rest_port: the port of REST.
        is_development: start the development server even if TensorFlow Serving could be started.
        tell: called with each line that tells the user what is served.

    Returns:
        The exit status.
    """
    out = Path(os.path.abspath(checked_path(out, "out")))
    if not (out / "models.config").is_file():
        raise ZooError(f"{out} has no exports: make one with `zoo export PRESET {out}`")
    if port == rest_port:
        raise ZooError(f"gRPC and REST need different ports, got {port} for both")
    with tempfile.TemporaryDirectory() as scratch:
        command, reason = None, ""
        if not is_development:
            command, reason = serving_command(out, port, rest_port, Path(scratch))
        if command:
            tell(" ".join(command))
            return _run(command)
    from zoo.exporting.dev_server import Server  # it imports TensorFlow

    server = Server(out, port, rest_port)
    server.start()
    tell(f"{reason}: this is a development server, not for production".removeprefix(": "))
    tell(f"gRPC at grpc://localhost:{server.port}, REST at http://localhost:{server.rest_port}; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()
    return 0


def _run(command: list[str]) -> int:
    """Runs a program until it ends or this process is stopped; returns its exit status."""
    running = subprocess.Popen(command)
    before = signal.signal(signal.SIGTERM, lambda *_: running.terminate())
    try:
        return running.wait()
    finally:
        running.terminate()
        signal.signal(signal.SIGTERM, before)
