"""Drawn digits. Nothing here imports zoo: processes that must do without it draw, too."""

from PIL import Image, ImageDraw

# Seven segments: top, upper left, upper right, middle, lower left, lower right, bottom.
_SEGMENTS = {"0": "1110111", "1": "0010010", "2": "1011101", "3": "1011011", "4": "0111010", "7": "1010010"}
_LINES = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (0, 1, 0, 2), (1, 1, 1, 2), (0, 2, 1, 2))


def draw_digit(digit: str, size: int = 28, shift: int = 0, ink: int = 255, ground: int = 0) -> Image.Image:
    """A digit of a pocket calculator, light on dark unless told otherwise."""
    picture = Image.new("L", (size, size), ground)
    pen = ImageDraw.Draw(picture)
    unit = size * 0.3
    for lit, (x0, y0, x1, y1) in zip(_SEGMENTS[digit], _LINES, strict=True):
        if lit == "1":
            left, top = size * 0.35 + shift, size * 0.2
            ends = [left + x0 * unit, top + y0 * unit, left + x1 * unit, top + y1 * unit]
            pen.line(ends, fill=ink, width=max(2, size // 10))
    return picture
