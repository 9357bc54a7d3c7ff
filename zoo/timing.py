"""`zoo.benchmark`: the latency and the memory of a preset's pipeline."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from zoo import preset as presets
from zoo.errors import ZooError
from zoo.inference import pipeline


def benchmark(
    name: str | os.PathLike,
    seconds: float = 2.0,
    record: bool = False,
    report: Callable[[int, int], None] | None = None,
    inputs: Iterable | None = None,
) -> dict:
    """Times a preset's pipeline, by default on its own samples.

    Args:
        name: a preset's name or path.
        seconds: the time for which each batch size is measured.
        record: write the result into preset.json and card.
        report: called as report(batch sizes done, batch sizes).
        inputs: inputs to answer; by default the preset's samples.

    Returns:
        {"preset", "load_seconds", "memory_mb", "hardware", "latency_1_ms", "latency_1_p99_ms", "latency_32_ms",
        "latency_32_p99_ms", "items_per_second"}; a latency is the median time of a call.

    Raises:
        ZooError: an unknown preset, a preset without samples, or `record` together with `inputs`.
        InputError: an input can't be answered.
    """
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= 3600:
        raise ZooError(f"seconds must be a number > 0 and <= 3600, got {seconds!r}")
    preset = presets.open_preset(name)
    samples = list(inputs or ())
    if inputs is not None and not samples:
        raise ZooError("no inputs to time: give at least one, or None for the preset's samples")
    if samples and record:
        raise ZooError("only times on the preset's samples can be recorded: leave out the inputs or record")
    samples = samples or [preset.file(row["input"]).read_bytes() for row in preset.record.get("samples", [])]
    if not samples:
        raise ZooError(
            f"{preset.name} has no samples to time: give inputs, or add samples with zoo.save(..., samples=[...])"
        )
    before = _memory()
    started = time.perf_counter()
    answer = pipeline(name)
    answer(samples[0])
    result = {"preset": preset.name, "load_seconds": round(time.perf_counter() - started, 2)}
    for done, size in enumerate((1, 32)):
        batch = samples[0] if size == 1 else [samples[number % len(samples)] for number in range(size)]
        times = _times(lambda batch=batch: answer(batch), seconds)
        result[f"latency_{size}_ms"] = round(1e3 * float(np.median(times)), 3)
        result[f"latency_{size}_p99_ms"] = round(1e3 * float(np.quantile(times, 0.99)), 3)
        if report:
            report(done + 1, 2)
    result["items_per_second"] = round(32e3 / result["latency_32_ms"], 1)
    result |= {"memory_mb": round(max(0.0, _memory() - before), 1), "hardware": f"{os.cpu_count()} cores"}
    if record:
        presets.update(preset, speed={key: value for key, value in result.items() if key != "preset"})
    return result


def _times(call: Callable, seconds: float) -> list[float]:
    for _ in range(3):  # warm-up: tracing and caches
        call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _memory() -> float:
    """The process's resident memory in MB; 0 if the system does not report it."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0.0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) / 1024
