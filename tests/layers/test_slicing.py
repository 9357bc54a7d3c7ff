"""Models cut at a tensor: body and rest give together what the whole model gives."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization
from zoo.layers.slicing import cut, output_of

IMAGES = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 1)).astype("float32")


def encoder() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, use_bias=False, name="conv")(image))
    pooled = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model({"image": image}, {"embeddings": pooled}, name="encoder")


def functional() -> keras.Model:
    image = keras.Input((8, 8, 1), name="image")
    logits = layers.Dense(3, name="head")(encoder()({"image": image})["embeddings"])
    return randomized(keras.Model({"image": image}, {"logits": logits}, name="functional"))


class Subclass(keras.Model):
    """A subclass with a functional graph."""

    def __init__(self):
        self.encoder, self.head = encoder(), layers.Dense(3, name="head")
        image = keras.Input((8, 8, 1), name="image")
        super().__init__({"image": image}, {"logits": self.head(self.encoder({"image": image})["embeddings"])})


def randomized(model: keras.Model) -> keras.Model:
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1.0, value.shape) for value in model.get_weights()])
    return model


@pytest.mark.parametrize("build", [functional, lambda: randomized(Subclass())], ids=["functional", "subclass"])
def test_a_cut_model_gives_what_the_whole_gives(build):
    model = build()
    body, rest = cut(model, output_of(model, "encoder"), "frozen")
    value = body({"image": IMAGES})
    assert list(rest.input) == ["frozen"]
    np.testing.assert_array_equal(rest({"frozen": value})["logits"], model({"image": IMAGES})["logits"])
    inner = {id(weight) for weight in body.weights}
    assert {id(weight) for weight in model.weights} == inner | {id(weight) for weight in rest.weights}
    assert not inner & {id(weight) for weight in rest.weights}


def test_both_models_use_the_layers_of_the_whole():
    model = functional()
    body, rest = cut(model, output_of(model, "encoder"))
    value, before = body({"image": IMAGES}), np.array(model({"image": IMAGES})["logits"])
    head = rest.get_layer("head")
    head.bias.assign(head.bias + 5.0)
    after = np.array(model({"image": IMAGES})["logits"])
    np.testing.assert_allclose(after, before + 5.0, rtol=1e-5)
    np.testing.assert_array_equal(rest({"cut": value})["logits"], after)


def test_the_body_can_be_folded():
    model = functional()
    body, _ = cut(model, output_of(model, "encoder"))
    folded = fold_batch_normalization(body)
    assert folded is not body
    np.testing.assert_allclose(folded({"image": IMAGES}), body({"image": IMAGES}), rtol=1e-5)


def several_inputs() -> keras.Model:
    image, words, both = (keras.Input((4,), name=name) for name in ("image", "words", "both"))
    joined = layers.Dense(3, name="joined")(layers.Concatenate(name="join")([image, both]))
    shared = layers.Dense(3, name="shared")
    x = layers.Add(name="sum")([shared(words), joined, shared(both)])
    return keras.Model({"image": image, "words": words, "both": both}, {"logits": x}, name="several")


def test_each_model_keeps_the_inputs_that_it_reads():
    model = several_inputs()
    body, rest = cut(model, output_of(model, "joined"), "place")
    assert sorted(body.input) == ["both", "image"]
    assert sorted(rest.input) == ["both", "place", "words"]
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(2, 4)).astype("float32") for name in ("image", "words", "both")}
    value = body({name: values[name] for name in body.input})
    inputs = {"place": np.array(value), "words": values["words"], "both": values["both"]}
    np.testing.assert_allclose(rest(inputs)["logits"], model(values)["logits"], rtol=1e-6)


def test_the_name_of_the_cut_must_be_free():
    model = several_inputs()
    with pytest.raises(ZooError, match="can't cut several: it has an input named 'words' already"):
        cut(model, output_of(model, "joined"), "words")
    _, rest = cut(model, output_of(model, "joined"), "image")  # the rest does not read the image
    assert sorted(rest.input) == ["both", "image", "words"]


def test_the_output_of_a_layer_must_be_one_tensor():
    model = several_inputs()
    with pytest.raises(ZooError, match="unknown layer of several 'joind'; did you mean join"):
        output_of(model, "joind")
    with pytest.raises(ZooError, match="the layer shared must have one output tensor, got 2"):
        output_of(model, "shared")
    image = keras.Input((4,), name="image")
    pair = keras.Model(image, [layers.Dense(2)(image), layers.Dense(3)(image)], name="pair")
    x = keras.Input((4,), name="x")
    outer = keras.Model({"x": x}, {"y": layers.Concatenate()(pair(x))}, name="outer")
    with pytest.raises(ZooError, match="the layer pair must have one output tensor, got 2"):
        output_of(outer, "pair")
