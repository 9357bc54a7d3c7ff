"""Pictures and image files for the tests, good ones, odd ones and hostile ones."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.conftest import draw_digit


def scene(width: int = 46, height: int = 34) -> np.ndarray:
    """Smooth colours without any symmetry: (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / 33.0
    red, green, blue = 40 + 120 * x, 230 - 150 * y, 128 + 90 * np.sin(2 * x + y)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255).round().astype("uint8")


def encode(picture, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = "<", entries: int = 1) -> bytes:
    """An EXIF block with `entries` tags, orientation last; order "<" is little endian (II), ">" big (MM)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    others = [struct.pack(order + "HHII", 0x0100 + tag, 4, 1, 7) for tag in range(entries - 1)]
    own = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + head + struct.pack(order + "H", entries) + b"".join(others) + own + b"\0\0\0\0"


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Adam7, which Pillow reads and does not write: (H, W, 3) uint8."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = [row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx] if row.size]
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    content = zlib.compress(b"".join(b"\0" + line for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def stated(kind: str, width: int, height: int) -> bytes:
    """A file of the kind whose header states these sides; what follows fits a small picture."""
    content = encode(Image.fromarray(scene()), kind)
    if kind == "PNG":
        content = content[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + content[24:29]) + content[33:]
    elif kind == "JPEG":
        place = content.index(b"\xff\xc0") + 5
        content = content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]
    elif kind == "GIF":  # both of the screen and of the frame, which is what decoders go by
        frame = gif_frame(content)
        sides = struct.pack("<HH", width, height)
        content = content[:6] + sides + content[10 : frame + 5] + sides + content[frame + 9 :]
    else:
        content = content[:18] + struct.pack("<ii", width, height) + content[26:]
    return content


def gif_frame(content: bytes) -> int:
    """Where the descriptor of the first frame stands in a GIF that Pillow wrote."""
    place = 13 + (3 * 2 ** (content[10] % 8 + 1) if content[10] & 128 else 0)
    while content[place] == 0x21:
        place += 2
        while content[place]:
            place += 1 + content[place]
        place += 1
    assert content[place] == 0x2C
    return place


def gif_with_local_colours(picture: Image.Image) -> bytes:
    """The global colour table moved into the first frame's descriptor."""
    content = encode(picture, "GIF")
    flags, frame = content[10], gif_frame(content)
    size = 3 * 2 ** (flags % 8 + 1)
    assert flags & 128
    assert not content[frame + 9] & 128
    head = content[:10] + bytes([flags & 0x70]) + content[11:13] + content[13 + size : frame + 9]
    return head + bytes([0x80 | flags % 8]) + content[13 : 13 + size] + content[frame + 10 :]


def gif_of_many(frames: int, side: int) -> bytes:
    """One flat frame, repeated: small as a file, large once unpacked."""
    content = encode(Image.new("P", (side, side), 1), "GIF")
    frame = gif_frame(content)
    assert content[-1:] == b";"
    return content[:frame] + content[frame:-1] * frames + b";"


def good_files() -> dict[str, bytes]:
    """One of each kind that the graph reads, of a drawn digit and of a scene."""
    colours, digit = Image.fromarray(scene()), draw_digit("7")
    files = {}
    for name, picture in (("scene", colours), ("digit", digit.convert("RGB"))):
        files[f"{name}.jpeg"] = encode(picture, "JPEG", quality=90)
        files[f"{name}.png"] = encode(picture, "PNG")
        files[f"{name}.gif"] = encode(picture.quantize(64), "GIF")
        files[f"{name}.bmp"] = encode(picture, "BMP")
    return files
