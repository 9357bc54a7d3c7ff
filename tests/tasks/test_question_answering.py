"""Question answering: what is read of a story, empty lines in training, accuracy per task, a file of one's own."""

import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS, WORDS
from tests.helpers.models import make
from zoo.data.sources import open_source
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of

NUMBER = {word: number for number, word in enumerate(WORDS, start=4)}


@pytest.fixture(scope="module")
def model():
    return make("memory_network")


@pytest.fixture(scope="module")
def pipeline(model):
    return zoo.pipeline(model)


def test_words_and_their_numbers(model):
    """The last line comes first; signs, unknown words and lines without words are left out."""
    task = task_of(model, longest=3)
    raw = {
        "story": tf.constant(["A cat is the boy. The\tBIRD zebra, of!\n \r\n zebra\r\nOne girl\n", "a cat"]),
        "question": tf.constant(["Is the zebra a dog?", "Dog?"]),
    }
    inputs, error = task.checked(raw)
    lines = [["one", "girl"], ["the", "bird", "of"], ["a", "cat", "is"]]
    expected = [[NUMBER[word] for word in line] for line in lines]
    assert error.numpy().tolist() == [b"", b""]
    assert inputs["story"][0].numpy().tolist() == [[*expected[0], 0], expected[1], expected[2]]
    assert inputs["story"][1].numpy().tolist() == [[NUMBER["a"], NUMBER["cat"], 0], [0] * 3, [0] * 3]
    assert inputs["line_count"].numpy().tolist() == [3, 1]
    assert inputs["question"].numpy().tolist() == [[NUMBER[word] for word in ("is", "the", "a")], [NUMBER["dog"], 0, 0]]
    prepared = task.prepare({name: value[0] for name, value in raw.items()})
    assert prepared["story"].numpy().tolist() == inputs["story"][0].numpy().tolist()
    assert prepared["line_count"] == 3
    assert task.written(raw["story"][0]) == ["One girl", "The\tBIRD zebra, of!", "A cat is the boy."]


def test_what_is_not_read_is_said(pipeline):
    lines = ["one bird", "a dog", *["a zebra is the cat"] * 6]
    long = pipeline({"story": "\n".join(lines), "question": "the dog or lion"})
    unknown = "unknown words are not read: 'zebra', 'or', 'lion'"
    assert long["warning"] == f"the story has 8 lines; the oldest 2 are not read; {unknown}"
    many = pipeline({"story": "a cat", "question": "the z y x w v u"})
    assert many["warning"] == "unknown words are not read: 'z', 'y', 'x', 'w', 'v' and others"
    cut = pipeline({"story": "\n".join(["the cat is"] * 3 + ["a is the cat"] * 6), "question": "the dog"})
    kept = pipeline({"story": "\n".join(["a is the cat"] * 6), "question": "the dog"})
    assert cut["scores"] == pytest.approx(kept["scores"], abs=1e-6)
    assert cut["warning"] == "the story has 9 lines; the oldest 3 are not read"
    assert "warning" not in kept


def test_bad_items(pipeline):
    good = {"story": "A cat.", "question": "The dog?"}
    items = [
        {**good, "story": " \n"}, {**good, "question": ""}, {**good, "question": "zebra?"}, {**good, "story": "?"},
        {**good, "story": b"caf\xe9"}, {**good, "story": "a " * 500_001}, {"story": "a"}, {**good, "story": 3}, "x",
        json.dumps(good), good,
    ]  # fmt: skip
    answers = pipeline(items, errors="return")
    assert [answer.get("error") for answer in answers[:6]] == [
        "story: empty text", "question: empty text", "question: none of its words is known",
        "story: none of its words is known", "story: not UTF-8", "story: 1000002 bytes: the limit is 1000000",
    ]  # fmt: skip
    assert answers[6]["error"] == "expected the inputs story, question, got story"
    assert answers[7]["error"].startswith("story: an item of type int is not a text")
    assert answers[8]["error"].startswith("expected a JSON object with story, question: ")
    assert answers[9]["scores"] == answers[10]["scores"]


def test_empty_lines_in_training(model):
    """Lines keep their order and their words, empty ones come between, and the last ones stay in the memory."""
    task = task_of(model, noise=1.0)
    story = tf.reshape(tf.range(4, 12), (4, 2))
    prepared = {"story": story, "line_count": tf.constant(4), "question": tf.constant([4])}
    counts, first = set(), set()
    for number in range(40):
        changed = task.augment_inputs(prepared, tf.constant([0, number]))
        rows = changed["story"].numpy()
        kept = rows[rows.any(axis=1)]
        np.testing.assert_array_equal(kept, story[: len(kept)])
        assert len(rows) == changed["line_count"] <= 6
        counts.add(len(rows))
        first.add(int(rows[0].any()))
    assert counts == {4, 5, 6}
    assert first == {0, 1}
    again = [task.augment_inputs(prepared, tf.constant([0, 7]))["story"].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*again)
    plain = task_of(model, noise=0.0).augment_inputs(prepared, tf.constant([0, 7]))
    np.testing.assert_array_equal(plain["story"], story)


def test_accuracy_per_task(model, tmp_path):
    data = CONTRACTS["question_answering"].training_data(model, tmp_path / "data")
    source = open_source(data, "all", ("story", "question", "answer"), task_of(model).layout)
    tasks = np.arange(source.examples) % 3 + 1

    class WithTasks:
        dataset = source.dataset.enumerate().map(lambda number, example: {**example, "task": tf.gather(tasks, number)})

    y, predicted = np.zeros(80, int), (np.arange(80) < 10).astype(int)
    figures = task_of(model).figures(WithTasks, y, predicted)
    assert figures == {
        "accuracy_task_1": pytest.approx(23 / 27), "accuracy_task_2": pytest.approx(24 / 27),
        "accuracy_task_3": pytest.approx(23 / 26),
    }  # fmt: skip
    assert task_of(model).figures(source, y, predicted) == {}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a file of one's own, with a linear start."""
    folder = tmp_path_factory.mktemp("run")
    data = CONTRACTS["question_answering"].training_data(None, folder / "data")
    training = {"epochs": 2, "batch_size": 14, "optimizer": {"name": "adam", "learning_rate": 0.05}}
    zoo.train(
        "memory_network", folder / "run", data={"folder": str(data)}, training=training,
        model_overrides={"embedding": 12, "hops": 2, "memory": 10, "softmax": False},
        stages=[{"model_overrides": {"softmax": True}, "training": {"epochs": 15}}],
    )  # fmt: skip
    return folder


def test_stages_share_weights_and_differ_in_the_softmax(run):
    first, last = zoo.load(run / "run" / "stage1"), zoo.load(run / "run")
    assert [model.get_layer("memory").softmax for model in (first, last)] == [False, True]
    assert last.origin.overrides["embedding"] == 12
    metrics = zoo.evaluate(run / "run", run / "data.jsonl", split="all")["metrics"]
    assert metrics["accuracy"] > 0.6  # a third by chance


def test_a_story_of_the_run(run, tmp_path):
    model = zoo.load(run / "run")
    symbols = task_of(model).source_vocabulary.symbols
    assert symbols[:3] == ["x", "y", "z"]
    assert {"the", "where", "is", "in"} <= {*symbols[3:]}
    item = {"story": "The boat is in the x.\nThe bird is in the z.", "question": "Where is the bird?"}
    [row] = zoo.explain(model, item, tmp_path / "hops.png")
    answer = zoo.pipeline(model)(item)
    assert (row["label"], row["score"]) == (answer["labels"][0], pytest.approx(answer["scores"][0], abs=1e-6))
    assert row["lines"] == item["story"].split("\n")
    assert row["weights"].shape == (2, 2)
    np.testing.assert_allclose(row["weights"].sum(axis=1), 1, rtol=1e-5)
    assert (tmp_path / "hops.png").stat().st_size > 1000
    with pytest.raises(InputError, match="question: empty text"):
        zoo.explain(model, {**item, "question": ""}, tmp_path / "hops.png")


def test_answers_that_differ_in_capitals_are_refused(tmp_path):
    path = tmp_path / "own.jsonl"
    items = [
        {"story": f"A {n}.", "question": "Is it?", "answer": answer} for n, answer in enumerate(["Yes", "yes"] * 9)
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    with pytest.raises(ZooError, match="has several answers that are 'yes' in small letters: keep one of them"):
        zoo.train("memory_network", tmp_path / "run", data={"folder": str(path)})
