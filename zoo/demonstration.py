"""`zoo demo`: each bundled preset answers a real sample."""

import io
import time
from collections.abc import Iterable, Iterator

from zoo import preset as presets
from zoo.inference import pipeline


def demo(names: Iterable[str]) -> Iterator[dict]:
    """Loads each preset and answers its first sample.

    Yields:
        {"preset", "input" (a file's path), "shown" (the input as text), "answer", "milliseconds"}.
    """
    for name in names:
        preset = presets.open_preset(name)
        if not preset.record.get("samples"):
            continue
        file = preset.file(preset.record["samples"][0]["input"])
        answer = pipeline(name)
        answer(file)  # the first call also compiles
        started = time.perf_counter()
        told = answer(file)
        milliseconds = 1e3 * (time.perf_counter() - started)
        best = f"{told['labels'][0]} ({told['scores'][0]:.1%})"
        yield {"preset": name, "input": str(file), "shown": blocks(file.read_bytes()), "answer": best,
               "milliseconds": round(milliseconds, 2)}  # fmt: skip


def blocks(encoded: bytes, width: int = 56) -> str:
    """An image in a terminal's characters, light to dark; a line has half as many rows as the picture."""
    from PIL import Image

    picture = Image.open(io.BytesIO(encoded)).convert("L")
    height = max(1, round(width * picture.height / picture.width / 2))
    picture = picture.resize((width, height))
    shades = " .:-=+*#%@"
    rows = [
        "".join(shades[picture.getpixel((x, y)) * (len(shades) - 1) // 255] for x in range(width))
        for y in range(height)
    ]
    return "\n".join(row.rstrip() for row in rows)
