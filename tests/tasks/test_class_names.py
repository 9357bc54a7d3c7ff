"""Classes go by their names: a data set's order, its other names, its empty folders."""

import shutil

import numpy as np
import pytest

import zoo
from zoo.errors import ZooError
from zoo.registry import entries


@pytest.fixture
def model(digits_folder):
    """Fitted on the folder as it is: 0, 1, 7."""
    model = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    zoo.dataset(digits_folder, model=model)
    return model


def test_the_same_names_in_another_order_are_the_same_classes(digits_folder, model, tmp_path):
    preset = zoo.save(model, tmp_path / "preset")
    turned = zoo.load(tmp_path / "preset", labels=["1", "7", "0"])
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
