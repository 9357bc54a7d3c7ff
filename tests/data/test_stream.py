"""Streams: an epoch is a function of seed and number, and holds every example once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.data.stream import Stream, options


def numbers(count: int = 23, batch_size: int = 5, **settings) -> Stream:
    """Examples 0, 1, ...; an input is (example, a random number from its seed), the target the example."""

    def augment(number, seed):
        return number, tf.random.stateless_uniform((), seed, 0, 2**30, tf.int32)

    def finish(number, draw):
        return tf.stack([tf.cast(number, tf.int32), draw], axis=-1), tf.cast(number, tf.float32)

    return Stream(tf.data.Dataset.range(count), lambda number: number, augment, finish, count, batch_size, **settings)


def listed(dataset) -> list:
    return [pair for inputs, _ in dataset for pair in inputs.numpy().tolist()]


def test_an_epoch_is_a_function_of_seed_and_number():
    first, second = numbers(seed=7), numbers(seed=7)
    epochs = [listed(first.epoch(number)) for number in range(3)]
    for number in (2, 0, 1):
        tf.random.set_seed(number)  # the program's own seed has no say
        assert listed(second.epoch(number)) == epochs[number]
        assert listed(second.epoch(tf.constant(number, tf.int64))) == epochs[number]
    assert [len({str(epoch) for epoch in column}) for column in (epochs,)] == [3]
    assert listed(numbers(seed=8).epoch(0)) != epochs[0]
    orders = [[number for number, _ in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [number for number, _ in listed(numbers(seed=8).epoch(0))] != orders[0]


@pytest.mark.parametrize("count", [1, 5, 23])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_has_every_example_once(count, shuffle):
    stream = numbers(count, shuffle=shuffle)
    for number in range(3):
        epoch = listed(stream.epoch(number))
        order = [number for number, _ in epoch]
        assert sorted(order) == list(range(count))
        assert len({draw for _, draw in epoch}) == count
        assert shuffle or order == list(range(count))
        assert [len(y) for _, y in stream.epoch(number)] == [5] * (count // 5) + [count % 5] * (count % 5 > 0)
    assert stream.steps == -(-count // 5)


def test_the_steps_of_a_stream_are_set_up_once():
    """Not for each epoch, which took a large part of a second."""
    finished = []

    def finish(number):
        finished.append(number)
        return number, number

    stream = Stream(tf.data.Dataset.range(6), lambda number: number, None, finish, 6, 4)
    orders = [[number for x, _ in stream.epoch(number, skip) for number in x.numpy()] for number in range(3)
              for skip in (0, 1)]  # fmt: skip
    assert [order[4:] for order in orders[::2]] == orders[1::2]
    assert len(finished) == 1


def test_draws_differ_by_epoch_where_the_order_does_not():
    stream = numbers(shuffle=False)
    assert listed(stream.epoch(0)) != listed(stream.epoch(1))
    assert listed(stream.epoch(0)) == listed(stream.epoch(0))


def test_draws_follow_the_place_and_not_the_batch():
    small, large = numbers(batch_size=2, seed=3), numbers(batch_size=9, seed=3)
    assert listed(small.epoch(4)) == listed(large.epoch(4))


def test_an_epoch_left_early_changes_no_other():
    stream, whole = numbers(seed=1), [listed(numbers(seed=1).epoch(number)) for number in range(3)]
    next(iter(stream.epoch(0)))
    assert listed(stream.epoch(1)) == whole[1]
    assert listed(stream.epoch(0)) == whole[0]
    two, one = iter(stream.epoch(2)), iter(stream.epoch(1))
    mixed = [(next(two)[0].numpy().tolist(), next(one)[0].numpy().tolist()) for _ in range(stream.steps)]
    assert sum((pair[0] for pair in mixed), []) == whole[2]
    assert sum((pair[1] for pair in mixed), []) == whole[1]


def test_iterations_of_counted_are_the_epochs():
    stream = numbers(seed=2)
    counted = stream.counted()
    assert counted.cardinality() == stream.steps == len(counted)
    for number in range(4):
        assert listed(counted) == listed(stream.epoch(number))
    assert listed(stream.counted()) == listed(stream.epoch(0))  # each counts for itself


@pytest.mark.parametrize("built", [False, True])
def test_epochs_of_fit_are_the_epochs(built):
    stream, seen = numbers(seed=2), []

    def loss(y_true, y_pred):
        tf.py_function(lambda y: seen.extend(y.numpy().ravel().tolist()), [y_true], [])
        return tf.reduce_mean((y_true - y_pred) ** 2)

    model = keras.Sequential([keras.layers.Rescaling(1e-9), keras.layers.Dense(1)])
    if built:
        model(tf.zeros((1, 2)))
    model.compile("sgd", loss)
    history = model.fit(stream.counted(), epochs=3, verbose=0, validation_data=numbers(shuffle=False).counted())
    assert len(history.history["loss"]) == 3
    train = [float(number) for epoch in range(3) for number, _ in listed(stream.epoch(epoch))]
    validation = [float(number) for number in range(23)]
    want = sum((train[23 * epoch : 23 * epoch + 23] + validation for epoch in range(3)), [])
    assert seen == want


def test_nothing_is_tuned_on_the_way():
    stream = numbers()
    for dataset in (stream.epoch(0), stream.counted()):
        assert dataset.options().autotune.enabled is False
        assert dataset.options().deterministic is True
    assert options().autotune.enabled is False


def test_examples_are_prepared_once():
    calls = []

    def prepare(number):
        tf.py_function(lambda n: calls.append(int(n)), [number], [])
        return number

    stream = Stream(tf.data.Dataset.range(9), prepare, None, lambda number: (number, number), 9, 4)
    for number in range(3):
        assert sorted(n for batch, _ in stream.epoch(number) for n in batch.numpy()) == list(range(9))
    assert sorted(calls) == list(range(9))


def test_few_large_items_are_sorted_together(monkeypatch):
    """Sorting by length copies the items, so it takes windows of few images."""
    monkeypatch.setattr("zoo.data.stream.WINDOW_BYTES", 2 * 8 * 41_000)

    def prepare(number):
        return {"image": tf.zeros((100, 100)), "number": number}, tf.fill([number % 7 + 1], 2)

    def order(length):
        stream = Stream(
            tf.data.Dataset.range(50), prepare, None, lambda *both: both, 50, 8, length=length, longest=7,
        )  # fmt: skip
        return np.concatenate([inputs["number"].numpy() for inputs, _ in stream.epoch(0)])

    plain, by_length = order(None), order(lambda item: tf.size(item[1]))
    for first in (0, 16, 32):
        assert {*plain[first : first + 16]} == {*by_length[first : first + 16]}
    assert plain.tolist() != by_length.tolist()


@pytest.mark.parametrize("longest", [30, None])  # kept in memory, or of unknown size
def test_batches_of_about_one_length(longest, monkeypatch):
    monkeypatch.setattr("zoo.data.stream.WINDOW", 4)
    lengths = np.random.default_rng(0).integers(1, 30, 103)

    def prepare(count):
        return {"values": tf.range(count) + 1, "count": count}, tf.fill([count], 2)

    stream = Stream(
        tf.data.Dataset.from_tensor_slices(lengths), prepare, None, lambda *both: both, 103, 8, seed=3,
        length=lambda item: item[0]["count"], longest=longest,
    )  # fmt: skip
    assert stream.is_kept == (longest is not None)
    epochs = [list(stream.epoch(number)) for number in (0, 0, 1)]
    counts = [[inputs["count"].numpy().tolist() for inputs, _ in epoch] for epoch in epochs]
    assert counts[0] == counts[1] != counts[2]
    assert [len(batch) for batch in counts[0]] == [8] * 12 + [7]
    assert sorted(sum(counts[0], [])) == sorted(lengths)
    assert np.mean([np.ptp(batch) for batch in counts[0][:12]]) < 10
    assert counts[0][:4] != sorted(counts[0][:4])  # the batches come in a drawn order
    skipped = [inputs["count"].numpy().tolist() for inputs, _ in stream.epoch(0, skip=5)]
    assert skipped == counts[0][5:]
    for inputs, y in epochs[0]:
        assert inputs["values"].shape == y.shape == (len(y), max(inputs["count"]))
        for row, count in zip(inputs["values"].numpy(), inputs["count"].numpy(), strict=True):
            assert row.tolist() == [*range(1, count + 1)] + [0] * (len(row) - count)
    in_order = [inputs["count"].numpy().tolist() for inputs, _ in stream.in_order()]
    assert sum(in_order, []) == lengths.tolist()


def test_large_raw_examples_have_a_small_window():
    """A shuffle window of examples of a known size takes at most 64 MB; a task may keep fewer bytes than usual."""
    megabyte = tf.data.Dataset.range(100).map(lambda number: tf.fill((1 << 18,), tf.cast(number, tf.int32)))
    arguments = (megabyte, lambda raw: raw, None, lambda raw: (raw, raw), 100, 4)
    kept, streamed = Stream(*arguments), Stream(*arguments, keep_bytes=1 << 26)
    assert kept.is_kept
    assert not streamed.is_kept
    assert streamed.raw_window == 64
    order = [int(row[0]) for batch, _ in streamed.epoch(0) for row in batch]
    assert sorted(order) == list(range(100))
    assert order != list(range(100))


@pytest.mark.parametrize(("sizes", "group_size"), [((6, 6, 6, 6), 3), ((1, 7, 3, 5, 9), 2), ((9, 9), 4)])
def test_items_of_a_group_lie_side_by_side(sizes, group_size):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    dataset = tf.data.Dataset.from_tensor_slices({"x": np.arange(len(groups)), "group": groups})
    stream = Stream(
        dataset, lambda item: item, None, lambda item: item, len(groups), 4, group=lambda item: item["group"],
        group_size=group_size,
    )  # fmt: skip

    def epoch(number):
        return [int(x) for batch in stream.epoch(number) for x in batch["x"]]

    order = epoch(0)
    assert sorted(order) == list(range(len(groups)))
    changes = np.flatnonzero(np.diff(groups[order]))
    assert len(changes) + 1 <= sum(-(-size // group_size) for size in sizes)  # parts of groups
    assert order == epoch(0)
    assert len({groups[epoch(number)[0]] for number in range(12)}) > 1  # the parts are in random order
    assert len({tuple(np.sort(epoch(number)[:4])) for number in range(12)}) > 3  # of other items
