"""Presets inside presets: models with parts are built, saved, loaded, listed and folded."""

import json
import shutil
import sys

import h5py
import keras
import numpy as np
import pytest

import zoo
from tests.helpers.drawings import draw_digit
from zoo import preset, registry
from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization

FILE = '''
"""Classifiers around an encoder, with its grid or its embeddings."""
import keras
from keras import layers
from zoo.layers.normalization import BatchNormalization
from zoo.registry import register_model

PAPER = "Nobody 2000"

@register_model(
    "normed",
    task="image_classification",
    paper="Nobody 1999",
    settings={"colour": "grey", "low": 0.0, "high": 1.0},
)
def normed(classes: int = 4, width: int = 6):
    """Convolutions with normalisation."""
    x = image = keras.Input((16, 16, 1), name="image")
    for number in (1, 2):
        x = layers.Conv2D(width, 3, strides=2, use_bias=False, name=f"conv{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(BatchNormalization(name=f"norm{number}")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="normed")
    return keras.Model({"image": image}, {"logits": layers.Dense(classes, name="head")(x)}, name="normed")


@register_model(
    "pooled",
    task="image_classification",
    paper="Nobody 2000",
    parts={"encoder": "image_classification"},
    settings={"colour": "grey", "low": 0.0, "high": 1.0},
    tiny={"encoder": {"model": "normed", "overrides": {"width": 3}}},
)
def pooled(encoder="normed", classes: int = 3, units: int = 5):
    """A classifier on the embeddings of an encoder."""
    image = keras.Input((16, 16, 1), name="image")
    x = encoder({"image": image})["embeddings"]
    x = layers.Dense(units, activation="relu", name="hidden")(x)
    outputs = {"logits": layers.Dense(classes, name="head")(x)} if classes else {"embeddings": x}
    return keras.Model({"image": image}, outputs, name="pooled")


@keras.saving.register_keras_serializable("test_parts")
class Grid(keras.Model):
    def __init__(self, encoder, classes, name="grid"):
        self.arguments = {"encoder": encoder, "classes": classes}
        self.encoder = encoder
        self.norm = BatchNormalization(name="norm1")  # a name that the encoder has, too
        self.mean = layers.GlobalAveragePooling2D(name="mean")
        self.head = layers.Dense(classes, name="head")
        image = keras.Input((16, 16, 1), name="image")
        super().__init__({"image": image}, {"logits": self.head(self.encode({"image": image}))}, name=name)

    def encode(self, inputs):
        return self.mean(self.norm(self.encoder(inputs)["grid"]))

    def get_config(self):
        return {"name": self.name, **self.arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@register_model(
    "gridded",
    task="image_classification",
    paper="Nobody 2001",
    parts={"encoder": "image_classification"},
    settings={"colour": "grey", "low": 0.0, "high": 1.0},
)
def gridded(encoder="normed", classes: int = 3, tap: str = "relu2"):
    """A subclass on the grid of an encoder."""
    return Grid(keras.Model(encoder.input, {"grid": encoder.get_layer(tap).output}, name=encoder.name), classes)


@register_model("careless", task="image_classification", paper="p", parts={"encoder": "image_classification"})
def careless(encoder="normed", layer: str = "other"):
    """Calls its part under another name, or keeps more of it than it calls."""
    own = keras.Model(encoder.input, encoder.get_layer("relu1").output, name=layer)
    image = keras.Input((16, 16, 1), name="image")
    x = layers.GlobalAveragePooling2D()(own({"image": image}))
    model = keras.Model({"image": image}, {"logits": layers.Dense(3, name="head")(x)})
    model.whole = encoder
    return model
'''
NAMES = ("pooled", "gridded")
IMAGES = np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 1)).astype("float32")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A package of models with parts, and a folder of presets with `normed.toy`, whose weights are random."""
    package = f"parts_{tmp_path.name}"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / f"{package}.py").write_text(FILE)
    info = tmp_path / "site" / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[zoo.models]\nx = {package}\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("ZOO_PRESETS", str(tmp_path / "presets"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    make_encoder(tmp_path / "presets" / "normed.toy")
    yield tmp_path / "presets"
    sys.modules.pop(package, None)


def make_encoder(path, seed=1):
    model = randomised(zoo.create_model("normed", width=5), seed)
    saved = zoo.save(model, path, storage="float16")
    preset.update(saved, terms={"weights": "free", "data": "for research"})


def randomised(model, seed=1):
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.1, 1.0, value.shape).astype("float32") for value in model.get_weights()])
    return model


def fresh_head(model):
    """The weights outside the part are not those that every new model starts with."""
    head = model.get_layer("head")
    head.set_weights([value + 0.25 for value in head.get_weights()])
    return model


def logits(model):
    outputs = model({"image": IMAGES})
    return np.array(outputs["logits"] if isinstance(outputs, dict) else outputs)  # a subclass keeps its dicts


def arrays(folder):
    with h5py.File(folder / "model.weights.h5") as file:
        shapes = []
        file.visititems(lambda name, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    return sorted(shapes)


def message(call, *arguments, **keywords):
    with pytest.raises(ZooError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Building


def test_a_part_from_a_preset_has_its_weights(places):
    model = zoo.create_model("pooled", encoder="normed.toy")
    encoder = model.get_layer("encoder")
    np.testing.assert_array_equal(
        np.array(encoder({"image": IMAGES})["embeddings"]),
        np.array(zoo.load("normed.toy", classes=0)({"image": IMAGES})),
    )
    assert model.origin.overrides == {"encoder": {"model": "normed", "overrides": {"width": 5, "classes": 0}}}
    part = model.origin.parts["encoder"]
    weights = preset.open_preset("normed.toy").record["files"]["model.weights.h5"]
    assert (part.preset, part.sha256) == ("normed.toy", weights["sha256"])


@pytest.mark.parametrize("name", NAMES)
def test_a_part_by_name_by_plan_and_by_default_starts_fresh(places, name):
    for encoder in ({}, {"encoder": "normed"}, {"encoder": {"model": "normed", "overrides": {"width": 6}}}):
        model = zoo.create_model(name, **encoder)
        assert model.get_layer("encoder").get_layer("conv2").kernel.shape == (3, 3, 6, 6)
        assert model.origin.parts == {}
        plan = registry.create_model(model.origin.model, **model.origin.overrides)
        assert [weight.shape for weight in plan.weights] == [weight.shape for weight in model.weights]


def test_a_model_may_be_a_part(places):
    encoder = zoo.load("normed.toy", classes=0)
    model = zoo.create_model("gridded", encoder=encoder)
    assert model.origin.parts["encoder"].preset == "normed.toy"
    assert model.get_layer("encoder").get_layer("conv1").kernel is encoder.get_layer("conv1").kernel
    other = registry.create_model("gridded", encoder=registry.create_model("normed", width=4, classes=0))
    assert other.origin.parts == {}
    assert other.origin.overrides["encoder"] == {"model": "normed", "overrides": {"width": 4, "classes": 0}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("normed.tyo", "unknown model or preset for encoder 'normed.tyo'; did you mean normed.toy"),
        ({"model": "nomred"}, "unknown model for encoder of pooled 'nomred'; did you mean normed"),
        ({"overrides": {}}, "must be {"),
        (3, "must be the name of a model or preset of image_classification, or such a model, got 3"),
        (
            "attention_seq2seq",
            "must be a model of image_classification, but attention_seq2seq is a model of translation",
        ),
        ("./nowhere", "nowhere is not a preset"),
    ],
)
def test_a_wrong_part_is_named(places, value, text):
    if value == "attention_seq2seq":
        value = {"model": value, "overrides": registry.entries()[value].tiny}
    assert text in message(zoo.create_model, "pooled", encoder=value)


def test_a_builder_that_hides_its_part_is_refused(places):
    assert "must call the part encoder as one layer named 'encoder'" in message(zoo.create_model, "careless")
    text = "must keep nothing of the part encoder except the layer 'encoder'"
    assert text in message(zoo.create_model, "careless", layer="encoder")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ("['encoder']", "parts must be dict, got ['encoder']"),
        ("{'encoder': 3}", "parts must map names of arguments to names of tasks, got {'encoder': 3}"),
        ("{'encodr': 'image_classification'}", "unknown argument of net 'encodr'; did you mean encoder?"),
        ("dict(encoder='t')", "must be literals"),
    ],
)
def test_a_mistake_in_parts_is_named_with_its_line(tmp_path, monkeypatch, parts, text):
    file = tmp_path / "net.py"
    file.write_text(f"@register_model(task='t', paper='p', parts={parts})\ndef net(encoder='mlp'):\n    'A net.'\n")
    monkeypatch.setattr("zoo.registry.reading.MODELS", tmp_path)
    with pytest.warns(UserWarning, match="models of net.py are left out") as caught:
        registry.entries()
    error = str(caught[0].message)
    assert f"{file}:1: " in error
    assert text in error


def test_freezing_a_part(places):
    for freeze, names in (
        ("encoder", {"hidden", "head"}),
        ("up to encoder", {"hidden", "head"}),
        ("all but head", {"head"}),
    ):
        model = zoo.create_model("pooled", freeze=freeze)
        assert {layer.name for layer in model.layers if layer.trainable_weights} == names
    expected = "one of 'all', 'all but head', 'up to LAYER', 'encoder', 'encoder up to LAYER', got 'hidden'"
    assert expected in message(zoo.create_model, "pooled", freeze="hidden")


def test_freezing_a_part_up_to_one_of_its_layers():
    encoder = {"model": "lenet5_modern", "overrides": {"classes": 0}}
    tiny = {**registry.entries()["show_and_tell"].tiny, "encoder": encoder}
    model = zoo.create_model("show_and_tell", **tiny, freeze="encoder up to c1")
    whole = zoo.create_model("show_and_tell", **tiny, freeze="encoder")
    thawed = {weight.path for weight in model.trainable_weights} - {weight.path for weight in whole.trainable_weights}
    inner = {layer.name for layer in model.encoder.layers if layer.trainable_weights}
    assert len(thawed) == sum(len(layer.trainable_weights) for layer in model.encoder.layers) > 0
    assert "c1" not in inner
    assert "c3" in inner
    assert "unknown layer" in message(zoo.create_model, "show_and_tell", **tiny, freeze="encoder up to c9")


# Saving and loading


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_part_is_not_stored(places, tmp_path, name, storage):
    model = fresh_head(zoo.create_model(name, encoder="normed.toy"))
    saved = zoo.save(model, tmp_path / "made", storage=storage)
    weights = preset.open_preset("normed.toy").record["files"]["model.weights.h5"]
    assert saved.record["parts"] == {"encoder": {"preset": "normed.toy", "sha256": weights["sha256"]}}
    own = [(5, 3), (3,), *([(5,)] * 4 if name == "gridded" else [(5, 5), (5,)])]
    assert arrays(tmp_path / "made") == sorted(own)
    loaded = zoo.load(tmp_path / "made")
    assert loaded.origin.parts["encoder"] == model.origin.parts["encoder"]
    for old, new in zip(
        model.get_layer("encoder").get_weights(), loaded.get_layer("encoder").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    tolerance = {"float32": 0, "float16": 2e-3, "int8": 2e-2}[storage]
    np.testing.assert_allclose(logits(loaded), logits(model), rtol=tolerance)
    again = zoo.save(tmp_path / "made", tmp_path / "again")
    assert again.record["parts"] == saved.record["parts"]
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "again")), logits(loaded))


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_was_fitted_is_stored(places, tmp_path, name):
    model = zoo.create_model(name, encoder="normed.toy")
    kernel = model.get_layer("encoder").get_layer("conv1").kernel
    kernel.assign(kernel + 1.0)
    saved = zoo.save(model, tmp_path / "made")
    assert "parts" not in saved.record
    assert saved.record["provenance"]["parts"] == {"encoder": "normed.toy, trained further"}
    assert len(arrays(tmp_path / "made")) == len(model.weights)
    shutil.rmtree(places)
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "made")), logits(model))


def test_a_part_that_no_name_leads_to_is_stored(places, tmp_path):
    """A reference to a folder would break as soon as the folder moves."""
    make_encoder(tmp_path / "elsewhere", seed=3)
    model = zoo.create_model("pooled", encoder=tmp_path / "elsewhere")
    saved = zoo.save(model, tmp_path / "made")
    assert "parts" not in saved.record
    assert saved.record["provenance"]["parts"] == {"encoder": "elsewhere"}
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "made")), logits(model))


def test_fitting_the_rest_keeps_the_reference(places, tmp_path):
    model = zoo.create_model("pooled", encoder="normed.toy", freeze="all but head")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit({"image": IMAGES}, np.array([0, 1, 2, 0]), epochs=2, verbose=0)
    saved = zoo.save(model, tmp_path / "made")
    assert list(saved.record["parts"]) == ["encoder"]
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "made")), logits(model))


def test_a_changed_part_is_refused(places, tmp_path):
    zoo.save(zoo.create_model("pooled", encoder="normed.toy"), tmp_path / "made")
    make_encoder(places / "normed.toy", seed=2)
    error = message(zoo.load, tmp_path / "made")
    assert error.startswith(f"preset {tmp_path / 'made'} needs the preset normed.toy as its encoder with weights of ")
    assert f"but {places / 'normed.toy'} has other weights: put" in error


def test_a_missing_part_is_refused(places, tmp_path):
    zoo.save(zoo.create_model("pooled", encoder="normed.toy"), tmp_path / "made")
    shutil.rmtree(places / "normed.toy")
    error = message(zoo.load, tmp_path / "made")
    assert error.startswith(f"preset {tmp_path / 'made'} needs the preset normed.toy as its encoder, which can't be ")
    assert "put it into a folder of ZOO_PRESETS" in error


def test_a_part_with_parts(places, tmp_path):
    zoo.save(zoo.create_model("pooled", encoder="normed.toy"), places / "pooled.toy")
    model = fresh_head(zoo.create_model("pooled", encoder="pooled.toy"))
    saved = zoo.save(model, tmp_path / "made")
    assert saved.record["parts"]["encoder"]["preset"] == "pooled.toy"
    assert len(arrays(tmp_path / "made")) == 4
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "made")), logits(model))


@pytest.mark.parametrize("name", NAMES)
def test_other_classes_and_freezing_of_a_preset_with_a_part(places, tmp_path, name):
    zoo.save(zoo.create_model(name, encoder="normed.toy"), tmp_path / "made")
    model = zoo.load(tmp_path / "made", classes=7, freeze="all but head")
    assert logits(model).shape == (4, 7)
    assert {layer.name for layer in model.layers if layer.trainable_weights} == {"head"}
    saved = zoo.save(model, tmp_path / "seven")
    assert list(saved.record["parts"]) == ["encoder"]
    np.testing.assert_array_equal(logits(zoo.load(tmp_path / "seven")), logits(model))


def test_samples_are_answered_with_the_part(places, tmp_path, digit_file):
    model = fresh_head(zoo.create_model("pooled", encoder="normed.toy"))
    saved = zoo.save(model, tmp_path / "made", samples=[digit_file], storage="int8")
    answer = zoo.pipeline(tmp_path / "made")(digit_file)
    assert answer["labels"] == saved.record["samples"][0]["answer"]["labels"]
    np.testing.assert_allclose(answer["scores"], saved.record["samples"][0]["answer"]["scores"], atol=1e-5)


@pytest.mark.parametrize(
    "parts", [["encoder"], {"encoder": "x"}, {"encoder": {"preset": "x"}}, {"other": {"preset": "x", "sha256": "y"}}]
)
def test_broken_parts_in_preset_json_are_named(places, tmp_path, parts):
    path = zoo.save(zoo.create_model("pooled", encoder="normed.toy"), tmp_path / "made").path
    record = json.loads((path / "preset.json").read_text())
    (path / "preset.json").write_text(json.dumps({**record, "parts": parts}))
    assert message(preset.open_preset, path).startswith(f"{path / 'preset.json'} is damaged: ")


# What is said of them


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("freeze", [None, "all but head", "all"])
def test_parameters_are_those_of_the_whole_model(places, tmp_path, name, freeze):
    model = zoo.create_model(name, encoder="normed.toy", freeze=freeze)
    model.get_layer("encoder").get_layer("conv1").trainable = False
    saved = zoo.save(model, tmp_path / "made")
    encoder = 3 * 3 * 5 + 3 * 3 * 5 * 5 + 2 * 5 + 2 * 5
    rest = 5 * 3 + 3 + (2 * 5 if name == "gridded" else 5 * 5 + 5)
    assert saved.record["parameters"] == encoder + rest
    assert not model.get_layer("encoder").get_layer("conv1").trainable


def test_info_and_card_list_the_parts(places, tmp_path):
    assert zoo.model_info("pooled")["parts"] == {"encoder": "image_classification"}
    assert "parts" not in zoo.model_info("normed")
    model = zoo.create_model("pooled", encoder="normed.toy")
    zoo.save(model, tmp_path / "made")
    assert zoo.model_info(tmp_path / "made")["parts"]["encoder"]["preset"] == "normed.toy"
    card = (tmp_path / "made" / "README.md").read_text()
    assert "- Model: `pooled`\n" in card
    assert "- Part `encoder`: `normed`, width=5, classes=0, with the weights of `normed.toy`\n" in card
    assert "weights stored in float32; it needs `normed.toy` beside it\n" in card
    kernel = model.get_layer("encoder").get_layer("conv1").kernel
    kernel.assign(kernel + 1.0)
    zoo.save(model, tmp_path / "changed")
    card = (tmp_path / "changed" / "README.md").read_text()
    assert "- Part `encoder`: `normed`, width=5, classes=0, with weights of its own\n" in card
    assert "- parts: encoder normed.toy, trained further\n" in card


def test_terms_of_a_part_are_terms_of_the_whole(places, tmp_path):
    terms = "normed.toy, its encoder: weights free, data for research"
    saved = zoo.save(zoo.create_model("pooled", encoder="normed.toy"), tmp_path / "made")
    assert saved.record["terms"] == {"data": terms}
    model = fresh_head(zoo.load(tmp_path / "made"))
    again = zoo.save(model, tmp_path / "again")
    assert again.record["terms"] == {"data": f"made, which it started from: {terms}"}


# Folding


def test_folding_reaches_into_parts(places):
    model = fresh_head(zoo.create_model("pooled", encoder="normed.toy"))
    folded = fold_batch_normalization(model)
    inside = folded.get_layer("encoder").layers
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in inside)
    assert folded.origin is model.origin
    np.testing.assert_allclose(logits(folded), logits(model), rtol=1e-5)
    assert np.ptp(logits(model)) > 0.01
    before = logits(folded)
    for layer in (model.get_layer("head"), model.get_layer("encoder")):
        layer.set_weights([value + 1 for value in layer.get_weights()])
    np.testing.assert_array_equal(logits(folded), before)


@pytest.mark.parametrize("tap", ["relu2", "norm2", "conv2"])
def test_folding_the_part_of_a_subclass_keeps_its_methods(places, tap):
    """Also where it reads the encoder between a convolution and its normalisation."""
    model = randomised(zoo.create_model("gridded", encoder="normed.toy", tap=tap))
    folded = fold_batch_normalization(model)
    assert type(folded) is type(model)
    inside = folded.encoder.layers
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in inside)
    np.testing.assert_allclose(logits(folded), logits(model), rtol=1e-5)
    np.testing.assert_allclose(folded.encode({"image": IMAGES}), model.encode({"image": IMAGES}), rtol=1e-5)
    before = logits(folded)
    model.set_weights([value + 1 for value in model.get_weights()])
    np.testing.assert_array_equal(logits(folded), before)


def test_a_subclass_that_can_not_be_built_again_is_not_folded(places, monkeypatch):
    model = zoo.create_model("gridded", encoder="normed.toy")
    encoder = model.encoder
    other = keras.Model(encoder.input, encoder.output)  # not a layer of the model
    for arguments in ({}, {"encoder": encoder, "unknown": 1}, {"encoder": other}):
        model.arguments = {"classes": 3, **arguments}
        assert fold_batch_normalization(model) is model
    model.arguments = {"classes": 3, "encoder": encoder}
    assert fold_batch_normalization(model) is not model


def test_a_digit_is_answered_by_both_kinds(places, tmp_path):
    draw_digit("7").save(tmp_path / "seven.png")
    for name in NAMES:
        zoo.save(fresh_head(zoo.create_model(name, encoder="normed.toy")), tmp_path / name)
        scores = zoo.pipeline(zoo.load(tmp_path / name))(tmp_path / "seven.png")["scores"]
        np.testing.assert_allclose(zoo.pipeline(tmp_path / name)(tmp_path / "seven.png")["scores"], scores, rtol=1e-4)
