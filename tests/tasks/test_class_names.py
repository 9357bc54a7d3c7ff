"""Classes go by their names: a data set's order, its other names, its empty folders."""

import shutil

import numpy as np
import pytest

import zoo
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks import task_of

pytestmark = pytest.mark.usefixtures("short_runs")


@pytest.fixture
def model(digits_folder):
    """Fitted on the folder as it is: 0, 1, 7."""
    model = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    zoo.dataset(digits_folder, model=model)
    return model


def test_the_same_names_in_another_order_are_the_same_classes(digits_folder, model, tmp_path):
    preset = zoo.save(model, tmp_path / "preset")
    turned = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    turned.origin.labels = ["1", "7", "0"]
    kernel, bias = model.layers[-1].get_weights()
    head = [layer for layer in turned.layers if layer.name.startswith("head")][0]
    for layer, other in zip(turned.layers, model.layers, strict=True):
        layer.set_weights(other.get_weights())
    head.set_weights([kernel[:, [1, 2, 0]], bias[[1, 2, 0]]])
    zoo.save(turned, tmp_path / "turned")
    one, other = (zoo.evaluate(path, str(digits_folder) + "/") for path in (preset.path, tmp_path / "turned"))
    assert one["metrics"]["accuracy"] == other["metrics"]["accuracy"]
    ours, theirs = (
        np.concatenate([y for _, y in zoo.dataset(digits_folder, "test", model=each)]) for each in (model, turned)
    )
    np.testing.assert_array_equal(np.array([2, 0, 1])[ours], theirs)


def test_other_names_are_refused(digits_folder, model, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "renamed")
    (tmp_path / "renamed" / "7").rename(tmp_path / "renamed" / "seven")
    with pytest.raises(ZooError, match=r"classes that the model does not know, such as 'seven'; it knows 0, 1, 7: to"):
        zoo.dataset(tmp_path / "renamed", model=model)
    zoo.save(model, tmp_path / "preset")
    with pytest.raises(ZooError, match="such as 'seven'"):
        zoo.evaluate(tmp_path / "preset", str(tmp_path / "renamed"))
    again = zoo.load(tmp_path / "preset", labels=["0", "1", "seven"])
    assert len(zoo.dataset(tmp_path / "renamed", model=again)) == 2


def renamed(digits_folder, path, names: dict[str, str]):
    """The folder of digits with other names of its classes."""
    for old, new in names.items():
        shutil.copytree(digits_folder / old, path / new)
    return path


def test_a_data_set_without_a_common_name_is_refused(digits_folder, model, tmp_path):
    """As many classes are not the same classes, whether names or only numbers; new names of the same classes are."""
    zoo.save(model, tmp_path / "preset")
    others = renamed(digits_folder, tmp_path / "others", {"0": "cat", "1": "dog", "7": "ant"})
    message = "others has classes that the model does not know, such as 'ant'; it knows 0, 1, 7"
    with pytest.raises(ZooError, match=message):
        zoo.evaluate(tmp_path / "preset", str(others))
    with pytest.raises(ZooError, match=message):
        zoo.dataset(others, model=model)
    with pytest.raises(ZooError, match=message):
        zoo.dataset(others, "test", model=zoo.load(tmp_path / "preset"))
    named = zoo.load(tmp_path / "preset", labels=["cat", "dog", "ant"])
    assert len(zoo.dataset(others, "test", model=named)) == 1


def test_renamed_labels_are_the_classes_of_the_training_data(digits_folder, model, tmp_path):
    """Also after a round trip, and if the data set's names are in another order than the model's classes."""
    before = zoo.evaluate(zoo.save(model, tmp_path / "preset").path, str(digits_folder))["metrics"]
    for path, labels in (("once", ["zero", "one", "seven"]), ("twice", ["null", "eins", "sieben"])):
        start = tmp_path / ("preset" if path == "once" else "once")
        saved = zoo.save(zoo.load(start, labels=labels), tmp_path / path)
        assert saved.record["task"]["data_labels"] == ["0", "1", "7"]
        assert zoo.evaluate(saved.path, str(digits_folder))["metrics"] == before
    words = renamed(digits_folder, tmp_path / "words", {"0": "zero", "1": "one", "7": "seven"})
    task = task_of(zoo.load(tmp_path / "once"))
    source = open_source(words, "train", task.fields, task.layout)
    align = task.aligned(source)
    for example in source.dataset:
        number = int(align(example)["label"])
        assert task.labels[number] == example["file"].numpy().decode().split("/")[-2]


@pytest.mark.parametrize("labels", [["1", "7", "0"], ["0", "7", "1"], ["1", "other", "0"]])
def test_labels_of_other_classes_are_refused(labels, digits_folder, model, tmp_path):
    zoo.save(model, tmp_path / "preset")
    message = "labels are in another order than the model's classes: 0, 1, 7"
    with pytest.raises(ZooError, match=message):
        zoo.load(tmp_path / "preset", labels=labels)
    with pytest.raises(ZooError, match=message):
        zoo.save(model, tmp_path / "other", labels=labels)


@pytest.fixture
def further(digits_folder, model, tmp_path):
    """Continues the training of a preset whose classes are in another order than those of a folder."""
    model.origin.labels = model.origin.data_labels = ["7", "0", "1"]
    zoo.save(model, tmp_path / "start")

    def run(folder, warn):
        recipe = tmp_path / "mine.toml"
        recipe.write_text(f'start_from = "{tmp_path / "start"}"\n[data]\nfolder = "{folder}"\n')
        training = {"epochs": 1, "optimizer": {"learning_rate": 1e-9}}
        return zoo.train(recipe, tmp_path / "run", training=training, warn=warn)

    return run


def test_training_goes_on_with_the_classes_of_its_start(digits_folder, further, tmp_path):
    lines = []
    made = further(digits_folder, lines.append)
    assert lines == []
    assert made.record["task"]["settings"]["labels"] == ["7", "0", "1"]
    before, after = (zoo.evaluate(tmp_path / name, str(digits_folder))["metrics"] for name in ("start", "run"))
    assert before == after
    old, new = (zoo.load(tmp_path / name).get_layer("head").get_weights() for name in ("start", "run"))
    np.testing.assert_allclose(old[0], new[0], atol=1e-6)


def test_training_on_as_many_other_classes_starts_a_new_head(digits_folder, further, tmp_path):
    lines = []
    made = further(renamed(digits_folder, tmp_path / "abc", {"0": "0", "1": "b", "7": "c"}), lines.append)
    assert lines == [f"{tmp_path / 'abc'} has other classes than start: the head starts with new weights"]
    assert made.record["task"]["settings"]["labels"] == ["0", "b", "c"]
    old, new = (zoo.load(tmp_path / name) for name in ("start", "run"))
    assert np.abs(old.get_layer("head").get_weights()[0] - new.get_layer("head").get_weights()[0]).min() > 1e-6
    body = next(layer.name for layer in new.layers if layer.weights and layer.name != "head")
    np.testing.assert_allclose(*(each.get_layer(body).get_weights()[0] for each in (old, new)), atol=1e-6)


def test_a_class_without_files_is_named(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    (tmp_path / "photos" / "void").mkdir()
    with pytest.raises(ZooError, match=r"photos/void has no images: fill it, or remove it"):
        zoo.train("mlp", tmp_path / "run", data={"folder": str(tmp_path / "photos")})


def test_a_preset_says_what_it_was_fitted_on(digits_folder, model, tmp_path):
    zoo.dataset(digits_folder, "test", model=model)
    assert zoo.save(model, tmp_path / "preset").record["provenance"]["fitted_on"] == f"{digits_folder} train"


@pytest.mark.parametrize("labels", [["a", "a", "b"], ["a", "", "b"], "abc"])
def test_labels_that_name_no_classes_are_refused(labels, tiny_preset):
    with pytest.raises(ZooError, match="labels must be"):
        zoo.load(tiny_preset, labels=labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": -2}, "classes must be an integer >= 0, got -2"),
        ({"classes": 2.0}, "classes must be an integer >= 0, got 2.0"),
        ({"classes": "10"}, "classes must be an integer >= 0, got '10'"),
        ({"input_shape": "abc"}, "input_shape must be integers >= 1 such as .*, got 'abc'"),
        ({"input_shape": (None, None, 3)}, r"input_shape must be .*, got \(None, None, 3\)"),
        ({"input_shape": (32, 32)}, r"input_shape must be integers >= 1 such as \(32, 32, 3\), got \(32, 32\)"),
    ],
)
def test_sizes_that_are_none_are_refused(arguments, message):
    with pytest.raises(ZooError, match=message):
        zoo.create_model("resnet_cifar20", **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "mlp"}}, "model and start_from must be names"),
        ({"data": {"folder": ""}}, "give one of data.name and data.folder"),
        ({"freeze": "all"}, "leaves no weights to train"),
        ({"task": {"fraction": 7.0}}, "fraction must be a finite number > 0 and <= 1, got 7.0"),
        ({"task": {"share": 7.0}}, "fraction must be a finite number > 0 and <= 1, got 7.0"),
    ],
)
def test_more_mistakes_in_a_recipe_are_named(changes, message, digits_folder, tmp_path):
    with pytest.raises(ZooError, match=message):
        zoo.train("mlp", tmp_path / "run", **{"data": {"folder": str(digits_folder)}, **changes})
    assert not (tmp_path / "run").exists()


def test_arguments_of_a_model_that_is_loaded_are_refused(digits_folder, tiny_preset, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'start_from = "{tiny_preset}"\n[model_overrides]\ndropout = 0.5\n[data]\nfolder = "{digits_folder}"\n'
    )
    with pytest.raises(ZooError, match="model_overrides need a new model"):
        zoo.train(recipe, tmp_path / "run")


def test_an_empty_path_is_none(tiny_preset):
    assert zoo.pipeline(tiny_preset)("", errors="return")["error"] == "an empty string is not a path"
    with pytest.raises(ZooError, match="'' is not a data set"):
        zoo.evaluate(tiny_preset, "")


def test_some_of_the_classes_can_be_evaluated(digits_folder, model, tmp_path):
    """The figure is that of these classes, with the model's numbers."""
    zoo.save(model, tmp_path / "preset")
    some = renamed(digits_folder, tmp_path / "some", {"1": "1", "7": "7"})
    data = zoo.dataset(some, "all", model=model, shuffle=False, batch_size=100)
    [(pictures, y)] = list(data)
    assert {*y.numpy()} == {1, 2}
    expected = float(np.mean(np.argmax(model(pictures), axis=-1) == y.numpy()))
    assert zoo.evaluate(tmp_path / "preset", str(some), "all")["metrics"]["accuracy"] == pytest.approx(expected)
    body = zoo.load(tmp_path / "preset", classes=0)
    others = renamed(digits_folder, tmp_path / "others", {"0": "cat", "1": "dog"})
    for folder in (digits_folder, some, others):  # a model without classes takes any
        assert next(iter(zoo.dataset(folder, "test", model=body)))[0].shape[1:] == (16, 16, 1)
