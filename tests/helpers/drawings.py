"""Drawn digits. Nothing here imports zoo: processes without it draw, too."""

from pathlib import Path

from PIL import Image, ImageDraw

# Seven segments: top, upper left, upper right, middle, lower left, lower right, bottom.
_SEGMENTS = {"0": "1110111", "1": "0010010", "2": "1011101", "3": "1011011", "4": "0111010", "7": "1010010"}
_LINES = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (0, 1, 0, 2), (1, 1, 1, 2), (0, 2, 1, 2))


def draw_digit(digit: str, size: int = 28, shift: int = 0, ink: int = 255, ground: int = 0) -> Image.Image:
    """A digit of a pocket calculator, by default light on dark."""
    picture = Image.new("L", (size, size), ground)
    pen = ImageDraw.Draw(picture)
    unit = size * 0.3
    for lit, (x0, y0, x1, y1) in zip(_SEGMENTS[digit], _LINES, strict=True):
        if lit == "1":
            left, top = size * 0.35 + shift, size * 0.2
            ends = [left + x0 * unit, top + y0 * unit, left + x1 * unit, top + y1 * unit]
            pen.line(ends, fill=ink, width=max(2, size // 10))
    return picture


def draw_folder(folder: Path) -> Path:
    """A folder with one subfolder per class: 0, 1 and 7, twenty drawings each."""
    for digit in "017":
        (folder / digit).mkdir(parents=True)
        for number in range(20):
            picture = draw_digit(digit, 24 + number % 5, number % 3, 255 - 5 * number)
            picture.save(folder / digit / f"{number:02}.png")
    return folder
