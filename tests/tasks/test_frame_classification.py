"""Phones of frames: segments, training data, weights of padding."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS, chirp
from tests.helpers.models import make
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import settings_class, task_of
from zoo.tasks.dataset import stream

CONTRACT = CONTRACTS["frame_classification"]
LABELS = ["AA", "B", "SIL", "ZH"]


@pytest.fixture(scope="module")
def task():
    model = make("dnn_acoustic")
    model.origin.labels = LABELS
    return task_of(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return CONTRACT.training_data(None, tmp_path_factory.mktemp("frames") / "data")


def test_segments_are_runs_of_the_likeliest_phone(task):
    """The logits of padding would be another phone."""
    best = np.array([[0, 0, 2, 2, 2, 0, 3, 3], [1, 3, 3, 3, 3, 3, 3, 3], [2, 2, 1, 1, 1, 1, 1, 0]])
    logits = np.log(np.where(np.arange(4) == best[..., None], 0.7, 0.1)).astype("float32")
    logits[0, 1] = np.log([0.4, 0.3, 0.2, 0.1])
    answers = task.answer({"logits": tf.constant(logits), "frame_count": tf.constant([6, 1, 8])})
    rows = [task.to_python({name: value[row].numpy() for name, value in answers.items()}) for row in range(3)]
    texts = [[segment["phone"] for segment in row["segments"]] for row in rows]
    assert texts == [["AA", "SIL", "AA"], ["B"], ["SIL", "B", "AA"]]
    first = rows[0]["segments"]
    # A frame of 25 ms begins every 10 ms, and stands for the 10 ms around its centre.
    assert [segment["start"] for segment in first] == pytest.approx([0.0075, 0.0275, 0.0575])
    assert [segment["end"] for segment in first] == pytest.approx([0.0275, 0.0575, 0.0675])
    assert [segment["score"] for segment in first] == pytest.approx([0.55, 0.7, 0.7])
    assert task.summary(rows[2]) == "SIL B AA"
    assert answers["phones"].numpy()[1].tolist() == [b"B", b"", b""]
    assert not np.any(answers["ends"].numpy()[1, 1:])


def test_a_sound_and_its_features(task):
    """A sound, its features, and these beside others have one answer."""
    sound = chirp(500, 0.4).astype("float32")
    expected = zoo.pipeline(task.model)(sound)
    plain = task_of(task.model, front_end={"filters": 20})
    frames = plain.preprocess({"waveform": tf.constant(sound)})["frames"].numpy()
    pipeline = zoo.pipeline(task.model, raw="features")
    for row in (pipeline(frames), *pipeline([frames, frames])):
        assert [part["phone"] for part in row["segments"]] == [part["phone"] for part in expected["segments"]]
        for part, other in zip(row["segments"], expected["segments"], strict=True):
            assert part["end"] == pytest.approx(other["end"])
            assert part["score"] == pytest.approx(other["score"], abs=1e-4)
    assert expected["segments"][-1]["end"] == pytest.approx(0.4, abs=0.02)


def test_segments_end_with_the_sound(task):
    """A sound that is shorter than a frame, alone and in a batch, and one of whole frames."""
    pipeline = zoo.pipeline(task.model)
    rows = (pipeline(chirp(500, 0.01)), *pipeline([chirp(500, 0.01), chirp(500, 0.4)]))
    for row, seconds in zip(rows, (0.01, 0.01, 0.4), strict=True):
        times = [time for segment in row["segments"] for time in (segment["start"], segment["end"])]
        assert times == sorted(times)
        assert times[0] < times[-1] <= seconds + 1e-6


def test_a_folder_with_phones_is_training_data(folder):
    kind = type(task_of(make("dnn_acoustic", classes=2)))
    source = open_source(folder, "all", kind.fields, kind.layout)
    assert source.labels == ["HIGH", "LOW"]
    assert kind.adapt(source, {}, {})[2] == {"classes": 2}
    task = task_of(make("dnn_acoustic", classes=2))
    inputs, y, weights = next(iter(stream(task, source, 8, augment=False, shuffle=False).epoch(0)))
    assert y.shape == weights.shape == inputs["frames"].shape[:2]
    np.testing.assert_array_equal(tf.reduce_sum(weights, axis=1), inputs["frame_count"])
    lines = dict(line.split("\t") for line in (folder / "phones.tsv").read_text().splitlines())
    files = [stub["file"].decode().rpartition("/")[2] for stub in source.stubs.take(8).as_numpy_iterator()]
    for row, file in enumerate(files):
        _, low, _, high = lines[file].split()
        count = int(low) + int(high)
        assert y.numpy()[row].tolist() == [1] * int(low) + [0] * int(high) + [0] * (y.shape[1] - count)


def test_padding_has_no_weight(task):
    """Loss and metric of a batch are means over its frames."""
    inputs = CONTRACT.inputs(task.model, 4)
    counts = inputs["frame_count"]
    y = np.full((4, 9), -1)
    for row, count in enumerate(counts):
        y[row, :count] = np.arange(count) % 4
    inputs, targets, weights = task.join({name: tf.constant(value) for name, value in inputs.items()}, tf.constant(y))
    logits = task.model(inputs)["logits"].numpy()
    is_frame = y >= 0
    picked = logits[is_frame] - np.log(np.exp(logits[is_frame]).sum(axis=-1, keepdims=True))
    expected = -picked[np.arange(is_frame.sum()), y[is_frame]].mean()
    assert float(task.loss()(targets, logits, weights)) == pytest.approx(expected, rel=1e-5)
    [metric] = task.metrics()
    metric.update_state(targets, logits, weights)
    assert metric.name == "frame_accuracy"
    assert float(metric.result()) == pytest.approx((logits.argmax(axis=-1) == y)[is_frame].mean())


def test_measured_over_frames(folder):
    model = make("dnn_acoustic", classes=2)
    task = task_of(model)
    source = open_source(folder, "test", task.fields, task.layout)
    model.layers[-1].set_weights([np.zeros((10, 2)), np.array([0.0, 1.0])])  # always LOW
    measured = task.measure(source, 3, None)
    counts = [stub["phones"] for stub in source.stubs.as_numpy_iterator()]
    low, total = sum(int((each == 1).sum()) for each in counts), sum(map(len, counts))
    assert measured.metrics == {"frame_accuracy": pytest.approx(low / total)}
    assert measured.how == {"frame_accuracy": f"{low:,} of {total:,} frames"}


def test_labels_of_another_number_of_frames_are_refused(tmp_path, task):
    soundfile.write(tmp_path / "a.wav", chirp(300, 0.3), 16_000)
    (tmp_path / "phones.tsv").write_text("a.wav\tAA 3\n")
    source = open_source(tmp_path, "all", task.fields, task.layout)
    with pytest.raises(tf.errors.InvalidArgumentError, match="an example must have one label per frame"):
        next(iter(stream(task, source, 1, augment=False, shuffle=False).epoch(0)))


@pytest.mark.parametrize("text", ["AA", "AA 0", "AA x", "AA 1 B", "AA 1\na.wav\tB 1"])
def test_damaged_table(text, tmp_path, task):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "phones.tsv").write_text(f"a.wav\t{text}\n")
    with pytest.raises(ZooError, match="a.wav must have one line of labels with their numbers of frames"):
        open_source(tmp_path, "all", task.fields, task.layout)


@pytest.mark.parametrize("name", ["speed", "warp"])
def test_changes_that_move_frames_are_refused(name):
    value = {"speed": 0.1, "warp": 3}[name]
    with pytest.raises(ZooError, match=f"{name} moves frames, but not the labels of frames"):
        settings_class("frame_classification").checked(
            "frame_classification", {"augment": {name: value}, "front_end": {"normalize": "utterance"}}
        )
