"""The data set that fit takes: preprocessed as the pipeline does, recorded on the model, bad files named."""

import random
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.short_graphs import short_reader
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks.inputs.image import ImageInput


def files_of(source) -> list[str]:
    return [example["file"].numpy().decode() for example in source.dataset]


def tiny_model(classes: int | None = 3, **overrides):
    keras.utils.set_random_seed(0)
    return zoo.create_model("mlp", classes=classes, **{**entries()["mlp"].tiny, **overrides})


def test_dataset_records_where_it_comes_from(digits_folder):
    model = tiny_model()
    zoo.dataset(str(digits_folder), "validation", model=model)
    assert model.origin.labels == ["0", "1", "7"]
    assert model.origin.data == {"name": str(digits_folder), "version": "", "split": "validation"}
    model.origin.labels = ["zero", "one", "seven"]
    zoo.dataset(str(digits_folder), model=model)
    assert model.origin.labels == ["zero", "one", "seven"]  # names once given stay


def test_dataset_refuses_other_classes_and_batches(digits_folder):
    model = tiny_model(10)
    with pytest.raises(ZooError, match="has 3 classes, the model 10: load or create it with classes=3"):
        zoo.dataset(str(digits_folder), model=model)
    assert model.origin.labels is None
    with pytest.raises(ZooError, match="batch_size must be an integer >= 1, got 0"):
        zoo.dataset(str(digits_folder), model=tiny_model(), batch_size=0)


def test_dataset_gives_what_the_pipeline_sees(digits_folder):
    model = tiny_model()
    data = zoo.dataset(str(digits_folder), "test", model=model, batch_size=5)
    names = sorted(files_of(open_source(digits_folder, "test", ("image",), ImageInput.layout)))
    pipe = zoo.pipeline(model)
    logits = np.concatenate([model(inputs) for inputs, _ in data])
    answers = pipe(names)
    digits = [model.origin.labels[number] for _, y in data for number in y.numpy()]
    assert digits == [Path(name).parent.name for name in names] == sorted(digits)
    for row, answer in zip(logits, answers, strict=True):
        assert answer["labels"][0] == model.origin.labels[row.argmax()]
        np.testing.assert_allclose(answer["scores"][0], np.exp(row.max()) / np.exp(row).sum(), rtol=1e-4)
    assert [len(y) for _, y in data] == [5, 5, 2]


@short_reader()
def test_dataset_shuffles_and_distorts_by_its_seed(digits_folder):
    def first(**settings):
        model = tiny_model()
        model.origin.settings["augment"] = {"shift": 2.0, "rotate": 10.0}
        inputs, y = next(iter(zoo.dataset(str(digits_folder), model=model, batch_size=42, **settings)))
        return inputs.numpy(), y.numpy().tolist()

    (plain, y), (distorted, y_distorted), (again, _) = first(), first(augment=True), first(augment=True)
    assert y == y_distorted != sorted(y)
    np.testing.assert_array_equal(distorted, again)
    assert np.abs(distorted - plain).max() > 0.3
    other, y_other = first(seed=1, augment=True)
    assert y_other != y
    assert not np.array_equal(other, distorted)


@short_reader()
def test_fit_learns_a_folder(digits_folder):
    model = tiny_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    losses = model.fit(zoo.dataset(str(digits_folder), model=model, batch_size=8), epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    figures = model.evaluate(zoo.dataset(str(digits_folder), "test", model=model), verbose=0, return_dict=True)
    assert figures["accuracy"] == 1.0


SLOW = pytest.mark.slow  # tests/preprocessing/test_bad_images.py has every message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"no image", "not an image: expected JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF", marks=SLOW),
        (b"", "empty"),
        pytest.param("cut", "damaged or truncated PNG", marks=SLOW),
        ("late", "damaged or truncated PNG"),
    ],
)
def test_a_bad_file_is_named_with_its_path(tmp_path, content, message):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(6):
            draw_digit("1", 28 + random.Random(number).randrange(9)).save(tmp_path / label / f"{number}.png")
    train = files_of(open_source(tmp_path, "train", ("image",), ImageInput.layout))
    bad = train[len(train) // 2]
    with open(bad, "rb") as file:
        whole = file.read()
    cuts = {"cut": whole[:40], "late": whole[:-30]}
    with open(bad, "wb") as file:
        file.write(cuts.get(content, content))
    model = tiny_model(2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ZooError) as raised:
        model.fit(zoo.dataset(str(tmp_path), model=model), verbose=0)
    assert str(raised.value).startswith(f"{bad}: {message}")
    assert str(raised.value).endswith("; repair or remove it")
    assert "\n" not in str(raised.value)


@short_reader()
def test_an_assertion_of_the_users_own_stays_as_it_is(digits_folder):
    model = tiny_model()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = zoo.dataset(str(digits_folder), "test", model=model)

    def refuse(inputs, y):
        with tf.control_dependencies([tf.debugging.Assert(y[0] < 0, ["negative", "expected"])]):
            return inputs, tf.identity(y)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[negative\] \[expected\]"):
        model.evaluate(data.map(refuse), verbose=0)


@short_reader()
def test_tf_data_service_gives_each_epoch_once(digits_folder):
    model = tiny_model()
    dispatcher = tf.data.experimental.service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    config = tf.data.experimental.service.WorkerConfig(dispatcher_address=address, heartbeat_interval_ms=100)
    workers = [tf.data.experimental.service.WorkerServer(config) for _ in range(2)]
    data = zoo.dataset(str(digits_folder), model=model, batch_size=12, augment={"shift": 2.0}, epochs=3)
    served = data.apply(tf.data.experimental.service.distribute("distributed_epoch", dispatcher.target))

    def batches(dataset):
        return sorted((x.numpy().tobytes(), y.numpy().tobytes()) for x, y in dataset)

    assert batches(served) == batches(data)
    assert len(set(batches(data))) == 3 * 4  # 42 examples in batches of 12, each epoch with augmentation of its own
    assert len(workers) == 2
