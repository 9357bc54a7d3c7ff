"""The stream's law, and folders and TFDS as sources."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.drawings import draw_digit
from zoo.data import sources
from zoo.data.sources import open_source
from zoo.data.stream import Stream, options
from zoo.errors import ZooError


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


# Folders


def files_of(source) -> list[str]:
    return [example["file"].numpy().decode() for example in source.dataset]


def test_shares_of_a_folder(digits_folder):
    shares = {split: open_source(digits_folder, split, ("image", "label")) for split in ("train", "validation", "test")}
    assert {split: source.examples for split, source in shares.items()} == {"train": 42, "validation": 6, "test": 12}
    files = {split: files_of(source) for split, source in shares.items()}
    assert {split: len(names) for split, names in files.items()} == {"train": 42, "validation": 6, "test": 12}
    together = sum(files.values(), [])
    assert sorted(together) == sorted(str(file) for file in digits_folder.rglob("*.png"))
    for split, source in shares.items():
        assert source.labels == ["0", "1", "7"]
        assert files_of(open_source(f"{digits_folder}/", split, ("image",))) == files[split]
        for example in source.dataset:
            name = example["file"].numpy().decode()
            assert source.labels[example["label"]] == name.split("/")[-2]
            with open(name, "rb") as file:
                assert example["image"].numpy() == file.read()
    assert len(collections.Counter(name.split("/")[-2] for name in files["train"])) == 3  # mixed, not sorted


def test_what_a_folder_may_hold(tmp_path):
    for label in ("b", "a", ".hidden", "C"):
        (tmp_path / label / "deep").mkdir(parents=True)
        for number in range(5):
            draw_digit("7").save(tmp_path / label / "deep" / f"{number}.PNG")
        (tmp_path / label / "notes.txt").write_text("no image")
    (tmp_path / "loose.png").write_bytes(b"")
    shares = [open_source(tmp_path, split, ("label",)) for split in ("train", "validation", "test")]
    assert [source.labels for source in shares] == [["C", "a", "b"]] * 3
    assert [source.examples for source in shares] == [10, 2, 3]


def test_a_folder_that_is_shared_already(tmp_path, digits_folder):
    import shutil

    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for digit in "01":
            (tmp_path / split / digit).mkdir(parents=True)
            for file in sorted((digits_folder / digit).iterdir())[:count]:
                shutil.copy(file, tmp_path / split / digit)
    shares = {split: open_source(tmp_path, split, ("label",)) for split in ("train", "validation", "test")}
    assert [share.examples for share in shares.values()] == [10, 4, 6]
    assert all(share.labels == ["0", "1"] and share.name == str(tmp_path) for share in shares.values())
    assert sorted(row["label"] for row in shares["test"].dataset.as_numpy_iterator()) == [0, 0, 0, 1, 1, 1]
    assert not shares["train"].overlaps(shares["validation"])
    (tmp_path / "test" / "2").mkdir()
    with pytest.raises(ZooError, match="test/2 is no class of .*train"):
        open_source(tmp_path, "test", ("label",))
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(ZooError, match="has no split 'test'; it has train, validation; for none"):
        open_source(tmp_path, "test", ("label",))


def test_shares_overlap_where_they_have_rows_in_common(digits_folder):
    shares = [open_source(digits_folder, split, ("label",)) for split in ("train", "validation", "test")]
    for one in shares:
        assert [one.overlaps(other) for other in shares] == [one is other for other in shares]


def test_folders_that_are_no_data_set(tmp_path, digits_folder):
    (tmp_path / "file").write_text("x")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    draw_digit("7").save(tmp_path / "one" / "cat" / "1.png")
    for label in "ab":
        (tmp_path / "none" / label).mkdir(parents=True)
    for folder, message in (
        (tmp_path / "one", "needs one subfolder of images a class; it has 1 with 1 images"),
        (tmp_path / "none", "it has 2 with 0 images"),
        (tmp_path / "missing", "there is no folder .*missing"),
        (tmp_path / "file", "file is a file: a folder with one subfolder a class is expected"),
    ):
        for name in (folder, str(folder)):
            with pytest.raises(ZooError, match=message):
                open_source(name, "train", ("image",))
    with pytest.raises(ZooError, match="has no split 'validate'; it has train, validation, test"):
        open_source(digits_folder, "validate", ("image",))
    with pytest.raises(ZooError, match="has no field 'text'; it has image, file, label"):
        open_source(digits_folder, "train", ("text",))
    for limit in (0, -3):
        with pytest.raises(ZooError, match="is no whole number"):
            open_source(digits_folder, "train", ("image",), limit=limit)
    draw_digit("1").save(tmp_path / "none" / "a" / "1.png")
    draw_digit("1").save(tmp_path / "none" / "b" / "1.png")
    with pytest.raises(ZooError, match="too few images for a share called test"):
        open_source(tmp_path / "none", "test", ("image",))


def test_limit(digits_folder):
    whole = files_of(open_source(digits_folder, "train", ("image",)))
    for limit in (1, 5, 42, 1000):
        source = open_source(digits_folder, "train", ("image",), limit=limit)
        assert source.examples == min(limit, 42)
        assert files_of(source) == whole[:limit]


# TFDS


class ZooTinyDigits(tfds.core.GeneratorBasedBuilder):
    """Fifty drawn digits in one piece, made for these tests."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1)),
            "label": tfds.features.ClassLabel(names=["l", "o"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(50):
            picture = np.asarray(draw_digit("10"[number % 2], 20 + number % 7))[..., None]
            yield number, {"image": picture, "label": number % 2}


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    ZooTinyDigits(data_dir=folder).download_and_prepare()
    return folder


def test_tfds_by_name(tfds_folder):
    source = open_source("zoo_tiny_digits", "train", ("image", "label"), tfds_folder)
    assert (source.name, source.version, source.examples, source.labels) == ("zoo_tiny_digits", "1.0.0", 50, ["l", "o"])
    examples = list(source.dataset.as_numpy_iterator())
    assert sum(example["label"] for example in examples) == 25
    assert all(example["image"].startswith(b"\x89PNG") for example in examples)  # still encoded
    half = open_source("zoo_tiny_digits", "train[:40%]", ("label",), tfds_folder)
    assert half.examples == len(list(half.dataset)) == 20
    with pytest.raises(ZooError, match="unknown split of zoo_tiny_digits 'tran'; did you mean train"):
        open_source("zoo_tiny_digits", "tran", ("image",), tfds_folder)
    with pytest.raises(ZooError, match="has no field 'text'; it has image, label"):
        open_source("zoo_tiny_digits", "train", ("text",), tfds_folder)


def test_shares_of_a_data_set_in_one_piece(tfds_folder, monkeypatch):
    monkeypatch.setattr(sources, "_ONE_PIECE", ("zoo_tiny_digits",))
    everything = open_source("zoo_tiny_digits", "train[:100%]", ("image",), tfds_folder)
    whole = [example["image"] for example in everything.dataset.as_numpy_iterator()]
    parts = []
    for split, count in (("train", 35), ("validation", 5), ("test", 10)):
        source = open_source("zoo_tiny_digits", split, ("image",), tfds_folder)
        assert source.examples == count
        parts += [example["image"] for example in source.dataset.as_numpy_iterator()]
    assert parts == whole


def test_names_that_tfds_does_not_have(tmp_path):
    for name, message in (
        ("mnits", "unknown data set 'mnits'; did you mean mnist or"),
        ("tf_flower", "did you mean tf_flowers or"),
        ("no/such/folder", "there is no folder no/such/folder"),
        ("mnist/nope", "'mnist/nope' is no data set"),
        ("mnist:9.9.9", "'mnist:9.9.9' is no data set"),
        ("", "'' is no data set"),
        ("two words", "'two words' is no data set"),
    ):
        with pytest.raises(ZooError, match=message) as raised:
            open_source(name, "train", ("image",), tmp_path)
        assert "\n" not in str(raised.value)
    with pytest.raises(ZooError, match="to look for data sets in"):
        open_source("mnist", "train", ("image",), tmp_path / "missing")


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
