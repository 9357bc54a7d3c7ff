"""`zoo demo`: presets answer real samples."""

import time
from collections.abc import Iterable, Iterator

from zoo import preset as presets
from zoo.inference import pipeline


def demo(names: Iterable[str]) -> Iterator[dict]:
    """Loads each preset and answers one of its samples.

    Yields:
        {"preset", "input" (the path of a file), "shown" (the input as text), "answer", "milliseconds"}.
    """
    for number, name in enumerate(names):
        preset = presets.open_preset(name)
        samples = preset.record.get("samples")
        if not samples:
            continue
        # Presets with the same samples show different ones.
        file = preset.file(samples[number % len(samples)]["input"])
        answer = pipeline(name)
        item = answer.task.sample(file)
        answer(item)  # the first call also compiles
        started = time.perf_counter()
        row = answer(item)
        milliseconds = 1e3 * (time.perf_counter() - started)
        yield {"preset": name, "input": str(file), "shown": answer.task.preview(item),
               "answer": answer.task.summary(row), "milliseconds": round(milliseconds, 2)}  # fmt: skip
