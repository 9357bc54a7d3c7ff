"""TFDS builders of speech.

    fsdd           recordings of single digits      waveform (T,), samples, label, speaker
    fsdd_strings   strings of digits made of these  waveform (T,), samples, transcript, speaker
    an4            features of spelled words        frames (N, 13), frame_count, transcript, speaker
    an4_phones     the same, with phones as letters frames (N, 13), frame_count, transcript, speaker, name
    an4_frames     the same, with a phone per frame frames (N, 13), frame_count, phones (N,), speaker, name

Waveforms are float32 in [-1, 1], 8,000 samples per second. The user puts the files into a subfolder of TFDS's
manual_dir, which each builder's instructions name. Importing this module registers the builders:
`tfds.builder("fsdd")`, `tfds.builder("fsdd/without_theo")`.
"""

import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from zoo import quiet
from zoo.data import phones, sound
from zoo.errors import InputError, ZooError

RATE = 8_000  # of the Free Spoken Digit Dataset
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
logging.getLogger("absl").addFilter(quiet.is_wanted)  # TFDS warns that its features in bytes use features' dtype
STRINGS = {"train": 4_000, "validation": 500, "test": 1_000}


def _floats(*shape: int | None) -> tfds.features.Tensor:
    """A tensor that is stored as bytes; TFDS's lists of numbers take a hundred times as long to write."""
    return tfds.features.Tensor(shape=shape, dtype=np.float32, encoding=tfds.features.Encoding.BYTES)


_DIGIT_FEATURES = {
    "waveform": _floats(None),
    "samples": tfds.features.Scalar(dtype=np.int32),
    "speaker": tfds.features.Text(),
}


class Recording(NamedTuple):
    """A file of the Free Spoken Digit Dataset."""

    path: Path
    digit: int
    speaker: str
    index: int


class SpokenDigits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the two builders of the Free Spoken Digit Dataset."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="official", description="every speaker is in every split")] + [
        tfds.core.BuilderConfig(name=f"without_{speaker}", description=f"{speaker} is in the test split only, alone")
        for speaker in SPEAKERS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into fsdd/ put the folder recordings of https://github.com/Jakobovski/free-spoken-digit-dataset"
    )

    def _dataset_info(self, own_features):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({**_DIGIT_FEATURES, **own_features}),
            homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
            citation="Z. Jackson and others, Free Spoken Digit Dataset, CC BY-SA 4.0",
        )

    def recordings(self, manual_dir) -> dict[str, list[Recording]]:
        """The recordings of each split, sorted by name."""
        folder = Path(manual_dir) / "fsdd" / "recordings"
        names = [re.fullmatch(r"(\d)_(\w+)_(\d+)\.wav", path.name) for path in sorted(folder.glob("*.wav"))]
        known = [Recording(folder / name[0], int(name[1]), name[2], int(name[3])) for name in names if name]
        absent = self.builder_config.name.removeprefix("without_")
        splits = divided(known, None if absent == "official" else absent)
        for split, own in splits.items():
            if missing := {*range(10)} - {recording.digit for recording in own}:
                raise ZooError(
                    f"{folder} has no recording of {min(missing)} for the split {split!r}: "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        return splits


def divided(recordings: list[Recording], absent: str | None) -> dict[str, list[Recording]]:
    """Recordings 0 to 4 of every speaker and digit are for test, as the publisher has it, and 5 to 9 for validation.

    With an absent speaker, test has all recordings of this speaker and no other, and training and validation the same
    recordings as before of the others.
    """
    first = {"train": 10, "validation": 5, "test": 0}
    splits: dict[str, list[Recording]] = {split: [] for split in first}
    for recording in recordings:
        split = next(split for split, index in first.items() if recording.index >= index)
        if recording.speaker == absent:
            split = "test"
        elif absent is not None and split == "test":
            continue
        splits[split].append(recording)
    return splits


def _waveform(recording: Recording) -> np.ndarray:
    try:
        return sound.read(recording.path, RATE)
    except InputError as error:
        raise ZooError(f"{recording.path}: {error}") from None


class Fsdd(SpokenDigits):
    """The Free Spoken Digit Dataset: the digits 0 to 9, 50 times by each of six speakers.

    2,400 recordings for training, 300 for validation and 300 for test. In without_george and its like, training and
    validation have 2,000 and 250 recordings of the others, and test all 500 of this speaker.
    """

    def _info(self):
        return self._dataset_info({"label": tfds.features.ClassLabel(names=list("0123456789"))})

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(own) for split, own in self.recordings(dl_manager.manual_dir).items()}

    def _generate_examples(self, recordings):
        for recording in recordings:
            waveform = _waveform(recording)
            yield (
                recording.path.stem,
                {
                    "waveform": waveform,
                    "samples": len(waveform),
                    "label": recording.digit,
                    "speaker": recording.speaker,
                },
            )


class FsddStrings(SpokenDigits):
    """Strings of one to seven digits by one speaker, made of the recordings of the Free Spoken Digit Dataset.

    Each split is made of its own recordings, of which fsdd has the same. Pauses, gain and noise are random; the same
    files give the same strings. The transcript has the digits with spaces between them, such as "3 0 3".
    """

    def _info(self):
        return self._dataset_info({"transcript": tfds.features.Text()})

    def _split_generators(self, dl_manager):
        return {
            split: self._generate_examples(split, own) for split, own in self.recordings(dl_manager.manual_dir).items()
        }

    def _generate_examples(self, split, recordings):
        name = f"{self.builder_config.name} {split}"
        by_speaker: dict[str, list[list[np.ndarray]]] = {}
        for recording in recordings:
            digits = by_speaker.setdefault(recording.speaker, [[] for _ in range(10)])
            digits[recording.digit].append(_waveform(recording))
        speakers = sorted(speaker for speaker, digits in by_speaker.items() if all(digits))
        for number in range(STRINGS[split]):
            # The numbers of RandomState are the same in every version of NumPy.
            random = np.random.RandomState([zlib.crc32(name.encode()), number])
            speaker = speakers[random.randint(len(speakers))]
            digits = random.randint(10, size=random.randint(1, 8))
            takes = [by_speaker[speaker][digit] for digit in digits]
            waveform = joined([each[random.randint(len(each))] for each in takes], random)
            yield (
                number,
                {
                    "waveform": waveform,
                    "samples": len(waveform),
                    "transcript": " ".join(map(str, digits)),
                    "speaker": speaker,
                },
            )


def joined(recordings: list[np.ndarray], random: np.random.RandomState) -> np.ndarray:
    """Recordings one after the other, (T,) float32, with random pauses, gain and noise.

    Pauses last up to 0.4 s between two recordings and 0.1 to 0.5 s at both ends. The levels of the recordings differ by
    up to 6 dB; the loudest sample of all is 0 to 20 dB below 1. Noise is 10 to 40 dB below the mean power of the
    recordings, and between white and pink.
    """
    pauses = random.uniform(0.0, 0.4, len(recordings) + 1)
    pauses[[0, -1]] += 0.1
    parts = []
    for pause, recording in zip(pauses, recordings, strict=False):
        power = max(float(np.mean(recording.astype("float64") ** 2)), 1e-10)
        level = 10.0 ** (random.uniform(-3.0, 3.0) / 20.0)
        ramp = np.minimum(1.0, np.arange(1, len(recording) + 1) / 16)  # 2 ms, against clicks
        parts += [np.zeros(int(pause * RATE)), recording / np.sqrt(power) * level * ramp * ramp[::-1]]
    signal = np.concatenate([*parts, np.zeros(int(pauses[-1] * RATE))])
    spectrum = np.fft.rfft(random.standard_normal(len(signal)))
    spectrum /= np.arange(1, len(spectrum) + 1) ** random.uniform(0.0, 0.5)  # of amplitudes: 0.5 is pink
    noise = np.fft.irfft(spectrum, len(signal))
    # The recordings have a mean power of 1.
    signal += noise / np.sqrt(np.mean(noise**2)) * 10.0 ** (-random.uniform(10.0, 40.0) / 20.0)
    peak = 10.0 ** (-random.uniform(0.0, 20.0) / 20.0)
    return (signal * peak / np.abs(signal).max()).astype("float32")


class Utterance(NamedTuple):
    """An item of AN4."""

    name: str
    transcript: str
    frames: np.ndarray  # (N, 13)


class An4Speech(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the builders of AN4; `targets` gives the other fields of an utterance than its features."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into an4/ put the folders etc and feat of the cepstra archive of http://www.speech.cs.cmu.edu/databases/an4, "
        "or an4_mfcc13.npz with the arrays train_feats, train_offsets, train_text, train_id and those of test"
    )

    def _dataset_info(self, own_features):
        shared = {
            "frames": _floats(None, 13),
            "frame_count": tfds.features.Scalar(dtype=np.int32),
            "speaker": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({**shared, **own_features}),
            homepage="http://www.speech.cs.cmu.edu/databases/an4",
            citation="Acero 1993, Acoustical and environmental robustness in automatic speech recognition, Kluwer",
        )

    def prepare(self, folder: Path) -> None:
        """Reads what `targets` needs from the user's folder."""

    def targets(self, utterance: Utterance) -> dict:
        raise NotImplementedError

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "an4"
        read = _packed if (folder / "an4_mfcc13.npz").is_file() else _published
        try:
            train, test = [*read(folder, "train")], [*read(folder, "test")]
            self.prepare(folder)
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        held_out = sorted({speaker_of(utterance.name) for utterance in train})[4::9]
        splits: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": test}
        for utterance in train:
            splits["validation" if speaker_of(utterance.name) in held_out else "train"].append(utterance)
        return {split: self._generate_examples(own) for split, own in splits.items()}

    def _generate_examples(self, utterances):
        for utterance in utterances:
            shared = {
                "frames": utterance.frames,
                "frame_count": len(utterance.frames),
                "speaker": speaker_of(utterance.name),
            }
            yield utterance.name, {**shared, **self.targets(utterance)}


class An4(An4Speech):
    """CMU AN4: spelled names and addresses, digits and control words; 13 cepstra per frame, 100 frames per second.

    948 utterances of 74 speakers for training, of which eight speakers with 100 utterances are the validation split;
    130 utterances of ten other speakers for test. The features are those of `zoo.preprocessing.front_end.SPHINX`.
    Transcripts are in capitals, such as "RUBOUT G M E F THREE NINE".
    """

    def _info(self):
        return self._dataset_info({"transcript": tfds.features.Text()})

    def targets(self, utterance):
        return {"transcript": utterance.transcript}


class An4Phones(An4Speech):
    """The utterances and splits of AN4; a transcript has one letter per phone, such as "go" or "ten TRti" (THIRTY).

    The pronunciations are those of AN4's dictionary, and the letters those of `zoo.data.phones.LETTERS`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{An4Speech.MANUAL_DOWNLOAD_INSTRUCTIONS}, and the archive's etc/an4.dic"

    def _info(self):
        return self._dataset_info({"transcript": tfds.features.Text(), "name": tfds.features.Text()})

    def prepare(self, folder):
        path = folder / "an4.dic"
        self.dictionary = phones.read_dictionary(path if path.is_file() else folder / "etc" / "an4.dic")

    def targets(self, utterance):
        return {"transcript": phones.spoken(utterance.transcript, self.dictionary), "name": utterance.name}


class An4Frames(An4Speech):
    """The utterances and splits of AN4, with the phone of every frame, one of `zoo.data.phones.NAMES`.

    The phones are read from a file that `zoo.training.align` writes.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"{An4Speech.MANUAL_DOWNLOAD_INSTRUCTIONS}; and align its phones: python -m zoo.training.align RUN --out "
        "an4/phones.tsv, where RUN is a run of zoo train blstm_ctc.an4_phones"
    )

    def _info(self):
        labels = tfds.features.Sequence(tfds.features.ClassLabel(names=phones.NAMES))
        return self._dataset_info({"phones": labels, "name": tfds.features.Text()})

    def prepare(self, folder):
        self.path = folder / "phones.tsv"
        self.alignments = phones.read_alignments(self.path)

    def targets(self, utterance):
        own = self.alignments.get(utterance.name, ())
        if len(own) != len(utterance.frames):
            raise ZooError(
                f"{self.path} has {len(own)} frames of {utterance.name}, which has {len(utterance.frames)}: write it "
                "again with zoo.training.align"
            )
        return {"phones": own, "name": utterance.name}


def speaker_of(name: str) -> str:
    """The speaker of an utterance of AN4.

    >>> speaker_of("an251-fash-b")
    'fash'
    """
    return name.split("-")[1]


def _packed(folder: Path, split: str) -> Iterator[Utterance]:
    with np.load(folder / "an4_mfcc13.npz") as arrays:
        features, offsets = arrays[f"{split}_feats"], arrays[f"{split}_offsets"]
        names, texts = arrays[f"{split}_id"], arrays[f"{split}_text"]
    for number, (name, text) in enumerate(zip(names, texts, strict=True)):
        yield Utterance(str(name), str(text), features[offsets[number] : offsets[number + 1]])


def _published(folder: Path, split: str) -> Iterator[Utterance]:
    """etc/an4_train.fileids has a path per line, etc/an4_train.transcription a line "<s> YES </s> (an253-fash-b)"."""
    path = folder / "etc" / f"an4_{split}.transcription"
    texts = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        parts = re.fullmatch(r"\s*(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\((\S+)\)\s*", line)
        if not parts:
            raise ZooError(f"{path}, line {number}: expected a transcript and the name of an utterance in brackets")
        texts[parts[2]] = parts[1]
    for line in (folder / "etc" / f"an4_{split}.fileids").read_text("utf-8").split():
        name = line.rpartition("/")[2]
        if name not in texts:
            raise ZooError(f"{path} has no transcript of {name}")
        yield Utterance(name, texts[name], read_cepstra(folder / "feat" / f"{line}.mfc"))


def read_cepstra(path: Path, dimension: int = 13) -> np.ndarray:
    """A file of sphinx_fe, a count of floats and the floats in either byte order -> (N, dimension) float32."""
    content = path.read_bytes()
    for order in (">", "<"):
        count = int(np.frombuffer(content, f"{order}i4", 1)[0]) if len(content) >= 4 else -1
        if 4 * (count + 1) == len(content) and count % dimension == 0:
            return np.frombuffer(content, f"{order}f4", offset=4).reshape(-1, dimension).astype("float32")
    raise ZooError(f"{path} is not a file of {dimension} cepstra per frame, as sphinx_fe writes it")
