"""How long a pipeline takes for one image, over the least that TensorFlow needs for the same file.

    python benchmarks/latency.py [PRESET]... [--calls 300]

Without PRESET every bundled one is measured. The pipeline finds out what kind of file it is, checks its header, turns
and frames the picture, and gives labels with their scores. The peer is a bare tf.function of tf.io.decode_png, a
cast, a scaling and the model: it fails on other files, other sizes and other polarities. Both start from the same
bytes, a PNG of the model's own size, and end in NumPy. Calls of the two sides alternate.

The goal is 1.5 times the peer, or half a millisecond more.
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
    """decode_png, cast, scale, model: nothing else."""
    channels = model.input["image"].shape[-1]

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def call(encoded):
        image = tf.cast(tf.io.decode_png(encoded, channels=channels), tf.float32) / 255.0
        return model({"image": image[tf.newaxis]}, training=False)["logits"]

    return lambda encoded: call(tf.constant(encoded)).numpy()


def sample(preset, model) -> bytes:
    """The preset's first sample, or else a drawn digit, as a PNG of the model's own size."""
    height, width, channels = model.input["image"].shape[1:]
    if preset.record.get("samples"):
        picture = Image.open(preset.file(preset.record["samples"][0]["input"]))
    else:
        picture = Image.new("L", (64, 64))
        ImageDraw.Draw(picture).text((18, 2), "2", fill=255, font_size=52)
    buffer = io.BytesIO()
    picture.convert("L" if channels == 1 else "RGB").resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def alternate(sides: list, calls: int) -> np.ndarray:
    """Milliseconds, (calls, sides); the order of the sides turns round at each call."""
    times = np.zeros((calls, len(sides)))
    for side in sides:
        for _ in range(20):  # tracing, caches
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
        parser.error("no preset is bundled: give one")
    for name in names:
        preset = presets.open_preset(name)
        pipeline = zoo.pipeline(name)
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
