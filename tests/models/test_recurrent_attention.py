"""Recurrent attention against plain NumPy, and the gradient of REINFORCE against a calculation by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from tests.helpers.short_graphs import short_reader
from zoo import explaining
from zoo.errors import ZooError
from zoo.models.vision.recurrent_attention import GaussianLocation, GlimpseSensor, reinforce
from zoo.tasks import task_of
from zoo.tasks.losses import CrossEntropy

NOISE = 0.3  # of the tiny model
IMAGES = np.random.default_rng(0).random((4, 16, 16, 1), "float32")
CLASSES = np.array([3, 1, 4, 1])


@pytest.fixture(scope="module")
def model():
    """The tiny model, with a location network that moves far."""
    model = make("recurrent_attention")
    kernel = model.get_layer("location_network").kernel
    kernel.assign(np.random.default_rng(3).normal(0, 0.5, kernel.shape))
    return model


def look(image, location, patch, scales):
    """A glimpse (scales * C * patch * patch,) of an image (H, W, C), by differences of its integral."""
    size = np.array(image.shape[:2])
    integral = np.pad(image.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))  # between pixels
    values = []
    for scale in range(scales):
        edges = (np.arange(patch + 1) - patch / 2) * 2**scale  # from the centre, in pixels
        rows, columns = (np.clip(edges + (location[axis] + 1) / 2 * size[axis], 0, size[axis]) for axis in (0, 1))
        for channel in range(image.shape[2]):
            by_row = [np.interp(rows, np.arange(size[0] + 1), column) for column in integral[..., channel].T]
            sums = np.array([np.interp(columns, np.arange(size[1] + 1), row) for row in np.transpose(by_row)])
            values.append(np.diff(np.diff(sums, axis=0), axis=1) / 4**scale)
    return np.ravel(values)


def forward(model, image, noise=(0.0, 0.0), glimpses=3, patch=5, scales=2):
    """The logits and the policy (glimpses, 5) of one image, in plain NumPy."""

    def dense(name, x):
        kernel, bias = (np.array(weight, "float64") for weight in model.get_layer(name).weights)
        return x @ kernel + bias

    state, mean, baseline, rows = np.zeros(model.get_layer("core").units), np.zeros(2), 0.0, []
    for number in range(glimpses):
        if number:
            mean, [baseline] = np.tanh(dense("location_network", state)), dense("baseline", state)
        place = mean + noise
        density = -np.sum(np.square(place - mean)) / (2 * NOISE**2) - np.log(2 * np.pi * NOISE**2)
        rows.append([*place, density, baseline])
        what = np.maximum(dense("glimpse_what", look(image, place, patch, scales)), 0)
        where = np.maximum(dense("glimpse_where", place), 0)
        glimpse = np.maximum(dense("glimpse_network", np.concatenate([what, where])), 0)
        state = np.maximum(dense("core", np.concatenate([state, glimpse])), 0)
    logits = dense("head", state)
    return logits, np.array([[*row, logits.argmax()] for row in rows])


def drawn_noise():
    """The noise of the tiny model's seed, the same for all images and steps."""
    return np.array(keras.random.normal((1, 2), stddev=NOISE, seed=1))[0]


@pytest.mark.parametrize(("patch", "scales"), [(3, 1), (4, 3)])
def test_sensor(patch, scales):
    """On an image of two channels that is not square, at places inside, at an edge and far outside."""
    images = np.random.default_rng(1).random((5, 10, 7, 2), "float32")
    places = np.array([[0, 0], [0.31, -0.47], [1, 1], [-0.9, 0.2], [3, 3]], "float32")
    glimpses = GlimpseSensor(patch, scales)(images, places)
    expected = [look(image, place, patch, scales) for image, place in zip(images, places, strict=True)]
    np.testing.assert_allclose(glimpses, expected, atol=1e-5)
    assert np.abs(glimpses[3]).max() > 0
    assert scales == 3 or not np.any(glimpses[4])


def test_sensor_by_hand():
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    sensor = GlimpseSensor(2, 2)
    np.testing.assert_allclose(sensor(image, np.zeros((1, 2)))[0], [5, 6, 9, 10, 2.5, 4.5, 10.5, 12.5])
    # Half a pixel down: the means of two rows; half of a row of the wider patch lies outside.
    np.testing.assert_allclose(sensor(image, np.array([[0.25, 0.0]]))[0], [7, 8, 11, 12, 4.5, 6.5, 8.375, 9.875])


@pytest.mark.parametrize("training", [False, True])
def test_model_equals_numpy(model, training):
    outputs = model({"image": IMAGES}, training=training)
    for row, image in enumerate(IMAGES):
        logits, policy = forward(model, image, drawn_noise() if training else (0.0, 0.0))
        np.testing.assert_allclose(outputs["logits"][row], logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs["policy"][row], policy, rtol=1e-4, atol=1e-5)
    assert np.ptp(outputs["policy"][:, 2, 0]) > 0.05  # images differ in where it looks


def test_the_gradient_of_reinforce_by_hand():
    """Two items with two choices each; the first row of a policy is not a choice. The first answer is right."""
    policy = tf.constant(
        [
            [[0, 0, -1.0, 0.0, 2], [0.1, 0.2, -1.5, 0.25, 2], [0.3, 0.1, -0.5, 0.5, 2]],
            [[0, 0, -1.0, 0.0, 7], [0.1, 0.2, -1.5, 0.25, 7], [0.3, 0.1, -0.5, -0.5, 7]],
        ]
    )
    for y in (np.array([2, 3]), np.array([[2], [3]])):
        with tf.GradientTape() as tape:
            tape.watch(policy)
            losses = reinforce(y, policy)
        gradient = np.array(tape.gradient(losses, policy))
        np.testing.assert_allclose(losses, [0.75**2 + 0.5**2, 0.25**2 + 0.5**2])
        expected = np.zeros((2, 3, 5))
        expected[0, 1:, 2:4] = [[-0.75, -1.5], [-0.5, -1.0]]  # -(R - b), -2 (R - b) with R = 1
        expected[1, 1:, 2:4] = [[0.25, 0.5], [-0.5, -1.0]]  # R = 0
        np.testing.assert_allclose(gradient, expected)


def test_what_trains_which_layers(model):
    """The location network learns from the reward alone, as calculated by hand; the others from their own losses."""
    biases = {
        name: model.get_layer(name).bias.value for name in ("location_network", "baseline", "core", "glimpse_what")
    }
    with tf.GradientTape(persistent=True) as tape:
        outputs = model({"image": IMAGES}, training=True)
        entropy = CrossEntropy()(CLASSES, outputs["logits"])
        policy = tf.reduce_mean(reinforce(CLASSES, outputs["policy"]))
    assert [tape.gradient(entropy, biases[name]) is None for name in biases] == [True, True, False, False]
    assert [tape.gradient(policy, biases[name]) is None for name in biases] == [False, False, True, True]
    rows, noise = np.array(outputs["policy"]), drawn_noise()
    advantage = (rows[:, 1:, 4] == CLASSES[:, None]) - rows[:, 1:, 3]  # (B, glimpses - 1)
    slope = 1 - np.square(rows[:, 1:, :2] - noise)  # of tanh at the mean, (B, glimpses - 1, 2)
    expected = -np.mean(np.sum(advantage[..., None] * noise / NOISE**2 * slope, axis=1), axis=0)
    np.testing.assert_allclose(tape.gradient(policy, biases["location_network"]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(policy, biases["baseline"])[0], -2 * advantage.sum(1).mean(), rtol=1e-4)


def test_locations_are_drawn_in_training_alone():
    layer, mean = GaussianLocation(0.2), tf.random.stateless_uniform((2000, 2), (0, 0), -1.0, 1.0)
    first, second = (np.array(layer(mean, training=True)[0]) - np.array(mean) for _ in range(2))
    assert first.std(axis=0) == pytest.approx([0.2, 0.2], rel=0.05)
    assert np.abs(first.mean(axis=0)).max() < 0.02
    assert abs(np.mean(first * second)) < 0.002  # another draw for every item and call
    np.testing.assert_array_equal(layer(mean)[0], mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"glimpses": 0}, "glimpses must be an integer >= 1, got 0"),
        ({"patch": 0}, "patch must be an integer >= 1, got 0"),
        ({"scales": 1.5}, "scales must be an integer >= 1, got 1.5"),
        ({"sensor_units": True}, "sensor_units must be an integer >= 1, got True"),
        ({"units": 0}, "units must be an integer >= 1, got 0"),
        ({"noise": 0.0}, "noise must be above 0, got 0.0"),
        ({"noise": -0.1}, "noise must be above 0, got -0.1"),
        ({"noise": float("nan")}, "noise must be above 0, got nan"),
        ({"input_shape": (28, 28)}, "input_shape must be integers >= 1 such as"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ZooError, match=f"^recurrent_attention: {message}"):
        zoo.create_model("recurrent_attention", **arguments)


@short_reader()
def test_keras_fit(digits_folder):
    """A data set, an array of classes, and one for each output are the same targets."""
    model = make("recurrent_attention", classes=3)
    data = zoo.dataset(str(digits_folder), model=model, batch_size=8, limit=8, shuffle=False)
    task_of(model).compile(model)
    expected = model.evaluate(data, verbose=0, return_dict=True)
    assert {"loss", "logits_accuracy", "logits_loss", "policy_loss"} == {*expected}
    [(x, y)] = list(data)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected)
    assert model.evaluate(x, {"logits": y, "policy": y}, verbose=0, return_dict=True) == pytest.approx(expected)
    losses = model.fit(x, y, epochs=8, verbose=0).history["logits_loss"]
    assert losses[-1] < losses[0]


def test_a_checkpoint_has_the_state_of_the_noise():
    """A checkpoint has all variables of a model; set back, they give the same locations again."""
    model = make("recurrent_attention", seed=None)
    start = [np.array(variable) for variable in model.variables]
    assert len(start) == len(model.weights) + 1
    first, second = (np.array(model({"image": IMAGES}, training=True)["policy"]) for _ in range(2))
    assert np.abs(first - second)[:, 0, :2].max() > 0.05
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(model({"image": IMAGES}, training=True)["policy"], first)


def test_further_losses_beside_that_of_the_task(model):
    loss = task_of(model).loss(label_smoothing=0.1)
    assert {name: each.name for name, each in loss.items()} == {"logits": "cross_entropy", "policy": "reinforce"}
    assert loss["logits"].label_smoothing == 0.1
    with pytest.raises(ZooError, match="recurrent_attention has its own loss, which does not take mixed classes"):
        task_of(model, augment={"mixup": 0.2})
    assert isinstance(task_of(make("recurrent_attention", classes=0)).loss(), CrossEntropy)


@short_reader()
def test_glimpses_are_the_default_explanation(model, tmp_path):
    digits = [draw_digit("3"), draw_digit("7")]
    rows = zoo.explain(model, digits, tmp_path / "glimpses.png")
    assert (tmp_path / "glimpses.png").stat().st_size > 5000
    answers = zoo.pipeline(model)(digits)
    places = model({"image": zoo.preprocess(model, digits)["image"]})["policy"][..., :2]
    for row, answer, place in zip(rows, answers, np.array(places), strict=True):
        assert row.keys() == {"input", "label", "score", "locations", "widths"}
        assert (row["label"], row["widths"]) == (answer["labels"][0], [5, 10])
        assert row["score"] == pytest.approx(answer["scores"][0], abs=1e-5)
        np.testing.assert_allclose(row["locations"], 8 * (place + 1), rtol=1e-5)
    np.testing.assert_allclose(rows[0]["locations"][0], [8, 8])
    assert explaining.module_of(model, "heat").__name__ == "zoo.explaining.heat"
    with pytest.raises(ZooError, match="kind must be heat, filters or layers for mlp .*, got 'glimpses'"):
        zoo.explain(make("mlp"), digits[0], tmp_path / "none.png", kind="glimpses")
