"""Good image files and pictures of every kind, through the pipeline and through the signature."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers import image_samples as samples
from tests.helpers.drawings import draw_digit
from tests.helpers.image_samples import BY_PILLOW, GOOD, Both, by_pillow, encode, exif, read, same, scene
from zoo.exporting import runner
from zoo.tasks.raw.image import encoded_image, is_plain_png


@pytest.fixture(scope="module")
def tiny(tiny_preset):
    """Grey, centred by ink, dark or light: the digits' way."""
    return Both(tiny_preset)


@pytest.fixture(scope="module")
def plain():
    """Colours, the picture as it is: nothing forgives a wrong pixel here."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(8, 6), input_shape=(12, 12, 3))
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(0, 0.5, weight.shape))
    return Both(model, colour="rgb", polarity=None, centre=None, fraction=1.0)


def on_ground(picture: Image.Image, ground: int) -> np.ndarray:
    """Pillow's own way of laying a transparent picture on white (255) or black (0)."""
    picture = picture.convert("RGBA")
    below = Image.new("RGBA", picture.size, (ground, ground, ground, 255))
    return np.asarray(Image.alpha_composite(below, picture).convert("RGB"))


def clear(ink: int, mode: str) -> Image.Image:
    """A digit of this ink on nothing; what is clear has the ink's colour, so that only alpha draws."""
    picture = draw_digit("7")
    mask = picture.point(lambda value: 255 if value > 128 else 0)
    if mode == "P":
        indices = Image.fromarray((np.asarray(mask) > 0).astype("uint8"))
        picture = Image.frombytes("P", indices.size, indices.tobytes())
        picture.putpalette([ink] * 6)
        return picture
    whole = Image.new("L", picture.size, ink)
    return Image.merge("LA", (whole, mask)) if mode == "LA" else Image.merge("RGBA", (whole, whole, whole, mask))


@pytest.mark.parametrize("name", GOOD)
def test_usual_files_are_read_as_pillow_reads_them(plain, tiny, name):
    raw = GOOD[name]
    tolerance = 6 if name.endswith("jpeg") else 0  # libjpeg's several ways to round
    got, want = read(tf.constant(raw)).numpy().astype(int), by_pillow(raw).astype(int)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance
    for both in (plain, tiny):
        same(both(raw), both(raw))
        assert "labels" in both(raw)


def grey_png(bits: int) -> bytes:
    picture = Image.fromarray(scene()[..., 0])
    if bits == 16:
        return encode(Image.fromarray(scene()[..., 0].astype("uint16") * 257), "PNG")
    return encode(picture.convert("1"), "PNG") if bits == 1 else encode(picture, "PNG")


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        pytest.param(grey_png(1), by_pillow(grey_png(1)), id="png of 1 bit"),
        pytest.param(grey_png(8), by_pillow(grey_png(8)), id="png of 8 bits, grey"),
        pytest.param(grey_png(16), scene()[..., [0, 0, 0]], id="png of 16 bits"),
        *(
            pytest.param(
                encode(Image.fromarray(scene()).quantize(colours), "PNG"),
                np.asarray(Image.fromarray(scene()).quantize(colours).convert("RGB")),
                id=f"png with a palette of {colours}",
            )
            for colours in (2, 4, 16, 256)  # 1, 2, 4 and 8 bits
        ),
        pytest.param(samples.interlaced_png(scene()), scene(), id="png, interlaced"),
        pytest.param(encode(Image.fromarray(scene()).convert("RGBA"), "PNG"), scene(), id="png, opaque alpha"),
        pytest.param(
            samples.gif_with_local_colours(Image.fromarray(scene()).quantize(32)),
            np.asarray(Image.fromarray(scene()).quantize(32).convert("RGB")),
            id="gif with local colours",
        ),
        pytest.param(
            encode(Image.fromarray(scene()).quantize(32), "GIF", interlace=1),
            np.asarray(Image.fromarray(scene()).quantize(32).convert("RGB")),
            id="gif, interlaced",
        ),
    ],
)
def test_modes_without_loss(plain, raw, want):
    np.testing.assert_array_equal(read(tf.constant(raw)).numpy(), want)
    same(plain(raw), plain(encode(Image.fromarray(want), "PNG")))


def test_bmp_upside_down_and_with_a_fourth_byte(plain):
    raw = GOOD["scene.bmp"]
    height, row = 34, (46 * 3 + 3) // 4 * 4
    lines = [raw[54 + row * number : 54 + row * (number + 1)] for number in range(height)]
    turned = raw[:22] + (-height).to_bytes(4, "little", signed=True) + raw[26:54] + b"".join(reversed(lines))
    np.testing.assert_array_equal(read(tf.constant(turned)).numpy(), scene())
    pixels = np.concatenate([scene()[::-1, :, ::-1], np.zeros((34, 46, 1), "uint8")], axis=-1)
    four = raw[:28] + b"\x20\0" + raw[30:54] + pixels.tobytes()
    np.testing.assert_array_equal(read(tf.constant(four)).numpy(), scene())
    same(plain(four), plain(GOOD["scene.png"]))
    same(plain(turned), plain(GOOD["scene.png"]))


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_transparent_pictures_stand_out_from_their_ground(tiny, kind, mode, ink):
    picture = clear(ink, mode)
    if kind == "GIF":
        picture = clear(ink, "P")
    options = {"transparency": 0} if picture.mode == "P" else {}
    options |= {"lossless": True, "exact": True} if kind == "WEBP" else {}
    if kind == "WEBP" and picture.mode == "P":
        picture.info["transparency"] = 0
        picture = picture.convert("RGBA")
    raw = tiny.pipe.task.encode(encode(picture, kind, **options))["image_bytes"]
    want = on_ground(clear(ink, "RGBA"), 255 - ink)
    np.testing.assert_array_equal(read(tf.constant(raw)).numpy(), want)
    same(tiny(raw), tiny(encode(draw_digit("7").point(lambda value: 255 if value > 128 else 0), "PNG")))


def test_half_transparent_pixels_are_mixed():
    colours = np.full((4, 6, 4), (200, 40, 0, 128), "uint8")
    colours[:, :2, 3] = 255
    got = read(tf.constant(encode(Image.fromarray(colours), "PNG"))).numpy()
    assert got[0, 0].tolist() == [200, 40, 0]
    assert np.abs(got[0, 4].astype(int) - on_ground(Image.fromarray(colours), 255)[0, 4]).max() <= 1


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": 0, "quality": 95}),
        ("RGB", {"subsampling": 2, "quality": 30}),
        ("CMYK", {}),
        ("L", {"progressive": True, "restart_marker_blocks": 1}),
    ],
)
def test_jpeg_of_every_mode(plain, mode, options):
    raw = encode(Image.fromarray(scene()).convert(mode), "JPEG", **options)
    want = by_pillow(raw)
    assert np.abs(read(tf.constant(raw)).numpy().astype(int) - want).max() <= 6
    np.testing.assert_allclose(plain.prepared(raw), plain.prepared(encode(Image.fromarray(want), "PNG")), atol=0.015)
    assert "labels" in plain(raw)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_photos_stand_upright(plain, orientation, order):
    """All eight turns in both byte orders, and two that EXIF does not know."""
    for entries in (1, 4):
        raw = encode(Image.fromarray(scene()), "JPEG", quality=95, exif=exif(orientation, order, entries))
        want = by_pillow(raw)
        assert want.shape == ((46, 34, 3) if 5 <= orientation <= 8 else (34, 46, 3))
        prepared = plain.prepared(raw)
        np.testing.assert_allclose(prepared, plain.prepared(encode(Image.fromarray(want), "PNG")), atol=0.015)
    answer = plain(raw)
    as_picture = plain(Image.open(io.BytesIO(raw)))  # Pillow decodes it a little otherwise, and turns it alike
    np.testing.assert_allclose(sorted(answer["scores"]), sorted(as_picture["scores"]), atol=0.02)


def test_orientation_is_found_behind_other_segments_and_not_elsewhere():
    content = encode(Image.fromarray(scene()), "JPEG", quality=95)

    def segment(marker, body):
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    turned = np.rot90(scene(), 3)  # orientation 6: turn clockwise
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    found = [
        xmp + segment(0xE1, exif(6)),
        b"\xff\xff\xff" + segment(0xE1, exif(6)),  # fill bytes
        segment(0xFE, b"\xff\xe1" + exif(3)) + segment(0xE1, exif(6, ">", 40)),
        segment(0xE1, exif(6)) + segment(0xE1, exif(3)),
    ]
    for between in found:
        got = read(tf.constant(content[:2] + between + content[2:])).numpy().astype(int)
        assert got.shape == turned.shape
        assert np.abs(got - turned).max() <= 12
    no_tag = exif(6).replace(b"\x12\x01", b"\x13\x01", 1)
    for between in (segment(0xFE, exif(6)), segment(0xE2, exif(6)), segment(0xE1, no_tag), segment(0xE1, exif(6)[:9])):
        got = read(tf.constant(content[:2] + between + content[2:])).numpy().astype(int)
        assert got.shape == scene().shape


def test_first_frame_of_an_animation(plain, tiny):
    frames = [Image.fromarray(np.roll(scene(), 9 * number, axis=1)).quantize(32) for number in range(4)]
    for options in ({}, {"loop": 0, "duration": 40, "disposal": 2}, {"comment": b"x" * 600, "optimize": False}):
        raw = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], **options)
        assert Image.open(io.BytesIO(raw)).n_frames == 4
        np.testing.assert_array_equal(read(tf.constant(raw)).numpy(), by_pillow(raw))
        same(plain(raw), plain(encode(frames[0], "PNG")))
    for kind in ("WEBP", "TIFF", "PNG"):
        pictures = [Image.fromarray(np.roll(scene(), 9 * number, axis=1)) for number in range(3)]
        lossless = {"lossless": True} if kind == "WEBP" else {}
        raw = encode(pictures[0], kind, save_all=True, append_images=pictures[1:], **lossless)
        same(plain(raw), plain(GOOD["scene.png"]))


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (encode(Image.fromarray(scene()), "TIFF"), scene()),
        (encode(Image.fromarray(scene()), "TIFF", compression="tiff_lzw"), scene()),
        (encode(Image.fromarray(scene()[..., 0].astype("uint16") * 257), "TIFF"), scene()[..., [0, 0, 0]]),
        (encode(Image.fromarray((scene()[..., 0] / 255).astype("float32")), "TIFF"), scene()[..., [0, 0, 0]]),
        (encode(Image.fromarray(scene()[..., 0].astype("int32") * 257), "TIFF"), scene()[..., [0, 0, 0]]),
        (encode(Image.fromarray(scene()).quantize(16), "BMP"), by_pillow(BY_PILLOW["palette.bmp"])),
        (encode(Image.fromarray(scene()).convert("RGBA"), "BMP"), scene()),
        (encode(Image.fromarray(scene()[..., 0]), "BMP"), scene()[..., [0, 0, 0]]),
        (encode(Image.fromarray(scene()), "WEBP", lossless=True), scene()),
        (encode(Image.fromarray(scene()), "PPM"), scene()),
    ],
)
def test_formats_that_pillow_reads(plain, raw, want):
    np.testing.assert_array_equal(read(tf.constant(plain.pipe.task.encode(raw)["image_bytes"])).numpy(), want)
    same(plain(raw), plain(encode(Image.fromarray(want), "PNG")))
    if raw[28:34] != b"\x20\0\0\0\0\0":  # a BMP of 32 bits the graph reads, too
        assert "not an image" in plain.served(raw)[0]["error"] or "save it as PNG" in plain.served(raw)[0]["error"]


def with_exif(kind: str, orientation: int) -> bytes:
    """The scene in a file of this kind, turned by its EXIF block."""
    picture = Image.fromarray(scene())
    if kind == "TIFF":
        return encode(picture, "TIFF", tiffinfo={0x0112: orientation})
    if kind == "JPEG":
        return encode(picture, "JPEG", quality=95, exif=exif(orientation))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(picture, kind.partition(",")[0], exif=exif(orientation)[6:], **options)
    if kind == "PNG, at its end":
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    return content


def pixels(item) -> np.ndarray:
    """What the graph sees of an item."""
    return read(tf.constant(encoded_image(item))).numpy().astype(int)


@pytest.mark.parametrize("kind", ["PNG", "PNG, at its end", "WEBP", "TIFF", "JPEG"])
def test_turned_files_stand_upright_by_every_path(kind, tmp_path):
    """As a path, as bytes, as an open file, as a PIL image, behind run.py; JPEG and PNG in the graph alone."""
    path = tmp_path / "turned"
    tolerance = 12 if kind == "JPEG" else 0
    for orientation in range(1, 9):
        raw = with_exif(kind, orientation)
        path.write_bytes(raw)
        upright = Image.fromarray(scene())
        if orientation > 1:
            undone = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE"]
            upright = upright.transpose(getattr(Image.Transpose, [*undone, "ROTATE_90"][orientation - 2]))
        loaded = Image.open(path)
        loaded.load()
        for item in (raw, path, io.BytesIO(raw), Image.open(path), loaded):
            np.testing.assert_allclose(pixels(item), np.asarray(upright), atol=tolerance)
        np.testing.assert_allclose(runner.decoded(path).astype(int), np.asarray(upright), atol=tolerance)
        if kind in ("PNG", "PNG, at its end", "JPEG"):
            assert encoded_image(raw) == raw
            assert not is_plain_png(raw)


def test_only_exif_turns_a_file(tmp_path):
    """Pillow would also follow XMP, which TensorFlow and browsers don't."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for raw in (
        encode(Image.fromarray(scene()), "WEBP", lossless=True, xmp=xmp),
        encode(Image.fromarray(scene()), "PNG", exif=b"II*\0 damaged"),
    ):
        (tmp_path / "file").write_bytes(raw)
        for item in (raw, Image.open(io.BytesIO(raw))):
            np.testing.assert_array_equal(pixels(item), scene())
        np.testing.assert_array_equal(runner.decoded(tmp_path / "file"), scene())


def test_the_chunks_of_a_png_are_walked_through_to_the_end_of_the_picture():
    raw = with_exif("PNG", 6)
    start = raw.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(raw[start : start + 4], "big")
    plain_png = raw[:start] + raw[end:]
    hidden = plain_png[:33] + samples.chunk(b"tEXt", b"note\0eXIf") + plain_png[33:]
    few, many = (raw[:start] + samples.chunk(b"tEXt", b"a\0b") * count + raw[start:] for count in (9, 60_000))
    assert pixels(few).shape == (46, 34, 3)
    for content in (plain_png, hidden, plain_png + raw[start:end], many):
        assert pixels(content).shape == (34, 46, 3)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"],
)
def test_arrays_of_every_type(plain, dtype):
    values = scene() // 2  # fits int8
    if dtype == "bool":
        array, want = values > 60, (values > 60) * np.uint8(255)
    elif dtype == "uint16":
        array, want = values.astype(dtype) * 257, values
    elif dtype.startswith("float"):
        array, want = (values / 255).astype(dtype), values
    else:
        array, want = values.astype(dtype), values
    np.testing.assert_array_equal(read(tf.constant(plain.pipe.task.encode(array)["image_bytes"])).numpy(), want)
    same(plain(array), plain(encode(Image.fromarray(want), "PNG")))
    same(plain(tf.constant(array)), plain(array))


def test_arrays_of_every_shape(plain):
    grey = scene()[..., 0]
    want = plain(encode(Image.fromarray(grey), "PNG"))
    for array in (grey, grey[..., None], np.stack([grey] * 3, axis=-1), grey[::-1][::-1], np.asfortranarray(grey)):
        same(plain(array), want)
    four = np.concatenate([scene(), np.full((34, 46, 1), 255, "uint8")], axis=-1)
    same(plain(four), plain(scene()))
    stack = np.stack([scene(), scene()[::-1], scene()[:, ::-1]])
    answers = plain.pipe(stack)
    assert len(answers) == 3
    for answer, array in zip(answers, stack, strict=True):
        same(answer, plain(array))
        assert answer["input"] == "<array 34 x 46 x 3>"
    assert plain.pipe(stack[:0]) == []


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"]
)
def test_pictures_of_pillow(plain, mode):
    picture = Image.fromarray(scene())
    if mode in ("I", "F", "I;16"):
        picture = picture.convert("L")
    picture = picture.convert(mode)
    want = picture.convert("L") if mode in ("I", "F", "I;16") else picture
    same(plain(picture), plain(encode(want.convert("RGB"), "PNG")))


def test_ways_of_handing_over(plain, tmp_path):
    path = tmp_path / "a picture \u00e9.png"
    path.write_bytes(GOOD["scene.png"])
    want = plain(GOOD["scene.png"])
    for item in (path, str(path), bytearray(GOOD["scene.png"]), memoryview(GOOD["scene.png"]), Image.open(path)):
        same(plain(item), want)
    assert plain(path)["input"] == plain(str(path))["input"] == str(path)
    wrong = tmp_path / "named.jpg"
    wrong.write_bytes(GOOD["scene.png"])  # the name says nothing
    same(plain(wrong), want)
    for many in ([path, path], (path, path)):
        for answer in plain.pipe(many):
            same(answer, want)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (700, 500), (161, 160)])
def test_sizes(plain, tiny, size):
    for both in (plain, tiny):
        assert "labels" in both(np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8"))
