"""Features as the input of a task that hears: in answers, on a server, and in training."""

import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import zoo
from tests.helpers.models import make
from tests.helpers.paths import SOUNDS
from zoo.data.source import Source
from zoo.data.stream import named_errors
from zoo.errors import InputError, ZooError
from zoo.preprocessing.audio import FrontEnd
from zoo.preprocessing.audio_augmentation import change_tempo
from zoo.preprocessing.front_end import front_end_settings
from zoo.tasks import task_of
from zoo.tasks.dataset import stream

SPHINX = {"convention": "sphinx", "deltas": 2, "normalize": "utterance"}
RATE = 16_000
SAMPLES = soundfile.read(SOUNDS / "six_16khz.wav", dtype="float32")[0]
WAVEFORMS = [SAMPLES, SAMPLES[2_000:9_000], SAMPLES[:6_000]]
LONGEST = 1.0  # seconds; 99 frames


def features_of(waveform, **front_end) -> np.ndarray:
    """As another program computes them: (N, 13), or (N, filters), without deltas and normalisation."""
    plain = FrontEnd(front_end_settings({**SPHINX, **front_end, "deltas": 0, "normalize": None}))
    return plain(waveform[np.newaxis], [len(waveform)])[0][0].numpy()


FRAMES = [features_of(waveform) for waveform in WAVEFORMS]


@pytest.fixture(scope="module")
def model():
    model = make("blstm_ctc", features=39)
    model.origin.settings |= {"front_end": SPHINX, "longest": LONGEST}
    model.head.kernel.assign(9 * model.head.kernel)  # so that it writes something
    return model


@pytest.fixture(scope="module")
def task(model):
    return task_of(model, raw="features")


@pytest.fixture(scope="module")
def pipeline(model):
    return zoo.pipeline(model, raw="features")


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_features_have_the_answer_of_their_sound(model, pipeline, tmp_path):
    expected = zoo.pipeline(model)(SAMPLES)
    assert len(expected["words"]) > 0
    (tmp_path / "six.npy").write_bytes(npy(FRAMES[0]))
    forms = [FRAMES[0], tmp_path / "six.npy", str(tmp_path / "six.npy"), npy(FRAMES[0].astype("float64"))]
    for row in (pipeline(FRAMES[0].tolist()), pipeline(forms[1]), *pipeline([*forms, FRAMES[1]])[:-1]):
        assert row["transcript"] == expected["transcript"]
        assert row["score"] == pytest.approx(expected["score"], abs=1e-3)
        for word, other in zip(row["words"], expected["words"], strict=True):
            assert word == {**other, "start": pytest.approx(other["start"]), "end": pytest.approx(other["end"])}
    assert [row["input"] for row in pipeline(tmp_path)] == [str(tmp_path / "six.npy")]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.full((5, 13), np.nan), "features must be finite numbers"),
        (np.zeros((100, 13)), "100 frames are more than the limit of 99"),
        (np.zeros((5, 39)), "expected an array of shape (any, 13), got (5, 39)"),
        (np.zeros((0, 13)), "expected an array of shape (any, 13), got (0, 13)"),
        (SOUNDS / "README.md", "not a .npy file"),
        (SOUNDS / "none.npy", "the file does not exist"),
    ],
    ids=["nan", "long", "wide", "empty", "text", "missing"],
)
def test_bad_features_have_an_error_and_the_others_are_answered(pipeline, item, message):
    rows = pipeline([FRAMES[1], item, FRAMES[1]], errors="return")
    assert ["error" in row for row in rows] == [False, True, False]
    assert rows[1]["error"].startswith(message)
    assert rows[0]["transcript"] == rows[2]["transcript"]


def test_the_longest_features_are_those_of_the_longest_sound(model, pipeline):
    assert pipeline(np.zeros((99, 13)))["score"] < 0
    sound = np.resize(SAMPLES, RATE)
    expected = zoo.pipeline(model)(sound)["score"]
    assert pipeline(features_of(sound))["score"] == pytest.approx(expected, abs=1e-2)


def test_a_server_checks_features(task):
    frames = np.zeros((6, 110, 13), "float32")
    frames[:, :9] = FRAMES[0][:9]
    frames[0, 9:] = np.nan  # after the end of the item
    frames[5, 3, 0] = np.inf
    counts = np.array([9, 0, 111, 102, -1, 9], "int32")
    inputs, error = task.checked({"frames": tf.constant(frames), "frame_count": tf.constant(counts)})
    assert [text.decode() for text in error.numpy()] == [
        "",
        "no frames",
        "frame_count must be at most the size of frames, 110",
        "102 frames are more than the limit of 99",
        "no frames",
        "features must be finite numbers",
    ]
    alone = task.preprocess({"frames": tf.constant(FRAMES[0][:9])})
    np.testing.assert_allclose(inputs["frames"][0, :9], alone["frames"], atol=1e-5)
    assert inputs["frame_count"].numpy().tolist() == [9, 1, 1, 1, 1, 1]
    assert np.isfinite(inputs["frames"]).all()


def source_of(name: str, values: list, counts: bool = False, field: str = "transcript") -> Source:
    """A data set of waveforms or features."""
    shape = (None,) if name == "waveform" else (None, values[0].shape[1])
    rows = [{name: value, "transcript": "ab", "frame_count": len(value)} for value in values]
    signature = {name: tf.TensorSpec(shape, tf.float32), "transcript": tf.TensorSpec((), tf.string)}
    if counts:
        signature["frame_count"] = tf.TensorSpec((), tf.int32)
    rows = [{key: row[key] for key in signature} for row in rows]
    dataset = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=signature)
    return Source("features", "", "train", len(values), None, dataset, dict, "none")


def batch_of(task, source, **options):
    batches = stream(task, source, 3, shuffle=False, **{"augment": False, **options})
    return next(iter(batches.epoch(0)))[0]


def test_training_on_features_is_training_on_their_sounds(model):
    """Whatever answers are given for."""
    for task in (task_of(model), task_of(model, raw="features")):
        batch = batch_of(task, source_of("frames", FRAMES))
        other = batch_of(task, source_of("waveform", WAVEFORMS))
        np.testing.assert_array_equal(batch["frame_count"], other["frame_count"])
        np.testing.assert_allclose(batch["frames"], other["frames"], atol=1e-3)
    expected = [len(frames) for frames in FRAMES]
    for source in (source_of("frames", FRAMES), source_of("frames", FRAMES, counts=True)):
        assert task.frame_counts(source) == expected
        assert task.remarks(source) == []
    assert task.frame_counts(source_of("waveform", WAVEFORMS)) == expected


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full((4, 13), np.nan), "an example: features must be finite numbers; repair or remove it"),
        (np.zeros((100, 13)), "an example: 100 frames are more than the limit of 99; repair or remove it"),
        (np.zeros((0, 13)), "an example: no frames; repair or remove it"),
        (np.zeros((9, 20)), "the data have 20 features per frame, but the front end computes 13"),
    ],
    ids=["nan", "long", "empty", "wide"],
)
def test_bad_training_features_are_one_line(task, frames, message):
    with pytest.raises(ZooError) as raised, named_errors():
        batch_of(task, source_of("frames", [frames.astype("float32")]))
    assert str(raised.value) == message


def test_the_tempo_changes_and_the_values_stay():
    frames = np.arange(40, dtype="float32")[:, np.newaxis] * [1.0, -2.0]
    lengths = set()
    for seed in range(8):
        value = change_tempo(tf.constant(frames, tf.float32), (seed, 1), 0.25).numpy()
        steps = np.diff(value[:, 0])
        np.testing.assert_allclose(steps, steps[0], atol=1e-4)
        assert 0.75 <= steps[0] <= 1.25
        assert value[0].tolist() == [0.0, 0.0]
        assert 39 - steps[0] < value[-1, 0] <= 39 + 1e-4
        np.testing.assert_allclose(value[:, 1], -2 * value[:, 0], atol=1e-4)
        lengths.add(len(value))
    assert len(lengths) > 4
    np.testing.assert_array_equal(change_tempo(tf.constant(frames, tf.float32), (0, 1), 0.0), frames)
    np.testing.assert_array_equal(change_tempo(tf.ones((1, 3)), (0, 1), 0.2), np.ones((1, 3)))


def test_features_are_changed_in_training(model):
    augment = {"speed": 0.2, "frequency_masks": 1, "frequency_width": 5, "time_masks": 1, "time_width": 9}
    task = task_of(model, augment=augment)
    source = source_of("frames", FRAMES)
    first, again, plain = (batch_of(task, source, seed=1, augment=augment) for augment in (True, True, False))
    np.testing.assert_array_equal(first["frames"], again["frames"])
    assert not np.array_equal(first["frame_count"], plain["frame_count"])
    np.testing.assert_allclose(first["frame_count"], plain["frame_count"], rtol=0.25)
    with pytest.raises(ZooError, match="^features can't be changed by gain: leave it out of task.augment$"):
        task_of(model, augment={"gain": 6.0, "speed": 0.1}).check_examples(source)
    task_of(model, augment={"gain": 6.0}).check_examples(source_of("waveform", WAVEFORMS))


def test_running_normalisation_learns_from_features_what_it_learns_from_sounds(task):
    settings = {"front_end": {**SPHINX, "normalize": "running"}, "longest": LONGEST}
    bad = [np.full((4, 13), np.nan, "float32"), np.zeros((0, 13), "float32"), np.full((102, 13), 9.0, "float32")]
    kind = type(task)
    learned = [
        kind.adapt(source, settings, {})[0]
        for source in (source_of("waveform", WAVEFORMS), source_of("frames", [*FRAMES, *bad]))
    ]
    assert learned[0].keys() == {"mean", "deviation"}
    for name in learned[0]:
        assert len(learned[0][name]) == 39
        np.testing.assert_allclose(learned[1][name], learned[0][name], atol=1e-3)
    with pytest.raises(ZooError, match="^the data have 20 features per frame, but the front end computes 13$"):
        kind.adapt(source_of("frames", [np.zeros((9, 20), "float32")]), settings, {})


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_only_a_saved_model_takes_features(model, tmp_path, format):
    message = "^speech_recognition can be exported as saved_model only with raw=features: set raw=waveform$"
    with pytest.raises(ZooError, match=message):
        zoo.export(model, tmp_path / "exports", format=format, raw="features")


def test_features_have_a_preview_and_a_neutral_input(task, pipeline):
    assert task.preview(FRAMES[0]) == f"{len(FRAMES[0])} frames"
    assert pipeline(task.neutral_input())["score"] < 0
    with pytest.raises(InputError, match="expected an array of shape"):
        pipeline(np.zeros(13))
