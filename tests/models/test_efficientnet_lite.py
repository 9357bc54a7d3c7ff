"""EfficientNet-Lite: its stages, the original network's answers, and photographs."""

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers.image_samples import Both, encode, stated
from tests.helpers.paths import PHOTOS
from tests.helpers.photographs import photographs
from zoo import preset


def shape(model: keras.Model, layer: str) -> tuple:
    return model.get_layer(layer).output.shape[1:]


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


def test_the_bundled_efficientnet_answers_as_the_original():
    """Both with weights rounded to float16; photos/README.md says how the original's answers were made."""
    expected = np.load(PHOTOS / "efficientnet_lite_logits.npz")["lite0_float16"]
    logits = zoo.load("efficientnet_lite0.imagenet")({"image": photographs(224)})
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_float16_storage_changes_no_top_5():
    assert preset.open_preset("efficientnet_lite0.imagenet").record["storage"] == "float16"
    logits = zoo.load("efficientnet_lite0.imagenet")({"image": photographs(224)})
    exact = np.load(PHOTOS / "efficientnet_lite_logits.npz")["lite0"]
    np.testing.assert_array_equal(np.argsort(-logits)[:, :5], np.argsort(-exact)[:, :5])


def test_the_labels_of_imagenet():
    opened = preset.open_preset("efficientnet_lite0.imagenet")
    labels = opened.record["task"]["settings"]["labels"]
    identities = opened.file("assets/wordnet_ids.txt").read_text().split()
    assert len(labels) == len(set(labels)) == len(identities) == 1000
    assert identities == sorted(identities)
    known = {"n01440764": "tench", "n02124075": "Egyptian cat", "n07920052": "espresso", "n15075141": "toilet tissue"}
    assert {identity: labels[identities.index(identity)] for identity in known} == known


def test_photographs_get_their_names():
    pipeline = zoo.pipeline("efficientnet_lite0.imagenet")
    cat, coffee = pipeline([PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"])
    assert {"Egyptian cat", "tabby", "tiger cat"} == set(cat["labels"][:3])
    assert coffee["labels"][0] == "espresso"


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


# How other files are read, the tests of preprocessing show, with smaller networks.
ODD = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("one pixel", "CMYK", "16 bits", "animated") else [])
    for name in HARD
]


@pytest.mark.parametrize("name", ODD)
def test_hard_images(name, lite):
    """Alone, in a list, in the serving signature: the same answer or error, and no neighbour changed."""
    content, expected = HARD[name]
    answer = lite(content)
    if isinstance(expected, str):
        assert expected in answer["error"].replace(",", "")
    else:
        assert len(answer["labels"]) == 5
        assert expected is None or answer["labels"][0] in expected


def test_pretrained_embeddings_and_taps():
    images = {"image": photographs(224)[:1]}
    whole = zoo.load("efficientnet_lite0.imagenet", taps=["top_relu", "head"])(images)
    pooled = zoo.load("efficientnet_lite0.imagenet", classes=0)(images)
    np.testing.assert_allclose(np.mean(whole["top_relu"], axis=(1, 2)), pooled, rtol=1e-4, atol=1e-5)
    assert whole["head"].shape == (1, 1000)
