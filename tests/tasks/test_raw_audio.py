"""A user's sound as a waveform."""

import io
import json

import numpy as np
import pytest
import soundfile

from tests.helpers.paths import SOUNDS
from zoo.errors import InputError
from zoo.tasks import raw
from zoo.tasks.raw import RawInput
from zoo.tasks.raw.audio import waveform_of

PATH = SOUNDS / "six_16khz.wav"
SAMPLES, RATE = soundfile.read(PATH, dtype="int16")
SOUND = RawInput("waveform", "audio", (None,), length="samples", rate=RATE, longest=2.0)
FEATURES = RawInput("frames", "tensor", (None, 3), length="frame_count")


@pytest.mark.parametrize(
    "item",
    [
        PATH,
        str(PATH),
        PATH.read_bytes(),
        io.BytesIO(PATH.read_bytes()),
        SAMPLES,
        SAMPLES.astype(">i2"),
        SAMPLES.astype("int32") << 16,
        SAMPLES / 32_768,
        (SAMPLES / 32_768).astype("float32"),
        (SAMPLES / 32_768).tolist(),
        {"samples": SAMPLES, "rate": RATE},
    ],
    ids=["path", "string", "bytes", "open", "int16", "big-endian", "int32", "float64", "float32", "list", "rate"],
)
def test_all_forms_give_the_same_waveform(item):
    value = waveform_of(item, RATE)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, SAMPLES / 32_768, atol=1e-7)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("", "^an empty string is not a path$"),
        (None, "^an item of type NoneType is not a sound: give a path, an open file, bytes, or samples at 16,000 Hz$"),
        ([], "^the sound has no samples$"),
        ([[1.0], [1.0, 2.0]], "^lists of unequal lengths"),
        (np.zeros((2, 5)), r"^expected samples of shape \(T,\), got an array of shape \(2, 5\) of float64$"),
        (["a"], r"^expected samples of shape \(T,\), got an array of shape \(1,\)"),
        ([0.0, np.nan], "^the sound has samples that are not finite$"),
        ([0, 12_000], r"^samples up to 12,000: a sound of floats must have samples in \[-1, 1\]$"),
        (np.zeros(33_000, "int16"), "^2.06 s of sound are more than the limit of 2 s$"),
        ({"samples": [0.0]}, '^a dict of a sound has the keys "samples" and "rate", an integer >= 1$'),
        ({"samples": [0.0], "rate": 0}, "^a dict of a sound has the keys"),
        ({"samples": [0.0] * 2_250, "rate": 1_000}, "^2.25 s of sound are more than the limit of 2 s$"),
        ({"samples": [0.0], "rate": 4}, "^4 samples per second are not a sound: expected 1,000 to 1,000,000$"),
        (SOUNDS / "README.md", "^not a sound file: expected WAV, FLAC, OGG or MP3$"),
    ],
    ids=[
        "blank",
        "none",
        "empty",
        "ragged",
        "stereo",
        "text",
        "nan",
        "scale",
        "long",
        "keys",
        "rate",
        "slow",
        "too slow",
        "file",
    ],
)
def test_bad_items(item, message):
    with pytest.raises(InputError, match=message):
        waveform_of(item, RATE, longest=2.0)


def test_unsigned_bytes_are_around_128():
    samples = np.array([0, 64, 128, 255], "uint8")
    np.testing.assert_array_equal(waveform_of(samples, RATE), np.array([-1, -0.5, 0, 127 / 128], "float32"))


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "uint32", "uint64"])
def test_integers_of_an_unknown_range_are_refused(kind):
    """Divided by the range of their type, 64-bit integers of a 16-bit sound would be silence."""
    message = f"^samples of {kind}, whose range is not known: give int16, int32, uint8, or floats in \\[-1, 1\\]$"
    for item in (SAMPLES.astype(kind), {"samples": SAMPLES.astype(kind), "rate": 8_000}):
        with pytest.raises(InputError, match=message):
            waveform_of(item, RATE)


def test_samples_at_another_rate_are_resampled_like_a_file(tmp_path):
    soundfile.write(tmp_path / "slow.wav", SAMPLES, RATE // 2, subtype="PCM_16")
    value = waveform_of({"samples": SAMPLES, "rate": RATE // 2}, RATE)
    expected = waveform_of(tmp_path / "slow.wav", RATE)
    assert len(value) == len(expected) == 2 * len(SAMPLES)
    np.testing.assert_allclose(value, expected, atol=1e-5)


def test_items_of_different_lengths_are_padded_and_have_their_length():
    items = [raw.encode((SOUND,), item) for item in ([0.5], [0.25, -0.25, 1.0])]
    batch = raw.batch((SOUND,), items)
    np.testing.assert_array_equal(batch["waveform"], np.array([[0.5, 0, 0], [0.25, -0.25, 1]], "float32"))
    np.testing.assert_array_equal(batch["samples"], [1, 3])
    assert (batch["waveform"].dtype, batch["samples"].dtype) == (np.float32, np.int32)
    batch = raw.batch((FEATURES,), [raw.encode((FEATURES,), np.full((size, 3), size)) for size in (2, 1)])
    np.testing.assert_array_equal(batch["frames"], [[[2, 2, 2], [2, 2, 2]], [[1, 1, 1], [0, 0, 0]]])
    np.testing.assert_array_equal(batch["frame_count"], [2, 1])


@pytest.mark.parametrize("shape", [(0, 3), (2, 4), (3,), (1, 2, 3)])
def test_features_of_another_shape(shape):
    with pytest.raises(InputError, match=r"^expected an array of shape \(any, 3\), got \("):
        raw.encode((FEATURES,), np.zeros(shape))


@pytest.mark.parametrize("raw_input", [SOUND, FEATURES, RawInput("sentence", "text"), RawInput("x", "tensor", (2, 1))])
def test_a_manifest_has_all_of_a_raw_input(raw_input):
    entry = json.loads(json.dumps(raw_input.entry()))
    assert RawInput.of(entry) == raw_input
    assert {"name", "kind", "shape"} <= entry.keys()
    assert RawInput.of({**entry, "colour": "of a later version"}) == raw_input


@pytest.mark.parametrize(
    ("x", "several"),
    [
        ("a.wav", False),
        (io.BytesIO(b"x"), False),
        (b"x", False),
        (np.zeros(3), False),
        ([0.0, 0.5], False),
        ({"samples": [0.0], "rate": 8}, False),
        (SOUNDS, True),
        (["a.wav"], True),
        (np.zeros((2, 3)), True),
        ([[0.0], [0.5, 0.5]], True),
        (iter(["a.wav"]), True),
        ([], True),
    ],
)
def test_one_sound_or_several(x, several):
    assert raw.is_batch((SOUND,), x) is several
