"""CTC against the sum over all paths, one by one, and against a beam search in plain Python."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import LOWEST, ctc
from zoo.errors import ZooError


def random_logits(seed: int, *shape: int, sharpness: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sharpness, shape).astype("float32")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype("float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def collapsed(path) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def all_paths(logits: np.ndarray):
    """Every path of (T, V) logits with its labels and its log probability."""
    values = log_softmax(logits)
    for path in itertools.product(range(values.shape[1]), repeat=len(values)):
        yield path, collapsed(path), sum(values[step, label] for step, label in enumerate(path))


def all_labels(logits: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Every sequence of labels with its log probability, best first."""
    sums: dict[tuple[int, ...], float] = {}
    for _, labels, value in all_paths(logits):
        sums[labels] = sums.get(labels, 0.0) + math.exp(value)
    return sorted(((labels, math.log(value)) for labels, value in sums.items()), key=lambda item: -item[1])


def plain_beam_search(logits: np.ndarray, width: int) -> list[tuple[tuple[int, ...], float]]:
    """Hannun et al. 2014, algorithm 1 without the language model, on a dict of sequences."""
    beams = {(): (1.0, 0.0)}  # sequence -> probabilities of its paths that end in a blank, and of the others
    for values in np.exp(log_softmax(logits)):
        following: dict[tuple[int, ...], list[float]] = {}
        for labels, (blank, label) in beams.items():
            kept = following.setdefault(labels, [0.0, 0.0])
            kept[0] += (blank + label) * values[0]
            if labels:
                kept[1] += label * values[labels[-1]]
            for new in range(1, len(values)):
                mass = blank if labels and labels[-1] == new else blank + label
                following.setdefault((*labels, new), [0.0, 0.0])[1] += mass * values[new]
        best = sorted(following, key=lambda labels: -sum(following[labels]))[:width]
        beams = {labels: tuple(following[labels]) for labels in best}
    return sorted(((labels, math.log(sum(mass))) for labels, mass in beams.items()), key=lambda item: -item[1])


def hypotheses(decoded, item: int) -> list[tuple[tuple[int, ...], float]]:
    rows = zip(decoded.tokens[item].numpy(), decoded.lengths[item].numpy(), decoded.scores[item].numpy(), strict=True)
    found = []
    for tokens, length, score in rows:
        assert not tokens[length:].any()
        found.append((tuple(tokens[:length].tolist()), float(score)))
    return found


def assert_same(value, expected):
    assert [labels for labels, _ in value] == [labels for labels, _ in expected]
    np.testing.assert_allclose([score for _, score in value], [score for _, score in expected], atol=1e-4)


def with_garbage(logits: np.ndarray, frame_count) -> np.ndarray:
    logits = logits.copy()
    for row, count in zip(logits, frame_count, strict=True):
        row[count:] = np.nan
    return logits


@pytest.mark.parametrize(("frames", "classes"), [(5, 3), (4, 4), (6, 2)])
def test_a_wide_beam_gives_the_sums_over_all_paths(frames, classes):
    frame_count = [frames, frames - 1, 1, 0]
    logits = random_logits(frames, 4, frames, classes)
    width = len(all_labels(logits[0]))
    decoded = ctc.prefix_beam_search(with_garbage(logits, frame_count), tf.constant(frame_count), width, width)
    for item, count in enumerate(frame_count):
        expected = all_labels(logits[item, :count])
        assert_same(hypotheses(decoded, item)[: len(expected)], expected)
        assert (decoded.scores[item, len(expected) :].numpy() <= LOWEST / 2).all()


@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_narrow_beam_keeps_what_a_plain_one_keeps(width):
    """Sharp and even distributions; sequences leave a narrow beam and enter it again."""
    frame_count = [40, 33, 40, 40]
    logits = np.concatenate([random_logits(seed, 1, 40, 5, sharpness=seed) for seed in (1, 2, 3, 0)])
    logits[3] += random_logits(9, 40, 5, sharpness=0.01)  # nearly even
    search = tf.function(lambda *inputs: ctc.prefix_beam_search(*inputs, width, width))
    decoded = search(with_garbage(logits, frame_count), tf.constant(frame_count))
    for item, count in enumerate(frame_count):
        assert_same(hypotheses(decoded, item), plain_beam_search(logits[item, :count], width))


def test_greedy():
    logits = random_logits(0, 3, 30, 4)
    frame_count = tf.constant([30, 17, 0])
    decoded = ctc.greedy(with_garbage(logits, [30, 17, 0]), frame_count)
    for item, count in enumerate(frame_count.numpy()):
        values = log_softmax(logits[item, :count])
        labels = collapsed(values.argmax(-1).tolist())
        assert tuple(decoded.tokens[item, : decoded.lengths[item]].numpy()) == labels
        assert not decoded.tokens[item, len(labels) :].numpy().any()
        assert float(decoded.scores[item]) == pytest.approx(values.max(-1).sum() if count else 0.0, abs=1e-4)
    assert decoded.tokens.shape[1] == decoded.lengths.numpy().max()


def spans(path, count: int) -> list[tuple[int, int]]:
    """The first frame of each label of a path and the one after its last."""
    result, position = [], 0
    for label, run in itertools.groupby(path):
        length = len([*run])
        if label != 0:
            result.append((position, position + length))
        position += length
    return result + [(0, 0)] * (count - len(result))


@pytest.mark.parametrize("labels", [(), (1,), (1, 2), (2, 2), (1, 2, 1), (1, 1, 2)])
def test_align_finds_the_likeliest_path(labels):
    frame_count = [6, 5, 4]
    logits = random_logits(len(labels), 3, 6, 3, sharpness=1.0)
    padded = np.full((3, 4), 7)  # not a class
    padded[:, : len(labels)] = labels
    aligned = ctc.align(with_garbage(logits, frame_count), tf.constant(frame_count), padded, tf.fill([3], len(labels)))
    for item, count in enumerate(frame_count):
        paths = [(value, path) for path, own, value in all_paths(logits[item, :count]) if own == labels]
        value, path = max(paths)
        assert float(aligned.scores[item]) == pytest.approx(value, abs=1e-4)
        times = [*zip(aligned.starts[item].numpy().tolist(), aligned.ends[item].numpy().tolist(), strict=True)]
        assert times == spans(path, 4)


def test_labels_that_need_more_frames():
    labels, label_count = np.array([[1, 1, 1], [1, 2, 1], [2, 2, 1]]), tf.constant([3, 3, 2])
    needed = ctc.frames_needed(labels, label_count)
    np.testing.assert_array_equal(needed, [5, 3, 3])
    logits = random_logits(0, 3, 5, 3)
    assert (ctc.align(logits, needed - 1, labels, label_count).scores.numpy() <= LOWEST).all()
    assert (ctc.align(logits, needed, labels, label_count).scores.numpy() > -100).all()


def test_word_times():
    assert ctc.word_times([2, 5, 7, 9], [3, 6, 8, 12], [0, 0, None, 1]) == [(2, 6), (9, 12)]
    assert ctc.word_times([], [], []) == []


def test_a_saved_model_gives_the_same(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, 4)), tf.TensorSpec((None,), tf.int32)])
        def decode(self, logits, frame_count):
            best = ctc.prefix_beam_search(logits, frame_count, 4, 2)
            aligned = ctc.align(logits, frame_count, best.tokens[:, 0], best.lengths[:, 0])
            return {"tokens": best.tokens, "scores": best.scores, "starts": aligned.starts, "ends": aligned.ends}

    tf.saved_model.save(Module(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).decode
    for logits, frame_count in ((random_logits(1, 2, 12, 4), [12, 5]), (random_logits(2, 1, 0, 4), [0])):
        best = ctc.prefix_beam_search(logits, tf.constant(frame_count), 4, 2)
        outputs = loaded(logits, frame_count)
        np.testing.assert_array_equal(outputs["tokens"], best.tokens)
        np.testing.assert_allclose(outputs["scores"], best.scores, rtol=1e-5, atol=1e-5)
        assert outputs["starts"].shape == outputs["ends"].shape == (len(logits), best.tokens.shape[2])


@pytest.mark.parametrize(("width", "n_best"), [(0, 1), (2, 3), (2, 0)])
def test_wrong_widths(width, n_best):
    with pytest.raises(ZooError, match="n_best must be an integer from 1 to width"):
        ctc.prefix_beam_search(random_logits(0, 1, 2, 3), [2], width, n_best)
