"""Image files and pictures of every kind, through the pipeline and through the signature; good, odd and hostile."""

import io
import itertools
import random
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import zoo
from tests import image_samples as samples
from tests.conftest import draw_digit
from tests.image_samples import encode, exif, scene
from zoo.errors import InputError, ZooError
from zoo.preprocessing import image_files

GOOD = samples.good_files()
BY_PILLOW = {
    "webp": encode(Image.fromarray(scene()), "WEBP"),
    "tiff": encode(Image.fromarray(scene()), "TIFF", compression="tiff_lzw"),
    "palette.bmp": encode(Image.fromarray(scene()).quantize(16), "BMP"),
}
read = tf.function(image_files.read, input_signature=[tf.TensorSpec((), tf.string)])
fuzzing = settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))


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
        return task.encode(item)
    except InputError:
        return None


def same(one: dict, other: dict) -> None:
    assert one.get("error") == other.get("error")
    if "error" in one:
        assert one["error"]
        assert "\n" not in one["error"]
        assert len(one["error"]) < 250
    else:
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)
        near = np.diff(one["scores"]) > -2e-5  # labels of equal scores may change places
        assert one["labels"] == other["labels"] or near.any()
        assert abs(sum(one["scores"]) - 1) < 1e-4


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
    return Both(model, colour="rgb", polarity=None, centre=None, share=1.0)


def by_pillow(raw: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).convert("RGB"))


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


# Good files


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
    raw = tiny.pipe.task.encode(encode(picture, kind, **options))
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
    np.testing.assert_array_equal(read(tf.constant(plain.pipe.task.encode(raw))).numpy(), want)
    same(plain(raw), plain(encode(Image.fromarray(want), "PNG")))
    assert plain.served(raw)[0]["error"]  # a server is told, in words, to send another format


def test_webp_photos_stand_upright(plain):
    turned = encode(Image.fromarray(scene()), "WEBP", lossless=True, exif=exif(6)[6:])
    same(plain(turned), plain(np.rot90(scene(), 3)))


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
    np.testing.assert_array_equal(read(tf.constant(plain.pipe.task.encode(array))).numpy(), want)
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
        assert [answer["scores"] for answer in plain.pipe(many)] == pytest.approx([want["scores"]] * 2, abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (700, 500), (161, 160)])
def test_sizes(plain, tiny, size):
    for both in (plain, tiny):
        assert "labels" in both(np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8"))


# Lists


def test_lists_of_every_length(tiny):
    pipe = zoo.pipeline(tiny.pipe.model, batch_size=3)
    assert pipe([]) == []
    assert tiny.served() == []
    pictures = [draw_digit("0174"[number % 4], 24 + number) for number in range(7)]
    alone = [pipe(picture) for picture in pictures]
    for count in (1, 2, 3, 4, 6, 7):
        for got, want in zip(pipe(pictures[:count]), alone[:count], strict=True):
            same(got, want)


def test_bad_batch_sizes_and_modes(tiny):
    for size in (0, -1):
        with pytest.raises(ZooError, match="is no batch"):
            zoo.pipeline(tiny.pipe.model, batch_size=size)
    with pytest.raises(ZooError, match="none of 'raise', 'return'"):
        tiny.pipe(GOOD["digit.png"], errors="ignore")


# Bad ones


def bad_items(folder) -> dict:
    text = folder / "notes.png"
    text.write_text("no picture, whatever the name says\n" * 5)
    (folder / "empty.jpg").write_bytes(b"")
    return {
        "empty": b"",
        "empty file": folder / "empty.jpg",
        "text": b"hello",
        "text file": text,
        "missing": folder / "missing.png",
        "folder": folder,
        "no path": "a\0b",
        "too long a path": "x" * 5000,
        "NaN": np.full((8, 8), np.nan),
        "infinite": np.full((8, 8), np.inf),
        "float above 1": np.full((8, 8), 1.5),
        "float below 0": np.full((8, 8), -0.1),
        "negative": np.full((8, 8), -1),
        "above 255": np.full((8, 8), 256, "int64"),
        "one axis": np.zeros(8, "uint8"),
        "no axis": np.float32(0.5),
        "two channels": np.zeros((8, 8, 2), "uint8"),
        "five channels": np.zeros((8, 8, 5), "uint8"),
        "five axes": np.zeros((1, 1, 8, 8, 3), "uint8"),
        "no rows": np.zeros((0, 8), "uint8"),
        "no columns": np.zeros((8, 0, 3), "uint8"),
        "complex": np.zeros((8, 8), "complex64"),
        "objects": np.full((8, 8), None),
        "words": np.full((8, 8), "a"),
        "number": 7,
        "nothing": None,
        "dictionary": {"image": 1},
        "unread picture": Image.open(io.BytesIO(GOOD["scene.png"][:-60])),
        "NaN picture": Image.fromarray(np.full((8, 8), np.nan, "float32")),
        "jpeg": GOOD["scene.jpeg"][:-80],
        "magic only": b"\xff\xd8\xff",
        "bmp": b"BM",
        "gif": b"GIF89a",
        "png": b"\x89PNG\r\n\x1a\n",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    }


def test_bad_items_are_named(tiny, tmp_path):
    for item in bad_items(tmp_path).values():
        answer = tiny(item)
        assert set(answer) == {"input", "error"}
        assert answer["error"]
        if isinstance(item, (str, Path)):
            assert answer["input"] == str(item)
        with pytest.raises(InputError) as single:
            tiny.pipe(item)
        with pytest.raises(InputError) as listed:
            tiny.pipe([tiny.stranger, item])
        assert str(single.value) == str(listed.value)
        assert answer["input"] in str(single.value)
        assert answer["error"] in str(single.value)
        assert "\n" not in str(single.value)


def test_errors_say_what_is_wrong(tiny, tmp_path):
    items = bad_items(tmp_path)
    said = {name: tiny.pipe(item, errors="return")["error"] for name, item in items.items()}
    assert said["empty"] == said["empty file"] == "empty"
    assert said["text"] == said["text file"] == said["eps"] == "no image: neither JPEG, PNG, GIF nor BMP"
    assert said["missing"] == f"{tmp_path / 'missing.png'} does not exist"
    assert said["folder"] == f"{tmp_path} is a folder, not an image"
    assert "values in [0, 1]" in said["NaN"]
    assert "values 0 to 255; this one -1 to -1" in said["negative"]
    assert "of shape (8, 8, 2)" in said["two channels"]
    assert said["nothing"].startswith("a NoneType is no image")
    assert said["jpeg"] == "damaged or truncated JPEG"
    assert said["png"] == "damaged or truncated PNG"


def test_good_and_bad_in_every_order(tiny, tmp_path):
    bad = bad_items(tmp_path)
    items = [
        GOOD["digit.png"],
        bad["missing"],
        GOOD["scene.jpeg"],
        bad["jpeg"],
        samples.stated("PNG", 20_000, 20_000),
    ]
    alone = [tiny(item) for item in items]
    assert ["error" in answer for answer in alone] == [False, True, False, True, True]
    for order in itertools.permutations(range(5)):
        for number, answer in zip(order, tiny.pipe([items[number] for number in order], errors="return"), strict=True):
            same(answer, alone[number])
            assert answer["input"] == alone[number]["input"]
    raw = [items[number] for number in (3, 0, 4, 2)]
    for order in itertools.permutations(range(4)):
        for number, answer in zip(order, tiny.served(*(raw[number] for number in order)), strict=True):
            same(answer, alone[(3, 0, 4, 2)[number]])
    for answer in tiny.pipe([b"", b"x"], errors="return"):
        assert set(answer) == {"input", "error"}


@pytest.mark.parametrize("name", [*GOOD, *BY_PILLOW])
def test_truncated_files(tiny, name):
    raw = {**GOOD, **BY_PILLOW}[name]
    for tenth in range(10):
        error = tiny(raw[: len(raw) * tenth // 10])["error"]
        assert error == "empty" if tenth == 0 else "damaged or truncated" in error or "no image" in error


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_headers_that_state_too_much_or_nothing(tiny, kind):
    started = time.perf_counter()
    raw = samples.stated(kind, 20_000, 20_000)
    assert tiny(raw)["error"] == "20000 x 20000 pixels are more than the limit of 50 million"
    for sides in ((0, 20), (20, 0), (0, 0)):
        assert tiny(samples.stated(kind, *sides))["error"] == f"damaged or truncated {kind}"
    if kind in ("PNG", "BMP"):
        assert "labels" not in tiny(samples.stated(kind, 2**31 - 1, 2**31 - 1))
        assert "labels" not in tiny(samples.stated(kind, -(2**31) if kind == "BMP" else 2**32 - 1, 5))
    assert "labels" not in tiny(samples.stated(kind, 65_535, 65_535))
    assert time.perf_counter() - started < 5


def test_large_headers_of_other_formats_come_without_warnings(tiny):
    raw = BY_PILLOW["palette.bmp"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for side in (8_000, 10_000, 20_000):
            content = raw[:18] + side.to_bytes(4, "little") * 2 + raw[26:]
            assert "more" in tiny(content)["error"]


def test_a_gif_goes_by_its_frame(tiny):
    content = samples.stated("GIF", 20_000, 20_000)
    small_screen = content[:6] + b"\1\0\1\0" + content[10:]
    assert tiny(small_screen)["error"].startswith("20000 x 20000 pixels")
    np.testing.assert_array_equal(
        read(tf.constant(GOOD["scene.gif"][:6] + b"\1\0\1\0" + GOOD["scene.gif"][10:])).numpy(),
        by_pillow(GOOD["scene.gif"]),
    )


@pytest.mark.parametrize("bare", [b"\xff\x01", b"\xff\x00", b"\xff\xd0", b"\xff\xd7"])
def test_a_jpeg_can_not_hide_its_size_behind_a_marker_without_length(tiny, bare):
    """A reader that took the next marker for a length would jump to the small size further behind."""
    real = samples.stated("JPEG", 20_000, 20_000)
    content = real[:2] + bare + real[2:]
    jump = 4 + int.from_bytes(real[2:4], "big")
    content += b"\0" * (jump - len(content)) + b"\xff\xc0\0\x11\x08\0\x08\0\x08" + b"\0" * 50
    assert tiny(content)["error"].startswith("20000 x 20000 pixels")


def test_an_animation_costs_one_frame(tiny):
    raw = samples.gif_of_many(150, 3_000)  # 4 GB of pixels
    assert len(raw) < 2_500_000
    tiny(samples.gif_of_many(1, 3_000))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    answer = tiny.pipe(raw)
    assert time.perf_counter() - started < 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # kB
    same(answer, tiny.pipe(np.zeros((30, 30), "uint8")))


@pytest.mark.parametrize("kind", ["jpeg", "gif"])
def test_files_of_empty_blocks_are_given_up_soon(tiny, kind):
    raw = GOOD[f"scene.{kind}"]
    place = samples.gif_frame(raw) if kind == "gif" else 2
    started = time.perf_counter()
    for filler in [b"\x21\xfe" + b"\1a" * 1_000_000 + b"\0"] if kind == "gif" else [b"\xff\xfe\0\2", b"\xff"]:
        filler = filler if kind == "gif" else filler * (900_000 // len(filler))
        assert tiny.pipe(raw[:place] + filler + raw[place:], errors="return")["error"].startswith("damaged")
    assert time.perf_counter() - started < 8


# Whatever comes


@fuzzing
@given(
    content=st.binary(max_size=300),
    magic=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]),
)
def test_random_bytes(tiny, content, magic):
    assert "error" in tiny(magic + content)


@pytest.mark.parametrize("name", [*(name for name in GOOD if name.startswith("scene")), *BY_PILLOW])
@fuzzing
@given(seed=st.integers(0, 2**32), header=st.booleans())
def test_mutated_files(tiny, name, seed, header):
    """Bytes changed, taken out, doubled or cut off: an answer or an error, the same every way, and good neighbours."""
    draw, content = random.Random(seed), bytearray({**GOOD, **BY_PILLOW}[name])
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(min(len(content), 64) if header else len(content))
        match draw.randrange(6):
            case 0 | 1 | 2:
                content[place] = draw.randrange(256)
            case 3:
                del content[place : place + draw.randint(1, 8)]
            case 4:
                content[place:place] = content[place : place + draw.randint(1, 40)]
            case 5:
                content = content[: max(place, 1)] if not header else content
    tiny(bytes(content))


def wild_arrays():
    shapes = st.lists(st.integers(0, 5), max_size=4).filter(lambda shape: len(shape) != 4)
    types = st.sampled_from(["bool", "uint8", "int16", "uint16", "int64", "float16", "float32", "float64", "complex64"])

    def build(shape, dtype, seed, spread):
        values = np.random.default_rng(seed).normal(0.5, spread, shape)
        with np.errstate(all="ignore"):
            return np.asarray(values).astype(dtype)

    return st.builds(build, shapes, types, st.integers(0, 99), st.sampled_from([0.0, 0.1, 300.0]))


@fuzzing
@given(array=wild_arrays())
def test_random_arrays(tiny, array):
    answer = tiny(array)
    good_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not good_shape or 0 in array.shape or array.dtype == "complex64":
        assert "error" in answer
    elif array.dtype in ("bool", "uint8", "uint16"):
        assert "labels" in answer
