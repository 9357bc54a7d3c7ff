"""The time of `import zoo`, `zoo list` and `zoo predict` in a new process.

    python benchmarks/startup.py [--preset PRESET] [--runs 9]

Each runs in a new process, alternating with its peer. The peer of `import zoo` and `zoo list` is `python -c pass`. The
peer of `zoo predict PRESET SAMPLE` is a bare script that imports TensorFlow, builds the same Keras model, loads the
same weights and runs the model once on the decoded sample; for a model without an image input it only imports
TensorFlow. The goals: 0.3 s for the first two, which must not load TensorFlow, and 1.3 times the peer for the third.
Without --preset the first bundled preset is measured.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from zoo import preset as presets

BARE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
import zoo
from zoo import preset
opened = preset.open_preset(sys.argv[1])
model = zoo.create_model(opened.record["model"]["name"], **opened.record["model"]["overrides"])
weights = opened.path / "model.weights.h5"
if opened.record["storage"] == "int8":
    from zoo.preset import weights as stored
    stored.read(model, weights)
else:
    model.load_weights(weights)
height, width, channels = model.input.shape[1:]
image = tf.cast(tf.io.decode_png(tf.io.read_file(sys.argv[2]), channels=channels), tf.float32) / 255.0
print(int(tf.argmax(model(tf.image.resize(image, (height, width))[tf.newaxis])[0])))
"""
COMMAND = "import sys; from zoo.cli import main; sys.exit(main())"  # what the console script does
NO_TENSORFLOW = "; import sys; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"


def python(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def sample(preset: presets.Preset, folder: Path) -> Path:
    """The preset's first sample as a PNG, or a drawn digit if it has none."""
    if preset.record.get("samples"):
        picture = Image.open(preset.file(preset.record["samples"][0]["input"])).convert("RGB")
    else:
        picture = Image.new("L", (64, 64))
        ImageDraw.Draw(picture).text((18, 2), "2", fill=255, font_size=52)
    picture.save(folder / "sample.png")
    return folder / "sample.png"


def compare(name: str, ours: tuple[str, ...], peer: tuple[str, ...], runs: int, goal: str) -> None:
    python(*ours), python(*peer)  # warm-up: the files come into the system's cache
    times = np.array([(python(*ours), python(*peer)) for _ in range(runs)])
    (mine, theirs), (low, high) = np.median(times, axis=0), np.quantile(times, (0.25, 0.75), axis=0)
    print(
        f"{name}: {mine:.3f} s ({low[0]:.3f}-{high[0]:.3f}), peer {theirs:.3f} s ({low[1]:.3f}-{high[1]:.3f}), "
        f"ratio {mine / theirs:.2f}; goal {goal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", help="a preset's name or path [the first bundled one]")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    name = arguments.preset or next((path.parent.name for path in sorted(presets.BUNDLED.glob("*/preset.json"))), None)
    if name is None:
        parser.error("no preset is bundled: give --preset")
    python("import zoo" + NO_TENSORFLOW)
    python("from zoo import cli, preset; from zoo.preset import card; preset.rows()" + NO_TENSORFLOW)
    compare("import zoo", ("import zoo",), ("pass",), arguments.runs, "0.3 s, without TensorFlow")
    compare("zoo list", (COMMAND, "list"), ("pass",), arguments.runs, "0.3 s, without TensorFlow")
    with tempfile.TemporaryDirectory() as folder:
        preset = presets.open_preset(name)
        if preset.record["task"]["name"].startswith("image"):
            item = str(sample(preset, Path(folder)))
            peer, goal = (BARE, str(preset.path), item), "ratio 1.3"
        else:
            item = preset.file(preset.record["samples"][0]["input"]).read_text("utf-8").strip()
            peer, goal = ("import tensorflow",), "none"
        compare("zoo predict", (COMMAND, "predict", name, item), peer, arguments.runs, goal)


if __name__ == "__main__":
    main()
