"""Random changes of pictures in training."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.short_graphs import short_reader
from zoo.errors import ZooError
from zoo.preprocessing import augmentation

RANDOM = np.random.default_rng(0)

IMAGES = RANDOM.random((6, 8, 10, 3), "float32")


def draws(count: int = 6) -> tf.Tensor:
    return tf.stack([augmentation.draw_crop((3, number)) for number in range(count)])


def test_draws_are_even_and_each_image_has_its_own():
    numbers = draws(500).numpy()
    assert numbers.shape == (500, 8)
    assert 0 <= numbers.min() < 0.01 < 0.99 < numbers.max() < 1
    np.testing.assert_allclose(numbers.mean(0), 0.5, atol=0.06)
    np.testing.assert_array_equal(numbers[3], augmentation.draw_crop((3, 3)))
    assert len(np.unique(numbers[:, 0])) == 500


def test_mirror():
    numbers = np.array([[0.1], [0.9], [0.4], [0.5], [0.49], [0.99]], "float32")
    value = augmentation.mirror(IMAGES, numbers).numpy()
    for row, turned in enumerate([True, False, True, False, True, False]):
        np.testing.assert_array_equal(value[row], IMAGES[row, :, ::-1] if turned else IMAGES[row])


def test_pad_and_crop_moves_by_whole_pixels():
    numbers = draws()
    value = augmentation.pad_and_crop(tf.constant(IMAGES), numbers, 4).numpy()
    padded = np.pad(IMAGES, ((0, 0), (4, 4), (4, 4), (0, 0)))
    for row, (down, right) in enumerate((numbers.numpy()[:, 1:3] * 9).astype(int)):
        np.testing.assert_array_equal(value[row], padded[row, down : down + 8, right : right + 10])
    moves = (draws(500).numpy()[:, 1:3] * 9).astype(int)
    assert set(moves[:, 0]) == set(moves[:, 1]) == set(range(9))  # 4 up to 4 down, all of them


@pytest.mark.parametrize(("margin", "pad"), [(1, 3), (2, 2), (3, 1), (2, 0)])
def test_windows_within_a_margin(margin, pad):
    numbers = draws(60)
    images = np.random.default_rng(1).uniform(0, 1, (60, 8, 10, 3)).astype("float32")
    value = augmentation.pad_and_crop(tf.constant(images), numbers, pad, margin).numpy()
    assert value.shape == (60, 8 - 2 * margin, 10 - 2 * margin, 3)
    around = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    moves = (numbers.numpy()[:, 1:3] * (2 * pad + 1)).astype(int) - pad
    assert set(moves[:, 0]) == set(range(-pad, pad + 1))
    for row, (down, right) in enumerate(moves + margin + 4):
        expected = around[row, down : down + value.shape[1], right : right + value.shape[2]]
        np.testing.assert_array_equal(value[row], expected)


def test_resized_crop_of_everything_is_the_picture():
    still = np.full((6, 8), 0.5, "float32")
    np.testing.assert_allclose(augmentation.resized_crop(tf.constant(IMAGES), still, 1.0), IMAGES, atol=1e-5)


def test_resized_crop_takes_a_window():
    """A picture whose pixels say where they are: the corners of what comes out are the window's."""
    rows, columns = np.meshgrid(np.linspace(0, 1, 33), np.linspace(0, 1, 41), indexing="ij")
    places = tf.constant(np.stack([rows, columns], -1)[np.newaxis].repeat(200, 0), tf.float32)
    value = augmentation.resized_crop(places, draws(200), 0.3).numpy()
    height, width = (value[:, -1, -1] - value[:, 0, 0]).T
    assert value.min() >= 0
    assert value.max() <= 1 + 1e-6
    area, aspect = height * width, width / height
    assert 0.25 < area.min() < 0.4  # a side that would not fit is cut, so a few are smaller
    assert area.max() > 0.9
    assert 0.74 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.36
    np.testing.assert_allclose(value[:, 0, -1], np.stack([value[:, 0, 0, 0], value[:, -1, -1, 1]], -1), atol=1e-5)


def test_colour():
    still = np.full((6, 8), 0.5, "float32")
    np.testing.assert_allclose(augmentation.colour(tf.constant(IMAGES), still, 0.4), IMAGES, atol=1e-6)
    brighter, flatter, greyer = still.copy(), still.copy(), still.copy()
    brighter[:, 5], flatter[:, 6], greyer[:, 7] = 1.0, 0.0, 0.0
    half = tf.constant(IMAGES * 0.5)
    np.testing.assert_allclose(augmentation.colour(half, brighter, 0.4), IMAGES * 0.7, atol=1e-5)
    flat = augmentation.colour(tf.constant(IMAGES), flatter, 0.4).numpy()
    np.testing.assert_allclose(flat.std((1, 2, 3)), 0.6 * IMAGES.std((1, 2, 3)), rtol=1e-4)
    grey = augmentation.colour(tf.constant(IMAGES), greyer, 1.0).numpy()
    np.testing.assert_allclose(grey, IMAGES.mean(-1, keepdims=True).repeat(3, -1), atol=1e-5)


def epochs(folder, augment, count: int, **settings) -> list[np.ndarray]:
    """The pictures of the first epochs."""
    model = zoo.create_model("resnet_cifar20", depth=8, classes=3)
    data = zoo.dataset(folder, model=model, augment=augment, shuffle=False, **settings)
    return [np.concatenate([x for x, _ in data]) for _ in range(count)]


@pytest.mark.parametrize(
    "chosen",
    [{"pad": 2, "flip": True}, {"crop": 0.3, "colour": 0.3}, {"rotate": 20.0, "flip": True, "pad": 1}],
    ids=str,
)
@short_reader()
def test_an_epoch_is_a_function_of_its_seed(chosen, digits_folder):
    """The same numbers twice; another epoch has others."""
    first, second = epochs(digits_folder, chosen, 2)
    assert first.shape == (42, 32, 32, 3)
    np.testing.assert_array_equal(epochs(digits_folder, chosen, 1)[0], first)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(epochs(digits_folder, chosen, 1, seed=1)[0] - first).max() > 0.1


@short_reader()
def test_pictures_are_left_alone_without_augmentation(digits_folder):
    plain, again = epochs(digits_folder, False, 2)
    assert plain.shape == (42, 32, 32, 3)
    np.testing.assert_array_equal(plain, again)
    np.testing.assert_array_equal(epochs(digits_folder, True, 1)[0], plain)  # this model was trained without


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"flop": True}, "unknown augmentation 'flop'; did you mean flip"),
        ({"flip": 1}, "augment: flip must be true or false, got 1"),
        ({"pad": 1.5}, "augment: pad must be an integer >= 0, got 1.5"),
        ({"pad": True}, "augment: pad must be an integer >= 0, got True"),
        ({"crop": 0}, "augment: crop must be a fraction > 0 and <= 1, got 0"),
        ({"crop": 1.2}, "augment: crop must be a fraction > 0 and <= 1, got 1.2"),
        ({"colour": "much"}, "augment: colour must be a number >= 0, got 'much'"),
        ({"rotate": -3.0}, "augment: rotate must be a number >= 0, got -3.0"),
    ],
)
def test_wrong_augmentation(chosen, message, digits_folder):
    model = zoo.create_model("resnet_cifar20", depth=8, classes=3)
    with pytest.raises(ZooError, match=message):
        zoo.dataset(digits_folder, model=model, augment=chosen)


def mixes(count: int = 400, **alphas) -> np.ndarray:
    return np.stack([augmentation.draw_mix((1, number), **alphas) for number in range(count)])


def test_draws_of_mixes_follow_the_beta_distribution():
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1))."""
    for alpha in (0.2, 1.0, 4.0):
        for key, cut in (("mixup", 0.0), ("cutmix", 1.0)):
            weights, is_cut, *places = mixes(**{key: alpha}).T
            assert set(is_cut) == {cut}
            assert weights.mean() == pytest.approx(0.5, abs=0.06)
            assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)
            assert np.mean(places) == pytest.approx(0.5, abs=0.05)
    assert mixes(mixup=0.2, cutmix=1.0)[:, 1].mean() == pytest.approx(0.5, abs=0.08)
    assert np.isfinite(mixes(mixup=1e-3)).all()


def test_mixup_is_a_weighted_mean_with_the_image_before():
    numbers = np.array([[0.8, 0, 0, 0], [0.25, 0, 0, 0], [1, 0, 0, 0]], "float32")
    value, own = augmentation.mix(tf.constant(IMAGES[:3]), numbers)
    np.testing.assert_allclose(own, [0.8, 0.25, 1.0], rtol=1e-6)
    np.testing.assert_allclose(value[0], 0.8 * IMAGES[0] + 0.2 * IMAGES[2], rtol=1e-5)
    np.testing.assert_allclose(value[1], 0.25 * IMAGES[1] + 0.75 * IMAGES[0], rtol=1e-5)
    np.testing.assert_allclose(value[2], IMAGES[2], rtol=1e-5)


def test_cutmix_puts_a_window_in():
    numbers = np.array([[0.75, 1, 0.5, 0.5], [0.75, 1, 0.0, 0.0], [1, 1, 0.5, 0.5], [0, 1, 0.5, 0.5]], "float32")
    value, own = augmentation.mix(tf.constant(IMAGES[:4]), numbers)
    expected = IMAGES[:4].copy()
    expected[0, 2:6, 3:7] = IMAGES[3, 2:6, 3:7]  # a quarter of the area: half of each side, rounded to whole pixels
    expected[1, :2, :2] = IMAGES[0, :2, :2]  # in the corner three quarters of the window lie outside
    expected[3] = IMAGES[2]
    np.testing.assert_allclose(value, expected, atol=1e-6)
    np.testing.assert_allclose(own, [1 - 16 / 80, 1 - 4 / 80, 1.0, 0.0], atol=1e-6)


@short_reader()
def test_fit_on_mixed_pictures(digits_folder):
    """Targets become probabilities of classes, which both the loss and the accuracy of fit take."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(32,), input_shape=(16, 16, 1))
    data = zoo.dataset(digits_folder, model=model, augment={"mixup": 0.4, "cutmix": 1.0})
    _, targets = next(iter(data))
    assert targets.shape == (32, 3)
    np.testing.assert_allclose(targets.numpy().sum(1), 1, rtol=1e-5)
    assert 0.05 < targets.numpy().max(1).min() < 0.95
    from zoo.tasks import task_of

    task_of(model).compile(model)
    history = model.fit(data, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history["accuracy"][-1] > 0.7
    assert model.evaluate(zoo.dataset(digits_folder, "test", model=model), verbose=0)[1] == 1.0
