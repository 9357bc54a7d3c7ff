"""Lists, and items that are damaged, hostile or not an image: they are named, and their neighbours are answered."""

import io
import itertools
import random
import resource
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import zoo
from tests.helpers import image_samples as samples
from tests.helpers.drawings import draw_digit
from tests.helpers.image_samples import BY_PILLOW, GOOD, Both, by_pillow, read, same
from zoo.errors import InputError, ZooError

fuzzing = settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def tiny(tiny_preset):
    """Grey, centred by ink, dark or light: the digits' way."""
    return Both(tiny_preset)


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
        with pytest.raises(ZooError, match="must be an integer >= 1"):
            zoo.pipeline(tiny.pipe.model, batch_size=size)
    with pytest.raises(ZooError, match="errors must be 'raise' or 'return', got"):
        tiny.pipe(GOOD["digit.png"], errors="ignore")


def bad_items(folder) -> dict:
    text = folder / "notes.png"
    text.write_text("no picture, whatever the name says\n" * 5)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "none").mkdir()
    return {
        "empty": b"",
        "empty file": folder / "empty.jpg",
        "text": b"hello",
        "text file": text,
        "missing": folder / "missing.png",
        "folder": folder / "none",
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
        assert str(single.value) == f"{answer['input']}: {answer['error']}"
        assert "\n" not in str(single.value)


def test_errors_say_what_is_wrong(tiny, tmp_path):
    items = bad_items(tmp_path)
    said = {name: tiny.pipe(item, errors="return")["error"] for name, item in items.items()}
    assert said["empty"] == said["empty file"] == "empty"
    assert (
        said["text"]
        == said["text file"]
        == said["eps"]
        == "not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF"
    )
    assert said["missing"] == "the file does not exist"
    assert said["folder"] == "a folder without files of its own, not an image"
    assert tiny.pipe([tmp_path], errors="return")[0]["error"] == "a folder, not an image"
    assert "values in [0, 1]" in said["NaN"]
    assert "must have values 0 to 255, got -1 to -1" in said["negative"]
    assert "of shape (8, 8, 2)" in said["two channels"]
    assert said["nothing"].startswith("an item of type NoneType is not an image")
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
        assert error == "empty" if tenth == 0 else "damaged or truncated" in error or "not an image" in error


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_headers_that_state_too_much_or_nothing(tiny, kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raw = samples.stated(kind, 20_000, 20_000)
    assert tiny(raw)["error"] == "20000 x 20000 pixels are more than the limit of 50 million"
    for sides in ((0, 20), (20, 0), (0, 0)):
        assert tiny(samples.stated(kind, *sides))["error"] == f"damaged or truncated {kind}"
    if kind in ("PNG", "BMP"):
        assert "labels" not in tiny(samples.stated(kind, 2**31 - 1, 2**31 - 1))
        assert "labels" not in tiny(samples.stated(kind, -(2**31) if kind == "BMP" else 2**32 - 1, 5))
    assert "labels" not in tiny(samples.stated(kind, 65_535, 65_535))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # kB; decoding would take 1.2 GB


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = tiny.pipe(raw)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # kB
    same(answer, tiny.pipe(np.zeros((30, 30), "uint8")))


@pytest.mark.parametrize("kind", ["jpeg", "gif"])
def test_files_of_empty_blocks_are_given_up_soon(tiny, kind):
    """With a few empty blocks the file is read, so the error shows that the walk ended before the million."""
    raw = GOOD[f"scene.{kind}"]
    place = samples.gif_frame(raw) if kind == "gif" else 2

    def filled(filler: bytes, count: int) -> dict:
        content = b"\x21\xfe" + filler * count + b"\0" if kind == "gif" else filler * count
        return tiny.pipe(raw[:place] + content + raw[place:], errors="return")

    for filler in [b"\1a"] if kind == "gif" else [b"\xff\xfe\0\2", b"\xff"]:
        assert "labels" in filled(filler, 10)
        assert filled(filler, 900_000 // len(filler))["error"].startswith("damaged")


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
        place = draw.randrange(1, min(len(content), 64) if header else len(content))
        match draw.randrange(6):
            case 0 | 1 | 2:
                content[place] = draw.randrange(256)
            case 3:
                del content[place : place + draw.randint(1, 8)]
            case 4:
                content[place:place] = content[place : place + draw.randint(1, 40)]
            case 5:
                content = content if header else content[: max(place, 100)]
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
