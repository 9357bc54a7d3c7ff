"""Generated sequences: their outputs are what the task says, and they depend on split and number alone."""

import numpy as np
import pytest

from zoo.data import bit_sequences
from zoo.data.bit_sequences import example

COUNT = 30


@pytest.mark.parametrize("task", bit_sequences.TASKS)
def test_examples_depend_on_their_split_and_number(task):
    first, again = example(task, "train", 7), example(task, "train", 7)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    given = {values.tobytes() for split in ("train", "test") for values in (example(task, split, n)[0] for n in (7, 8))}
    assert len(given) == 4


@pytest.mark.parametrize(
    ("split", "lengths"), [("train", {*range(1, 21)}), ("test", {20}), ("test_60", {60}), ("test_120", {120})]
)
def test_copy(split, lengths):
    pairs = [example("copy", split, number) for number in range(300 if split == "train" else 3)]
    assert {len(given) for given, _ in pairs} == lengths
    for given, output in pairs:
        assert given.shape[1] == 8
        np.testing.assert_array_equal(given, output)
    assert 0.45 < np.concatenate([given for given, _ in pairs]).mean() < 0.55


def test_repeat_copy():
    for number in range(COUNT):
        given, output = example("repeat_copy", "train", number)
        times = int(given[-1, 8])
        assert 1 <= times <= 10
        assert not given[-1, :8].any()
        assert not given[:-1, 8].any()
        assert output.tolist() == given[:-1].tolist() * times + [[0] * 8 + [1]]
    assert len(example("repeat_copy", "test_20", 0)[0]) == 21


@pytest.mark.parametrize(("split", "counts"), [("train", {*range(2, 7)}), ("test_12", {12})])
def test_associative_recall(split, counts):
    seen = set()
    for number in range(COUNT):
        given, output = example("associative_recall", split, number)
        blocks = given.reshape(-1, 4, 8)  # of a mark and three vectors
        items, asked = blocks[:-1, 1:, :6], blocks[-1, 1:, :6]
        assert (blocks[:-1, 0] == np.eye(8)[6]).all()
        assert (blocks[-1, 0] == np.eye(8)[7]).all()
        assert not blocks[:, 1:, 6:].any()
        assert any((items[n] == asked).all() and (items[n + 1] == output).all() for n in range(len(items) - 1))
        seen.add(len(items))
    assert seen == counts


def test_priority_sort():
    for number in range(COUNT):
        given, output = example("priority_sort", "test", number)
        ranked = sorted(given.tolist(), key=lambda row: -row[8])
        assert output.tolist() == [row[:8] for row in ranked[:16]]
        assert len(given) == 20
        assert given[:, 8].min() >= -1


def test_the_builder_stores_the_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(bit_sequences, "EXAMPLES", {"train": 3})
    monkeypatch.setattr(bit_sequences, "OTHERS", 2)
    builder = bit_sequences.BitSequences(config="associative_recall", data_dir=tmp_path)
    builder.download_and_prepare()
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 3, "validation": 2, "test": 2, "test_12": 2,
    }  # fmt: skip
    rows = {row["input"].tobytes(): row["output"] for row in builder.as_dataset("train").as_numpy_iterator()}
    for number in range(3):
        given, output = example("associative_recall", "train", number)
        np.testing.assert_array_equal(rows[given.tobytes()], output)
