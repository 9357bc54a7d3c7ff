"""Draws six photos that are not of Flickr8k with the captions of two captioners, and the attention over two of them.

python docs/captions.py
"""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import zoo

PRESETS = ["show_attend_tell.flickr8k", "show_and_tell.flickr8k"]
HERE = Path(__file__).parent
PHOTOS = sorted([*(HERE / "photos").glob("*.jpg"), *(HERE.parent / "tests" / "photos").glob("*.jpg")])
ATTENDED = ["camera.jpg", "coffee.jpg"]


def main() -> None:
    figure = Figure(figsize=(9, 7.6), layout="constrained")
    panels = figure.subplots(2, 3).flat
    captions = [[row["caption"] for row in zoo.pipeline(name)(list(map(str, PHOTOS)))] for name in PRESETS]
    for axes, photo, texts in zip(panels, PHOTOS, zip(*captions, strict=True), strict=True):
        axes.set_axis_off()
        axes.imshow(Image.open(photo))
        lines = [textwrap.fill(f"{name.split('.')[0]}: {text}", 42) for name, text in zip(PRESETS, texts, strict=True)]
        axes.set_title("\n".join(lines), fontsize=8, loc="left")
    figure.savefig(HERE / "captions.png", dpi=80)
    zoo.explain(PRESETS[0], [photo for photo in PHOTOS if photo.name in ATTENDED], HERE / "attention.png")


if __name__ == "__main__":
    main()
