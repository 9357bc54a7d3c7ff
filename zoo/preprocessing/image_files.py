"""Encoded image files to pixels, in the graph: JPEG, PNG, GIF (its first frame) and BMP.

Files are not trusted: `header_error` checks length, magic bytes and the dimensions in the header before `read` decodes
anything. All functions take one scalar string tensor.
"""

from typing import NamedTuple

import tensorflow as tf

from zoo.preprocessing.limits import MAX_PIXELS

NOT_AN_IMAGE = "not an image: expected JPEG, PNG, GIF or BMP"
_PNG = b"\x89PNG\r\n\x1a\n"
# Blocks to walk through: a hostile file has a million empty ones.
MAX_STEPS = {"JPEG": 2_000, "GIF": 50_000, "PNG": 50_000}
_PAD = 64


def kind(encoded):
    """ "JPEG", "PNG", "GIF", "BMP" or "" by the magic bytes: () string -> () string."""
    encoded = tf.strings.join([encoded, b"\0" * 8])

    def starts(magic):
        return tf.strings.substr(encoded, 0, len(magic)) == magic

    name = tf.where(starts(b"BM"), "BMP", "")
    name = tf.where(starts(b"GIF8"), "GIF", name)
    name = tf.where(starts(_PNG), "PNG", name)
    return tf.where(starts(b"\xff\xd8\xff"), "JPEG", name)


def header_error(encoded):
    """The error that the header of a file shows; "" if it may be decoded: () string -> () string."""
    name = kind(encoded)
    data = _data(encoded)

    def bmp():
        bits = _little(data, 28, 2)
        plain = (_little(data, 30, 4) == 0) & ((bits == 24) | (bits == 32))
        return tf.abs(_little(data, 22, 4)), _little(data, 18, 4), plain

    def jpeg():
        height, width, _ = _jpeg_header(data)
        return height, width, True

    def gif():  # the decoder uses the size of the frame, not the size of the screen in the header
        frame, _, _ = _first_frame(data)
        height = tf.maximum(_little(data, 8, 2), _little(data, frame + 7, 2))
        width = tf.maximum(_little(data, 6, 2), _little(data, frame + 5, 2))
        return tf.where(frame > 0, height, 0), width, True

    height, width, known = tf.case(
        [
            (name == "JPEG", jpeg),
            (name == "PNG", lambda: (_big(data, 20, 4), _big(data, 16, 4), True)),
            (name == "GIF", gif),
            (name == "BMP", bmp),
        ],
        default=lambda: (1, 1, True),
    )
    size = tf.strings.join([tf.as_string(width), " x ", tf.as_string(height)])
    large = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) > MAX_PIXELS
    limit = f" pixels are more than the limit of {MAX_PIXELS // 1_000_000} million"
    error = tf.where(large, tf.strings.join([size, limit]), "")
    error = tf.where((height < 1) | (width < 1), damaged(encoded), error)
    error = tf.where(known, error, "a BMP with a palette or compression; save it as PNG")
    error = tf.where(name == "", NOT_AN_IMAGE, error)
    return tf.where(tf.strings.length(encoded) == 0, "empty", error)


def damaged(encoded):
    """The error of a file whose header is good but that can't be decoded: () string -> () string."""
    return tf.strings.join(["damaged or truncated ", kind(encoded)])


def read(encoded):
    """Decodes a file whose `header_error` is "": () string -> (H, W, 3) uint8.

    A JPEG or PNG is turned upright by its EXIF orientation. Transparent pixels become white, or black if the drawing
    is light. An animation gives its first frame.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    name = kind(encoded)

    data = _data(encoded)

    # Each gives the pixels, and where EXIF begins in the file; 0 for none.
    def jpeg():
        pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")  # as Pillow, also for CMYK
        return pixels, _jpeg_header(data)[2]

    def png():
        depth = _big(data, 24, 1)
        # For grey or a palette of 1, 2 or 4 bits the decoder adds an alpha of 1, 3 or 15 everywhere.
        pixels = _opaque(tf.io.decode_png(encoded, channels=4), 2 ** tf.minimum(depth, 8) - 1)
        return pixels, _png_exif(encoded, data)

    def gif():
        return _gif(encoded, data), 0

    def bmp():
        return tf.io.decode_bmp(encoded)[..., :3], 0  # the fourth byte of 32 bits is usually unused, not alpha

    pixels, exif = tf.case([(name == "JPEG", jpeg), (name == "PNG", png), (name == "GIF", gif)], default=bmp)
    pixels = tf.cond(exif > 0, lambda: _upright(pixels, _orientation(data, exif)), lambda: pixels)
    return tf.ensure_shape(pixels, (None, None, 3))


class _Data(NamedTuple):
    """The bytes of a file, followed by zeros, so that reading past the end of a truncated file gives zeros."""

    text: tf.Tensor  # () string
    size: tf.Tensor  # () int32, without the zeros


def _data(encoded) -> _Data:
    return _Data(tf.strings.join([encoded, b"\0" * _PAD]), tf.strings.length(encoded))


def _bytes(data, position, count):
    """() string of `count` bytes, at most _PAD."""
    return tf.strings.substr(data.text, tf.clip_by_value(position, 0, data.size), count)


def _decoded(text, count, is_little):
    """() string -> (N,) int32, numbers of `count` bytes; unsigned, but those of 4 bytes may become negative."""
    kinds = {1: tf.uint8, 2: tf.uint16, 4: tf.int32}
    return tf.cast(tf.io.decode_raw(text, kinds[count], is_little), tf.int32)


def _big(data, position, count):
    """A number of 1, 2 or 4 bytes, most significant byte first: () string -> () int32."""
    return tf.squeeze(_decoded(_bytes(data, position, count), count, is_little=False), 0)


def _little(data, position, count):
    return tf.squeeze(_decoded(_bytes(data, position, count), count, is_little=True), 0)


def _jpeg_header(data):
    """Height, width and where EXIF begins, 0 for none, from the segments before the scan: three () int32."""

    def more(position, height, width, exif, going):
        return going & (position < data.size)

    def segment(position, height, width, exif, going):
        start, marker = _big(data, position, 1), _big(data, position + 1, 1)
        length = _big(data, position + 2, 2)
        frame = (marker >= 0xC0) & (marker <= 0xCF) & (marker != 0xC4) & (marker != 0xC8) & (marker != 0xCC)
        height = tf.where(frame, _big(data, position + 5, 2), height)
        width = tf.where(frame, _big(data, position + 7, 2), width)
        is_exif = (marker == 0xE1) & (_bytes(data, position + 4, 6) == b"Exif\0\0")
        exif = tf.where(is_exif & (exif == 0), position + 10, exif)
        fill = marker == 0xFF  # any number of these may precede a marker
        bare = (marker <= 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))  # the decoder also skips these two bytes
        going = (start == 0xFF) & ~frame & (marker != 0xDA) & (fill | bare | (length >= 2))
        return position + tf.where(fill, 1, tf.where(bare, 2, 2 + length)), height, width, exif, going

    zero = tf.constant(0)
    start = (zero + 2, zero, zero, zero, tf.constant(True))
    _, height, width, exif, _ = tf.while_loop(more, segment, start, maximum_iterations=MAX_STEPS["JPEG"])
    return height, width, exif


def _png_exif(encoded, data):
    """Where EXIF begins in the chunk eXIf, which may be behind the pixels; 0 for none: () int32."""

    def walk():
        def is_chunk(position, name):
            return _bytes(data, position + 4, 4) == name

        def more(position, left):
            return (position < data.size) & ~is_chunk(position, b"eXIf") & ~is_chunk(position, b"IEND") & (left > 0)

        def step(position, left):
            length = _big(data, position, 4)
            length = tf.where(length < 0, data.size, tf.minimum(length, data.size))
            return position + 12 + length, left - 1  # a chunk is length, name, content and checksum

        position, _ = tf.while_loop(more, step, (8, MAX_STEPS["PNG"]))
        start = position + 8
        start += tf.where(_bytes(data, start, 6) == b"Exif\0\0", 6, 0)
        return tf.where(is_chunk(position, b"eXIf"), start, 0)

    # Chunks are walked through one by one only if one of them may be eXIf.
    return tf.cond(tf.size(tf.strings.split(encoded, b"eXIf")) > 1, walk, lambda: 0)


def _orientation(data, tiff):
    """Tag 0x0112 of the first directory of a TIFF block that starts at `tiff`; 1 if it is missing."""
    is_little = _bytes(data, tiff, 1) == b"I"

    def numbers(text, count):
        return tf.where(is_little, _decoded(text, count, True), _decoded(text, count, False))

    directory = tiff + tf.clip_by_value(numbers(_bytes(data, tiff + 4, 4), 4)[0], 0, data.size)
    first = tf.minimum(directory + 2, data.size)
    count = tf.minimum(numbers(_bytes(data, directory, 2), 2)[0], (data.size + _PAD - first) // 12)
    entries = tf.strings.substr(data.text, first, 12 * tf.minimum(count, 100))
    entries = tf.reshape(numbers(entries, 2), (-1, 6))  # tag, type, 2 for the count, 2 for the value
    values = tf.boolean_mask(entries[:, 4], entries[:, 0] == 0x0112)
    value = tf.concat([values, [1]], axis=0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(pixels, orientation):
    """Undoes the camera's turn: transposed from 5 on, then mirrored left-right (2 3 6 7) and top-down (3 4 7 8)."""

    def turned():
        x = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        x = tf.cond(tf.reduce_any(orientation == [2, 3, 6, 7]), lambda: tf.reverse(x, [1]), lambda: x)
        return tf.cond(tf.reduce_any(orientation == [3, 4, 7, 8]), lambda: tf.reverse(x, [0]), lambda: x)

    return tf.cond(orientation == 1, lambda: pixels, turned)


def _opaque(pixels, full=255):
    """Lays transparent pixels on white, or on black if the drawing is light: (H, W, 4) -> (H, W, 3).

    An image whose alpha is 255 or `full` everywhere is opaque.
    """

    def laid():
        alpha = tf.cast(pixels[..., 3:], tf.float32) / 255.0
        colour = tf.cast(pixels[..., :3], tf.float32)
        drawn = tf.reduce_sum(colour * alpha) / tf.maximum(3.0 * tf.reduce_sum(alpha), 1e-6)
        ground = tf.where(drawn < 128.0, 255.0, 0.0)
        return tf.cast(tf.round(colour * alpha + ground * (1.0 - alpha)), tf.uint8)

    alpha = tf.cast(pixels[..., 3], tf.int32)
    is_opaque = tf.reduce_all(alpha == 255) | tf.reduce_all(alpha == full)
    return tf.cond(is_opaque, lambda: pixels[..., :3], laid)


def _gif(encoded, data):
    """The first frame: () string -> (H, W, 3). The others are cut off, as the decoder would unpack every frame."""
    frame, is_clear, left = _first_frame(data)
    common, own = 13 + _colours(data, 10), frame + 10 + _colours(data, frame + 9)  # ends of the two colour tables
    end, left = _blocks_end(data, own + 1, left)
    is_whole = (frame > 0) & (left > 0) & (end <= data.size)
    end = tf.where(is_whole, end, 0)  # the decoder then refuses the file
    pixels = tf.io.decode_gif(tf.strings.join([tf.strings.substr(encoded, 0, end), b";"]))[0]

    def laid():
        # The decoder leaves clear pixels black. If every colour is replaced by white, black pixels are the clear ones.
        white, part = b"\xff" * 768, tf.strings.substr
        parts = [part(encoded, 0, 13), part(white, 0, common - 13), part(encoded, common, frame + 10 - common)]
        parts += [part(white, 0, own - frame - 10), part(encoded, own, end - own), b";"]
        return _opaque(tf.concat([pixels, tf.io.decode_gif(tf.strings.join(parts))[0, ..., :1]], axis=-1))

    return tf.cond(is_clear, laid, lambda: pixels)


def _colours(data, position):
    """Size in bytes of the colour table, by the flags at `position`."""
    flags = _big(data, position, 1)
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)


def _first_frame(data):
    """Finds the first frame of a GIF, after its extensions: 0x21, a label and sub-blocks.

    Returns:
        () int32, where its descriptor 0x2C begins, 0 if it is missing; whether a colour is clear; the steps left.
    """

    def more(position, is_clear, left):
        return (_bytes(data, position, 1) == b"\x21") & (left > 0)

    def step(position, is_clear, left):
        is_control = _bytes(data, position + 1, 1) == b"\xf9"
        is_clear |= is_control & (_big(data, position + 3, 1) % 2 == 1)
        position, left = _blocks_end(data, position + 2, left - 1)
        return position, is_clear, left

    start = (13 + _colours(data, 10), tf.constant(False), tf.constant(MAX_STEPS["GIF"]))
    frame, is_clear, left = tf.while_loop(more, step, start)
    return tf.where(_bytes(data, frame, 1) == b"\x2c", frame, 0), is_clear, left


def _blocks_end(data, position, left):
    """The place after a chain of sub-blocks: each is a length and as many bytes, a length of 0 ends it.

    `left` counts the steps down.
    """

    def more(position, left):
        return (_big(data, position, 1) > 0) & (left > 0)

    def step(position, left):
        return position + 1 + _big(data, position, 1), left - 1

    position, left = tf.while_loop(more, step, (position, left))
    return position + 1, left
