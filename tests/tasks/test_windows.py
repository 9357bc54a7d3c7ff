"""Answers from several windows of a picture, against windows cut and averaged in NumPy."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests.helpers.drawings import draw_digit
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks.inputs.image import ImageInput

pytestmark = pytest.mark.usefixtures("short_runs")

SIDE, MARGIN = 16, 4  # of cifar_convnet at its tiny size


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    model = zoo.create_model("cifar_convnet", classes=3, **entries()["cifar_convnet"].tiny)
    model.origin.labels = ["0", "1", "7"]
    return model


def windows(pixels: np.ndarray) -> list[np.ndarray]:
    """The ten of Krizhevsky, Sutskever & Hinton 2012, section 4.1, of a picture (24, 24, 3) of -2 to 2."""
    far = 2 * MARGIN
    corners = [(MARGIN, MARGIN), (0, 0), (0, far), (far, 0), (far, far)]
    cut = [pixels[down : down + SIDE, right : right + SIDE] for down, right in corners]
    return cut + [window[:, ::-1] for window in cut]


def probabilities(model, pixels: np.ndarray) -> np.ndarray:
    logits = model.predict({"image": np.stack(windows(pixels))}, verbose=0).astype(float)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE + 2 * MARGIN, SIDE + 2 * MARGIN, 3), np.uint8)


def test_an_answer_is_the_mean_over_ten_windows(model):
    pipe = zoo.pipeline(model)
    pictures = [noise(seed) for seed in range(3)]
    for answer in (pipe(pictures), [pipe(picture) for picture in pictures]):
        for picture, row in zip(pictures, answer, strict=True):
            expected = probabilities(model, picture / 255.0 * 4.0 - 2.0)
            order = np.argsort(-expected)
            assert row["labels"] == [["0", "1", "7"][place] for place in order]
            np.testing.assert_allclose(row["scores"], expected[order], atol=1e-5)


def test_one_window_is_the_middle(model):
    picture = noise(5)
    answer = zoo.pipeline(model, windows=1)(picture)
    middle = windows(picture / 255.0 * 4.0 - 2.0)[0]
    logits = model.predict({"image": middle[np.newaxis]}, verbose=0)[0]
    np.testing.assert_allclose(answer["scores"], sorted(tf.nn.softmax(logits).numpy(), reverse=True), atol=1e-5)


def test_embeddings_are_the_mean_over_the_windows(model, tmp_path):
    picture, file = noise(6), tmp_path / "noise.png"
    Image.fromarray(picture).save(file)
    function, _ = zoo.pipeline(model).task.signatures()["embeddings"]
    value = function(tf.constant([file.read_bytes(), b"none"]))
    body = zoo.pipeline(model).task.body()
    each = body.predict({"image": np.stack(windows(picture / 255.0 * 4.0 - 2.0))}, verbose=0)["embeddings"]
    np.testing.assert_allclose(value["embeddings"][0], each.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert not np.any(value["embeddings"][1])
    assert value["error"][0] == b""
    assert value["error"][1] != b""


def test_evaluate_measures_what_the_pipeline_answers(model, digits_folder, tmp_path):
    zoo.save(model, tmp_path / "untrained", labels=["0", "1", "7"])
    measured = zoo.evaluate(tmp_path / "untrained", str(digits_folder), "train")
    stubs = open_source(str(digits_folder), "train", ("image", "label"), ImageInput.layout).stubs
    files = [Path(stub["file"].decode()) for stub in stubs.as_numpy_iterator()]
    answers = zoo.pipeline(tmp_path / "untrained")(files)
    right = [answer["labels"][0] == file.parent.name for file, answer in zip(files, answers, strict=True)]
    assert measured["examples"] == len(files)
    assert measured["metrics"]["accuracy"] == pytest.approx(np.mean(right))


def test_training_sees_windows_everywhere_and_validation_the_middle(model, tmp_path):
    picture = noise(7)
    (tmp_path / "0").mkdir()
    for number in range(64):
        Image.fromarray(picture).save(tmp_path / "0" / f"{number}.png")
    for name in "17":
        (tmp_path / name).mkdir()
        draw_digit(name, 24).convert("RGB").save(tmp_path / name / "one.png")
    options = {"split": "train", "model": model, "batch_size": 99, "shuffle": False}
    [(still, y)] = list(zoo.dataset(str(tmp_path), **options))
    [(moved, _)] = list(zoo.dataset(str(tmp_path), **options, augment={"pad": MARGIN}))
    is_noise = y.numpy() == 0
    scaled = picture / 255.0 * 4.0 - 2.0
    for window in still.numpy()[is_noise]:
        np.testing.assert_allclose(window, windows(scaled)[0], atol=1e-5)
    places = set()
    for window in moved.numpy()[is_noise]:
        [place] = [
            (down, right)
            for down in range(2 * MARGIN + 1)
            for right in range(2 * MARGIN + 1)
            if np.allclose(window, scaled[down : down + SIDE, right : right + SIDE], atol=1e-5)
        ]
        places.add(place)
    assert len(places) > 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": 5}, "windows must be one of 1, 2, 10, got 5"),
        ({"windows": 10, "margin": 0}, "windows=10 needs a margin > 0"),
        ({"margin": -1}, "margin must be an integer >= 0, got -1"),
        ({"margin": 1.5}, "margin must be an integer >= 0, got 1.5"),
    ],
)
def test_wrong_windows(model, settings, message):
    with pytest.raises(ZooError, match=message):
        zoo.pipeline(model, **settings)
