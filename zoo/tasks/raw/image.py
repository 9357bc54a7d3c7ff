"""A user's image (path, open file, bytes, array, PIL image) -> bytes that the graph reads."""

import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from zoo.errors import InputError
from zoo.preprocessing.limits import MAX_PIXELS
from zoo.tasks.raw.files import content_of, content_of_object, is_file_object

NOT_AN_IMAGE = "not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF"


def encoded_image(item) -> bytes:
    """The bytes of a JPEG, PNG, GIF or BMP file; Pillow converts other formats and arrays to PNG.

    Args:
        item: a path, an open file, bytes, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): bool,
            uint8, uint16, or float in [0, 1].

    Raises:
        InputError: the item is missing, a folder, empty, too large, not an image, or of another type.
    """
    if isinstance(item, (str, os.PathLike)):
        if not os.fspath(item):
            raise InputError("an empty string is not a path")
        item = content_of(Path(item), "an image")
    elif is_file_object(item):
        item = content_of_object(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        item = bytes(item)
        return item if _in_graph(item) else _by_pillow(io.BytesIO(item))
    if hasattr(item, "convert") and hasattr(item, "size"):  # a PIL image, without importing Pillow for the others
        return _by_pillow(item)
    if hasattr(item, "__array__"):
        return _array(np.asarray(item))
    raise InputError(
        f"an item of type {type(item).__name__} is not an image: give a path, an open file, bytes, an array or a PIL "
        "image"
    )


def is_plain_png(content: bytes) -> bool:
    """Whether the bytes are an opaque PNG of 8 bits in grey or colour, not turned, of a size within the limit.

    Its header is all that has to be checked, which takes less time here than in the graph.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR" or content[24:26] not in (b"\x08\0", b"\x08\2"):
        return False
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    is_small = 0 < width < 1 << 31 and 0 < height < 1 << 31 and width * height <= MAX_PIXELS
    return is_small and b"tRNS" not in content and b"eXIf" not in content


def _in_graph(content: bytes) -> bool:
    """Whether the graph decides about a file; TensorFlow reads no BMP with a palette or compression."""
    if content[:2] == b"BM":
        bits = int.from_bytes(content[28:30], "little")
        return bits in (24, 32) and content[30:34] == b"\0\0\0\0"
    return (
        not content or content[:3] == b"\xff\xd8\xff" or content[:8] == b"\x89PNG\r\n\x1a\n" or content[:4] == b"GIF8"
    )


def _by_pillow(item) -> bytes:
    """A PIL image or an open file -> PNG, upright."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of its own limit and of odd files; ours are errors
            picture = item
            if isinstance(item, io.BytesIO):
                Image.init()
                # EPS is a program, which Ghostscript would run.
                picture = Image.open(item, formats=[name for name in Image.OPEN if name != "EPS"])
            _check_size(picture)
            picture.load()  # a PIL image may not have been read yet
            return _png(_upright(picture))
    except UnidentifiedImageError:
        raise InputError(NOT_AN_IMAGE) from None
    except Image.DecompressionBombError:
        raise InputError(f"more pixels than the limit of {MAX_PIXELS // 1_000_000} million") from None
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise all kinds of exceptions for damaged files
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"damaged or truncated image: {reason}") from None


def _upright(picture):
    """Undoes the camera's turn, as the graph does: by the EXIF block of the file, not by XMP or comments.

    Pillow's own `exif_transpose` also reads those, so that a path and a PIL image of the same file would differ. A TIFF
    is turned when Pillow loads it.
    """
    from PIL import Image

    exif, turns = Image.Exif(), Image.Transpose
    try:
        exif.load(picture.info.get("exif") or b"")
        orientation = exif.get(0x0112)
    except Exception:  # a damaged block raises all kinds of exceptions; the graph does not turn such a photo
        return picture
    undone = (turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM)  # 2 to 8
    undone += (turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90)
    return picture.transpose(undone[orientation - 2]) if orientation in range(2, 9) else picture


def _check_size(picture) -> None:
    if picture.width == 0 or picture.height == 0:
        raise InputError("the image has no pixels")
    if picture.width * picture.height > MAX_PIXELS:
        limit = f"pixels are more than the limit of {MAX_PIXELS // 1_000_000} million"
        raise InputError(f"{picture.width} x {picture.height} {limit}")


def _png(picture) -> bytes:
    from PIL import Image

    _check_size(picture)
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits per grey value: the range in use becomes 0 to 255
        values = np.asarray(picture, "float64")
        if not np.isfinite(values).all():
            raise InputError("the image has values that are not finite")
        top = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 else 1.0
        picture = Image.fromarray(np.clip(values / top * 255, 0, 255).round().astype("uint8"))
    elif picture.mode in ("P", "PA", "LA", "La", "RGBa"):
        picture = picture.convert("RGBA")
    elif picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGB")  # CMYK, YCbCr, LAB, HSV
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1, exif=b"")  # it is upright already
    return buffer.getvalue()


def _array(array: np.ndarray) -> bytes:
    from PIL import Image

    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and shape[2] in (3, 4)) or 0 in shape:
        raise InputError(f"an array of shape {shape} is not an image: give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.dtype == bool:
        array = array.astype("uint8") * 255
    elif array.dtype == np.uint16:
        array = (array >> 8).astype("uint8")
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError(f"a float image must have values in [0, 1], got {array.min():.4g} to {array.max():.4g}")
        array = np.round(array * 255).astype("uint8")
    elif np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise InputError(f"an image of {array.dtype} must have values 0 to 255, got {array.min()} to {array.max()}")
        array = array.astype("uint8")
    else:
        raise InputError(f"an array of {array.dtype} is not an image: give bool, uint8, uint16, or float in [0, 1]")
    return _png(Image.fromarray(np.ascontiguousarray(array)))


class Page(io.BytesIO):
    """A page of a TIFF file as an open file: a PNG, whose `name` is that of the file with the page's number."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name


def pages_of(item) -> Iterable:
    """The pages of the path of a TIFF file with several pages, each read when it is needed; other items alone."""
    count = _page_count(item)
    return (_page(item, number, count) for number in range(count)) if count > 1 else [item]


def _page_count(item) -> int:
    """The number of pages of the path of a TIFF file; 1 for other items, and for files that can't be read."""
    if not isinstance(item, (str, os.PathLike)) or Path(item).suffix.lower() not in (".tif", ".tiff"):
        return 1
    from PIL import Image

    try:
        with Image.open(item, formats=["TIFF"]) as stack:
            return stack.n_frames
    except Exception:  # the file is read again as an item, and refused
        return 1


def _page(path, number: int, count: int) -> Page:
    from PIL import Image

    name = f"{os.fspath(path)}[{number:0{len(str(count - 1))}d}]"
    try:
        with Image.open(path, formats=["TIFF"]) as stack:
            stack.seek(number)
            return Page(_by_pillow(stack), name)
    except Exception:
        return Page(b"", name)  # refused as an empty file
