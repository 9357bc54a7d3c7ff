"""The recurrent networks with CTC."""

import numpy as np
import pytest

from tests.helpers.models import make
from zoo.models.speech.blstm_ctc import CERTAIN_BLANK, NO_SYMBOL

COUNTS = np.array([11, 7, 1, 0], "int32")


def frames(width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 12, width)).astype("float32")


@pytest.mark.parametrize("stack", [1, 3])
def test_a_stream_of_chunks_has_the_logits_of_the_whole(stack):
    model = make("blstm_ctc_streaming", features=8, stack=stack)
    whole, random = frames(8), np.random.default_rng(1)
    expected = model({"frames": whole, "frame_count": COUNTS})["logits"].numpy()
    for _ in range(3):
        state, place = model.stream_state(4), np.zeros(4, int)
        parts = [[] for _ in COUNTS]
        while (place < COUNTS).any():
            sizes = np.minimum(random.integers(0, 5, 4), COUNTS - place)  # items go on at their own pace
            chunk = random.normal(size=(4, 4, 8)).astype("float32")  # what is after a chunk's end may be anything
            for row, size in enumerate(sizes):
                chunk[row, :size] = whole[row, place[row] : place[row] + size]
            logits, steps, state = model.stream_step(chunk, sizes, state)
            for row, count in enumerate(np.array(steps)):
                parts[row].append(logits[row, :count].numpy())
            place += sizes
        for row, count in enumerate(COUNTS // stack):
            value = np.concatenate(parts[row]) if parts[row] else np.zeros((0, 6))
            np.testing.assert_allclose(value, expected[row, :count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stack", "steps"), [(1, [11, 7, 1, 0]), (2, [5, 3, 0, 0]), (5, [2, 1, 0, 0])])
@pytest.mark.parametrize("name", ["blstm_ctc", "blstm_ctc_streaming"])
def test_after_the_last_full_step_the_blank_is_certain(name, stack, steps):
    model = make(name, features=8, stack=stack)
    logits = model({"frames": frames(8), "frame_count": COUNTS})["logits"].numpy()
    assert logits.shape == (4, -(-12 // stack), 6)
    is_end = (logits == [CERTAIN_BLANK, *[NO_SYMBOL] * 5]).all(axis=2)
    np.testing.assert_array_equal(is_end.sum(axis=1), logits.shape[1] - np.array(steps))
    assert not any(row[:count].any() for row, count in zip(is_end, steps, strict=True))


def test_only_one_direction_sees_later_frames():
    later = frames(8)
    later[:, 8:] += 1.0
    for name, changes in (("blstm_ctc", True), ("blstm_ctc_streaming", False)):
        model = make(name, features=8)
        first, second = (
            model({"frames": value, "frame_count": np.full(4, 12)})["logits"].numpy() for value in (frames(8), later)
        )
        assert (np.abs(first - second)[:, :4].max() > 1e-4) == changes
        assert np.abs(first - second)[:, 4:].max() > 1e-3
