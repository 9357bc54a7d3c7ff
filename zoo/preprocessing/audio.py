"""Waveforms to features, in the graph: log-mel spectra or cepstra, their deltas, and mean-variance normalisation.

The settings of one `FrontEnd` give the conventions of librosa, Kaldi and Sphinx: see `zoo.preprocessing.front_end`.

Lengths are explicit, because silence is not padding: waveforms (B, T) come with `samples` (B,), features (B, N, D) with
`frame_count` (B,). Values after an item's length are ignored, whatever they are, and are 0 in what is returned.

Shapes: B batch, T samples, N frames, L samples of a frame, F frequencies, M mel filters, D features.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.preprocessing.front_end import FrontEndSettings


class RunningState(NamedTuple):
    """Weighted means up to the last frame of values relative to the training data's: (B, D) each."""

    mean: tf.Tensor
    square: tf.Tensor


class StreamState(NamedTuple):
    """What `FrontEnd.stream` keeps from part to part."""

    kept: tf.Tensor  # (B, L - 1) samples of the next frame, with pre-emphasis
    count: tf.Tensor  # (B,) int32, how many of them there are
    previous: tf.Tensor  # (B, 1), the last sample
    running: RunningState


class FrontEnd:
    """Features of waveforms, with the settings' conventions.

    Attributes:
        settings: a FrontEndSettings.
    """

    def __init__(self, settings: FrontEndSettings):
        self.settings = settings
        self._window = _window(settings.window, settings.frame_length).astype("float32")
        self._filters = mel_filters(settings).astype("float32")  # (F, M)
        self._dct = _dct(settings).astype("float32") if settings.cepstra else None  # (M, cepstra)

    def exported(self) -> dict:
        """The settings and the arrays as JSON values, for a program that computes the same features."""
        arrays = {"window_values": self._window, "filter_values": self._filters, "dct_values": self._dct}
        lists = {name: None if array is None else array.tolist() for name, array in arrays.items()}
        return {**dataclasses.asdict(self.settings), **lists}

    def __call__(self, waveform, samples):
        """Features of a batch.

        Args:
            waveform: (B, T) float32 in [-1, 1].
            samples: (B,) integers, the length of each item.

        Returns:
            frames (B, N, D) float32, and frame_count (B,) int32.
        """
        waveform = tf.convert_to_tensor(waveform)
        samples = tf.cast(samples, tf.int32)
        frame_count = self.frame_count(samples)
        waveform, _ = self._emphasised(waveform, samples, tf.zeros([tf.shape(waveform)[0], 1]))
        values = self._features(self._frames(waveform, self.frame_count(tf.shape(waveform)[1])), frame_count)
        return self.complete(values, frame_count), frame_count

    def complete(self, values, frame_count):
        """Adds deltas to features and normalises them.

        Args:
            values: (B, N, cepstra or filters) float32, features that were computed elsewhere.
            frame_count: (B,) int32.

        Returns:
            (B, N, D) float32
        """
        s = self.settings
        for _ in range(s.deltas):
            values = tf.concat([values, deltas(values[..., -s.width :], frame_count, s.delta_width)], axis=-1)
        if s.normalize == "utterance":
            values = normalize_utterance(values, frame_count)
        elif s.normalize == "running":
            values, _ = normalize_running(values, frame_count, s.mean, s.deviation, s.time_constant)
        elif s.normalize == "fixed":
            values = masked((values - np.float32(s.mean)) / np.float32(s.deviation), frame_count)
        return tf.ensure_shape(values, (None, None, s.dimension))

    def stream(self, waveform, samples, state: StreamState | None = None):
        """Features of the next part of each item: those of the frames that are full now.

        The parts together have the features of the whole, if it is at least a frame long.

        Args:
            waveform: (B, T) float32, the samples that follow the last part. B stays the same.
            samples: (B,) integers.
            state: as the call for the last part returned it; None for the first part.

        Returns:
            frames (B, N, D) float32, frame_count (B,) int32, and the state.

        Raises:
            ZooError: a setting needs samples or frames that are yet to come.
        """
        s = self.settings
        late = {"edges": s.edges != "snip", "deltas": s.deltas, "normalize": s.normalize == "utterance",
                "decibel_range": s.decibel_range is not None}  # fmt: skip
        for name in (name for name, is_late in late.items() if is_late):
            raise ZooError(f"a front end with {name}={getattr(s, name)!r} can't stream: it needs what is yet to come")
        waveform = tf.convert_to_tensor(waveform)
        samples = tf.cast(samples, tf.int32)
        batch, overlap = tf.shape(waveform)[0], s.frame_length - 1
        if state is None:
            zeros = tf.zeros([batch, s.dimension])
            state = StreamState(
                tf.zeros([batch, overlap]),
                tf.zeros([batch], tf.int32),
                tf.zeros([batch, 1]),
                RunningState(zeros, zeros + 1.0),
            )
        waveform, previous = self._emphasised(waveform, samples, state.previous)
        # The samples that were kept, then the new ones, without a gap.
        both = tf.concat([state.kept, waveform, tf.zeros([batch, s.frame_length])], axis=1)
        total = state.count + samples
        place = tf.range(overlap + tf.shape(waveform)[1])
        gap = tf.where(place < state.count[:, tf.newaxis], 0, overlap - state.count[:, tf.newaxis])
        joined = tf.gather(both, place + gap, batch_dims=1)
        joined = tf.where(place < total[:, tf.newaxis], joined, 0.0)
        frame_count = tf.maximum(1 + (total - s.frame_length) // s.frame_step, 0)
        count = tf.maximum(1 + (tf.size(place) - s.frame_length) // s.frame_step, 0)
        values = self._features(self._frames(joined, count), frame_count)
        running = state.running
        if s.normalize == "running":
            values, running = normalize_running(values, frame_count, s.mean, s.deviation, s.time_constant, running)
        elif s.normalize == "fixed":
            values = masked((values - np.float32(s.mean)) / np.float32(s.deviation), frame_count)
        used = frame_count * s.frame_step
        kept = tf.gather(
            tf.pad(joined, ((0, 0), (0, overlap))), used[:, tf.newaxis] + tf.range(overlap), batch_dims=1
        )  # (B, L - 1)
        return values, frame_count, StreamState(kept, total - used, previous, running)

    def frame_count(self, samples):
        """The number of frames of items of `samples` samples: integers of any shape, a tensor or not."""
        s = self.settings
        if s.edges == "centre":
            count = 1 + samples // s.frame_step
        else:
            count = (1 if s.edges == "snip" else 2) + (samples - s.frame_length) // s.frame_step
        if tf.is_tensor(samples):
            return tf.where(samples > 0, tf.maximum(count, 1), 0)
        return np.where(np.asarray(samples) > 0, np.maximum(count, 1), 0)

    def time_of(self, frame) -> float:
        """The time in seconds at which the centre of a frame is, from the start of the waveform."""
        s = self.settings
        centre = frame * s.frame_step + (0 if s.edges == "centre" else s.frame_length / 2)
        return centre / s.rate

    def _features(self, frames, frame_count):
        """(B, N, L), (B,) -> (B, N, M), or (B, N, cepstra)."""
        s = self.settings
        if s.remove_dc:
            # Zeros after the end of a short item are not samples, but count for the mean, as the window counts them.
            frames -= tf.reduce_mean(frames, axis=-1, keepdims=True)
        energy = None
        if s.log_energy:
            energy = self._log(tf.reduce_sum(frames * frames, axis=-1, keepdims=True))  # (B, N, 1)
        if s.pre_emphasis and s.pre_emphasis_in == "frame":
            frames -= s.pre_emphasis * tf.concat([frames[..., :1], frames[..., :-1]], axis=-1)
        # Padded here, because the operation does not pad a batch without frames.
        frames = tf.pad(frames * self._window, ((0, 0), (0, 0), (0, s.fft_size - s.frame_length)))
        spectrum = tf.signal.rfft(frames)  # (B, N, F)
        spectrum = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
        if s.power == 1:
            spectrum = tf.sqrt(spectrum)
        values = self._log(_product(spectrum, self._filters))
        if s.decibel_range is not None:
            loudest = tf.where(_is_valid(values, frame_count), values, values.dtype.min)
            values = tf.maximum(values, tf.reduce_max(loudest, axis=(1, 2), keepdims=True) - s.decibel_range)
        if s.cepstra:
            values = _product(values, self._dct)
        if energy is not None:
            values = tf.concat([energy, values[..., 1:]], axis=-1)
        return masked(values, frame_count)

    def _emphasised(self, waveform, samples, previous):
        """Scaled, with pre-emphasis, and 0 after an item's end: (B, T), (B,) and the sample before the first, (B, 1).

        Also returns the last sample of each item, (B, 1).
        """
        s = self.settings
        inside = tf.range(tf.shape(waveform)[1]) < samples[:, tf.newaxis]
        waveform = tf.where(inside, waveform * s.scale, 0.0)
        with_previous = tf.concat([previous, waveform], axis=1)
        if s.pre_emphasis and s.pre_emphasis_in == "signal":
            waveform = tf.where(inside, waveform - s.pre_emphasis * with_previous[:, :-1], 0.0)
        return waveform, tf.gather(with_previous, samples, batch_dims=1)[:, tf.newaxis]

    def _frames(self, waveform, count):
        """The first `count` frames: (B, T) -> (B, count, L). Zeros follow the waveform."""
        s = self.settings
        # A frame consists of this many blocks of frame_step samples, and begins one block after the frame before.
        blocks = -(-s.frame_length // s.frame_step)
        size = (count + blocks - 1) * s.frame_step
        before = (s.frame_length + 1) // 2 if s.edges == "centre" else 0
        after = tf.maximum(size - before - tf.shape(waveform)[1], 0)
        waveform = tf.pad(waveform, ((0, 0), (before, after)))[:, :size]
        steps = tf.reshape(waveform, [tf.shape(waveform)[0], count + blocks - 1, s.frame_step])
        frames = tf.concat([steps[:, block : block + count] for block in range(blocks)], axis=-1)
        return frames[..., : s.frame_length]

    def _log(self, values):
        s = self.settings
        values = tf.math.log(tf.maximum(values + s.log_offset, s.log_floor))
        return values * (10.0 / math.log(10.0)) if s.logarithm == "decibel" else values


def masked(values, frame_count):
    """0 in place of what is after an item's end: (B, N, D), (B,) -> (B, N, D)."""
    return tf.where(_is_valid(values, frame_count), values, 0.0)


def deltas(values, frame_count, width: int = 2):
    """Slopes of the features by linear regression over 2 width + 1 frames: (B, N, D), (B,) -> (B, N, D).

    The HTK Book 3.4, equation 5.16; the first and the last frame of an item are repeated outside of it.
    """
    count = tf.shape(values)[1]
    # The padding lets an item without frames have a last one.
    last = tf.gather(tf.pad(values, ((0, 0), (1, 0), (0, 0))), frame_count[:, tf.newaxis], batch_dims=1)  # (B, 1, D)
    values = tf.where(_is_valid(values, frame_count), values, last)
    first = tf.concat([values, last], axis=1)[:, :1]
    values = tf.concat([*[first] * width, values, *[last] * width], axis=1)
    slopes = tf.add_n(
        [n * (values[:, width + n : width + n + count] - values[:, width - n : width - n + count])
         for n in range(1, width + 1)]
    )  # fmt: skip
    return masked(slopes / (2 * sum(n * n for n in range(1, width + 1))), frame_count)


def normalize_utterance(values, frame_count):
    """Subtracts the mean of an item's frames and divides by their standard deviation: (B, N, D), (B,) -> (B, N, D).

    A feature that is the same in all frames, as in digital silence, becomes exactly 0.
    """
    count = tf.cast(tf.maximum(frame_count, 1), tf.float32)[:, tf.newaxis, tf.newaxis]
    values -= values[:, :1]  # the rounded mean of equal values would differ from them
    mean = tf.reduce_sum(masked(values, frame_count), axis=1, keepdims=True) / count
    values = masked(values - mean, frame_count)
    variance = tf.reduce_sum(values * values, axis=1, keepdims=True) / count
    return values / tf.maximum(tf.sqrt(variance), 1e-4)


def normalize_running(values, frame_count, mean, deviation, time_constant: float = 300.0, state=None):
    """Normalises by the frames up to the present one: (B, N, D), (B,) -> (B, N, D), and the state after the last frame.

    The mean and the mean square are m[n] = a m[n - 1] + (1 - a) x[n] with a = exp(-1 / time_constant). A recording that
    is given in chunks, each with the state of the one before, has the values that it has as a whole.

    Args:
        values: (B, N, D).
        frame_count: (B,).
        mean, deviation: (D,), of the training data. The state before the first frame has them.
        time_constant: frames.
        state: a RunningState; None before the first frame.
    """
    keep = math.exp(-1.0 / time_constant)
    mean, deviation = tf.cast(mean, tf.float32), tf.cast(deviation, tf.float32)
    x = masked((values - mean) / deviation, frame_count)
    size = x.shape[-1]
    if state is None:
        zeros = tf.zeros([tf.shape(x)[0], size])
        state = RunningState(zeros, zeros + 1.0)
    before = tf.concat(list(state), axis=-1)[:, tf.newaxis]  # (B, 1, 2 D)
    sums = (1.0 - keep) * tf.concat([x, x * x], axis=-1)
    sums = tf.concat([before, sums], axis=1)  # (B, 1 + N, 2 D)
    # Each pass doubles the number of frames that a sum covers; what is left out at the end is below 1e-9 of it.
    reach = 1
    while keep**reach > 1e-9:
        shifted = tf.pad(sums, ((0, 0), (reach, 0), (0, 0)))[:, : tf.shape(sums)[1]]
        sums += keep**reach * shifted
        reach *= 2
    after = tf.gather(sums, frame_count, batch_dims=1)  # (B, 2 D); an item without frames keeps its state
    average, square = sums[:, 1:, :size], sums[:, 1:, size:]
    variance = tf.maximum(square - average * average, 1e-4)
    return masked((x - average) / tf.sqrt(variance), frame_count), RunningState(after[:, :size], after[:, size:])


def mel_filters(settings: FrontEndSettings) -> np.ndarray:
    """The weights of the mel filters, (F, M) float64."""
    s = settings
    to_mel, to_hertz = _MEL_SCALES[s.mel_scale]
    frequencies = np.arange(s.fft_size // 2 + 1) * s.rate / s.fft_size  # (F,)
    corners = np.linspace(to_mel(s.lowest), to_mel(s.highest), s.filters + 2)
    if s.triangles_in == "hertz" or s.round_edges:
        corners = to_hertz(corners)
    if s.round_edges:
        corners = np.floor(corners * s.fft_size / s.rate + 0.5) * s.rate / s.fft_size
    area = (corners[2:] - corners[:-2]) / 2
    if s.triangles_in == "mel":
        frequencies = to_mel(frequencies)
        corners = to_mel(corners) if s.round_edges else corners
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    with np.errstate(divide="ignore", invalid="ignore"):  # the corners of a narrow filter are rounded to one frequency
        rising = (frequencies[:, np.newaxis] - left) / (middle - left)
        falling = (right - frequencies[:, np.newaxis]) / (right - middle)
        weights = np.maximum(0.0, np.minimum(rising, falling))
        weights = np.nan_to_num(weights / area if s.unit_area else weights)
    empty = np.flatnonzero(weights.max(axis=0) == 0)
    if empty.size:
        raise ZooError(
            f"mel filter {empty[0]} of {s.filters} lies between two frequencies of the transform: use fewer filters "
            f"or an fft_size above {s.fft_size}"
        )
    return weights


def _htk(hertz):
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _htk_inverse(mel):
    return 700.0 * np.expm1(np.asarray(mel) / 1127.0)


# Slaney 1998, Auditory Toolbox: 3 mel per 200 Hz up to 1,000 Hz, then 27 mel per factor of 6.4.
def _slaney(hertz):
    hertz = np.asarray(hertz, "float64")
    return np.where(hertz < 1000.0, hertz * 0.015, 15.0 + 27.0 * np.log(np.maximum(hertz, 1000.0) / 1000.0) / _LOG_STEP)


def _slaney_inverse(mel):
    mel = np.asarray(mel, "float64")
    return np.where(mel < 15.0, mel / 0.015, 1000.0 * np.exp(_LOG_STEP * (np.maximum(mel, 15.0) - 15.0) / 27.0))


_LOG_STEP = math.log(6.4)
_MEL_SCALES = {"htk": (_htk, _htk_inverse), "slaney": (_slaney, _slaney_inverse)}


def _window(name: str, length: int) -> np.ndarray:
    """(L,)"""
    turn = 2.0 * np.pi * np.arange(length) / max(length if name == "hann" else length - 1, 1)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(turn)
    hann = 0.5 - 0.5 * np.cos(turn)
    return hann**0.85 if name == "povey" else hann


def _dct(settings: FrontEndSettings) -> np.ndarray:
    """The cosine transform and the lifter: (M, cepstra)."""
    s = settings
    order = np.arange(s.cepstra)
    matrix = np.cos(np.pi * order * (np.arange(s.filters)[:, np.newaxis] + 0.5) / s.filters)
    if s.dct == "sphinx":
        matrix[0] /= 2.0
        matrix /= s.filters
    else:
        matrix *= np.where(order == 0, math.sqrt(1.0 / s.filters), math.sqrt(2.0 / s.filters))
    if s.lifter:
        matrix *= 1.0 + s.lifter / 2.0 * np.sin(np.pi * (order + s.lifter_first) / s.lifter)
    return matrix


def _is_valid(values, frame_count):
    """(B, N, 1)"""
    return (tf.range(tf.shape(values)[1]) < frame_count[:, tf.newaxis])[..., tf.newaxis]


def _product(values, matrix):
    """(B, N, K), (K, D) -> (B, N, D) as one product of matrices."""
    shape = tf.shape(values)
    flat = tf.matmul(tf.reshape(values, [-1, matrix.shape[0]]), matrix)
    return tf.reshape(flat, [shape[0], shape[1], matrix.shape[1]])
