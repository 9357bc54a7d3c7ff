"""explain: pictures for every image classifier, Grad-CAM by hand, heat where the object is, errors in one line."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import zoo
from tests.drawings import draw_digit
from tests.test_cli import zoo as command
from tests.test_laws import BUILDERS, ENTRIES, make
from tests.test_readme import ROOT
from zoo import plotting, preset
from zoo.errors import InputError, ZooError
from zoo.layers import activations
from zoo.registry import Origin

PHOTOS = ROOT / "tests" / "photos"
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
def test_every_image_classifier_is_explained(name, tmp_path):
    model = make(name)
    images = [draw_digit("3", 40, ink=20, ground=230), draw_digit("7")]
    rows = zoo.explain(model, images, tmp_path / "heat.png")
    height, width = model.input["image"].shape[1:3]
    for row, told in zip(rows, zoo.pipeline(model, views=1)(images), strict=True):
        assert row["label"] == told["labels"][0]
        assert row["score"] == pytest.approx(told["scores"][0], abs=1e-5)
        assert row["layer"] == LAST.get(name, row["layer"])
        assert row["gradient"].shape == (height, width)
        assert np.isfinite(row["gradient"]).all()
        assert 0 <= row["gradient"].min() < row["gradient"].max()
        if row["layer"] is None:
            assert row["heat"] is None
        else:
            assert row["heat"].shape == (height, width)
            assert row["heat"].min() >= 0
            assert row["heat"].max() in (0, 1)
    columns = 2 if rows[0]["layer"] is None else 3
    assert size(tmp_path / "heat.png")[0] == round(110 * 3.4 * columns)
    if rows[0]["layer"] is not None:  # something speaks for one class or another
        labels = [zoo.explain(model, images[0], tmp_path / "heat.png", label=label) for label in "012"]
        assert any(row["heat"].any() for (row,) in labels)

    (row,) = zoo.explain(model, images[0], tmp_path / "layers.png", kind="layers")
    assert 2 < len(row["layers"]) <= 8
    assert list(row["layers"].values())[-1].argmax() == int(row["label"])
    (row,) = zoo.explain(model, None, tmp_path / "filters.png", kind="filters")
    kernel = model.get_layer(row["layer"]).kernel.numpy()
    np.testing.assert_array_equal(row["filters"].ravel(), kernel.ravel())
    assert row["filters"].shape[2] == model.input["image"].shape[3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filters.png", "heat.png", "layers.png"]


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
        (one,) = zoo.explain(flat, photo, tmp_path / "flat.png", label=label)
        (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", label=label)
        assert one["layer"] == other["layer"] == "relu"
        np.testing.assert_allclose(one["heat"], other["heat"], atol=1e-5)
        np.testing.assert_allclose(one["gradient"], other["gradient"], atol=1e-5)
        (one,) = zoo.explain(flat, photo, tmp_path / "flat.png", label=label, layer="conv1")
        (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", label=label, layer="backbone/start/conv1")
        np.testing.assert_allclose(one["heat"], other["heat"], atol=1e-5)
    (one,) = zoo.explain(flat, photo, tmp_path / "flat.png", kind="layers")
    (other,) = zoo.explain(nested, photo, tmp_path / "nested.png", kind="layers")
    assert list(one["layers"]) == ["conv1", "pool", "relu", "head"]
    assert list(other["layers"]) == ["backbone/start/conv1", "backbone/start/pool", "relu", "head"]
    for key, maps in zip(other["layers"], one["layers"].values(), strict=True):
        np.testing.assert_allclose(other["layers"][key], maps, atol=1e-5)
    assert zoo.explain(nested, None, tmp_path / "filters.png", kind="filters")[0]["layer"] == "backbone/start/conv1"


def test_watching_changes_neither_the_outputs_nor_the_model():
    model = make("resnet_cifar20")
    inputs = {"image": np.random.default_rng(0).random((2, 12, 12, 3), "float32")}
    outputs, seen = activations.watch(model, {"image": keras.ops.convert_to_tensor(inputs["image"])})
    np.testing.assert_allclose(outputs["logits"], model(inputs)["logits"], rtol=1e-6)
    by_name = {one.name: one for one in seen}
    assert by_name["group1_block1_add"].stride == (1, 1)
    assert by_name["group2_block1_shortcut"].stride == by_name["group2_block1_add"].stride == (2, 2)
    assert by_name["group3_block1_relu2"].stride == (4, 4)
    assert len(model.get_layer("head")._inbound_nodes) == 1


def test_the_heat_sits_on_the_cup(efficientnet, tmp_path):
    (row,) = zoo.explain(efficientnet, PHOTOS / "coffee.jpg", tmp_path / "out.png")
    assert (row["label"], row["layer"]) == ("espresso", "top_relu")
    heat = row["heat"] / row["heat"].sum()
    assert heat[:137, 31:192].sum() > 0.7  # the cup has 44 % of the area
    assert row["heat"][40:112, 60:170].mean() > 5 * row["heat"][170:].mean()
    assert row["gradient"][:137, 31:192].mean() > row["gradient"][170:].mean()


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
        share = row["heat"][near].sum() / row["heat"].sum()
        assert share > 0.65
        assert share > 1.6 * near.mean()


def near_ink(name: str, file: str) -> np.ndarray:
    """Where the preprocessed digit has ink within three pixels, (h, w)."""
    from zoo.tasks import task_of

    task = task_of(zoo.load(name))
    with Image.open(file) as picture:
        ink = task.preprocess({"pixels": np.asarray(picture.convert("RGB"))})["image"].numpy()[..., 0] > 0.5
    around = np.pad(ink, 3)
    height, width = ink.shape
    return np.any([around[r : r + height, c : c + width] for r in range(7) for c in range(7)], axis=0)


def test_the_samples_of_a_preset_are_explained_by_themselves(tiny_preset, tmp_path):
    (row,) = zoo.explain(tiny_preset, None, tmp_path / "one.pdf")
    assert row["input"].endswith("seven.png")
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    (again,) = zoo.explain(zoo.load(tiny_preset), [], tmp_path / "two.svg")
    np.testing.assert_array_equal(row["gradient"], again["gradient"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "nowhere/x.png"}, "can't draw into nowhere/x.png: give a .png, .pdf or .svg in a folder that exists"),
        ({"out": "x.jpg"}, "can't draw into x.jpg"),
        ({"out": None}, "out=None is no path"),
        ({"kind": "heta"}, "unknown kind of picture 'heta'; did you mean heat?"),
        ({"label": "sevn"}, "unknown label of mlp 'sevn'; did you mean seven?"),
        ({"layer": "hiden1"}, "unknown layer of mlp 'hiden1'; did you mean hidden1"),
        ({"layer": "hidden1"}, "layer hidden1 of mlp has no extent for Grad-CAM: its output is 16"),
        ({"kind": "layers", "label": "one"}, "kind='layers' has no use for them"),
        ({"kind": "filters", "inputs": "x.png"}, "a picture of kind='filters' shows no inputs, not 1"),
        ({"kind": "layers", "inputs": ["a.png", "b.png"]}, "kind='layers' shows 1 inputs, not 2"),
        ({"inputs": ["a.png"] * 13}, "kind='heat' shows 12 inputs, not 13"),
        ({"name": "lenet5"}, "'lenet5' is a model, not a preset"),
    ],
)
def test_a_mistake_is_named_in_one_line(arguments, message, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError) as caught:
        zoo.explain(**{"name": tiny_preset, "inputs": None, "out": "x.png", **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_explained(tmp_path):
    other = next(name for name in BUILDERS if ENTRIES[name].task == "tensor_classification")
    out = tmp_path / "x.png"
    with pytest.raises(ZooError, match="is made for tensor_classification; kind='heat' explains models for image"):
        zoo.explain(make(other), None, out)
    zoo.save(make(other), tmp_path / "saved")
    with pytest.raises(ZooError, match="saved is made for tensor_classification"):
        zoo.explain(tmp_path / "saved", None, out)
    with pytest.raises(ZooError, match="has no head"):
        zoo.explain(make("mlp", classes=0), draw_digit("7"), out)
    with pytest.raises(ZooError, match="mlp has no samples: give an input to explain"):
        zoo.explain(make("mlp"), None, out)
    with pytest.raises(ZooError, match="has no origin"):
        zoo.explain(keras.models.clone_model(make("mlp")), draw_digit("7"), out)
    assert not out.exists()


def test_a_bad_input_gets_the_error_that_predict_gives(tiny_preset, digit_file, tmp_path):
    bad, cut = tmp_path / "bad.png", tmp_path / "cut.png"
    bad.write_bytes(b"no image at all")
    cut.write_bytes(digit_file.read_bytes()[:60])
    model = zoo.load(tiny_preset)
    pipeline = zoo.pipeline(model)
    for item in (bad, cut, tmp_path / "missing.png", tmp_path, np.zeros((3, 3, 7)), b"", 5):
        with pytest.raises(InputError) as expected:
            pipeline([digit_file, item])
        with pytest.raises(InputError) as caught:
            zoo.explain(model, [digit_file, item], tmp_path / "out.png")
        assert str(caught.value) == str(expected.value)
    assert not (tmp_path / "out.png").exists()


def out_of_one(name, item, folder):
    zoo.explain(name, item, folder / "one.png")
    return folder / "one.png"


def test_no_half_written_picture_stays(tiny_preset, tmp_path, monkeypatch):
    out = tmp_path / "out.png"
    out.write_bytes(b"the old one")

    def full(*arguments):
        arguments[-1].write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plotting, "heat", full)
    with pytest.raises(ZooError, match="can't write the picture .*out.png: No space left on device"):
        zoo.explain(tiny_preset, None, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert out.read_bytes() == b"the old one"


def test_names_that_a_picture_could_trip_over(tiny_preset, tmp_path):
    """Dollar signs are no formula, and letters that the font lacks no reason to talk."""
    strange = tmp_path / "$a_{b $ 数字 $ a name that is far too long for the panel of a picture.png"
    draw_digit("7").save(strange)
    for kind in ("heat", "layers"):
        (row,) = zoo.explain(tiny_preset, strange, tmp_path / "out.png", kind=kind)
        assert row["input"] == str(strange)


def test_the_command(tiny_preset, digit_file, tmp_path):
    out = tmp_path / "out.png"
    status, told, err = command("explain", tiny_preset, digit_file, "--out", out, "--label", "one", "--json")
    assert (status, err) == (0, "")
    (row,) = json.loads(told)
    score = row.pop("score")
    assert 0 < score < 1
    assert row == {"input": str(digit_file), "label": "one", "layer": None, "out": str(out)}
    assert size(out) == (748, 451)
    status, told, _ = command("explain", tiny_preset, "--out", out)
    assert f"no layer of {tiny_preset} has an extent: gradients alone, no Grad-CAM\n" in told
    assert told.endswith(f"picture written to {out}\n")
    (row,) = json.loads(command("explain", "lenet5.mnist", "--out", out, "--kind", "layers", "--json")[1])
    assert row["layers"] == ["c1", "s2_squash", "c3_squash", "s4_squash", "c5", "head_f6", "head_codes"]
    (row,) = json.loads(command("explain", "lenet5.mnist", "--out", out, "--kind", "filters", "--json")[1])
    assert row == {"layer": "c1", "out": str(out)}
    rows = json.loads(command("explain", "lenet5.mnist", "--out", out, "--json", "--layer", "s4_squash")[1])
    assert [row["layer"] for row in rows] == ["s4_squash"] * 3
    assert [row["label"] for row in rows] == ["2", "7", "3"]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    status, told, err = command("explain", tiny_preset, digit_file, bad, "--out", tmp_path / "new.png")
    assert status == 1
    assert told.endswith(f"picture written to {tmp_path / 'new.png'}\n")
    assert err == f"zoo: {bad}: no image: neither JPEG, PNG, GIF nor BMP\n"
    assert size(tmp_path / "new.png") == size(out_of_one(tiny_preset, digit_file, tmp_path))
    status, told, _ = command("explain", tiny_preset, bad, digit_file, "--out", tmp_path / "new.png", "--json")
    rows = json.loads(told)
    assert status == 1
    assert set(rows[0]) == {"input", "error"}
    assert rows[1]["out"] == str(tmp_path / "new.png")
    status, told, _ = command("explain", tiny_preset, bad, "--out", tmp_path / "none.png")
    assert (status, told) == (1, "")
    assert not (tmp_path / "none.png").exists()


def test_every_bundled_image_classifier_explains_its_samples(tmp_path):
    for path in sorted(preset.BUNDLED.iterdir()):
        record = preset.open_preset(path).record if path.is_dir() else {"task": {"name": None}}
        if record["task"]["name"] == "image_classification":
            rows = zoo.explain(path, None, tmp_path / "out.png")
            assert [row["label"] for row in rows] == [row["answer"]["labels"][0] for row in record["samples"]]
            assert all(row["heat"] is None or row["heat"].max() == 1 for row in rows)
