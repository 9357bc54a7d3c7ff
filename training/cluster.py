"""Runs on a Ray cluster: Ray Train places the workers, starts them, and restarts them if one is lost.

Each worker runs the multi_worker strategy; Ray adds TF_CONFIG and the processes. Restarted workers continue from the
newest checkpoint in the run's folder, which must have the same path on every machine.
"""

import contextlib
import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.errors import Stopped, ZooError, checked_count
from zoo.files import whole_file
from zoo.training.recipe import Recipe

RESTARTS = 3  # of all workers, before the run fails
PATIENCE = 60.0  # seconds that a restarted first worker waits for the old one to release the folder
LOCAL_CPUS = 64
NEWS = 0.5  # seconds between two reports of a step


def train_on_ray(
    name: str,
    recipe: Recipe,
    out: Path,
    workers: int,
    gpus_per_worker: int,
    steps: int | None,
    report: Callable[[int, int, dict], None],
    warn: Callable[[str], None],
) -> None:
    """`zoo.train` by several workers of the Ray cluster at RAY_ADDRESS, or of a new one on this machine.

    Raises:
        ZooError: Ray is not installed, this machine has too few GPUs, a worker raised a ZooError, or workers were lost
            more often than they are restarted.
        Stopped: by Ctrl-C; steps since the newest checkpoint are lost.
    """
    checked_count(workers, "workers")
    if gpus_per_worker:
        checked_count(gpus_per_worker, "gpus_per_worker")
    try:
        import ray
        import ray.train.tensorflow
    except ImportError:
        raise ZooError('cluster="ray" needs Ray: pip install "keras-zoo[ray]"') from None
    from zoo.training.workdir import Workdir  # here, because a worker imports this file before it sets its environment

    out = Path(os.path.abspath(out))
    notes = out / ".ray"
    mistake = notes / "mistake.txt"
    with Workdir(out).in_use(lock=".ray.lock"), _connected(ray), _forwarded(report, warn) as news:
        shutil.rmtree(notes, ignore_errors=True)  # from a run that was killed
        _check_resources(ray, workers, gpus_per_worker, warn)
        config = {
            "name": name, "recipe": recipe.model_dump(), "out": str(out), "steps": steps, "news": news,
            "mistake": str(mistake), "folder": os.getcwd(),
        }  # fmt: skip
        try:
            with _own_interrupt(out):
                _trainer(ray, config, notes, workers, gpus_per_worker).fit()
            if mistake.exists():
                raise ZooError(mistake.read_text("utf-8"))
        except ray.train.TrainingFailedError as error:
            raise ZooError(f"the workers failed {RESTARTS + 1} times; the last error: {_cause(error)}") from error
        finally:
            shutil.rmtree(notes, ignore_errors=True)


def _trainer(ray, config: dict, notes: Path, workers: int, gpus_per_worker: int):
    return ray.train.tensorflow.TensorflowTrainer(
        _work,
        train_loop_config=config,
        # Spread, because every worker uses all cores of its machine.
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=gpus_per_worker > 0,
            resources_per_worker={"GPU": gpus_per_worker} if gpus_per_worker else None,
            placement_strategy="SPREAD",
        ),
        run_config=ray.train.RunConfig(
            name="train",
            storage_path=str(notes),
            failure_config=ray.train.FailureConfig(max_failures=RESTARTS),
        ),
    )


def _check_resources(ray, workers: int, gpus_per_worker: int, warn: Callable[[str], None]) -> None:
    """Raises ZooError if this machine is too small, and warns if a cluster is: it may grow, so Ray waits."""
    kind, each = ("GPU", gpus_per_worker) if gpus_per_worker else ("CPU", 1)
    available = int(ray.cluster_resources().get(kind, 0))
    if available >= workers * each:
        return
    message = f"{workers} workers need {workers * each} {kind}s, but the cluster has {available}"
    if not os.environ.get("RAY_ADDRESS"):
        raise ZooError(message)
    warn(f"{message}: the run waits for more")


@contextlib.contextmanager
def _own_interrupt(out: Path) -> Iterator[None]:
    """Raises `Stopped` on Ctrl-C, and restores the signal's handler; Ray would exit the program."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if is_main else None
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        message = f"stopped by SIGINT; the same command continues the run in {out} from its newest checkpoint"
        raise Stopped(message, signal.SIGINT) from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _work(config: dict) -> None:
    """The function of each worker, in a process of its own."""
    os.chdir(config["folder"])  # Ray starts workers in another folder, where a recipe's relative paths are wrong
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray sets it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import ray.train

    from zoo.training.run import train_recipe

    news, last = config["news"], [0.0]
    is_first = ray.train.get_context().get_world_rank() == 0

    def report(step: int, total: int, figures: dict) -> None:
        if is_first and ("epoch" in figures or time.monotonic() - last[0] > NEWS):
            last[0] = time.monotonic()
            news.put_nowait(("report", step, total, figures))

    def warn(text: str) -> None:
        if is_first:
            news.put_nowait(("warn", text))

    mistake = Path(config["mistake"])
    if mistake.exists():  # Ray restarts workers after any error; this error would be raised again
        return
    if is_first:
        news.put(("started",))
    try:
        train_recipe(
            config["name"], Recipe.model_validate(config["recipe"]), Path(config["out"]), config["steps"],
            "multi_worker", report, warn, PATIENCE,
        )  # fmt: skip
    except ZooError as error:
        mistake.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(mistake) as hidden:
            hidden.write_text(str(error), encoding="utf-8")
        raise


@contextlib.contextmanager
def _connected(ray) -> Iterator[None]:
    """A connection to the cluster, unless the program has one already."""
    if ray.is_initialized():
        yield
        return
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    if not os.environ.get("RAY_ADDRESS"):  # by default Ray runs at most one worker per core
        options |= {"include_dashboard": False, "num_cpus": LOCAL_CPUS}
    ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _forwarded(report: Callable[[int, int, dict], None], warn: Callable[[str], None]) -> Iterator:
    """A queue for messages of the workers; a thread forwards them to `report` and `warn`.

    An exception of these functions is raised at the end of the block.
    """
    from ray.util.queue import Empty, Queue

    news, is_over = Queue(actor_options={"num_cpus": 0}), threading.Event()
    starts = itertools.count()

    def started() -> None:
        if restart := next(starts):
            warn(f"a worker failed; all workers were restarted (restart {restart} of {RESTARTS})")

    failed: list[Exception] = []
    calls = {"started": started, "report": report, "warn": warn}

    def forward() -> None:
        while True:
            try:
                kind, *arguments = news.get(timeout=0.2)
            except Empty:
                if is_over.is_set():
                    return
                continue
            try:
                if not failed:
                    calls[kind](*arguments)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield news
    finally:
        is_over.set()
        thread.join(10.0)
        news.shutdown(force=True)
    if failed:
        raise failed[0]


def _cause(error: Exception) -> str:
    """A worker's error in one line."""
    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    return str(failures[0]).strip().splitlines()[-1]
