"""The latency of a pipeline for one image, compared with the least that TensorFlow needs for the same file.

    python benchmarks/latency.py [PRESET]... [--calls 300]

Without PRESET every bundled preset is measured. The pipeline detects the format of the file, checks its
header, rotates and frames the picture, and returns labels with scores. The peer is a bare tf.function of
tf.io.decode_png, a cast, a scaling and the model; it fails for other formats, sizes and polarities. Both start from the
same bytes, a PNG of the model's input size, and end in NumPy. Calls of the two sides alternate.

Models without an image input have no such peer: only the pipeline is measured, on the preset's first sample.

The goal is a latency of at most 1.5 times the peer's, or 0.5 ms above it.
"""

import argparse
import io
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

import zoo
from zoo import preset as presets


def bare(model):
    """decode_png, cast, scaling and model, nothing else."""
    channels = model.input.shape[-1]

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def call(encoded):
        image = tf.cast(tf.io.decode_png(encoded, channels=channels), tf.float32) / 255.0
        return model(image[tf.newaxis], training=False)

    return lambda encoded: call(tf.constant(encoded)).numpy()


def sample(preset, model) -> bytes:
    """The preset's first sample, or a drawn digit if it has none, as a PNG of the model's input size."""
    height, width, channels = model.input.shape[1:]
    if preset.record.get("samples"):
        picture = Image.open(preset.file(preset.record["samples"][0]["input"]))
    else:
        picture = Image.new("L", (64, 64))
        ImageDraw.Draw(picture).text((18, 2), "2", fill=255, font_size=52)
    buffer = io.BytesIO()
    picture.convert("L" if channels == 1 else "RGB").resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def alternate(sides: list, calls: int) -> np.ndarray:
    """Milliseconds, (calls, sides); the order of the sides is reversed at every second call."""
    times = np.zeros((calls, len(sides)))
    for side in sides:
        for _ in range(20):  # warm-up: tracing and caches
            side()
    for call in range(calls):
        for place in range(len(sides))[:: 1 if call % 2 else -1]:
            started = time.perf_counter()
            sides[place]()
            times[call, place] = 1e3 * (time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET")
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    names = arguments.presets or [path.parent.name for path in sorted(presets.BUNDLED.glob("*/preset.json"))]
    if not names:
        parser.error("no preset is bundled: give PRESET")
    for name in names:
        preset = presets.open_preset(name)
        pipeline = zoo.pipeline(name)
        if "image" not in pipeline.task.model.input:
            item = pipeline.task.sample(preset.file(preset.record["samples"][0]["input"]))
            times = alternate([lambda: pipeline(item)], arguments.calls)[:, 0]  # noqa: B023
            low, middle, high = np.quantile(times, (0.25, 0.5, 0.75))
            print(f"{name}: pipeline {middle:.2f} ms ({low:.2f}-{high:.2f})")
            continue
        encoded, peer = sample(preset, pipeline.model), bare(pipeline.model)
        times = alternate([lambda: pipeline(encoded), lambda: peer(encoded)], arguments.calls)  # noqa: B023
        (ours, theirs), (low, high) = np.median(times, axis=0), np.quantile(times, (0.25, 0.75), axis=0)
        met = "met" if ours <= max(1.5 * theirs, theirs + 0.5) else "missed"
        print(
            f"{name}: pipeline {ours:.2f} ms ({low[0]:.2f}-{high[0]:.2f}), "
            f"bare {theirs:.2f} ms ({low[1]:.2f}-{high[1]:.2f}): "
            f"ratio {ours / theirs:.2f}, {ours - theirs:+.2f} ms; goal 1.5 or +0.5 ms {met}"
        )


if __name__ == "__main__":
    main()
