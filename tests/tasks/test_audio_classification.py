"""Sounds as the input of a task: what a user may give, what a server may get, training data and their changes."""

import io

import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.contracts import CONTRACTS, chirp
from tests.helpers.models import make
from tests.helpers.paths import SOUNDS
from zoo import inference
from zoo.data.source import Source
from zoo.data.sources import open_source
from zoo.data.stream import named_errors
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.settings import AudioClassificationSettings

RATE = 16_000
UTTERANCE = {"filters": 40, "normalize": "utterance"}  # an untrained model has no moments of training data
TONE = chirp(700, 0.3).astype("float32")


@pytest.fixture(scope="module")
def task():
    return task_of(make("conv_acoustic"), longest=2.0, front_end=UTTERANCE)


@pytest.fixture(scope="module")
def pipeline(task):
    return zoo.pipeline(task.model, longest=2.0, top=3, front_end=UTTERANCE)


def test_every_form_of_a_sound_has_the_same_answer(pipeline, tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, TONE, RATE, "FLOAT")
    sf.write(tmp_path / "eight.wav", np.stack([TONE] * 8, axis=1), RATE, "FLOAT")
    sf.write(tmp_path / "tone.flac", TONE, RATE, "PCM_24")
    sf.write(tmp_path / "fast.wav", np.repeat(TONE, 2), 2 * RATE, "FLOAT")
    expected = pipeline(TONE)
    forms = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), {"samples": TONE, "rate": RATE},
             tmp_path / "eight.wav", tmp_path / "tone.flac", TONE.tolist()]  # fmt: skip
    for row in (*pipeline(forms), *map(pipeline, forms[:2]), *pipeline(np.stack([TONE] * 2))):
        assert row["labels"] == expected["labels"]
        assert row["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    assert pipeline(tmp_path / "fast.wav")["scores"] == pytest.approx(expected["scores"], abs=0.02)
    assert [row["input"] for row in pipeline(tmp_path)] == sorted(map(str, tmp_path.iterdir()))


def test_silence_and_10_ms_are_answered(pipeline):
    rows = pipeline([np.zeros(8_000, "float32"), TONE[:160], [0.0]])
    for row in rows:
        assert sum(row["scores"]) < 1.0
        assert np.isfinite(row["scores"]).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([0.0, np.nan], "the sound has samples that are not finite"),
        (np.zeros(32_001, "float32"), "2 s of sound are more than the limit of 2 s"),
        (SOUNDS / "README.md", "not a sound file: expected WAV, FLAC, OGG or MP3"),
        (SOUNDS / "none.wav", "the file does not exist"),
        (SOUNDS, "a folder, not a sound file"),
    ],
    ids=["nan", "long", "text", "missing", "folder"],
)
def test_a_bad_sound_is_named_and_the_others_are_answered(pipeline, item, message):
    rows = pipeline([TONE, item, TONE], errors="return")
    assert ["error" in row for row in rows] == [False, True, False]
    assert rows[1]["error"] == message
    assert rows[0]["scores"] == rows[2]["scores"]
    with pytest.raises(InputError) as raised:
        pipeline([item, TONE])
    assert str(raised.value) == f"{rows[1]['input']}: {message}"


def test_an_hour_of_sound_is_refused_by_its_header(pipeline, tmp_path):
    with sf.SoundFile(tmp_path / "hour.flac", "w", 8_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 8_000, "int16"))
    with pytest.raises(InputError, match=r"hour\.flac: 3,600 s of sound are more than the limit of 2 s$"):
        pipeline(tmp_path / "hour.flac")


def test_a_server_checks_lengths_and_samples(task):
    """A client may send anything: each bad item has its error, and its neighbours the answer that they have alone."""
    waveform = np.tile(np.pad(TONE, (0, 40_000 - len(TONE)), constant_values=np.nan), (6, 1))
    samples = np.array([len(TONE), 0, 40_001, 33_000, len(TONE) + 1, len(TONE)], "int32")
    waveform[5, 7] = 100.0
    inputs, error = task.checked({"waveform": tf.constant(waveform), "samples": tf.constant(samples)})
    assert [text.decode() for text in error.numpy()] == [
        "",
        "the sound has no samples",
        "samples must be at most the size of waveform, 40000",
        "33000 samples are more than the limit of 32000",
        "the sound has samples that are not finite",
        "a sound must have samples in [-1, 1]",
    ]
    count = int(inputs["frame_count"][0])
    alone = task.preprocess({"waveform": tf.constant(TONE)})
    assert int(alone["frame_count"]) == count
    np.testing.assert_allclose(inputs["frames"][0, :count], alone["frames"], atol=1e-5)
    assert np.isfinite(inputs["frames"]).all()
    empty, error = task.checked({"waveform": tf.zeros((1, 0)), "samples": tf.constant([0])})
    assert error.numpy().tolist() == [b"the sound has no samples"]
    assert np.isfinite(task.outputs(empty)["logits"]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no sound", "not a sound file: expected WAV, FLAC, OGG or MP3"),
        (b"", "empty"),
        ([0.0, np.nan], "the sound has samples that are not finite"),
        (np.zeros(3 * RATE), "3 s of sound are more than the limit of 2 s"),
    ],
    ids=["text", "empty", "not finite", "long"],
)
def test_a_bad_training_file_is_named(task, content, message, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            path = tmp_path / label / f"{number}.wav"
            path.write_bytes(content) if isinstance(content, bytes) else sf.write(path, content, RATE, "FLOAT")
    source = open_source(tmp_path, "train", ("waveform", "label"), task.layout)
    example = next(iter(source.dataset))
    with pytest.raises(ZooError) as raised, named_errors():
        list(source.dataset.take(1).map(task.read))
    assert str(raised.value) == f"{example['file'].numpy().decode()}: {message}; repair or remove it"


def test_a_folder_per_class_is_training_data(task, tmp_path):
    folder = CONTRACTS["audio_classification"].training_data(None, tmp_path / "data")
    (folder / "high" / "notes.txt").write_text("not one of them")
    source = open_source(folder, "train", ("waveform", "label"), task.layout)
    assert (source.examples, source.labels) == (42, ["high", "low", "middle"])
    example = next(iter(source.dataset))
    expected, _ = sf.read(example["file"].numpy().decode(), dtype="float32")
    np.testing.assert_array_equal(task.read(example)["waveform"], expected)


def tones(count: int = 6) -> Source:
    waveforms = [chirp(300 + 50 * number, 0.1 + 0.02 * number).astype("float32") for number in range(count)]
    rows = [{"waveform": waveform, "label": number % 3} for number, waveform in enumerate(waveforms)]
    signature = {"waveform": tf.TensorSpec((None,), tf.float32), "label": tf.TensorSpec((), tf.int64)}
    dataset = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=signature)
    return Source("tones", "", "train", count, ["a", "b", "c"], dataset, dict, "none")


def test_fixed_normalisation_has_the_moments_of_the_training_frames():
    model = make("conv_acoustic")
    front_end = {"filters": 40, "normalize": "fixed"}
    kind = type(task_of(model))
    learned, _, arguments = kind.adapt(tones(), {"front_end": front_end}, {})
    assert arguments == {"classes": 3}
    task = task_of(model, front_end=front_end, **learned)
    frames = [task.preprocess({"waveform": example["waveform"]})["frames"] for example in tones().dataset]
    frames = np.concatenate(frames)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)
    assert kind.adapt(tones(), {"front_end": front_end, **learned}, {})[0] == {}
    assert kind.adapt(tones(), {}, {})[0] == {}


def test_data_without_a_good_sound_are_left_to_training():
    """It has an error that names the file."""
    model = make("conv_acoustic")
    waveforms = tf.data.Dataset.from_tensors({"waveform": tf.fill([800], np.nan), "label": 0})
    source = Source("none", "", "train", 1, ["a", "b", "c"], waveforms, dict, "none")
    front_end = {"filters": 40, "normalize": "fixed"}
    learned, _, _ = type(task_of(model)).adapt(source, {"front_end": front_end}, {})
    assert learned["mean"] == [0.0] * 40
    assert min(learned["deviation"]) > 0


def test_embeddings_of_sounds(task, tmp_path):
    """Embeddings of sounds of unequal lengths, one of them shorter than a frame, next to a bad one."""
    sf.write(tmp_path / "tone.wav", TONE, RATE, "FLOAT")
    task.model.origin.settings |= {"longest": 2.0, "front_end": UTTERANCE}
    place = zoo.save(task.model, tmp_path / "preset").path
    items = [tmp_path / "tone.wav", SOUNDS / "README.md", TONE[:160], SOUNDS / "six_16khz.wav"]
    rows = [*inference.embed(place, items, errors="return")]
    assert ["error" in row for row in rows] == [False, True, False, False]
    body = zoo.load(place, classes=0)
    for row, item in zip(rows, items, strict=True):
        if "error" not in row:
            [expected] = body(zoo.preprocess(body, [item]))["embeddings"]
            assert row["embeddings"].shape == (32,)
            np.testing.assert_allclose(row["embeddings"], expected, rtol=1e-4, atol=1e-5)
    assert set(zoo.preprocess(body, items[:1])) == {"frames", "frame_count"}
    out = tmp_path / "embeddings.npz"
    assert run_zoo("embed", place, tmp_path / "tone.wav", "--out", out)[0] == 0
    assert np.load(out)["embeddings"].shape == (1, 32)
    with pytest.raises(
        ZooError, match="^preset: conv1 has no fixed size, which embeddings need: choose another layer$"
    ):
        next(inference.embed(place, items, "conv1"))


def test_changes_in_training_are_those_of_the_seed():
    augment = {"noise": [10.0, 20.0], "speed": 0.1, "frequency_masks": 1, "frequency_width": 30}
    task = task_of(make("conv_acoustic"), augment=augment)

    batches = stream(task, tones(), 6, seed=1, augment=True, shuffle=False)
    (first, y), (again, _), (other, _) = (next(iter(batches.epoch(number))) for number in (0, 0, 1))
    np.testing.assert_array_equal(y, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(first["frames"], again["frames"])
    plain = [task.front_end.frame_count(len(row["waveform"])) for row in tones().dataset.as_numpy_iterator()]
    assert not np.array_equal(first["frame_count"], plain)
    assert not np.array_equal(first["frame_count"], other["frame_count"])
    first, counts = first["frames"].numpy(), first["frame_count"].numpy()
    masked = [(frames[:count] == 0).all(axis=0).sum() for frames, count in zip(first, counts, strict=True)]
    assert 0 < max(masked) < 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"front_end": {"filters": 40.5}}, "front_end: filters must be an integer, got 40.5"),
        ({"augment": {"echo": 1}}, "augment: unknown augmentation 'echo'"),
        ({"augment": {"noise": 10}}, "augment: noise must be two numbers, the lower one first, got 10"),
        ({"augment": {"noise": [20, 10]}}, "augment: noise must be two numbers, the lower one first"),
        ({"augment": {"speed": 1.0}}, "augment: speed must be a fraction from 0 to 0.9, got 1.0"),
        ({"augment": {"gain": True}}, "augment: gain must be a number >= 0, got True"),
        ({"augment": {"time_masks": 1.5}}, "augment: time_masks must be an integer >= 0, got 1.5"),
        ({"augment": {"time_masks": 1}}, "masks need front_end.normalize"),
        ({"longest": 0.0}, "longest must be a finite number > 0"),
        ({"longest": 1e300}, "longest must be a finite number > 0 and <= 3600.0, got 1e+300"),
        ({"longest": 3601.0}, "longest must be a finite number > 0 and <= 3600.0, got 3601.0"),
        (
            {"longest": 3600.0, "front_end": {"rate": 1_000_000}},
            "longest=3600 s at 1,000,000 samples per second must be < 2,147,483,648 samples",
        ),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(ZooError) as raised:
        AudioClassificationSettings.checked("audio_classification", settings)
    assert str(raised.value).startswith(f"audio_classification: {message}")


def test_a_front_end_that_does_not_fit_the_model():
    with pytest.raises(ZooError, match="^conv_acoustic takes 40 features per frame, but the front end computes 23$"):
        task_of(make("conv_acoustic"), front_end={"filters": 23})


def test_preview(task):
    assert task.preview(TONE) == "0.30 s  " + "@" * 40
    assert task.preview([0.0] * 1600) == "0.10 s"
