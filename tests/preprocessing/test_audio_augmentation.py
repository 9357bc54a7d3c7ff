"""Random changes of waveforms and features in training."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.preprocessing import audio_augmentation as augmentation

WAVEFORM = np.random.default_rng(0).normal(0, 0.1, 8_000).astype("float32")
FRAMES = np.random.default_rng(1).uniform(1, 2, (3, 60, 8)).astype("float32")
FRAME_COUNT = tf.constant([60, 31, 0])


def sine(frequency: float, count: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(count) / 8_000)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch(factor):
    value = augmentation.change_speed(tf.constant(sine(440, 40_000), tf.float32), factor).numpy()
    assert len(value) == round(40_000 / factor)
    np.testing.assert_allclose(value[50:-50], sine(440 * factor, len(value))[50:-50], atol=2e-3)


def test_speed_does_not_alias():
    """3,900 Hz would be 4,290 Hz, above half the rate."""
    value = augmentation.change_speed(tf.constant(sine(3_900, 8_000), tf.float32), 1.1).numpy()
    assert np.abs(value[50:-50]).max() < 0.2
    assert np.abs(augmentation.change_speed(tf.constant(sine(3_900, 8_000), tf.float32), 0.9)[50:-50]).max() > 0.99


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_noise_has_the_stated_power(tilt):
    noise = augmentation.add_noise(WAVEFORM, (1, 2), 12.0, tilt).numpy() - WAVEFORM
    assert 10 * np.log10(np.mean(WAVEFORM**2) / np.mean(noise**2)) == pytest.approx(12.0, abs=0.01)
    power = np.abs(np.fft.rfft(noise)) ** 2
    low = power[:500].sum() / power.sum()  # an eighth of the frequencies
    assert low == pytest.approx(0.125, abs=0.02) if tilt == 0 else low > 0.3


def test_silence_stays_silent():
    silent = tf.zeros([100])
    assert not np.any(augmentation.distort(silent, (0, 1), noise=(0.0, 10.0), gain=6.0, speed=0.1))
    assert augmentation.distort(tf.zeros([0]), (0, 1), noise=(0.0, 10.0), gain=6.0, speed=0.1).shape == (0,)


def test_distort():
    """The same seed gives the same sound; without settings nothing changes; the gain keeps its range."""
    chosen = {"noise": (5.0, 20.0), "gain": 6.0, "speed": 0.1}
    first = augmentation.distort(WAVEFORM, (3, 4), **chosen).numpy()
    np.testing.assert_array_equal(augmentation.distort(WAVEFORM, (3, 4), **chosen), first)
    assert len(augmentation.distort(WAVEFORM, (3, 5), **chosen)) != len(first)
    np.testing.assert_array_equal(augmentation.distort(WAVEFORM, (3, 4)), WAVEFORM)
    gains = [20 * np.log10(augmentation.distort(WAVEFORM, (0, n), gain=6.0)[0] / WAVEFORM[0]).item() for n in range(50)]
    assert -6 <= min(gains) < -4
    assert 4 < max(gains) <= 6


def test_a_pipeline_of_tf_data_changes_waveforms_alike():
    """Seeds are int64 there, and the factor of the speed is a tensor of the graph."""

    def changed(number):
        seed = tf.stack([number, number])
        waveform = augmentation.distort(WAVEFORM, seed, noise=[5.0, 20.0], gain=6.0, speed=0.1)
        return waveform, augmentation.draw_masks(seed, 1, 1)

    for number, values in enumerate(tf.data.Dataset.range(2).map(changed)):
        for value, expected in zip(values, changed(tf.constant(number, tf.int64)), strict=True):
            np.testing.assert_allclose(value, expected, atol=1e-6)


def test_masks():
    draws = tf.stack([augmentation.draw_masks((0, number)) for number in range(3)])
    settings = {"frequency_width": 4, "time_width": 12}
    value = augmentation.mask(FRAMES, FRAME_COUNT, draws, **settings).numpy()
    kept = value != 0
    np.testing.assert_array_equal(value[kept], FRAMES[kept])
    for item, count in ((0, 60), (1, 31)):
        columns, rows = kept[item, :count].any(0), kept[item, :count].any(1)
        np.testing.assert_array_equal(kept[item, :count], rows[:, np.newaxis] & columns)
        assert 2 <= columns.sum() <= 8
        assert count - 22 <= rows.sum() <= count


def test_masks_are_spread_over_all_places():
    count = 400
    draws = tf.random.stateless_uniform((count, 6), (0, 0))
    frames, length = np.ones((count, 20, 10), "float32"), tf.fill([count], 20)
    value = augmentation.mask(frames, length, draws, 1, 5, 1, 100, time_fraction=0.5).numpy()
    bands, spans = (value.max(1) == 0).sum(1), (value.max(2) == 0).sum(1)
    assert set(bands) == set(range(5))
    assert set(spans) == set(range(10))  # half of 20 frames
    assert (value == 0).any(1).any(0).all()
    assert (value == 0).any(2).any(0).all()


def test_groups_are_masked_alike():
    draws = augmentation.draw_masks((0, 1), 2, 0)[tf.newaxis]
    value = augmentation.mask(FRAMES[:1], FRAME_COUNT[:1], draws, 2, 4, 0, groups=2).numpy()
    np.testing.assert_array_equal(value[..., :4] == 0, value[..., 4:] == 0)
    assert (value == 0).any()


def test_warp_moves_frames_and_keeps_the_ends():
    """Features that are the frames' own numbers show where each frame comes from."""
    frames = np.tile(np.arange(60, dtype="float32")[:, np.newaxis], (3, 1, 8))
    value = augmentation.mask(frames, FRAME_COUNT, tf.constant([[0.5, 1.0]] * 3), 0, 0, 0, 0, warp=10).numpy()
    for item, count, centre, reach in ((0, 60, 29.5, 10), (1, 31, 15, 10)):
        expected = np.interp(np.arange(count), [0, centre + reach, count - 1], [0, centre, count - 1])
        np.testing.assert_allclose(value[item, :count, 0], expected, atol=1e-4)
        assert not value[item, count:].any()
    still = augmentation.mask(FRAMES, FRAME_COUNT, tf.constant([[0.3, 0.5]] * 3), 0, 0, 0, 0, warp=10).numpy()
    np.testing.assert_allclose(still[1, :31], FRAMES[1, :31], atol=1e-4)
