"""Small fixtures of the project's own: drawn digits, a folder of them, presets without training."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.pop("ZOO_PRESETS", None)
os.environ.pop("ZOO_PRESETS_URL", None)

import pytest

import zoo  # before TensorFlow, which it sets up
from tests.drawings import draw_digit


def pytest_runtest_setup():
    """Every test and fixture draws the same numbers, whichever ran before it."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """A folder with one subfolder a class: 0, 1 and 7, twenty drawings each."""
    folder = tmp_path_factory.mktemp("digits")
    for digit in "017":
        (folder / digit).mkdir()
        for number in range(20):
            picture = draw_digit(digit, 24 + number % 5, number % 3, 255 - 5 * number)
            picture.save(folder / digit / f"{number:02}.png")
    return folder


@pytest.fixture
def digit_file(tmp_path):
    path = tmp_path / "seven.png"
    draw_digit("7").save(path)
    return path


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory):
    """A preset of an untrained mlp of a few units with three labels, and one sample."""
    from zoo.registry import entries

    folder = tmp_path_factory.mktemp("presets")
    sample = folder / "seven.png"
    draw_digit("7").save(sample)
    model = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    zoo.save(model, folder / "mlp.tiny", labels=["zero", "one", "seven"], samples=[sample])
    return folder / "mlp.tiny"
