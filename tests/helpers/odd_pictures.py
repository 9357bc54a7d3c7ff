"""Pictures of every mode and orientation that an export must read as the pipeline does."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.drawings import draw_digit
from tests.helpers.image_samples import encode, exif, scene


def odd_pictures(folder: Path) -> list[Path]:
    """Files that need more than decoding: turned, clear, grey, 16 bits, by palette, CMYK, large, of a phone."""
    digit, colours = draw_digit("3", 40, ink=20, ground=230), Image.fromarray(scene(90, 61))
    clear = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    clear.paste((10, 20, 30, 200), (10, 5, 25, 35))
    deep = Image.fromarray(np.asarray(digit.convert("L")).astype("uint16") * 257)
    files = {
        "plain.png": encode(digit, "PNG"),
        "colours.jpg": encode(colours, "JPEG", quality=95),
        "turned.jpg": encode(colours, "JPEG", exif=exif(6)),
        "clear.png": encode(clear, "PNG"),
        "palette.png": encode(digit.convert("P"), "PNG"),
        "cmyk.jpg": encode(colours.convert("CMYK"), "JPEG"),
        "deep.png": encode(deep, "PNG"),
        "still.gif": encode(digit, "GIF"),
        "large.png": encode(digit.resize((900, 700)), "PNG"),
        "narrow.png": encode(digit.resize((1, 50)), "PNG"),
        "even.png": encode(Image.new("L", (30, 30), 77), "PNG"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
