"""Models with one input and one output work as those of keras.applications do: on arrays, in other models, by name."""

import copy
import warnings

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from tests.helpers.registering import drop
from zoo.errors import ZooError
from zoo.layers.model import named
from zoo.tasks import task_of

X = np.random.default_rng(0).random((6, 16, 16, 1), "float32")
Y = np.array([0, 1, 2, 0, 1, 2])

PLAIN = '''
"""A builder that returns a model of tensors, with names of Keras's own."""
import keras
from keras import layers
from zoo.registry import register_model

@register_model(task="image_classification", paper="Nobody 2000", settings={"colour": "grey"}, variants=NAMES)
def plain(input_shape=(8, 8, 1), classes: int = 3, sequential: bool = False):
    """A plain network."""
    image = keras.Input(input_shape)
    steps = [layers.Flatten(), layers.Dense(4)] + ([layers.Dense(classes, name="head")] if classes else [])
    if sequential:
        return keras.Sequential([image, *steps], name="plain")
    x = image
    for step in steps:
        x = step(x)
    return keras.Model(image, x, name="plain")
'''


@pytest.fixture
def model():
    model = make("mlp", classes=3)
    model.compile("sgd", task_of(model).loss(), weighted_metrics=task_of(model).metrics())
    return model


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_arrays_and_names_give_the_same(model):
    logits = model(X)
    assert logits.shape == (6, 3)
    np.testing.assert_array_equal(model({"image": X}), logits)
    np.testing.assert_allclose(model.predict(X, verbose=0), logits, rtol=1e-5)
    np.testing.assert_allclose(model.predict({"image": X}, verbose=0), logits, rtol=1e-5)
    with pytest.raises(ValueError, match="mlp has the input 'image', got 'picture'"):
        model({"picture": X})


def test_losses_metrics_and_targets_by_name(model):
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert model.evaluate({"image": X}, {"logits": Y}, verbose=0, return_dict=True) == expected
    assert model.evaluate(X, {"logits": Y}, sample_weight={"logits": np.ones(6)}, verbose=0)[0] == expected["loss"]
    task, before = task_of(model), expected["loss"]
    model.compile("sgd", {"logits": task.loss()}, weighted_metrics={"logits": task.metrics()})
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == expected
    model.fit({"image": X}, {"logits": Y}, verbose=0)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] < before


def test_a_model_inside_other_models(model, digits_folder):
    body = make("mlp", classes=0)
    assert body.output_names == ["embeddings"]
    around = keras.Sequential([body, keras.layers.Dense(3)])
    around.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = zoo.dataset(str(digits_folder), model=body, batch_size=8, limit=8)
    kernel = body.weights[0].numpy()
    around.fit(data, verbose=0)
    assert np.abs(body.weights[0].numpy() - kernel).max() > 0
    image = keras.Input((16, 16, 1))
    outer = keras.Model(image, keras.layers.Dense(2)(body(image)))
    by_name = keras.Model(image, outer.layers[-1](body({"image": image})))
    np.testing.assert_allclose(outer(X), by_name(X))
    assert keras.Model(body.input, body.get_layer("hidden1").output)(X).shape == (6, 16)
    with pytest.raises(ZooError, match="the model sequential.* has no origin, but its layer mlp has: give mlp"):
        zoo.dataset(str(digits_folder), model=around)


def test_fit_on_a_data_set(model, digits_folder):
    data = zoo.dataset(str(digits_folder), model=model, augment=True, limit=32)
    assert data.element_spec[0].shape.as_list() == [None, 16, 16, 1]
    assert model.fit(data, validation_data=data, verbose=0).history["val_accuracy"][0] >= 0.2


def test_the_task_sees_the_model_by_name(model):
    task = task_of(model)
    assert (list(task.model.input), list(task.model.output)) == (["image"], ["logits"])
    assert all(own is other for own, other in zip(task.model.weights, model.weights, strict=True))
    assert named(task.model) is task.model


def test_copies_keep_what_the_task_needs(model, tmp_path):
    model.origin.labels = ["zero", "one", "seven"]
    expected = zoo.pipeline(model)(draw_digit("7"))
    for other in (copy.deepcopy(model), type(model).from_config(model.get_config())):
        assert other.origin.get_config() == model.origin.get_config()
        assert other.origin is not model.origin
        other.set_weights(model.get_weights())
        assert zoo.pipeline(other)(draw_digit("7")) == expected
    clone = keras.models.clone_model(model)
    with pytest.raises(ZooError, match="clone_model drops it.* set clone.origin = model.origin"):
        zoo.pipeline(clone)
    clone.origin = model.origin
    clone.set_weights(model.get_weights())
    assert zoo.pipeline(clone)(draw_digit("7")) == expected
    assert zoo.save(clone, tmp_path / "clone").record["task"]["settings"]["labels"] == ["zero", "one", "seven"]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_builder_may_return_a_model_of_tensors(models, tmp_path, sequential):
    drop(models, PLAIN.replace("NAMES", f'{{"plain_{sequential}": {{"sequential": {sequential}}}}}'))
    model = zoo.create_model(f"plain_{sequential}")
    assert (model.output_names, model.origin.output) == (["logits"], "logits")
    images = X[:, :8, :8]
    np.testing.assert_array_equal(model({"image": images}), model(images))
    answer = zoo.pipeline(model)(draw_digit("7"))
    assert zoo.pipeline(zoo.load(zoo.save(model, tmp_path / "p").path))(draw_digit("7")) == answer
    body = zoo.load(tmp_path / "p", classes=0)
    assert zoo.pipeline(body)(draw_digit("7"))["embeddings"].shape == (4,)
    assert zoo.load(tmp_path / "p", classes=5).output.shape == (None, 5)
    _, specs = task_of(model).signatures()["tensors"]
    assert list(specs) == ["image"]


def test_taps(model):
    one = zoo.create_model("mlp", classes=3, taps="hidden1", hidden_units=(4, 5))
    two = zoo.create_model("mlp", classes=3, taps=["hidden1", "hidden2"], hidden_units=(4, 5))
    assert one.output.shape == (None, 4)
    assert {name: tensor.shape for name, tensor in two.output.items()} == {"hidden1": (None, 4), "hidden2": (None, 5)}
    answer = zoo.pipeline(two)(draw_digit("7"))
    assert {name: value.shape for name, value in answer.items() if name != "input"} == {
        "hidden1": (4,),
        "hidden2": (5,),
    }
    np.testing.assert_allclose(two(zoo.preprocess(two, draw_digit("7")))["hidden2"][0], answer["hidden2"], rtol=1e-5)
    with pytest.raises(ZooError, match="mlp has taps, so it lacks layers"):
        zoo.save(two, "nowhere")


@pytest.mark.parametrize("key", ["weights", "pretrained"])
def test_create_model_makes_no_trained_model(key):
    with pytest.raises(ZooError, match=f"without {key}=: zoo.load"):
        zoo.create_model("mlp", **{key: True})
    with pytest.raises(ZooError, match="lenet5.mnist is a preset, whose weights zoo.load loads"):
        zoo.create_model("lenet5.mnist")


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        for create in (lambda: zoo.create_model("mlp"), lambda: zoo.load("mlp.mnist")):
            with pytest.raises(ZooError, match="channels_first, but models here need channels_last"):
                create()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("shape", [(True, 16, 1), (16, 16, True)])
def test_an_input_shape_has_no_booleans(shape):
    with pytest.raises(ZooError, match="input_shape must be integers >= 1"):
        zoo.create_model("mlp", input_shape=shape)


def test_parameters_of_layers_that_a_builder_freezes_count(models, tmp_path):
    drop(
        models,
        '''
"""A builder that freezes a layer of a nested model."""
import keras
from keras import layers
from zoo.registry import register_model

@register_model(task="image_classification", paper="Nobody 2000", settings={"colour": "grey"})
def nested(classes: int = 3):
    """A nested network."""
    image = keras.Input((4, 4, 1), name="image")
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(5, name="deep", trainable=False)], name="inner")
    x = inner(layers.Flatten()(image))
    return keras.Model({"image": image}, {"logits": layers.Dense(classes, name="head")(x)}, name="nested")
''',
    )
    assert zoo.save(zoo.create_model("nested"), tmp_path / "n").record["parameters"] == 16 * 5 + 5 + 5 * 3 + 3
