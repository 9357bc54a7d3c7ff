"""The single shot detector: default boxes, maps of its encoder, losses, and its parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.models import make
from zoo import preset
from zoo.errors import ZooError
from zoo.layers.folding import fold_batch_normalization
from zoo.models.vision.single_shot_detector import default_boxes
from zoo.tasks import task_of
from zoo.tasks.losses import BoxLoss, ObjectLoss

NORMED = {"model": "resnet_cifar20", "overrides": {"classes": 0, "depth": 8, "input_shape": [32, 32, 3]}}


def test_default_boxes_by_hand():
    """A map of 1 x 2 places over an image of 100 x 200 pixels, scale 0.4: squares of 40 pixels."""
    found = default_boxes((1, 2), (100, 200), 0.4, 0.9, (4.0,))
    larger = np.sqrt(0.4 * 0.9)
    expected = [
        [0.5, x, height, width]
        for x in (0.25, 0.75)
        for height, width in ((0.4, 0.2), (larger, larger / 2), (0.2, 0.4))  # the last is 20 high and 80 wide
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_scales_of_the_paper():
    """Six maps have the scales 0.2 to 0.9 in steps of 0.14 (equation 4), and the next one 1.04."""
    model = zoo.create_model("single_shot_detector")
    np.testing.assert_allclose(model.get_layer("offsets").scales, [0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.04])
    assert model.output["logits"].shape == (None, 6 * (28**2 + 14**2 + 7**2 + 4**2 + 2**2 + 1), 20)
    encoder = model.get_layer("encoder")
    assert [tensor.shape[1:] for tensor in encoder.output.values()] == [(28, 28, 240), (14, 14, 672), (7, 7, 1280)]


def test_a_prediction_belongs_to_its_place():
    """A change of the upper right corner of the image changes the values of default boxes near it, and no others."""
    encoder = {"model": "lenet5_modern", "overrides": {"classes": 0}}
    model = make("single_shot_detector", maps=1, extra_filters=[], encoder=encoder)
    images = np.zeros((2, *model.input["image"].shape[1:]), "float32")
    images[1, :2, -2:] = 1.0
    outputs = model({"image": images})
    y, x = model.get_layer("offsets").default_boxes[:, :2].T
    for value in outputs.values():
        is_changed = np.abs(value[1] - value[0]).max(axis=1) > 1e-6
        assert is_changed[(y < 0.2) & (x > 0.8)].all()
        assert not is_changed[(y > 0.5) | (x < 0.5)].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, "classes must be an integer >= 1, got 0"),
        ({"scales": [0.1, 0.2]}, "scales must be 4 numbers > 0, one per map and one more, got"),
        ({"ratios": [2.0, 0.0]}, "ratios must be > 0"),
        ({"maps": 9}, "has feature maps of 4 sizes, wanted 9"),
        ({"feature_layers": ["C9"]}, "has no layer 'C9' with feature maps; it has"),
        ({"encoder": "mlp"}, "has feature maps of 0 sizes, wanted 2"),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    with pytest.raises(ZooError, match=message):
        make("single_shot_detector", **change)


def test_a_part_of_another_size(tmp_path):
    """The weights of a preset in a part of another input size: loaded, and not stored a second time."""
    encoder = make("resnet_cifar20")
    zoo.save(encoder, tmp_path / "encoder")
    plan = {"preset": str(tmp_path / "encoder"), "overrides": {"input_shape": [24, 40, 3]}}
    model = zoo.create_model("single_shot_detector", encoder=plan, classes=3, maps=2, extra_filters=[])
    assert model.input["image"].shape == (None, 24, 40, 3)
    assert model.output["logits"].shape[1] == 6 * (12 * 20 + 6 * 10)
    for layer in model.get_layer("encoder").layers:
        for value, own in zip(layer.get_weights(), encoder.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(value, own, err_msg=layer.name)
    zoo.save(model, tmp_path / "detector")
    opened = preset.open_preset(tmp_path / "detector")
    again = preset.load_model(opened)
    image = {"image": np.random.default_rng(0).random((2, 24, 40, 3), "float32")}
    for name, value in model(image).items():
        np.testing.assert_allclose(again(image)[name], value, atol=1e-6)
    with pytest.raises(ZooError, match='encoder must be {"preset": name'):
        zoo.create_model("single_shot_detector", encoder={"preset": "x", "size": 3})


def test_folding_inside_the_encoder():
    model = make("single_shot_detector", encoder=NORMED)
    folded = fold_batch_normalization(model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.get_layer("encoder").layers)
    image = {"image": np.random.default_rng(0).random((2, 32, 32, 3), "float32")}
    for name, value in model(image).items():
        np.testing.assert_allclose(folded(image)[name], value, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(task_of(folded).default_boxes, task_of(model).default_boxes)


def plain_object_loss(classes: np.ndarray, logits: np.ndarray, negatives: int) -> float:
    """Equation 3 for one image, with hard negative mining."""
    logits = np.concatenate([np.zeros((len(logits), 1)), logits], axis=1)
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(classes)), classes]
    count = max((classes > 0).sum(), 1)
    hard = np.sort(entropy[classes == 0])[::-1][: negatives * count]
    return (entropy[classes > 0].sum() + hard.sum()) / count


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_the_loss_of_classes(share):
    random = np.random.default_rng(3)
    classes = np.where(random.random((2, 40)) < share, random.integers(1, 4, (2, 40)), 0)
    logits = random.normal(size=(2, 40, 3)).astype("float32")
    targets = np.concatenate([classes[..., np.newaxis], np.zeros((2, 40, 4))], axis=-1).astype("float32")
    found = ObjectLoss().call(tf.constant(targets), tf.constant(logits)).numpy()
    expected = [plain_object_loss(*pair, 3) for pair in zip(classes, logits, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found > 0).all()  # also without objects


def test_the_loss_of_boxes():
    targets = np.zeros((2, 5, 5), "float32")
    targets[0, 1], targets[0, 3] = (2, 0.5, 0, 0, 0), (1, 0, 0, 3, 0)
    found = BoxLoss().call(tf.constant(targets), tf.zeros((2, 5, 4))).numpy()
    np.testing.assert_allclose(found, [(0.5 * 0.25 + 2.5) / 2, 0.0])  # nothing is matched in the second image


def test_losses_of_a_batch_are_divided_by_the_matched_boxes_of_all():
    """With the weights of `join`, the loss is the sum over all images divided by the number of matched boxes."""
    model = make("single_shot_detector")
    task = task_of(model)
    objects = np.full((2, 3, 5), -1, "float32")
    objects[0] = [[0, 0.1, 0.1, 0.4, 0.4], [1, 0.5, 0.5, 0.9, 0.9], [2, 0.2, 0.5, 0.4, 0.8]]
    objects[1, 0] = [1, 0.3, 0.2, 0.7, 0.8]
    image = {"image": np.random.default_rng(0).random((2, *model.input["image"].shape[1:]), "float32")}
    _, y, weights = task.join(image, tf.constant(objects))
    counts = (y.numpy()[..., 0] > 0).sum(axis=1)
    np.testing.assert_array_equal(weights, counts)
    assert counts.min() >= 1
    assert counts[0] != counts[1]
    loss, outputs = task.loss()["offsets"], model(image)
    sums = loss.call(y, outputs["offsets"]).numpy() * counts
    assert float(loss(y, outputs["offsets"], sample_weight=weights)) == pytest.approx(
        sums.sum() / counts.sum(), rel=1e-5
    )
