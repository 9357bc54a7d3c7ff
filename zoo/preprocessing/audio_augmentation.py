"""Random changes of sound in training: of single waveforms and of batches of features. Stateless, a seed per item.

Waveforms are changed before they are batched, because a change of speed changes their length.
"""

import math

import tensorflow as tf

from zoo.preprocessing.audio import masked

_REACH = 12  # samples on each side from which a sample between two others is computed


def distort(waveform, seed, noise: tuple[float, float] | None = None, gain: float = 0.0, speed: float = 0.0):
    """Changes the speed, adds noise and changes the gain, in this order: (T,) -> (T',) float32.

    Args:
        waveform: (T,) float32.
        seed: (2,) integers.
        noise: the lowest and the highest ratio of signal to noise, decibels; None adds none.
        gain: the greatest change, decibels, up or down.
        speed: the greatest change, a fraction, up or down, as in Ko et al. 2015, "Audio augmentation for speech
            recognition", which takes 0.1; pitch and length change too.
    """
    seed = tf.convert_to_tensor(seed)
    draws = tf.random.stateless_uniform((4,), seed, -1.0, 1.0)
    if speed:
        waveform = change_speed(waveform, 1.0 + speed * draws[0])
    if noise is not None:
        low, high = noise
        ratio = low + (high - low) * (draws[1] + 1.0) / 2.0
        waveform = add_noise(waveform, seed + [0, 1], ratio, tilt=(draws[2] + 1.0) / 2.0)
    if gain:
        waveform *= 10.0 ** (gain * draws[3] / 20.0)
    return waveform


def change_speed(waveform, factor):
    """Plays a waveform `factor` times as fast: (T,) -> (round(T / factor),).

    Samples are interpolated by a sinc function with a Hann window; what would lie above half the rate is removed.
    """
    factor = tf.cast(factor, tf.float64)
    count = tf.cast(tf.round(tf.cast(tf.size(waveform), tf.float64) / factor), tf.int32)
    position = tf.range(tf.cast(count, tf.float64), dtype=tf.float64) * factor  # in float32, seconds later, imprecise
    left = tf.floor(position)
    fraction = tf.cast(position - left, tf.float32)
    band = tf.minimum(1.0, tf.cast(1.0 / factor, tf.float32))
    padded = tf.pad(waveform, ((_REACH, _REACH + 1),))
    values, total = tf.zeros([count]), tf.zeros([count])
    for tap in range(1 - _REACH, _REACH + 1):
        distance = tap - fraction
        angle = math.pi * band * distance
        sinc = tf.where(tf.abs(angle) < 1e-4, 1.0, tf.sin(angle) / tf.where(tf.abs(angle) < 1e-4, 1.0, angle))
        weight = sinc * tf.cos(math.pi / 2 * distance / _REACH) ** 2
        places = tf.minimum(tf.cast(left, tf.int32) + _REACH + tap, tf.size(padded) - 1)
        values += weight * tf.gather(padded, places)
        total += weight
    return values / total


def add_noise(waveform, seed, ratio, tilt=0.0):
    """Adds Gaussian noise whose power is `ratio` decibels below the mean power of the waveform: (T,) -> (T,).

    Args:
        waveform: (T,). Digital silence stays silent.
        seed: (2,) integers.
        ratio: of signal to noise, decibels.
        tilt: from 0, white noise, to 1, noise that has most of its power at low frequencies.
    """
    noise = tf.random.stateless_normal(tf.shape(waveform), seed)
    # A moving sum over 16 samples is a low-pass filter.
    sums = tf.cumsum(tf.pad(noise, ((16, 0),)))
    noise = (1.0 - tilt) * noise + tilt * (sums[16:] - sums[:-16]) / 4.0
    size = tf.cast(tf.maximum(tf.size(waveform), 1), tf.float32)
    power, own = tf.reduce_sum(waveform**2) / size, tf.reduce_sum(noise**2) / size
    return waveform + noise * tf.sqrt(power * 10.0 ** (-ratio / 10.0) / tf.maximum(own, 1e-12))


def change_tempo(frames, seed, speed: float):
    """Features at a random speed: (N, D) -> (N', D), interpolated linearly between frames.

    Args:
        frames: (N, D) float32.
        seed: (2,) integers.
        speed: the greatest change, a fraction, up or down. The pitch stays, in contrast to that of `change_speed`.
    """
    factor = 1.0 + speed * tf.random.stateless_uniform((), tf.convert_to_tensor(seed), -1.0, 1.0)
    last = tf.shape(frames)[0] - 1
    position = tf.range(tf.floor(tf.cast(last, tf.float32) / factor) + 1.0) * factor  # (N',)
    left = tf.minimum(tf.cast(position, tf.int32), last)
    fraction = (position - tf.cast(left, tf.float32))[:, tf.newaxis]
    return tf.gather(frames, left) * (1.0 - fraction) + tf.gather(frames, tf.minimum(left + 1, last)) * fraction


def draw_masks(seed, frequency_masks: int = 2, time_masks: int = 2):
    """The random numbers of one item's `mask`: (2,) integers -> (2 + 2 * masks,) float32 in [0, 1)."""
    return tf.random.stateless_uniform((2 + 2 * (frequency_masks + time_masks),), tf.convert_to_tensor(seed) + [0, 2])


def mask(
    frames,
    frame_count,
    draws,
    frequency_masks: int = 2,
    frequency_width: int = 27,
    time_masks: int = 2,
    time_width: int = 100,
    time_fraction: float = 1.0,
    warp: int = 0,
    groups: int = 1,
):
    """SpecAugment: warps time, and sets bands of features and spans of frames to 0, the mean of normalised features.

    Park et al. 2019, "SpecAugment", arXiv 1904.08779, section 2; the defaults are the policy LD of its table 1 without
    the warp, whose greatest move is 80 frames there.

    Args:
        frames: (B, N, D), normalised.
        frame_count: (B,).
        draws: (B, 2 + 2 * masks), one row of `draw_masks` per item.
        frequency_masks, time_masks: number of bands and of spans.
        frequency_width: a band has fewer features than this.
        time_width: a span has fewer frames than this.
        time_fraction: the greatest length of a span over that of the item.
        warp: the greatest move of a frame, frames. Interpolation is linear; the paper's is a spline.
        groups: parts of D, such as features and their deltas, that are masked alike.

    Returns:
        (B, N, D)
    """
    size = frames.shape[-1] // groups
    length = tf.cast(frame_count, tf.float32)[:, tf.newaxis]  # (B, 1)
    if warp:
        frames = _warped(frames, frame_count, draws[:, :2], warp)
    columns = tf.range(size, dtype=tf.float32)  # (M,)
    rows = tf.range(tf.shape(frames)[1])  # (N,)
    keep_columns = tf.ones([tf.shape(frames)[0], size], tf.bool)
    keep_rows = tf.ones(tf.shape(frames)[:2], tf.bool)
    for number in range(frequency_masks + time_masks):
        width, place = tf.unstack(draws[:, 2 + 2 * number : 4 + 2 * number, tf.newaxis], axis=1)  # (B, 1)
        if number < frequency_masks:
            width = tf.floor(width * min(frequency_width, size))
            first = tf.floor(place * (size - width))
            keep_columns &= (columns < first) | (columns >= first + width)
        else:
            width = tf.floor(width * tf.minimum(float(time_width), time_fraction * length))
            first = tf.floor(place * (length - width))
            index = tf.cast(rows, tf.float32)
            keep_rows &= (index < first) | (index >= first + width)
    keep = keep_rows[:, :, tf.newaxis] & tf.tile(keep_columns, [1, groups])[:, tf.newaxis]
    return tf.where(keep, frames, 0.0)


def _warped(frames, frame_count, draws, warp):
    """Moves a random frame of each item by up to `warp` frames; the first and the last frame stay."""
    last = tf.cast(tf.maximum(frame_count - 1, 0), tf.float32)[:, tf.newaxis]  # (B, 1)
    reach = tf.minimum(float(warp), tf.floor(last / 2.0))
    centre = reach + draws[:, :1] * (last - 2.0 * reach)
    goal = centre + (2.0 * draws[:, 1:] - 1.0) * reach
    index = tf.range(tf.cast(tf.shape(frames)[1], tf.float32))  # (N,)
    before = index * centre / tf.maximum(goal, 1e-3)
    after = centre + (index - goal) * (last - centre) / tf.maximum(last - goal, 1e-3)
    source = tf.clip_by_value(tf.where(index <= goal, before, after), 0.0, last)  # (B, N)
    left = tf.cast(tf.floor(source), tf.int32)
    right = tf.minimum(left + 1, tf.maximum(frame_count - 1, 0)[:, tf.newaxis])
    fraction = (source - tf.floor(source))[..., tf.newaxis]
    mixed = tf.gather(frames, left, batch_dims=1) * (1.0 - fraction) + tf.gather(frames, right, batch_dims=1) * fraction
    return masked(mixed, frame_count)
