"""`zoo demo`: each bundled preset answers a real sample."""

import io
import time
from collections.abc import Iterable, Iterator

import numpy as np

from zoo import preset as presets
from zoo.inference import pipeline


def demo(names: Iterable[str]) -> Iterator[dict]:
    """Loads each preset and answers one of its samples.

    Yields:
        {"preset", "input" (a file's path), "shown" (the input as text), "answer", "milliseconds"}.
    """
    for number, name in enumerate(names):
        preset = presets.open_preset(name)
        samples = preset.record.get("samples")
        if not samples:
            continue
        file = preset.file(samples[number % len(samples)]["input"])  # not the same one every time
        answer = pipeline(name)
        item = answer.task.sample(file)
        answer(item)  # the first call also compiles
        started = time.perf_counter()
        told = answer(item)
        milliseconds = 1e3 * (time.perf_counter() - started)
        best = f"{told['labels'][0]} ({told['scores'][0]:.1%})" if "labels" in told else told["translation"]
        show = {"tensor_classification": tensor, "translation": bytes.decode}.get(preset.record["task"]["name"], blocks)
        yield {"preset": name, "input": str(file), "shown": show(file.read_bytes()), "answer": best,
               "milliseconds": round(milliseconds, 2)}  # fmt: skip


def tensor(encoded: bytes) -> str:
    """A .npy file in words."""
    values = np.load(io.BytesIO(encoded), allow_pickle=False)
    return f"{' x '.join(map(str, values.shape))} values from {values.min():.4g} to {values.max():.4g}"


def blocks(encoded: bytes, width: int = 40) -> str:
    """An image in a terminal's characters, light ones dense; a character is twice as high as wide."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("L")
    height = max(1, round(width * picture.height / picture.width / 2))
    picture = picture.resize((width, height))
    shades = " .:-=+*#%@"
    rows = [
        "".join(shades[picture.getpixel((x, y)) * (len(shades) - 1) // 255] for x in range(width))
        for y in range(height)
    ]
    return "\n".join(row.rstrip() for row in rows).strip("\n")
