"""Runs on a Ray cluster: Ray Train places the workers, starts them, and starts them anew where one is lost.

What each worker does is the multi_worker strategy's run, and Ray's part is TF_CONFIG and the processes; a group that
was started anew goes on from the newest checkpoint in the run's folder, which every machine must reach by one path.
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
from zoo.training.recipe import Recipe

RESTARTS = 3  # of the group of workers, before a run is given up
PATIENCE = 60.0  # seconds that a new first worker waits for the old one to leave the folder
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
    """`zoo.train` by several workers of a Ray cluster: the one that RAY_ADDRESS names, or one on this machine.

    Raises:
        ZooError: Ray is not installed, this machine has too few GPUs, the worker's own error, or workers were lost more
            often than they are started anew.
        Stopped: by Ctrl-C; what was done since the newest checkpoint is lost.
    """
    checked_count(workers, "workers")
    if gpus_per_worker:
        checked_count(gpus_per_worker, "gpus_per_worker")
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.tensorflow import TensorflowTrainer
    except ImportError:
        raise ZooError('cluster="ray" needs Ray: pip install "keras-zoo[ray]"') from None
    from zoo.training.workdir import Workdir  # here: a worker imports this file before its environment is right

    out = Path(os.path.abspath(out))
    notes = out / ".ray"
    mistake = notes / "mistake.txt"
    with Workdir(out).in_use(lock=".ray.lock"), _connected(ray), _heard(report, warn) as news:
        shutil.rmtree(notes, ignore_errors=True)  # of a run whose driver was killed
        _check_resources(ray, workers, gpus_per_worker, warn)
        trainer = TensorflowTrainer(
            _work,
            train_loop_config={
                "name": name, "recipe": recipe.model_dump(), "out": str(out), "steps": steps, "news": news,
                "mistake": str(mistake), "folder": os.getcwd(),
            },
            # Spread: every worker takes all the cores that it finds.
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus_per_worker > 0,
                resources_per_worker={"GPU": gpus_per_worker} if gpus_per_worker else None,
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(
                name="train", storage_path=str(notes), failure_config=FailureConfig(max_failures=RESTARTS)
            ),
        )  # fmt: skip
        try:
            with _own_interrupt(out):
                trainer.fit()
            if mistake.exists():
                raise ZooError(mistake.read_text("utf-8"))
        except ray.train.TrainingFailedError as error:
            raise ZooError(f"the workers failed {RESTARTS + 1} times; the last time: {_cause(error)}") from error
        finally:
            shutil.rmtree(notes, ignore_errors=True)


def _check_resources(ray, workers: int, gpus_per_worker: int, warn: Callable[[str], None]) -> None:
    """Ray would wait for ever for what a cluster has not, unless that grows by itself."""
    kind, each = ("GPU", gpus_per_worker) if gpus_per_worker else ("CPU", 1)
    there = int(ray.cluster_resources().get(kind, 0))
    if there >= workers * each:
        return
    told = f"{workers} workers need {workers * each} {kind}s, and the cluster has {there}"
    if not os.environ.get("RAY_ADDRESS"):
        raise ZooError(told)
    warn(f"{told}: the run waits until it has more")


@contextlib.contextmanager
def _own_interrupt(out: Path) -> Iterator[None]:
    """Ctrl-C as `Stopped`: Ray ends the run on it, and the program, and keeps the signal to itself."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if is_main else None
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        told = f"stopped by SIGINT; the same command continues the run in {out} from its newest checkpoint"
        raise Stopped(told, signal.SIGINT) from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _work(config: dict) -> None:
    """What each worker does, in a process of its own."""
    os.chdir(config["folder"])  # Ray starts it in another, where a recipe's relative paths lead nowhere
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
    if mistake.exists():  # Ray starts the workers anew whatever the reason; with this one they can only fail again
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
        aside = mistake.with_name(f"{os.getpid()}.txt")
        aside.write_text(str(error), encoding="utf-8")
        aside.replace(mistake)
        raise


@contextlib.contextmanager
def _connected(ray) -> Iterator[None]:
    """A connection to the cluster, unless the program has one."""
    if ray.is_initialized():
        yield
        return
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    if not os.environ.get("RAY_ADDRESS"):  # one on this machine; Ray would let no more workers run than it has cores
        options |= {"include_dashboard": False, "num_cpus": LOCAL_CPUS}
    ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _heard(report: Callable[[int, int, dict], None], warn: Callable[[str], None]) -> Iterator:
    """A queue for what the workers tell, while a thread hands it on; what that raises comes at the end."""
    from ray.util.queue import Empty, Queue

    news, is_over = Queue(actor_options={"num_cpus": 0}), threading.Event()
    starts = itertools.count()

    def started() -> None:
        if again := next(starts):
            warn(f"a worker failed; all were started anew (restart {again} of {RESTARTS})")

    failed: list[Exception] = []
    calls = {"started": started, "report": report, "warn": warn}

    def hand_on() -> None:
        while True:
            try:
                kind, *told = news.get(timeout=0.2)
            except Empty:
                if is_over.is_set():
                    return
                continue
            try:
                if not failed:
                    calls[kind](*told)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=hand_on, daemon=True)
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
