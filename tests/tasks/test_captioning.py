"""Captioning: targets, one caption per epoch, metrics."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS, WORDS
from tests.helpers.models import ENTRIES, make
from zoo import metrics
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.captioning import plain
from zoo.training import setup
from zoo.training.recipe import Recipe, read_recipe
from zoo.training.session import Session
from zoo.training.workdir import Workdir

pytestmark = pytest.mark.usefixtures("short_runs")

END = 2
IDS = {word: number for number, word in enumerate(WORDS, start=4)}


@pytest.fixture(scope="module")
def task():
    return task_of(make("show_attend_tell"))


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    return CONTRACTS["captioning"].training_data(task.model, tmp_path_factory.mktemp("data"))


def ids(text: str) -> list[int]:
    return [IDS[word] for word in text.split()]


def test_captions_are_learned_in_lower_case_without_punctuation():
    texts = plain(["A dog (brown), runs.", "“It's” a  T-shirt !", ""]).numpy().tolist()
    assert [text.decode() for text in texts] == ["a dog brown runs", "“it's” a t-shirt", ""]


def test_an_example_has_all_captions_and_training_draws_one(task):
    y = task.targets({"captions": "A dog.\nThe black dog is a dog\na cat is a"}).numpy()
    rows = [[*ids("a dog"), END], [*ids("the"), 3, *ids("dog is a dog"), END], [*ids("a cat is a"), END]]
    np.testing.assert_array_equal(y, [row + [0] * (7 - len(row)) for row in rows])
    drawn = [task.draw_targets(tf.constant(y), [0, seed]).numpy().tolist() for seed in range(40)]
    assert {tuple(row) for row in drawn} == {tuple(row) for row in rows}
    inputs, first, weights = task.join({}, tf.constant(y[np.newaxis]))
    np.testing.assert_array_equal(first, y[:1])
    np.testing.assert_array_equal(weights, [[1, 1, 1, 0, 0, 0, 0]])
    np.testing.assert_array_equal(inputs["target"], [[1, *ids("a dog"), END, 0, 0, 0]])


def test_the_epochs_of_a_data_set_draw_captions(folder):
    """Each epoch of training has one caption of each image, also without augmentation; others have the first ones."""
    model = make("show_attend_tell")
    data = zoo.dataset(folder, model=model, augment=True, batch_size=42, shuffle=False)
    epochs = [next(iter(data))[1].numpy() for _ in range(2)]
    assert all(epoch.shape[0] == 42 for epoch in epochs)
    assert 5 < (are_long(epochs[0]) != are_long(epochs[1])).sum() < 37
    data = zoo.dataset(folder, model=model, batch_size=42)
    epochs = [next(iter(data))[1].numpy() for _ in range(2)]
    assert all(5 < are_long(epoch).sum() < 37 for epoch in epochs)
    first = next(iter(zoo.dataset(folder, model=model, batch_size=42, shuffle=False)))[1].numpy()
    assert (np.count_nonzero(first, axis=1) == 7).all()  # "a picture of the digit ..." and the end


def are_long(tokens):
    """Whether each row has the 7 tokens of "a picture of the digit ...", the first caption of each image."""
    return np.count_nonzero(tokens, axis=1) == 7


@pytest.mark.parametrize("keep_frozen", [False, True])
def test_training_without_augmentation_draws_captions_in_each_epoch(keep_frozen, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.tasks.captioning.Captioning.remarks", lambda *_: ["1 of 3 are cut"])
    changes = {
        "data.folder": str(folder), "freeze": "encoder", "task": CONTRACTS["captioning"].training_settings,
        "model_overrides": CONTRACTS["captioning"].sizes(ENTRIES["show_attend_tell"].tiny),
        "training": {"epochs": 2, "batch_size": 14, "keep_frozen": keep_frozen, "augment": False},
    }  # fmt: skip
    recipe = read_recipe("show_attend_tell", changes)[1]
    workdir, warned = Workdir(tmp_path / "run"), []
    with workdir.in_use():
        run = Session("run", recipe, workdir, tf.distribute.get_strategy(), None, lambda *_: None, warned.append)
    assert warned == ["1 of 3 are cut"]
    epochs = [[y.numpy() for _, y, _ in run.batches["train"].epoch(number)] for number in (0, 1, 0)]
    drawn = [np.concatenate([are_long(y) for y in batches]) for batches in epochs]
    assert all(5 < each.sum() < 37 for each in drawn[:2])
    for y, again in zip(epochs[0], epochs[2], strict=True):
        np.testing.assert_array_equal(y, again)
    resumed = [y.numpy() for _, y, _ in run.batches["train"].epoch(1, skip=1)]
    for y, again in zip(epochs[1][1:], resumed, strict=True):
        np.testing.assert_array_equal(y, again)
    assert all(are_long(y).all() for _, y, _ in run.batches["validation"].epoch(0))


def test_captions_that_are_cut_are_counted(task, folder, tmp_path):
    """`longest` is 8: "a picture of the digit zero" and its end have 7 tokens."""
    source = open_source(folder, "train", task.fields, task.layout)
    assert task.remarks(source) == []
    for photo in (folder / "0").iterdir():
        shutil.copy(photo, tmp_path)
    names = sorted(file.name for file in tmp_path.iterdir())
    texts = {name: "a dog. A cat! " * (2 if place < 12 else 1) for place, name in enumerate(names)}
    (tmp_path / "captions.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()))
    source = open_source(tmp_path, "all", task.fields, task.layout)
    assert task.remarks(source) == [
        "12 of 20 captions are longer than 8 tokens, with their end, and are cut; set task.longest"
    ]


def test_the_encoder_decides_how_images_are_read():
    model = zoo.create_model("show_and_tell", encoder="efficientnet_lite0", target_vocabulary=30)
    assert model.origin.settings == {"fraction": 0.875, "low": -0.9921875, "high": 1.0}


# Values of pycocoevalcap 1.2 on the same words.
CAPTIONS = [
    "a dog runs through the grass",
    "two children play in the water",
    "a man",
    "a black cat sits on a red chair near the window",
]
REFERENCES = [
    ["a brown dog runs through tall grass", "the dog is running in the grass", "dog outside"],
    ["two kids are playing in the water", "children swim"],
    ["a man climbs a rock", "a man in a red shirt climbs", "climber on a steep rock", "a man is climbing"],
    ["a black cat sits on a chair", "the cat is sitting on the red chair"],
]
EXPECTED = {
    "bleu_1": 0.8454947063864049,
    "bleu_2": 0.6813190503654659,
    "bleu_3": 0.539937972634352,
    "bleu_4": 0.4242904566983632,
    "rouge_l": 0.701196075122344,
    "cider": 2.1502143027455816,
}
CIDER = [2.01622271, 1.5161231, 1.80994806, 3.25856334]


def test_metrics_are_those_of_the_coco_caption_tools():
    assert metrics.caption_figures(CAPTIONS, REFERENCES)[0] == pytest.approx(EXPECTED, abs=1e-9)
    words = [[text.split() for text in own] for own in REFERENCES]
    assert metrics.CiderD(words).scores([text.split() for text in CAPTIONS], words) == pytest.approx(CIDER, abs=1e-8)
    assert metrics.CiderD(words).scores([["a"]], [[]]) == [0.0]


def test_metrics_ignore_case_and_punctuation_and_take_empty_captions():
    texts = [text.capitalize() + " ." for text in CAPTIONS]
    assert metrics.caption_figures(texts, REFERENCES)[0] == pytest.approx(EXPECTED, abs=1e-9)
    assert metrics.caption_words("The dog's T-shirt, isn't it?") == ["the", "dog", "'s", "t-shirt", "isn", "'t", "it"]
    empty = metrics.caption_figures([""] * 4, REFERENCES)[0]
    assert empty == dict.fromkeys(EXPECTED, 0.0)


def test_evaluation_measures_the_answers(task, folder):
    source = open_source(folder, "validation", task.fields, task.layout)
    measured = task.measure(source, 4, None)
    answers = zoo.pipeline(task.model)([row["file"].decode() for row in source.dataset.as_numpy_iterator()])
    references = [row["captions"].decode().split("\n") for row in source.dataset.as_numpy_iterator()]
    expected = metrics.caption_figures([answer["caption"] for answer in answers], references)[0]
    assert measured.metrics == pytest.approx(expected, abs=1e-9)


def test_missing_images_are_left_out_on_request_only(task, tmp_path):
    folder = CONTRACTS["captioning"].training_data(task.model, tmp_path / "data")
    gone = next(folder.rglob("*.png"))
    gone.unlink()
    zoo.save(task.model, tmp_path / "captioner")

    def recipe(**options):
        data = {"folder": str(folder), **options}
        read = Recipe(model="show_attend_tell", data=data, training={"epochs": 1, "batch_size": 8})
        setup.open_sources(read)

    for use in (
        lambda **options: zoo.dataset(folder, "all", model=task.model, **options),
        lambda **options: zoo.evaluate(tmp_path / "captioner", folder, "all", **options),
        recipe,
    ):
        with pytest.raises(ZooError, match=f"1 of 60 images that do not exist: .*{gone.name} .*skip_missing"):
            use()
        with pytest.warns(UserWarning, match="1 of 60 images do not exist"):
            use(skip_missing=True)
