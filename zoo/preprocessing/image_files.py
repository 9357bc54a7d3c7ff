"""Encoded image files to pixels, in the graph: JPEG, PNG, GIF (its first frame) and BMP.

A file comes from a stranger: `header_error` looks at length, magic bytes and the dimensions that the header states
before `read` decodes anything. All functions take one scalar string tensor.
"""

import tensorflow as tf

MAX_PIXELS = 50_000_000  # a 140 kB PNG can state 20,000 x 20,000; phones go up to 8,064 x 6,048
_PNG = b"\x89PNG\r\n\x1a\n"
_PAD = 64  # zeros behind the data, so that a look past the end of a truncated file finds zeros


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
    """What is wrong with the file as far as its header tells; "" if it may be decoded: () string -> () string."""
    name = kind(encoded)
    data = _data(encoded)

    def bmp():
        bits = _little(data, 28, 2)
        plain = (_little(data, 30, 4) == 0) & ((bits == 24) | (bits == 32))
        return tf.abs(_little(data, 22, 4)), _little(data, 18, 4), plain

    def jpeg():
        height, width, _ = _jpeg_header(data)
        return height, width, True

    height, width, known = tf.case(
        [
            (name == "JPEG", jpeg),
            (name == "PNG", lambda: (_big(data, 20, 4), _big(data, 16, 4), True)),
            (name == "GIF", lambda: (_little(data, 8, 2), _little(data, 6, 2), True)),
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
    error = tf.where(name == "", "no image: neither JPEG, PNG, GIF nor BMP", error)
    return tf.where(tf.strings.length(encoded) == 0, "empty", error)


def damaged(encoded):
    """What to say of a file whose header is good and that can't be decoded: () string -> () string."""
    return tf.strings.join(["damaged or truncated ", kind(encoded)])


def read(encoded):
    """Decodes a file whose `header_error` is "": () string -> (H, W, 3) uint8.

    The photo is turned upright by its EXIF orientation. What is transparent becomes white, or black where that which
    is drawn is light. Of an animation the first frame counts.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    name = kind(encoded)

    def jpeg():
        pixels = tf.io.decode_jpeg(encoded, channels=3)  # CMYK becomes RGB here, too
        return _upright(pixels, _jpeg_header(_data(encoded))[2])

    def bmp():
        return tf.io.decode_bmp(encoded)[..., :3]  # the fourth byte of 32 bits is mostly unused: no alpha

    pixels = tf.case(
        [
            (name == "JPEG", jpeg),
            (name == "PNG", lambda: _opaque(tf.io.decode_png(encoded, channels=4))),
            (name == "GIF", lambda: tf.io.decode_gif(_first_frame(encoded))[0]),
        ],
        default=bmp,
    )
    return tf.ensure_shape(pixels, (None, None, 3))


def _data(encoded, length: int = 1 << 20):
    """The first bytes as numbers, zeros behind: () string -> (N,) uint8."""
    return tf.io.decode_raw(tf.strings.join([tf.strings.substr(encoded, 0, length), b"\0" * _PAD]), tf.uint8)


def _bytes(data, position, count):
    position = tf.clip_by_value(position, 0, tf.size(data) - count)
    return tf.cast(data[position : position + count], tf.int32)


def _big(data, position, count):
    """An unsigned number, most significant byte first; one that doesn't fit 31 bits comes out huge or negative."""
    return tf.reduce_sum(_bytes(data, position, count) * [1 << 8 * i for i in reversed(range(count))])


def _little(data, position, count):
    return tf.reduce_sum(_bytes(data, position, count) * [1 << 8 * i for i in range(count)])


def _jpeg_header(data):
    """Height, width and EXIF orientation (1 to 8), by the segments before the scan: (N,) uint8 -> three () int32."""

    def more(position, height, width, exif, going):
        return going & (position < tf.size(data) - _PAD)

    def segment(position, height, width, exif, going):
        start = _bytes(data, position, 2)
        marker = start[1]
        length = _big(data, position + 2, 2)
        frame = (marker >= 0xC0) & (marker <= 0xCF) & (marker != 0xC4) & (marker != 0xC8) & (marker != 0xCC)
        height = tf.where(frame, _big(data, position + 5, 2), height)
        width = tf.where(frame, _big(data, position + 7, 2), width)
        is_exif = (marker == 0xE1) & tf.reduce_all(_bytes(data, position + 4, 6) == list(b"Exif\0\0"))
        exif = tf.where(is_exif & (exif == 0), position + 10, exif)
        fill = marker == 0xFF  # any number of these may stand before a marker
        going = (start[0] == 0xFF) & ~frame & (marker != 0xDA) & (fill | (length >= 2))
        return position + tf.where(fill, 1, 2 + length), height, width, exif, going

    zero = tf.constant(0)
    _, height, width, exif, _ = tf.while_loop(more, segment, (zero + 2, zero, zero, zero, tf.constant(True)))
    return height, width, tf.cond(exif > 0, lambda: _orientation(data, exif), lambda: 1)


def _orientation(data, tiff):
    """Tag 0x0112 of the first directory of a TIFF block that starts at `tiff`; 1 where it isn't there."""
    is_little = _bytes(data, tiff, 1)[0] == ord("I")

    def number(position, count):
        return tf.where(is_little, _little(data, position, count), _big(data, position, count))

    directory = tiff + tf.clip_by_value(number(tiff + 4, 4), 0, tf.size(data))
    rows = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2), 100))  # an entry is 12 bytes

    def pairs(positions):  # (R,) -> (R,) unsigned 16-bit numbers
        last = tf.size(data) - 1
        one = tf.cast(tf.gather(data, tf.clip_by_value(positions, 0, last)), tf.int32)
        two = tf.cast(tf.gather(data, tf.clip_by_value(positions + 1, 0, last)), tf.int32)
        return tf.where(is_little, one + 256 * two, 256 * one + two)

    values = tf.boolean_mask(pairs(rows + 8), pairs(rows) == 0x0112)
    value = tf.concat([values, [1]], axis=0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(pixels, orientation):
    """Undoes the camera's turn: transposed from 5 on, then mirrored left-right (2 3 6 7) and top-down (3 4 7 8)."""

    def turned():
        x = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        x = tf.cond(tf.reduce_any(orientation == [2, 3, 6, 7]), lambda: tf.reverse(x, [1]), lambda: x)
        return tf.cond(tf.reduce_any(orientation == [3, 4, 7, 8]), lambda: tf.reverse(x, [0]), lambda: x)

    return tf.cond(orientation == 1, lambda: pixels, turned)


def _opaque(pixels):
    """Lays transparent pixels on white, or on black where what is drawn is light: (H, W, 4) -> (H, W, 3)."""

    def laid():
        alpha = tf.cast(pixels[..., 3:], tf.float32) / 255.0
        colour = tf.cast(pixels[..., :3], tf.float32)
        drawn = tf.reduce_sum(colour * alpha) / tf.maximum(3.0 * tf.reduce_sum(alpha), 1e-6)
        ground = tf.where(drawn < 128.0, 255.0, 0.0)
        return tf.cast(tf.round(colour * alpha + ground * (1.0 - alpha)), tf.uint8)

    return tf.cond(tf.reduce_all(pixels[..., 3] == 255), lambda: pixels[..., :3], laid)


def _first_frame(encoded):
    """A GIF cut off after its first frame: the decoder unpacks every frame it finds, however many.

    Blocks: 0x21 is an extension, 0x2C a frame (descriptor, colours, code size); both end in sub-blocks, each a length
    and that many bytes, up to a length of 0. An unknown block ends the walk; the decoder then refuses the file.
    """
    data = tf.io.decode_raw(tf.strings.join([encoded, b"\0" * _PAD]), tf.uint8)
    size = tf.size(data) - _PAD

    def colours(flags):  # bytes of a colour table
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def more(position, in_frame, in_blocks, going):
        return going & (position < size)

    def step(position, in_frame, in_blocks, going):
        value = _bytes(data, position, 1)[0]
        is_frame = ~in_blocks & (value == 0x2C)
        is_extension = ~in_blocks & (value == 0x21)
        frame = 10 + colours(_bytes(data, position + 9, 1)[0]) + 1
        advance = tf.where(in_blocks, 1 + value, tf.where(is_frame, frame, 2))
        going = tf.where(in_blocks, (value > 0) | ~in_frame, is_frame | is_extension)
        in_blocks = tf.where(in_blocks, value > 0, is_frame | is_extension)
        return position + advance, in_frame | is_frame, in_blocks, going

    start = 13 + colours(_bytes(data, 10, 1)[0])
    no, yes = tf.constant(False), tf.constant(True)
    end, *_ = tf.while_loop(more, step, (start, no, no, yes))
    return tf.strings.join([tf.strings.substr(encoded, 0, end), b";"])
