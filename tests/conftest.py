"""Small fixtures of the project's own: drawn digits, a folder of them, presets without training."""

import gc
import os
import random

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By default TensorFlow keeps the memory of large tensors for later ones, so a worker would stay as large as the largest
# test made it.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
os.environ.pop("ZOO_PRESETS", None)
os.environ.pop("ZOO_PRESETS_URL", None)

import pytest

import zoo  # before TensorFlow, which it sets up
from tests.helpers import short_graphs
from tests.helpers.drawings import draw_digit, draw_folder
from tests.helpers.memory import release_memory
from tests.helpers.sharing import made_once
from tests.helpers.texts import SENTENCES
from zoo import quiet


def pytest_collection_finish():
    """What is imported stays, so the garbage collector need not look at it; at the rest it looks less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_runtest_setup():
    """Every test and fixture draws the same numbers, whichever ran before it.

    TensorFlow's own seed is left out, because setting it drops the functions that are ready to run, and the pipelines
    of fixtures would be set up again for each test. It concerns only random operations that keep a state, which neither
    the package nor the tests use (tests/test_layout.py).
    """
    quiet.import_tensorflow()
    import keras
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _memory_is_given_back():
    """Without this a worker keeps the graphs and models of every module before, and grows to several GB."""
    yield
    import keras

    keras.utils.clear_session(free_memory=False)  # release_memory collects the garbage
    release_memory()


@pytest.fixture(scope="module")
def short_runs():
    """See tests/helpers/short_graphs.py."""
    with short_graphs.short_runs():
        yield


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """A folder with one subfolder per class: 0, 1 and 7, twenty drawings each; the same one for all workers."""
    return made_once(tmp_path_factory, "digits", draw_folder)


@pytest.fixture(scope="session")
def named_digits(digits_folder, tmp_path_factory):
    """The drawings of digits_folder; its subfolders have the names of tiny_preset's labels."""
    folder = tmp_path_factory.mktemp("named_digits")
    for digit, label in (("0", "zero"), ("1", "one"), ("7", "seven")):
        (folder / label).symlink_to(digits_folder / digit)
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


@pytest.fixture(scope="session")
def pieces():
    """A vocabulary of about 330 pieces."""
    from zoo.preprocessing import text

    return text.Pieces(text.train_pieces(SENTENCES, 330))


@pytest.fixture(scope="session")
def speller(tmp_path_factory):
    """A preset that has learned to say the letters of a word in capitals, and words.tsv that it learned from."""

    def learn(folder):
        draw = random.Random(0)
        words = sorted({"".join(draw.choices("abcdef", k=draw.randint(1, 6))) for _ in range(900)})
        (folder / "words.tsv").write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))
        zoo.train(
            "attention_seq2seq",
            folder / "speller",
            data={"folder": str(folder / "words.tsv")},
            model_overrides={"embedding": 16, "units": 32, "attention_units": 16, "maxout": 16},
            task={"tokens": "spelling", "longest": 12},
            training={"epochs": 8, "batch_size": 16, "optimizer": {"learning_rate": 0.01}, "weight_averaging": None},
        )

    return made_once(tmp_path_factory, "speller", learn) / "speller"
