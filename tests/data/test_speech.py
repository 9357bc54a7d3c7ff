"""Spoken digits, strings of them, and the features of AN4, in the layouts of their publishers."""

import numpy as np
import pytest
import soundfile

from zoo.data import speech
from zoo.data.phones import write_alignments
from zoo.data.sources import open_source
from zoo.errors import ZooError

FIELDS = ("waveform", "samples", "speaker")


def tone(digit: int, index: int) -> np.ndarray:
    """A sine whose frequency is the digit's, with a second one that marks recordings 0 to 4."""
    time = np.arange(1_600 + 8 * index) / speech.RATE
    marked = 0.5 * np.sin(2 * np.pi * 3_500 * time) if index < 5 else 0.0
    return 0.3 * (np.sin(2 * np.pi * (400 + 200 * digit) * time) + marked)


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """TFDS's folder with 12 recordings of each digit by two speakers."""
    folder = tmp_path_factory.mktemp("tfds")
    recordings = folder / "downloads" / "manual" / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    for speaker in ("george", "theo"):
        for digit in range(10):
            for index in range(12):
                soundfile.write(recordings / f"{digit}_{speaker}_{index}.wav", tone(digit, index), speech.RATE)
    (recordings / "notes.txt").write_text("not a recording")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "STRINGS", {"train": 30, "validation": 3, "test": 12})
        yield folder


def rows(name, split, fields, folder) -> list[dict]:
    source = open_source(name, split, fields, data_dir=folder)
    examples = [*source.dataset.as_numpy_iterator()]
    assert source.examples == len(examples)
    return examples


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("fsdd", {"train": (2, 10, 11), "validation": (5, 5, 9), "test": (5, 0, 4)}),
        ("fsdd/without_theo", {"train": (2, 10, 11), "validation": (5, 5, 9), "test": (12, 0, 11)}),
    ],
)
def test_digits_are_divided_by_their_index(name, counts, manual):
    for split, (count, first, last) in counts.items():
        examples = rows(name, split, (*FIELDS, "label"), manual)
        speakers = {"fsdd": ["george", "theo"], "fsdd/without_theo": ["theo" if split == "test" else "george"]}[name]
        assert sorted({row["speaker"].decode() for row in examples}) == speakers
        assert len(examples) == 10 * count * len(speakers)
        np.testing.assert_array_equal(np.bincount([row["label"] for row in examples]), [count * len(speakers)] * 10)
        indices = [(row["samples"] - 1_600) // 8 for row in examples]
        assert (min(indices), max(indices)) == (first, last)
        for row, index in zip(examples, indices, strict=True):
            np.testing.assert_allclose(row["waveform"], tone(row["label"], index), atol=1e-4)


def test_terms_and_labels(manual):
    source = open_source("fsdd", "test", FIELDS, data_dir=manual)
    assert source.labels == list("0123456789")
    assert source.terms.startswith("CC BY-SA 4.0")


def heard(waveform: np.ndarray) -> tuple[list[int], bool]:
    """The digits of a string, by the frequency of each 10 ms that is loud, and whether the mark of 0 to 4 is in it."""
    frames = waveform[: len(waveform) // 160 * 160].reshape(-1, 160) * np.hanning(160)
    power = np.abs(np.fft.rfft(frames)) ** 2  # 50 Hz per value
    tones = power[:, 8:46:4]
    is_loud = tones.max(1) > tones.max() / 10
    best = np.where(is_loud, tones.argmax(1), -1)
    runs = np.split(best, np.flatnonzero(np.diff(best)) + 1)
    digits = [run[0] for run in runs if run[0] >= 0 and len(run) >= 3 for _ in range(round(len(run) / 10.4) or 1)]
    return digits, power[is_loud, 70].max() > tones.max() / 40


@pytest.mark.parametrize("name", ["fsdd_strings", "fsdd_strings/without_theo"])
def test_strings(name, manual):
    lengths = set()
    for split, count in speech.STRINGS.items():
        examples = rows(name, split, (*FIELDS, "transcript"), manual)
        assert len(examples) == count
        for row in examples:
            waveform, transcript = row["waveform"], row["transcript"].decode().split(" ")
            digits, has_mark = heard(waveform)
            assert digits == [int(digit) for digit in transcript]
            assert has_mark == (split == "test") or name.endswith("theo")
            assert row["samples"] == len(waveform)
            assert 0.09 < np.abs(waveform).max() <= 1.0
            lengths.add(len(transcript))
        speakers = {row["speaker"] for row in examples}
        assert speakers == ({b"george", b"theo"} if name == "fsdd_strings" else
                            {b"theo"} if split == "test" else {b"george"})  # fmt: skip
    assert lengths == set(range(1, 8))


def test_strings_depend_on_their_number_alone():
    recordings = [tone(3, 5), tone(4, 5)]
    first, again, other = (speech.joined(recordings, np.random.RandomState([7, n])) for n in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(other) != len(first)
    # The numbers of RandomState stay the same, and so do the strings of every user.
    assert (len(first), len(other)) == (10_313, 9_305)


def test_noise_pauses_and_levels():
    silent, ratios, peaks = [], [], []
    for number in range(40):
        waveform = speech.joined([tone(1, 9), tone(2, 9)], np.random.RandomState([number]))
        silent.append(len(waveform) - 2 * len(tone(1, 9)))
        ratios.append(10 * np.log10(np.mean(waveform[1_000:2_400] ** 2) / np.mean(waveform[:700] ** 2)))
        peaks.append(20 * np.log10(np.abs(waveform).max()))
    assert 0.2 * speech.RATE - 3 <= min(silent) < max(silent) <= 1.4 * speech.RATE
    assert min(ratios) < 15
    assert max(ratios) > 30
    assert -20.01 <= min(peaks) < -15 < -5 < max(peaks) <= 0.01


def test_missing_recordings(tmp_path):
    folder = tmp_path / "downloads" / "manual" / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    message = "no recording of 0 for the split 'train': into fsdd/ put the folder recordings of https://github.com"
    with pytest.raises(ZooError, match=message):
        open_source("fsdd", "test", FIELDS, data_dir=tmp_path)
    for digit in range(10):
        for index in (0, 5, 10):
            (folder / f"{digit}_theo_{index}.wav").write_bytes(b"no sound")
    with pytest.raises(ZooError, match=r"0_theo_10.wav: not a sound file: expected WAV"):
        open_source("fsdd", "test", FIELDS, data_dir=tmp_path)


SPEAKERS = [f"f{letter}{letter}{letter}" for letter in "abcdefghijkl"]
FRAMES = np.random.default_rng(0).normal(size=(14, 6, 13)).astype("float32")
TEXTS = [f"WORD {number}" for number in range(12)] + ["GO", "A B"]
NAMES = [f"an{number}-{speaker}-b" for number, speaker in enumerate([*SPEAKERS, "mxxx", "mxxx"])]


def write_published(folder, order=">"):
    (folder / "etc").mkdir(parents=True)
    for split, items in (("train", range(12)), ("test", range(12, 14))):
        lines = [f"<s> {TEXTS[item]} </s> ({NAMES[item]})\n" for item in items]
        (folder / "etc" / f"an4_{split}.transcription").write_text("".join(lines))
        paths = [f"an4_clstk/{NAMES[item].split('-')[1]}/{NAMES[item]}" for item in items]
        (folder / "etc" / f"an4_{split}.fileids").write_text("\n".join(paths) + "\n")
        for item, path in zip(items, paths, strict=True):
            (folder / "feat" / path).parent.mkdir(parents=True, exist_ok=True)
            floats = FRAMES[item, : 1 + item % 6].astype(f"{order}f4")
            content = np.array(floats.size, f"{order}i4").tobytes() + floats.tobytes()
            (folder / "feat" / f"{path}.mfc").write_bytes(content)


def write_packed(folder):
    folder.mkdir(parents=True)
    arrays = {}
    for split, items in (("train", range(12)), ("test", range(12, 14))):
        parts = [FRAMES[item, : 1 + item % 6] for item in items]
        arrays[f"{split}_feats"] = np.concatenate(parts)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, parts)])
        arrays[f"{split}_text"], arrays[f"{split}_id"] = np.array([TEXTS[i] for i in items]), [NAMES[i] for i in items]
    np.savez(folder / "an4_mfcc13.npz", **arrays)


@pytest.mark.parametrize("write", [write_published, write_packed])
def test_an4(write, tmp_path):
    write(tmp_path / "downloads" / "manual" / "an4")
    expected = {"train": {*range(12)} - {4}, "validation": {4}, "test": {12, 13}}
    for split, items in expected.items():
        examples = rows("an4", split, ("frames", "frame_count", "transcript", "speaker"), tmp_path)
        by_text = {row["transcript"].decode(): row for row in examples}
        assert set(by_text) == {TEXTS[item] for item in items}
        for item in items:
            row = by_text[TEXTS[item]]
            np.testing.assert_array_equal(row["frames"], FRAMES[item, : 1 + item % 6])
            assert row["frame_count"] == 1 + item % 6
            assert row["speaker"].decode() == NAMES[item].split("-")[1]


def test_cepstra_of_either_byte_order(tmp_path):
    write_published(tmp_path, order="<")
    path = next((tmp_path / "feat").rglob("an5-*.mfc"))
    np.testing.assert_array_equal(speech.read_cepstra(path), FRAMES[5])
    for content in (b"", b"\0\0", path.read_bytes()[:-1], path.read_bytes() + b"\0" * 4):
        path.write_bytes(content)
        with pytest.raises(ZooError, match="is not a file of 13 cepstra per frame"):
            speech.read_cepstra(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "etc" / "an4_test.fileids").unlink(),
            "there is no .*an4_test.fileids: into an4/ put",
        ),
        (
            lambda folder: (folder / "etc" / "an4_test.transcription").write_text("GO\n"),
            "an4_test.transcription, line 1: expected a transcript and the name",
        ),
        (
            lambda folder: (folder / "etc" / "an4_test.transcription").write_text("GO (an12-mxxx-b)\n"),
            "has no transcript of an13-mxxx-b",
        ),
    ],
)
def test_damaged_an4(change, message, tmp_path):
    folder = tmp_path / "downloads" / "manual" / "an4"
    write_published(folder)
    change(folder)
    with pytest.raises(ZooError, match=message):
        open_source("an4", "train", ("frames",), data_dir=tmp_path)


def test_an4_in_phones(tmp_path):
    """A word has its last pronunciation, in one letter per phone."""
    folder = tmp_path / "downloads" / "manual" / "an4"
    write_published(folder)
    with pytest.raises(ZooError, match="there is no .*an4.dic: into an4/ put .* and the archive's etc/an4.dic"):
        open_source("an4_phones", "test", ("frames",), data_dir=tmp_path)
    numbers = "".join(f"{number} ZH\n" for number in range(12))
    (folder / "etc" / "an4.dic").write_text(
        f"WORD HH W ER D\nWORD(2) W ER D\nA AH\nA(2) EY\nB B IY\nGO G OW\n{numbers}"
    )
    found = {
        row["name"].decode(): row["transcript"].decode()
        for row in rows("an4_phones", "test", ("name", "transcript"), tmp_path)
    }
    assert found == {NAMES[12]: "go", NAMES[13]: "e bi"}
    assert {row["transcript"] for row in rows("an4_phones", "train", ("transcript",), tmp_path)} == {b"wRd Z"}


def test_an4_with_a_phone_per_frame(tmp_path):
    folder = tmp_path / "downloads" / "manual" / "an4"
    write_packed(folder)
    with pytest.raises(ZooError, match="there is no .*phones.tsv: .* python -m zoo.training.align RUN"):
        open_source("an4_frames", "test", ("phones",), data_dir=tmp_path)
    runs = {name: [("SIL", 1), ("G", item % 6)] if item % 6 else [("OW", 1)] for item, name in enumerate(NAMES)}
    write_alignments(folder / "phones.tsv", runs.items())
    source = open_source("an4_frames", "test", ("frames", "phones"), data_dir=tmp_path)
    assert source.labels[-2:] == ["ZH", "SIL"]
    examples = sorted(source.dataset.as_numpy_iterator(), key=lambda row: len(row["phones"]))
    assert [[source.labels[each] for each in row["phones"]] for row in examples] == [["OW"], ["SIL", "G"]]
    np.testing.assert_array_equal(examples[1]["frames"], FRAMES[13, :2])


def test_an_alignment_of_other_frames_is_refused(tmp_path):
    folder = tmp_path / "downloads" / "manual" / "an4"
    write_packed(folder)
    write_alignments(folder / "phones.tsv", [(name, [("SIL", 3)]) for name in NAMES])
    with pytest.raises(ZooError, match="phones.tsv has 3 frames of an.*, which has .: write it again"):
        open_source("an4_frames", "test", ("phones",), data_dir=tmp_path)
