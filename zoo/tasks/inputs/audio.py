"""Audio input: a sound of any format, rate and length, or its features -> frames of features."""

import numpy as np
import tensorflow as tf

from zoo.data import sound
from zoo.data.layouts import ClassFolders
from zoo.data.stream import readable
from zoo.errors import InputError, ZooError
from zoo.preprocessing import audio_augmentation as augmentation
from zoo.preprocessing.audio import FrontEnd
from zoo.preprocessing.front_end import front_end_settings
from zoo.tasks.raw import RawInput
from zoo.tasks.raw.audio import waveform_of
from zoo.tasks.settings import MASKS, SOUND_CHANGES, AudioSettings
from zoo.tasks.task import Task

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au"})
_SHADES = " .:-=+*#%@"


class AudioInput(Task):
    """Reads `frames` (B, N, D) and `frame_count` (B,); settings are those of `zoo.tasks.settings.AudioSettings`.

    A prepared item is its `waveform` (T,) and `samples`, their number; the front end computes the features of a whole
    batch. A data set may have `frames` (N, cepstra or filters) in the place of waveforms, as may answers with the
    setting raw = features: the front end adds deltas and normalises them, and a prepared item is `frames` and
    `frame_count`.
    """

    raw_kinds = {"waveform": "audio"}
    layout = ClassFolders("waveform", "sounds", SUFFIXES)

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if missing := sorted({"frames", "frame_count"} - set(model.input)):
            raise ZooError(f"{model.name} is not a model for {self.name}: it has no input {missing[0]!r}")
        features = self.settings.features()
        size, dimension = model.input["frames"].shape[-1], features.dimension
        if size != dimension:
            raise ZooError(f"{model.name} takes {size} features per frame, but the front end computes {dimension}")
        self.rate, self.front_end = features.rate, FrontEnd(features)
        self.longest = int(self.settings.longest * self.rate)
        self.most_frames = int(self.front_end.frame_count(self.longest))

    @classmethod
    def adapt(cls, source, settings, assets):
        """With front_end.normalize = running or fixed, mean and deviation of each feature over all frames."""
        learned, files, arguments = super().adapt(source, settings, assets)
        chosen: AudioSettings = cls.Settings.checked(cls.name, settings)
        if chosen.features().normalize not in ("running", "fixed") or chosen.mean or chosen.deviation:
            return learned, files, arguments
        plain = FrontEnd(front_end_settings({**chosen.front_end, "normalize": None}))

        of_sound = tf.function(lambda waveform: plain(waveform[tf.newaxis], [tf.size(waveform)])[0][0],
                               input_signature=[tf.TensorSpec((None,), tf.float32)], autograph=False)  # fmt: skip
        count, total = 0, np.zeros(plain.settings.dimension)
        squares = np.zeros_like(total)
        most = plain.frame_count(int(chosen.longest * plain.settings.rate))
        for example in source.dataset.as_numpy_iterator():
            if "frames" in example:
                frames = example["frames"].astype("float32")
                _check_width(frames, plain.settings.width)
                if not (0 < len(frames) <= most and np.isfinite(frames).all()):
                    continue  # training refuses it
                values = plain.complete(frames[np.newaxis], tf.constant([len(frames)]))[0]
            else:
                try:
                    values = of_sound(_waveform(example["waveform"], plain.settings.rate, chosen.longest))
                except InputError:
                    continue  # training refuses it
            values = values.numpy().astype("float64")
            count += len(values)
            total += values.sum(axis=0)
            squares += (values**2).sum(axis=0)
        mean = total / max(count, 1)
        deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 1e-8))
        measured = {name: [float(f"{value:.6g}") for value in values]
                    for name, values in (("mean", mean), ("deviation", deviation))}  # fmt: skip
        return {**learned, **measured}, files, arguments

    def raw_inputs(self):
        if self.settings.raw == "features":
            return (RawInput("frames", "tensor", (None, self.front_end.settings.width), "frame_count"),)
        return (RawInput("waveform", "audio", (None,), "samples", self.rate, self.settings.longest),)

    def read(self, example):
        """A file's bytes, samples at the front end's rate, or features -> (T,) or (N, D) float32.

        The error of a bad file names it.
        """
        where = example.get("file", "an example")
        if "frames" in example:
            return {"frames": self._features(example["frames"], where)}
        item = example["waveform"]
        value, error = tf.numpy_function(self._decoded, [item], (tf.float32, tf.string), stateful=False)
        value = tf.ensure_shape(value, (None,))
        with tf.control_dependencies([readable(error, where)]):
            return {"waveform": tf.identity(value)}

    def _decoded(self, item: bytes | np.ndarray) -> tuple[np.ndarray, bytes]:
        """The waveform and "", or a sample and the error."""
        try:
            return _waveform(item, self.rate, self.settings.longest), b""
        except InputError as error:
            return np.zeros(1, "float32"), str(error).encode()

    def _features(self, frames, where):
        """(N, cepstra or filters) float32."""
        _check_width(frames, self.front_end.settings.width)
        frames = tf.cast(frames, tf.float32)
        error = self._frame_errors(frames[tf.newaxis], tf.shape(frames)[:1])[0]
        with tf.control_dependencies([readable(error, where)]):
            return tf.ensure_shape(frames, (None, self.front_end.settings.width))

    def encode(self, item):
        encoded = super().encode(item)
        if len(frames := encoded.get("frames", ())) > self.most_frames:  # a batch of them would be padded to its length
            raise InputError(f"{len(frames)} frames are more than the limit of {self.most_frames}")
        return encoded

    def prepare(self, raw):
        """(T,) float32 -> `waveform`, and `samples` (); features -> `frames` and `frame_count` ()."""
        if "frames" in raw:
            return {"frames": raw["frames"], "frame_count": tf.shape(raw["frames"])[0]}
        return {"waveform": raw["waveform"], "samples": tf.size(raw["waveform"])}

    def check_examples(self, source):
        super().check_examples(source)
        self._changes("frames" in source.dataset.element_spec)

    def _changes(self, is_features: bool) -> dict:
        """The changes of single sounds in training, by name; features can be changed by their speed only."""
        changes = {key: self.settings.augment[key] for key in SOUND_CHANGES if key in self.settings.augment}
        if is_features and (unknown := sorted(changes.keys() - {"speed"})):
            raise ZooError(f"features can't be changed by {unknown[0]}: leave it out of task.augment")
        return changes

    def augment_inputs(self, prepared, seed):
        """Changes the waveform, and draws the masks, which `finish` applies to the features of a batch."""
        chosen = self.settings.augment
        if changes := self._changes("frames" in prepared):
            if "frames" in prepared:
                frames = augmentation.change_tempo(prepared["frames"], seed, **changes)
                prepared = {"frames": frames, "frame_count": tf.shape(frames)[0]}
            else:
                waveform = augmentation.distort(prepared["waveform"], seed, **changes)
                prepared = {"waveform": waveform, "samples": tf.size(waveform)}
        if any(key in chosen for key in MASKS):
            counts = self._masks()["frequency_masks"], self._masks()["time_masks"]
            prepared = {**prepared, "mask": augmentation.draw_masks(seed, *counts)}
        return prepared

    def _masks(self) -> dict:
        """Arguments of `mask`; masks that the settings do not name are left out."""
        chosen = {key: value for key, value in self.settings.augment.items() if key in MASKS}
        return {"frequency_masks": 0, "time_masks": 0, **chosen}

    @staticmethod
    def length(item):
        prepared, _ = item
        return prepared["frame_count" if "frames" in prepared else "samples"]

    def finish(self, prepared):
        """A prepared batch, or a prepared item -> `frames` and `frame_count`."""
        count = prepared["frame_count" if "frames" in prepared else "samples"]
        if count.shape.rank == 0:
            inputs = self.finish({name: value[tf.newaxis] for name, value in prepared.items()})
            return {name: value[0] for name, value in inputs.items()}
        if "frames" in prepared:
            frames, frame_count = self.front_end.complete(prepared["frames"], count), count
        else:
            frames, frame_count = self.front_end(prepared["waveform"], count)
        if "mask" in prepared:
            groups = 1 + self.front_end.settings.deltas
            frames = augmentation.mask(frames, frame_count, prepared["mask"], groups=groups, **self._masks())
        return {"frames": frames, "frame_count": frame_count}

    def checked(self, raw):
        """`waveform` (B, T) and `samples` (B,) -> the model's inputs and `seconds` (B,), the length of each sound, for
        `run`; and error (B,). A bad item becomes silence.

        With raw = features: `frames` (B, N, cepstra or filters) and `frame_count` (B,).
        """
        if self.settings.raw == "features":
            return self._checked_features(raw["frames"], raw["frame_count"])
        waveform, samples = raw["waveform"], raw["samples"]
        size = tf.shape(waveform)[1]
        is_inside = tf.range(size) < samples[:, tf.newaxis]  # (B, T)
        waveform = tf.where(is_inside, waveform, 0.0)  # padding may be anything
        loudest = tf.reduce_max(tf.abs(waveform), axis=1)
        has_nan = tf.reduce_any(~tf.math.is_finite(waveform), axis=1)
        count, limit = tf.strings.as_string(size), f" samples are more than the limit of {self.longest}"
        errors = [
            (samples < 1, sound.NO_SAMPLES),
            (samples > size, tf.strings.join(["samples must be at most the size of waveform, ", count])),
            (samples > self.longest, tf.strings.join([tf.strings.as_string(samples), limit])),
            (has_nan, sound.NOT_FINITE),
            (loudest > sound.LOUDEST, "a sound must have samples in [-1, 1]"),
        ]
        error = _first(errors, tf.shape(samples))
        is_good = error == ""
        waveform = tf.pad(tf.where(is_good[:, tf.newaxis], waveform, 0.0), [[0, 0], [0, 1]])  # T may be 0
        samples = tf.where(is_good, samples, 1)
        inputs = self.windows({"waveform": waveform, "samples": samples})
        return {**inputs, "seconds": tf.cast(samples, tf.float32) / self.rate}, error

    def _checked_features(self, frames, frame_count):
        is_inside = tf.range(tf.shape(frames)[1]) < frame_count[:, tf.newaxis]  # (B, N)
        frames = tf.where(is_inside[..., tf.newaxis], frames, 0.0)
        error = self._frame_errors(frames, frame_count)
        is_good = error == ""
        frames = tf.pad(tf.where(is_good[:, tf.newaxis, tf.newaxis], frames, 0.0), [[0, 0], [0, 1], [0, 0]])
        return self.windows({"frames": frames, "frame_count": tf.where(is_good, frame_count, 1)}), error

    def _frame_errors(self, frames, frame_count):
        """The error of each item, (B,), of features (B, N, cepstra or filters) that are 0 after an item's end."""
        size = tf.shape(frames)[1]
        most = f" frames are more than the limit of {self.most_frames}"
        count = tf.strings.as_string(size)
        errors = [
            (frame_count < 1, "no frames"),
            (frame_count > size, tf.strings.join(["frame_count must be at most the size of frames, ", count])),
            (frame_count > self.most_frames, tf.strings.join([tf.strings.as_string(frame_count), most])),
            (tf.reduce_any(~tf.math.is_finite(frames), axis=(1, 2)), "features must be finite numbers"),
        ]
        return _first(errors, tf.shape(frame_count))

    def run(self, model, inputs):
        """With the length of each sound, `seconds` (B,), in the outputs; it is unknown for features."""
        inputs = dict(inputs)
        length = {"seconds": inputs.pop("seconds")} if "seconds" in inputs else {}
        return {**super().run(model, inputs), **length}

    def seconds(self, frame, outputs=None):
        """The time at which a frame begins, half a step before its centre.

        With `outputs`, frames are (B, N), and no time is after the end of an item's sound.
        """
        time = tf.maximum(self.front_end.time_of(frame - 0.5), 0.0)
        return tf.minimum(time, outputs["seconds"][:, tf.newaxis]) if "seconds" in (outputs or ()) else time

    def portable_specs(self):
        """The arguments of an exported graph, the model's inputs."""
        if self.settings.raw == "features":
            raise ZooError(f"{self.name} can be exported as saved_model only with raw=features: set raw=waveform")
        return {
            "frames": tf.TensorSpec((None, None, self.front_end.settings.dimension), tf.float32, "frames"),
            "frame_count": tf.TensorSpec((None,), tf.int32, "frame_count"),
        }

    def portable_manifest(self):
        return {**super().portable_manifest(), "front_end": self.front_end.exported()}

    def neutral_input(self):
        if self.settings.raw == "features":
            return np.zeros((25, self.front_end.settings.width), "float32")
        return np.zeros(self.rate // 4, "float32")

    def preview(self, item):
        """The length of the sound, and its level over time as characters, denser for louder parts."""
        if self.settings.raw == "features":
            return f"{len(self.encode(item)['frames'])} frames"
        waveform = self.encode(item)["waveform"]
        levels = [np.sqrt(np.mean(part**2)) for part in np.array_split(waveform, min(40, len(waveform)))]
        places = np.round(np.divide(levels, max(levels) or 1.0) * (len(_SHADES) - 1)).astype(int)
        return f"{len(waveform) / self.rate:.2f} s  {''.join(_SHADES[place] for place in places)}".rstrip()


def _check_width(frames, width: int) -> None:
    """Raises ZooError if features of training data, (N, D), are not those of the front end."""
    if frames.shape[-1] not in (None, width):
        raise ZooError(f"the data have {frames.shape[-1]} features per frame, but the front end computes {width}")


def _first(errors, shape):
    """The first error of each item, or "": pairs of a mask and a text."""
    first = tf.fill(shape, "")
    for is_bad, text in reversed(errors):
        first = tf.where(is_bad, text, first)
    return first


def _waveform(item: bytes | np.ndarray, rate: int, longest: float) -> np.ndarray:
    """The field `waveform` of an example, a file's bytes or samples at `rate`, as (T,) float32."""
    if isinstance(item, np.ndarray) and item.dtype.kind == "O":  # an eager tensor gives bytes in an array without axes
        item = item.item()
    return waveform_of(item, rate, longest)
