"""Drawing answers over pictures, as picture files."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zoo.plotting import drawable

WIDTH, HEIGHTS = 6.4, (2.0, 9.0)  # of a panel, inches: its width, and its least and greatest height
TITLE = 0.6  # height of a title of two lines, inches
TEXT = 0.03  # height of a label as a fraction of the width of a picture


def boxes(pictures: list[np.ndarray], found: list[list[dict]], titles: list[str], path: Path) -> None:
    """Pictures with a box around each object, its label and its probability; a colour per label.

    Args:
        pictures: (h, w, C), values in [0, 1].
        found: for each picture {"label", "score", "box": [x0, y0, x1, y1]} of each object, in pixels.
        titles: for each picture.
        path: the file that is written.
    """
    labels = sorted({each["label"] for own in found for each in own})
    colours = {label: colormaps["tab10"](number % 10) for number, label in enumerate(labels)}
    columns = min(2, len(pictures))
    count = -(-len(pictures) // columns)
    height = TITLE + max(WIDTH * picture.shape[0] / picture.shape[1] for picture in pictures)
    figure = Figure(figsize=(WIDTH * columns, float(np.clip(height, *HEIGHTS)) * count), layout="constrained")
    panels = figure.subplots(count, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, picture, own, title in zip(panels.flat, pictures, found, titles, strict=False):
        axes.imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)), vmin=0, vmax=1)
        [title, *texts], fonts = drawable([title, *(each["label"] for each in own)])
        axes.set_title(title, fontsize=11, family=fonts, parse_math=False)
        for each, text in zip(own, texts, strict=True):
            _box(axes, each["box"], f"{text} {each['score']:.0%}", colours[each["label"]], fonts, picture.shape[1])
    figure.savefig(path, dpi=110)


def _box(axes, box: list[float], text: str, colour, fonts: list[str], width: int) -> None:
    """A box with a text above its upper left corner, or below it at the upper edge of a picture of this width."""
    x0, y0, x1, y1 = (value - 0.5 for value in box)  # the corner of the first pixel is at -0.5
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.5))
    axes.text(
        x0,
        y0,
        text,
        clip_on=True,
        color="white",
        fontsize=7,
        family=fonts,
        va="bottom" if y0 > TEXT * width else "top",
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0},
    )
