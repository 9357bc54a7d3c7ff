"""Sound files of many formats, rates and kinds of damage."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from tests.helpers.paths import SOUNDS
from zoo.data import sound
from zoo.errors import InputError

SECONDS = 0.5


def sine(rate: int, frequency: float = 440.0, count: int | None = None) -> np.ndarray:
    count = int(SECONDS * rate) if count is None else count
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(count) / rate)).astype("float32")


def encoded(samples, rate: int = 16_000, kind: str = "WAV", **settings) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_formats_and_rates(kind, rate, tmp_path):
    path = tmp_path / "sound"  # without a suffix
    path.write_bytes(encoded(sine(rate), rate, kind))
    value = sound.read(path, 16_000)
    assert value.dtype == np.float32
    assert len(value) == pytest.approx(SECONDS * 16_000, abs=2)
    expected = sine(16_000, count=len(value))
    lossy = {"OGG": 0.03, "MP3": 0.06}
    np.testing.assert_allclose(value[1_000:-1_000], expected[1_000:-1_000], atol=lossy.get(kind, 1e-3))


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged(channels):
    samples = np.random.default_rng(0).uniform(-1, 1, (400_000 // channels, channels)).astype("float32")
    value = sound.read(encoded(samples, subtype="FLOAT"), 16_000)
    np.testing.assert_allclose(value, samples.mean(axis=1), atol=1e-6)


def test_paths_open_files_and_bytes_are_alike():
    path = SOUNDS / "six_16khz.wav"
    expected, _ = soundfile.read(path, dtype="float32")

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with path.open("rb") as opened:
        opened.seek(100)
        for file in (path, str(path), opened, path.read_bytes(), Pipe(path.read_bytes())):
            np.testing.assert_array_equal(sound.read(file, 16_000), expected)


def test_blocks_make_up_the_waveform():
    """A file of several blocks is resampled as one."""
    content = encoded(sine(11_025, count=700_000), 11_025)
    blocks = [*sound.read_blocks(content, 16_000)]
    assert len(blocks) >= 3
    value = np.concatenate(blocks)
    np.testing.assert_array_equal(value, sound.read(content, 16_000))
    np.testing.assert_allclose(value[500:-500], sine(16_000, count=len(value))[500:-500], atol=1e-3)


def test_an_hour_takes_the_memory_of_a_block(tmp_path):
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.zeros(3_600 * 1_000, "int16"), 1_000, subtype="PCM_U8")
    tracemalloc.start()
    total = sum(len(block) for block in sound.read_blocks(path, 2_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 7_200_000
    assert peak < 8e6
    assert len(sound.read(path, 1_000)) == 3_600_000
    with pytest.raises(InputError, match="^3,600 s of sound are more than the limit of 600 s$"):
        sound.read(path, 2_000, longest=600)


def test_silence_and_clipping_are_sounds():
    assert not sound.read(encoded(np.zeros(1_000)), 8_000).any()
    square = np.sign(sine(16_000)) * 1.0
    assert np.abs(sound.read(encoded(square), 16_000)).max() == pytest.approx(1.0, abs=1e-4)


def test_a_few_milliseconds():
    assert len(sound.read(encoded(sine(16_000)[:160]), 16_000)) == 160
    assert len(sound.read(encoded(sine(44_100)[:441], 44_100), 16_000)) == 160
    assert len(sound.read(encoded(sine(16_000)[:1]), 16_000)) == 1


FLAC = encoded(np.random.default_rng(0).uniform(-1, 1, 40_000), kind="FLAC")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "^empty$"),
        (b"this is a text\n" * 100, "^not a sound file: expected WAV, FLAC, OGG or MP3$"),
        (b"\0" * 5_000, "^not a sound file"),
        (encoded(np.zeros(0)), "^the sound has no samples$"),
        (encoded(np.zeros(100))[:20], "^damaged or truncated sound file: .*[^.]$"),
        (FLAC[:200], "^damaged or truncated sound file: "),
        (FLAC[: len(FLAC) // 2], "^damaged or truncated sound file: "),
        (encoded(np.array([0.1, np.nan, 0.1]), subtype="FLOAT"), "^the sound has samples that are not finite$"),
        (encoded(np.array([0.1, -np.inf]), subtype="DOUBLE"), "^the sound has samples that are not finite$"),
        (
            encoded(sine(8_000) * 30_000, subtype="FLOAT"),
            r"^samples up to 15,000: a .* must have samples in \[-1, 1\]$",
        ),
    ],
    ids=["empty", "text", "zeros", "no samples", "header", "flac start", "flac half", "nan", "infinite", "scale"],
)
@pytest.mark.parametrize("name", ["item.wav", "item.raw"])
def test_bad_files(content, message, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    for item in (tmp_path / name, io.BytesIO(content)):
        with pytest.raises(InputError, match=message) as caught:
            sound.read(item, 8_000)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "longest", "message"),
    [
        (8_000, 0.25, "0.5 s of sound are more than the limit of 0.25 s"),
        (16_160, 1.0, "1.01 s of sound are more than the limit of 1 s"),
        (1_600, 0.005, "0.1 s of sound are more than the limit of 0.005 s"),
    ],
)
def test_a_limit_below_a_second_is_stated(count, longest, message):
    with pytest.raises(InputError) as caught:
        sound.read(encoded(sine(16_000, count=count)), 16_000, longest)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "AIFF"])
@pytest.mark.parametrize("missing", [1, 12_000])
def test_a_file_that_is_shorter_than_its_header_states(kind, missing, tmp_path):
    content = encoded(sine(16_000), kind=kind)
    (tmp_path / "cut").write_bytes(content[:-missing])
    for item in (tmp_path / "cut", content[:-missing]):
        with pytest.raises(InputError, match=r"^truncated sound file: its header states 16,00. bytes of samples, but"):
            sound.read(item, 16_000)
    assert len(sound.read(content, 16_000)) == 8_000


def with_field(content: bytes, place: int, value: int) -> bytes:
    """A WAV file with another 32-bit number in its header."""
    return content[:place] + struct.pack("<I", value) + content[place + 4 :]


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_stream_has_the_samples_that_follow(size):
    """Programs that write into a pipe can't know the number of samples."""
    content = encoded(sine(16_000))
    value = sound.read(with_field(content, 40, size), 16_000)
    np.testing.assert_array_equal(value, sound.read(content, 16_000))


def test_other_parts_of_a_file_are_skipped():
    """A part before the samples has an odd size, and so a byte more; one behind them does not make it truncated."""
    content = encoded(sine(16_000))
    odd, last = b"LIST" + struct.pack("<I", 3) + b"abc\0", b"LIST" + struct.pack("<I", 900) + b"abc"
    content = content[:36] + odd + content[36:] + last
    assert len(sound.read(content, 16_000)) == 8_000
    with pytest.raises(InputError, match=r"^truncated sound file: .* 16,000 bytes of samples, but 15,001 follow$"):
        sound.read(content[: -len(last) - 999], 16_000)
    zeros = encoded(sine(16_000))[:12] + b"\0" * 100_000
    with pytest.raises(InputError, match="^damaged or truncated sound file"):
        sound.read(zeros, 16_000)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (0, "^damaged sound file: its samples per second are 0, or far too many$"),
        (1, "^1 samples per second are not a sound: expected 1,000 to 1,000,000$"),
        (999, "^999 samples per second are not a sound"),
        (1_000_001, "^1,000,001 samples per second are not a sound"),
        (2**31 - 1, "^2,147,483,647 samples per second are not a sound"),
        (4_000_000_000, "^damaged sound file: its samples per second are 0, or far too many$"),
    ],
)
def test_rates_that_make_no_sense(rate, message):
    with pytest.raises(InputError, match=message):
        sound.read(with_field(encoded(sine(16_000)[:50]), 24, rate), 16_000)


@pytest.mark.parametrize("rate", [1_000, 1_000_000])
def test_the_lowest_and_the_highest_rate(rate):
    assert len(sound.read(with_field(encoded(sine(16_000)), 24, rate), 16_000)) == 8_000 * 16_000 // rate


def test_bad_items(tmp_path):
    for item, message in (
        (tmp_path, "^a folder, not a sound file$"),
        (tmp_path / "missing.wav", "^the file does not exist$"),
        ("/dev/null", "^not a regular file$"),
        ("a\0b", "^can't be read: "),
        (io.StringIO("text"), '^the file was opened as text: open it with mode "rb"$'),
        (3.5, "^an item of type float is not a sound file"),
    ):
        with pytest.raises(InputError, match=message):
            sound.read(item, 8_000)
    closed = io.BytesIO(b"")
    closed.close()
    with pytest.raises(InputError, match="^can't be read: "):
        sound.read(closed, 8_000)


def test_the_length_by_the_header(tmp_path):
    for kind in ("WAV", "FLAC"):
        (tmp_path / kind).write_bytes(encoded(sine(44_100), 44_100, kind))
        assert sound.seconds(tmp_path / kind) == SECONDS
    assert sound.seconds(SOUNDS / "README.md") == 0
    assert sound.seconds(tmp_path / "none.wav") == 0
