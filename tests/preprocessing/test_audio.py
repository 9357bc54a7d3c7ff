"""Features of waveforms: against librosa, kaldi-native-fbank and sphinx_fe, and whatever the padding holds."""

import dataclasses
import json

import hypothesis
import kaldi_native_fbank
import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import strategies

from tests.helpers.paths import SOUNDS
from zoo.errors import ZooError
from zoo.exporting import runner
from zoo.preprocessing import audio
from zoo.preprocessing.audio import FrontEnd
from zoo.preprocessing.front_end import KALDI, LIBROSA, SPHINX

SPEECH, RATE = soundfile.read(SOUNDS / "six_16khz.wav", dtype="float32")
MEL = dataclasses.replace(KALDI, cepstra=0, log_energy=False)
STATISTICS = {"mean": [10.0] * 23, "deviation": [3.0] * 23}


def features(settings, waveform=SPEECH) -> np.ndarray:
    """(N, D) of one item."""
    frames, frame_count = FrontEnd(settings)(waveform[np.newaxis], [len(waveform)])
    assert frames.shape == (1, frame_count[0], settings.dimension)
    return frames[0].numpy()


def assert_close(value, expected):
    """To 1e-3 of each coefficient's greatest value; those near zero have no relative precision of their own."""
    assert value.shape == expected.shape
    assert np.abs(expected).max() > 1
    assert (np.abs(value - expected).max(0) / np.abs(expected).max(0)).max() < 1e-3


def test_sphinx():
    """tests/sounds/README.md says how the fixture was made."""
    assert_close(features(SPHINX), np.load(SOUNDS / "six_16khz_sphinx.npy"))


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("kind", ["mfcc", "fbank"])
def test_kaldi(kind, rate):
    waveform = SPEECH[: 9_000 - rate // 100]
    options = kaldi_native_fbank.MfccOptions() if kind == "mfcc" else kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither, options.frame_opts.samp_freq = 0, rate
    computer = (kaldi_native_fbank.OnlineMfcc if kind == "mfcc" else kaldi_native_fbank.OnlineFbank)(options)
    computer.accept_waveform(rate, (waveform * 32_768).tolist())
    computer.input_finished()
    expected = np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])
    settings = KALDI if kind == "mfcc" else MEL
    if rate == 8_000:
        sizes = {"rate": rate, "frame_length": 200, "frame_step": 80, "fft_size": 256, "highest": 4_000.0}
        settings = dataclasses.replace(settings, **sizes)
    assert_close(features(settings, waveform), expected)


@pytest.mark.parametrize("lifter", [0, 22])
def test_librosa_cepstra(lifter):
    expected = librosa.feature.mfcc(y=SPEECH, sr=22_050, lifter=lifter).T
    assert_close(features(dataclasses.replace(LIBROSA, lifter=lifter), SPEECH), expected)


def test_librosa_mel_spectrum():
    """A short window in a long transform, magnitudes, and the range below the maximum that cuts the silence."""
    settings = dataclasses.replace(
        LIBROSA, rate=16_000, frame_length=401, frame_step=160, fft_size=1_024, highest=8_000.0, filters=64, cepstra=0
    )
    sizes = {"sr": RATE, "n_fft": 1_024, "win_length": 401, "hop_length": 160, "n_mels": 64}
    expected = librosa.feature.melspectrogram(y=SPEECH, **sizes)
    assert_close(features(settings), librosa.power_to_db(expected).T)
    assert np.ptp(features(settings)) == pytest.approx(80.0, abs=1e-3)
    expected = np.log(np.maximum(librosa.feature.melspectrogram(y=SPEECH, power=1, **sizes), 1e-5))
    settings = dataclasses.replace(settings, power=1, logarithm="natural", log_floor=1e-5, decibel_range=None)
    assert_close(features(settings), expected.T)


def test_deltas_are_librosas():
    plain = features(KALDI)
    value = features(dataclasses.replace(KALDI, deltas=2))
    first = librosa.feature.delta(plain, width=5, axis=0, mode="nearest")
    second = librosa.feature.delta(first, width=5, axis=0, mode="nearest")
    np.testing.assert_allclose(value, np.concatenate([plain, first, second], axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30, 0.5])
@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(KALDI, deltas=2, normalize="utterance"),
        dataclasses.replace(SPHINX, deltas=1),
        dataclasses.replace(MEL, normalize="running", **STATISTICS),
        dataclasses.replace(MEL, normalize="fixed", **STATISTICS),
        dataclasses.replace(LIBROSA, pre_emphasis=0.9),
    ],
    ids=["kaldi", "sphinx", "running", "fixed", "librosa"],
)
def test_padding_changes_nothing(settings, garbage):
    lengths = [9_000, 4_321, 300, 0]
    batch = np.full((4, 9_500), garbage, "float32")
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = SPEECH[1_500 : 1_500 + length]
    frames, frame_count = FrontEnd(settings)(batch, lengths)
    np.testing.assert_array_equal(frame_count, FrontEnd(settings).frame_count(np.array(lengths)))
    for row, length, count in zip(frames.numpy(), lengths, frame_count.numpy(), strict=True):
        alone = features(settings, SPEECH[1_500 : 1_500 + length])
        np.testing.assert_allclose(row[:count], alone, rtol=1e-4, atol=1e-4)
        assert not row[count:].any()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (MEL, {0: 0, 1: 1, 399: 1, 400: 1, 559: 1, 560: 2, 16_000: 98}),
        (SPHINX, {0: 0, 1: 1, 409: 1, 410: 2, 569: 2, 570: 3, 16_000: 99}),
        (dataclasses.replace(LIBROSA, rate=22_050), {0: 0, 1: 1, 511: 1, 512: 2, 22_050: 44}),
    ],
    ids=["snip", "pad_last", "centre"],
)
def test_number_of_frames(settings, expected):
    front_end = FrontEnd(settings)
    np.testing.assert_array_equal(front_end.frame_count(np.array([*expected])), [*expected.values()])
    np.testing.assert_array_equal(front_end.frame_count(tf.constant([*expected])), [*expected.values()])


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    strategies.integers(1, 2_500), strategies.floats(0.01, 1.0), strategies.sampled_from(["snip", "centre"])
)
def test_gain_moves_log_spectra(length, gain, edges):
    """Any length has the stated number of frames, and twice the logarithm of the gain is added to each value."""
    chosen = dataclasses.replace(MEL, edges=edges)
    noise = np.random.default_rng(length).normal(0, 0.3, length).astype("float32")
    moved = features(chosen, gain * noise) - features(chosen, noise)
    assert len(moved) == FrontEnd(chosen).frame_count(length) >= 1
    np.testing.assert_allclose(moved, 2 * np.log(gain), atol=2e-3)


def test_a_short_item_is_followed_by_zeros():
    short = SPEECH[5_000:5_160]
    padded = np.concatenate([short, np.zeros(240, "float32")])
    np.testing.assert_allclose(features(MEL, short), features(MEL, padded), rtol=1e-5)


def test_time_of_a_frame():
    """A click is loudest in the frame whose centre is nearest to it."""
    click = np.zeros(16_000, "float32")
    click[8_000] = 1.0
    for settings in (MEL, dataclasses.replace(MEL, edges="centre")):
        loudest = int(features(settings, click).sum(1).argmax())
        assert FrontEnd(settings).time_of(loudest) == pytest.approx(0.5, abs=0.0051)


def test_a_saved_model_gives_the_same(tmp_path):
    front_end = FrontEnd(dataclasses.replace(KALDI, deltas=1, normalize="utterance"))

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None)), tf.TensorSpec((None,), tf.int32)])
        def features(self, waveform, samples):
            return front_end(waveform, samples)

    tf.saved_model.save(Module(), str(tmp_path))
    batch = np.stack([SPEECH[:8_000], SPEECH[3_000:11_000]])
    frames, frame_count = tf.saved_model.load(str(tmp_path)).features(batch, [8_000, 5_000])
    expected, expected_count = front_end(batch, [8_000, 5_000])
    np.testing.assert_array_equal(frame_count, expected_count)
    np.testing.assert_allclose(frames, expected, rtol=1e-4, atol=1e-4)


def test_normalize_utterance():
    value = features(dataclasses.replace(MEL, normalize="utterance"))
    np.testing.assert_allclose(value.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(value.std(0), 1, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.25, 1 / 3, 1_234 / 32_768])
@pytest.mark.parametrize("settings", [MEL, KALDI, SPHINX, LIBROSA], ids=["mel", "kaldi", "sphinx", "librosa"])
def test_a_constant_has_features_of_exactly_zero(value, settings):
    """The rounded mean of equal values differs from them, by up to 0.01 after the division by a deviation of 1e-4."""
    if value and settings in (SPHINX, LIBROSA):
        settings = dataclasses.replace(settings, pre_emphasis=0.0, edges="snip")  # or it begins with a step
    front_end = FrontEnd(dataclasses.replace(settings, normalize="utterance", deltas=1))
    lengths = [33_333, 8_001, 500]
    frames, _ = front_end(np.full((3, 33_333), value, "float32"), lengths)
    assert not frames.numpy().any()
    for length in lengths:
        waveform = np.full(length, value, "float32")
        assert not runner.sound(waveform, {"longest": 10.0}, {"front_end": front_end.exported()}).any()


def plain_running(values, mean, deviation, time_constant):
    """Frame by frame, in double precision."""
    keep, rows = np.exp(-1 / time_constant), []
    average, square = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for x in (values.astype("float64") - mean) / deviation:
        average = keep * average + (1 - keep) * x
        square = keep * square + (1 - keep) * x * x
        rows.append((x - average) / np.sqrt(np.maximum(square - average**2, 1e-4)))
    return np.array(rows)


@pytest.mark.parametrize("time_constant", [2.0, 50.0])
def test_normalize_running_is_causal_and_goes_on(time_constant):
    values = np.random.default_rng(0).normal(3.0, 2.0, (2, 40, 4)).astype("float32")
    mean, deviation = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 0.5])
    whole, _ = audio.normalize_running(values, tf.constant([40, 25]), mean, deviation, time_constant)
    for row, count in ((0, 40), (1, 25)):
        expected = plain_running(values[row, :count], mean, deviation, time_constant)
        np.testing.assert_allclose(whole[row, :count], expected, rtol=1e-3, atol=1e-4)
        assert not whole[row, count:].numpy().any()
    state, parts = None, []
    for begin, end in ((0, 7), (7, 8), (8, 8), (8, 40)):
        counts = tf.clip_by_value(tf.constant([40, 25]) - begin, 0, end - begin)
        part, state = audio.normalize_running(values[:, begin:end], counts, mean, deviation, time_constant, state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        KALDI,
        dataclasses.replace(MEL, pre_emphasis_in="signal", normalize="running", **STATISTICS),
        dataclasses.replace(SPHINX, edges="snip", frame_step=410),  # no overlap
    ],
    ids=["frame", "running", "signal"],
)
def test_a_stream_has_the_features_of_the_whole(settings):
    """Parts of any length, also none, that differ within the batch."""
    batch = np.stack([SPEECH[1_000:9_000], SPEECH[3_000:11_000]])
    expected, expected_count = FrontEnd(settings)(batch, [8_000, 6_000])
    random = np.random.default_rng(0)
    stream = tf.function(FrontEnd(settings).stream, reduce_retracing=True)
    place, lengths, state = np.array([0, 0]), np.array([8_000, 6_000]), None
    parts: list[list[np.ndarray]] = [[], []]
    while (place < lengths).any():
        samples = np.minimum(random.integers(0, 1_500, 2), lengths - place)
        chunk = np.full((2, 1_500), np.nan, "float32")
        for row in range(2):
            chunk[row, : samples[row]] = batch[row, place[row] : place[row] + samples[row]]
        frames, frame_count, state = stream(chunk, samples.astype("int32"), state)
        for row in range(2):
            parts[row].append(frames[row, : frame_count[row]])
            assert not frames[row, frame_count[row] :].numpy().any()
        place = place + samples
    for row in range(2):
        value = np.concatenate(parts[row])
        np.testing.assert_allclose(value, expected[row, : expected_count[row]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "settings", [SPHINX, LIBROSA, dataclasses.replace(KALDI, deltas=1), dataclasses.replace(MEL, normalize="utterance")]
)
def test_what_cannot_stream(settings):
    with pytest.raises(ZooError, match="can't stream: it needs what is yet to come"):
        FrontEnd(settings).stream(SPEECH[np.newaxis], [len(SPEECH)])


def test_settings_survive_json():
    settings = dataclasses.replace(MEL, normalize="fixed", **STATISTICS)
    assert audio.FrontEndSettings(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": "square"}, "window must be one of hann, hann_symmetric, hamming, povey, got 'square'"),
        ({"fft_size": 256}, "fft_size must be even and >= frame_length 400, got 256"),
        ({"highest": 9_000.0}, "edges from 0 to 8000 Hz, half the rate, got 20 and 9000"),
        ({"frame_step": 0}, "frame_step must be an integer >= 1, got 0"),
        ({"frame_step": 401}, "frame_step must be <= frame_length 400, got 401"),
        ({"cepstra": 24}, "cepstra must be an integer from 0 to filters 23, got 24"),
        ({"log_energy": True}, "set cepstra"),
        ({"normalize": "fixed", "mean": [0.0]}, "normalize='fixed' needs a mean of 23 numbers, got 1"),
        ({"deviation": [1.0, 0.0]}, "deviation must be > 0"),
    ],
)
def test_wrong_settings(changed, message):
    with pytest.raises(ZooError, match=message):
        dataclasses.replace(MEL, **changed)


def test_too_many_filters():
    with pytest.raises(ZooError, match=r"mel filter \d+ of 200 lies between two frequencies of the transform"):
        FrontEnd(dataclasses.replace(MEL, filters=200))
