"""Pictures and image files for the tests, good ones, odd ones and hostile ones."""

import io
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

import zoo
from tests.helpers.drawings import draw_digit
from zoo.errors import InputError
from zoo.preprocessing import image_files


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
    others = [struct.pack(order + "HHII", 0x0080 + tag, 4, 1, 7) for tag in range(entries - 1)]
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
    return head + bytes([0x80 | content[frame + 9] | flags % 8]) + content[13 : 13 + size] + content[frame + 10 :]


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


GOOD = good_files()
BY_PILLOW = {
    "webp": encode(Image.fromarray(scene()), "WEBP"),
    "tiff": encode(Image.fromarray(scene()), "TIFF", compression="tiff_lzw"),
    "palette.bmp": encode(Image.fromarray(scene()).quantize(16), "BMP"),
}
read = tf.function(image_files.read, input_signature=[tf.TensorSpec((), tf.string)])


def by_pillow(raw: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).convert("RGB"))


class Both:
    """A pipeline and its serving signature; every answer is asked of both, singly and between two strangers."""

    def __init__(self, model, **task_settings):
        self.pipe = zoo.pipeline(model, **task_settings)
        serve, spec = self.pipe.task.signatures()["serving_default"]
        self.serve = tf.function(serve, input_signature=list(spec.values()))
        self.stranger = GOOD["digit.png"]
        self.usual = self.pipe(self.stranger)

    def served(self, *raw: bytes) -> list[dict]:
        answers = {key: value.numpy() for key, value in self.serve(tf.constant(np.array(raw, object))).items()}
        return [
            {"error": answers["error"][row].decode()}
            if answers["error"][row]
            else {
                "labels": [label.decode() for label in answers["labels"][row]],
                "scores": answers["scores"][row].tolist(),
            }
            for row in range(len(raw))
        ]

    def __call__(self, item) -> dict:
        """The item's answer or error, the same whichever way it is asked."""
        single = self.pipe(item, errors="return")
        before, listed, after = self.pipe([self.stranger, item, self.stranger], errors="return")
        same(listed, single)
        same(before, self.usual)
        same(after, self.usual)
        raw = encoded(self.pipe.task, item)
        if raw is not None:
            before, served, after = self.served(self.stranger, raw, self.stranger)
            same(served, single)
            same(before, self.usual)
            same(after, self.usual)
        return single

    def prepared(self, raw: bytes) -> np.ndarray:
        return self.pipe.task.preprocess({"pixels": read(tf.constant(raw))})["image"].numpy()


def encoded(task, item) -> bytes | None:
    try:
        (content,) = task.encode(item).values()
    except InputError:
        return None
    return content


def same(one: dict, other: dict) -> None:
    assert one.get("error") == other.get("error")
    if "error" in one:
        assert one["error"]
        assert "\n" not in one["error"]
        assert len(one["error"].replace(one.get("input", ""), "")) < 250
    else:
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)
        near = np.diff(one["scores"]) > -2e-5  # labels of equal scores may change places
        assert one["labels"] == other["labels"] or near.any()
        total = sum(one["scores"])
        assert total < 1 + 1e-4
        assert total > 1 - 1e-4 or len(one["scores"]) == 5  # of more classes the five best are told
