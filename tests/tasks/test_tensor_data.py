"""Folders and data sets of arrays, and the scaling that is learned from them."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.tensors import BAD, small
from zoo.data.sources import Source, open_source
from zoo.data.stream import named_errors
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.inputs.image import ImageInput
from zoo.tasks.inputs.tensor import TensorInput


def folder_of(path, shape=(4, 2), items: int = 6):
    random = np.random.default_rng(0)
    for label in "abc":
        (path / label).mkdir(parents=True)
        for item in range(items):
            np.save(path / label / f"{item}.npy", random.normal(5, 3, shape))
    return path


def test_the_field_decides_which_files_count(tmp_path, digits_folder):
    data = folder_of(tmp_path / "data")
    (data / "a" / "notes.txt").write_text("not one of them")
    source = open_source(data, "train", ("tensor", "label"), TensorInput.layout)
    assert (source.examples, source.labels) == (13, ["a", "b", "c"])
    with pytest.raises(ZooError, match=r"needs one subfolder of \.npy files per class; it has 3 with 0 \.npy files"):
        open_source(digits_folder, "train", ("tensor", "label"), TensorInput.layout)
    with pytest.raises(ZooError, match="needs one subfolder of images per class; it has 3 with 0 images"):
        open_source(data, "train", ("image", "label"), ImageInput.layout)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "pickled", "shape of a file", "infinite"])
def test_a_bad_file_ends_training_and_is_named(kind, tmp_path):
    data = folder_of(tmp_path / "data")
    content, message = BAD[kind]
    source = open_source(data, "train", ("tensor",), TensorInput.layout)
    bad = [example["file"].numpy().decode() for example in source.dataset][5]
    with open(bad, "wb") as file:
        file.write(content)
    with pytest.raises(ZooError) as raised:
        zoo.train("conv1d_classifier", tmp_path / "run", data={"folder": str(data)}, training={"epochs": 1},
                  model_overrides={"input_shape": (4, 2), "filters": (4,)})  # fmt: skip
    assert str(raised.value).startswith(f"{bad}: ")
    assert message in str(raised.value)
    assert str(raised.value).endswith("; repair or remove it")
    assert not (tmp_path / "run" / "preset.json").exists()


def test_arrays_of_a_data_set_need_no_file():
    values = np.arange(48, dtype="int16").reshape(6, 4, 2)
    dataset = tf.data.Dataset.from_tensor_slices({"tensor": values, "label": np.arange(6) % 3})
    source = Source("numbers", "", "train", 6, ["a", "b", "c"], dataset, dict, "none")
    model = small()
    task = task_of(model)
    settings, _, _ = task.adapt(source, {}, {})
    assert settings["mean"] == pytest.approx(23.5)
    assert settings["deviation"] == pytest.approx(values.std(), rel=1e-5)
    ((inputs, y),) = stream(task, source, 6, augment=False, shuffle=False).epoch(0)
    np.testing.assert_array_equal(inputs["tensor"], values.astype("float32"))
    assert y.numpy().tolist() == [0, 1, 2, 0, 1, 2]
    with (
        pytest.raises(ZooError, match=r"an example: expected an array of shape \(6, 2\), got \(4, 2\)"),
        named_errors(),
    ):
        list(stream(task_of(small(input_shape=(6, 2))), source, 6, augment=False, shuffle=False).epoch(0))


def test_equal_values_are_only_shifted():
    dataset = tf.data.Dataset.from_tensor_slices({"tensor": np.full((6, 4, 2), 7.0), "label": np.zeros(6, int)})
    source = Source("sevens", "", "train", 6, ["a", "b"], dataset, dict, "none")
    assert task_of(small()).adapt(source, {}, {})[0] == {"mean": 7.0, "deviation": 1.0}
