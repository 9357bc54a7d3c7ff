"""Heat maps of image classifiers."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import BUILDERS, ENTRIES, make
from tests.helpers.paths import PHOTOS
from tests.helpers.short_graphs import short_reader
from zoo import preset
from zoo.errors import ZooError
from zoo.explaining import heat
from zoo.registry import Origin
from zoo.tasks import task_of

CLASSIFIERS = [name for name in BUILDERS if ENTRIES[name].task == "image_classification"]

# By their papers' figures: the last convolution that still has an extent, after its activation.
LAST = {
    "alexnet": "conv5_relu",
    "cifar_convnet": "rnorm2",  # the layers after it have filters that differ from place to place
    "efficientnet_lite0": "stage6_block1_expand_relu",  # what follows is 1x1 at the tiny size
    "lenet5": "c3_squash",
    "lenet5_modern": "c3",
    "mlp": None,
    "resnet_cifar20": "group3_block1_relu2",
    "vgg11": "block5_conv1",
}


def size(path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def own(model: keras.Model, **settings) -> keras.Model:
    """A model of a user's own, with what zoo must know of it."""
    model.origin = Origin(model="own", overrides={}, task="image_classification", settings=settings)
    return model


@pytest.fixture(scope="module")
def efficientnet():
    return zoo.load("efficientnet_lite0.imagenet")


@pytest.mark.parametrize("name", CLASSIFIERS)
@short_reader()
def test_heat_maps_of_every_image_classifier(name, tmp_path):
    model = make(name)
    images = [draw_digit("3", 40, ink=20, ground=230), draw_digit("7")]
    rows = zoo.explain(model, images, tmp_path / "heat.png", kind="heat")
    shape = image_shape(model)[:2]
    for row, answer in zip(rows, zoo.pipeline(model, windows=1)(images), strict=True):
        assert row["label"] == answer["labels"][0]
        assert row["score"] == pytest.approx(answer["scores"][0], abs=1e-5)
        assert row["layer"] == LAST.get(name, row["layer"])
        check_heat(row, shape)
    columns = 2 if rows[0]["layer"] is None else 3
    assert size(tmp_path / "heat.png")[0] == round(110 * (3.4 * columns + 0.8))
    if rows[0]["layer"] is not None:  # there is evidence for a class
        labels = (heat.explain(task_of(model), images[:1], "raise", label=label) for label in "012")
        assert any(row["heat"].any() for (row,) in labels)
    assert [path.name for path in tmp_path.iterdir()] == ["heat.png"]


def image_shape(model) -> tuple[int, int, int]:
    """(H, W, C); the input is a dict if a model has several outputs."""
    return tuple(keras.tree.flatten(model.input)[0].shape[1:])


def check_heat(row: dict, shape: tuple[int, int]) -> None:
    """Gradients are finite and somewhere positive; the heat, if a layer has an extent, is between 0 and 1."""
    assert row["gradient"].shape == shape
    assert np.isfinite(row["gradient"]).all()
    assert 0 <= row["gradient"].min() < row["gradient"].max()
    if row["layer"] is None:
        assert row["heat"] is None
    else:
        assert row["heat"].shape == shape
        assert row["heat"].min() >= 0
        assert row["heat"].max() in (0, 1)


@pytest.mark.parametrize("name", CLASSIFIERS)
@short_reader()
def test_layers_and_filters_of_every_image_classifier(name, tmp_path):
    model, image = make(name), draw_digit("3", 40, ink=20, ground=230)
    label = zoo.pipeline(model, windows=1)(image)["labels"][0]
    (row,) = zoo.explain(model, image, tmp_path / "layers.png", kind="layers")
    assert 2 < len(row["layers"]) <= 8
    assert list(row["layers"].values())[-1].argmax() == int(label)
    if name == "recurrent_attention":  # its first layer sees a glimpse, whose values are no picture
        with pytest.raises(ZooError, match="recurrent_attention has no layer with filters on the picture"):
            zoo.explain(model, None, tmp_path / "filters.png", kind="filters")
        return
    (row,) = zoo.explain(model, None, tmp_path / "filters.png", kind="filters")
    kernel = model.get_layer(row["layer"]).kernel.numpy()
    np.testing.assert_array_equal(row["filters"].ravel(), kernel.ravel())
    assert row["filters"].shape[2] == image_shape(model)[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filters.png", "layers.png"]


def test_heat_around_a_maximum_is_round():
    """Linear interpolation would draw a cross: on the axes 0.5 and on the diagonals 0.42, at half a stride."""
    small = np.zeros((5, 5))
    small[2, 2] = 1.0
    large = heat._enlarged(small, (161, 161), (32, 32))
    assert large[80, 80] == pytest.approx(1.0)
    assert large.min() >= 0
    near, beside = large[80, 80 + 4], large[80 + 16, 80]
    assert near > 0.95  # no crease at the maximum
    places = np.round(16 / np.sqrt(2)).astype(int)
    assert large[80 + places, 80 + places] == pytest.approx(beside, rel=0.05)
    np.testing.assert_allclose(large[80, 16:145:32], [0, 0, 1, 0, 0], atol=1e-6)  # the values of the map itself
    np.testing.assert_allclose(heat._enlarged(np.eye(4, 6), (4, 6), (1, 1)), np.eye(4, 6), atol=1e-6)


def test_grad_cam_is_the_class_activation_map_of_a_pooled_convolution(tmp_path):
    """Selvaraju et al., section 3.1: with global pooling Grad-CAM is CAM, the class's weights times the maps."""
    random = np.random.default_rng(0)
    image = keras.Input((8, 10, 3), name="image")
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv")(image)
    model = keras.Model(
        {"image": image}, {"logits": layers.Dense(4, name="head")(layers.GlobalAveragePooling2D(name="pool")(x))}
    )
    kernel, bias = random.normal(size=(3, 3, 3, 5)), random.normal(size=5)
    weights = random.normal(size=(5, 4))
    model.get_layer("conv").set_weights([kernel, bias])
    model.get_layer("head").set_weights([weights, np.zeros(4)])
    own(model, low=-1.0, high=3.0)
    pixels = random.integers(0, 256, (8, 10, 3)).astype("uint8")
    around = np.pad(pixels / 255 * 4 - 1, ((1, 1), (1, 1), (0, 0)))
    maps = np.zeros((8, 10, 5))
    for row in range(8):
        for column in range(10):
            patch = around[row : row + 3, column : column + 3, :, np.newaxis]
            maps[row, column] = np.maximum((patch * kernel).sum((0, 1, 2)) + bias, 0)
    logits = maps.mean((0, 1)) @ weights
    for number in range(4):
        (row,) = zoo.explain(model, pixels, tmp_path / "out.svg", label=str(number))
        expected = np.maximum(maps @ weights[:, number], 0)
        np.testing.assert_allclose(row["heat"], expected / expected.max(), atol=1e-4)
        assert row["score"] == pytest.approx(np.exp(logits[number]) / np.exp(logits).sum(), rel=1e-4)
    assert zoo.explain(model, pixels, tmp_path / "out.svg")[0]["label"] == str(logits.argmax())


def test_the_gradient_of_a_linear_model_is_its_weights(tmp_path):
    image = keras.Input((6, 5, 3), name="image")
    model = keras.Model({"image": image}, {"logits": layers.Dense(3, name="head")(layers.Flatten()(image))})
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype("uint8")
    (row,) = zoo.explain(own(model), pixels, tmp_path / "out.png", label="1")
    weights = model.get_layer("head").kernel.numpy()[:, 1].reshape(6, 5, 3)
    np.testing.assert_allclose(row["gradient"], np.abs(weights).max(-1), rtol=1e-5)
    assert row["layer"] is None
    (row,) = zoo.explain(model, None, tmp_path / "out.png", kind="filters")
    np.testing.assert_array_equal(row["filters"][..., 1], weights)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_heat_lies_where_the_units_look(padding, tmp_path):
    """A dot is answered by units around it: their heat has its middle there, though nothing is padded."""
    image = keras.Input((33, 33, 1), name="image")
    x = layers.Conv2D(1, 5, padding=padding, use_bias=False, kernel_initializer="ones", name="conv1")(image)
    x = layers.AveragePooling2D(3, 2, padding=padding)(x)
    x = layers.Conv2D(1, 3, padding=padding, use_bias=False, kernel_initializer="ones", name="conv2")(x)
    logits = layers.Dense(2, kernel_initializer="ones")(layers.Flatten()(x))
    model = own(keras.Model({"image": image}, {"logits": logits}), colour="grey")
    for place in ((13, 16), (16, 19), (19, 13)):
        pixels = np.zeros((33, 33), "uint8")
        pixels[place] = 255
        (row,) = zoo.explain(model, pixels, tmp_path / "out.png", label="0", layer="conv2")
        heat = row["heat"] / row["heat"].sum()
        middle = (heat.sum(1) @ np.arange(33), heat.sum(0) @ np.arange(33))
        np.testing.assert_allclose(middle, place, atol=0.3)


def test_nested_models_are_explained_as_flat_ones(tmp_path):
    def parts():
        keras.utils.set_random_seed(3)
        first = [layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1"), layers.MaxPooling2D(name="pool")]
        return first, layers.Conv2D(8, 3, padding="same", name="conv2"), layers.BatchNormalization(name="norm")

    def through(x, chain):
        for layer in chain:
            x = layer(x)
        return x

    def finished(image, x):
        logits = layers.Dense(3, name="head", kernel_initializer=keras.initializers.GlorotUniform(5))
        model = keras.Model({"image": image}, {"logits": logits(layers.GlobalAveragePooling2D(name="average")(x))})
        return own(model, low=-1.0)

    first, conv2, norm = parts()
    image = keras.Input((16, 16, 3), name="image")
    x = norm(conv2(through(image, first)))
    flat = finished(image, layers.ReLU(name="relu")(x))

    first, conv2, norm = parts()
    innermost = keras.Sequential([keras.Input((16, 16, 3)), *first], name="start")
    pixels = keras.Input((16, 16, 3), name="pixels")
    inner = keras.Model({"pixels": pixels}, norm(conv2(innermost(pixels))), name="backbone")
    image = keras.Input((16, 16, 3), name="image")
    nested = finished(image, layers.ReLU(name="relu")(inner({"pixels": image})))

    photo = PHOTOS / "coffee.jpg"
    for label in "012":
        (row,) = zoo.explain(flat, photo, tmp_path / "flat.png", label=label)
        (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", label=label)
        assert row["layer"] == other["layer"] == "relu"
        np.testing.assert_allclose(row["heat"], other["heat"], atol=1e-5)
        np.testing.assert_allclose(row["gradient"], other["gradient"], atol=1e-5)
        (row,) = zoo.explain(flat, photo, tmp_path / "flat.png", label=label, layer="conv1")
        (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", label=label, layer="backbone/start/conv1")
        np.testing.assert_allclose(row["heat"], other["heat"], atol=1e-5)
    (row,) = zoo.explain(flat, photo, tmp_path / "flat.png", kind="layers")
    (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", kind="layers")
    assert list(row["layers"]) == ["conv1", "pool", "relu", "head"]
    assert list(other["layers"]) == ["backbone/start/conv1", "backbone/start/pool", "relu", "head"]
    for key, maps in zip(other["layers"], row["layers"].values(), strict=True):
        np.testing.assert_allclose(other["layers"][key], maps, atol=1e-5)
    assert zoo.explain(nested, None, tmp_path / "filters.png", kind="filters")[0]["layer"] == "backbone/start/conv1"


def test_the_heat_sits_on_the_cup(efficientnet, tmp_path):
    (row,) = zoo.explain(efficientnet, PHOTOS / "coffee.jpg", tmp_path / "out.png")
    assert (row["label"], row["layer"]) == ("espresso", "top_relu")
    heat = row["heat"] / row["heat"].sum()
    assert heat[:137, 31:192].sum() > 0.7  # the cup has 44 % of the area
    assert row["heat"][40:112, 60:170].mean() > 5 * row["heat"][170:].mean()
    assert row["gradient"][:137, 31:192].mean() > row["gradient"][170:].mean()


@pytest.mark.slow  # the network is whole
def test_the_heat_goes_with_the_class(efficientnet, tmp_path):
    """A cat above on the left, a cup below on the right: each class finds its own."""
    canvas = Image.new("RGB", (512, 512), (128, 128, 128))
    for photo, place in (("chelsea", 34), ("coffee", 258)):
        with Image.open(PHOTOS / f"{photo}.jpg") as picture:
            left = (picture.width - picture.height) // 2
            square = picture.crop((left, 0, left + picture.height, picture.height))
        canvas.paste(square.resize((220, 220)), (place, place))
    quarters = {"Egyptian cat": slice(0, 112), "espresso": slice(112, 224)}
    for label, other in (("Egyptian cat", "espresso"), ("espresso", "Egyptian cat")):
        (row,) = zoo.explain(efficientnet, canvas, tmp_path / "out.png", label=label)
        assert row["label"] == label
        heat, gradient = row["heat"] / row["heat"].sum(), row["gradient"] / row["gradient"].sum()
        there, elsewhere = (heat[quarters[name], quarters[name]].sum() for name in (label, other))
        assert there > 0.6
        assert there > 4 * elsewhere
        assert gradient[quarters[label], quarters[label]].sum() > 1.5 * gradient[quarters[other], quarters[other]].sum()


@pytest.mark.parametrize("name", ["lenet5.mnist", "lenet5_modern.mnist"])
def test_the_heat_of_a_digit_is_at_its_strokes(name, tmp_path):
    for row in zoo.explain(name, None, tmp_path / "out.png"):
        assert row["score"] > 0.99
        near = near_ink(name, row["input"])
        fraction = row["heat"][near].sum() / row["heat"].sum()
        assert fraction > 0.65
        assert fraction > 1.6 * near.mean()


def near_ink(name: str, file: str) -> np.ndarray:
    """Where the preprocessed digit has ink within three pixels, (h, w)."""
    from zoo.tasks import task_of

    task = task_of(zoo.load(name))
    with Image.open(file) as picture:
        ink = task.preprocess({"pixels": np.asarray(picture.convert("RGB"))})["image"].numpy()[..., 0] > 0.5
    around = np.pad(ink, 3)
    height, width = ink.shape
    return np.any([around[r : r + height, c : c + width] for r in range(7) for c in range(7)], axis=0)


@pytest.mark.slow  # the networks are whole; the laws above have one of each kind at its tiny size
def test_every_bundled_image_classifier_explains_its_samples(tmp_path):
    for path in sorted(preset.BUNDLED.iterdir()):
        record = preset.open_preset(path).record if path.is_dir() else {"task": {"name": None}}
        if record["task"]["name"] == "image_classification":
            rows = zoo.explain(path, None, tmp_path / "out.png")
            assert [row["label"] for row in rows] == [row["answer"]["labels"][0] for row in record["samples"]]
            if "locations" not in rows[0]:  # glimpses have no heat
                assert all(row["heat"] is None or row["heat"].max() == 1 for row in rows)
