"""Question answering: what is read of a story, empty lines in training, accuracy per task, a file of one's own."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.contracts import CONTRACTS, WORDS
from tests.helpers.models import make
from zoo import explaining, plotting, terminal
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.question_answering import QuestionAnswering
from zoo.training import setup
from zoo.training.recipe import read_recipe

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


def test_a_long_line_is_cut_with_a_warning(model):
    """Unknown words do not count."""
    read = zoo.pipeline(model, longest=3)
    cut = "only the first 3 known words of a line or question are read"
    whole = {"story": "a zebra cat is\nthe dog", "question": "the dog?"}
    assert read(whole)["warning"] == "unknown words are not read: 'zebra'"
    assert read({**whole, "story": "the dog\na zebra cat is one"})["warning"] == (
        f"{cut}; unknown words are not read: 'zebra'"
    )
    assert read({"story": "a cat", "question": "is the dog one?"})["warning"] == cut


def test_csv_has_a_column_of_warnings(pipeline, capsys):
    items = [{"story": "A zebra. A cat.", "question": "The dog?"}, {"story": "A cat.", "question": "The dog?"}]
    answers = pipeline(items)
    assert terminal.csv_rows([*answers, {"input": "x", "error": "bad"}], pipeline.task) == 1
    header, *lines = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["input", "answer", "score", "warning", "error"]
    assert [line[1] for line in lines] == [answers[0]["labels"][0], answers[1]["labels"][0], ""]
    assert [line[3:] for line in lines] == [["unknown words are not read: 'zebra'", ""], ["", ""], ["", "bad"]]


def test_the_card_of_a_preset_without_settings(model, tmp_path):
    zoo.save(model, tmp_path / "preset")
    assert "- Task: question_answering\n" in (tmp_path / "preset" / "README.md").read_text("utf-8")


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


def test_a_line_is_printed_for_each_line_of_a_file(pipeline, tmp_path, capsys):
    good = {"story": "A cat.", "question": "The dog?"}
    path = tmp_path / "lines.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps({**good, 'story': ''})}\n{json.dumps(good)}\n")
    with path.open("rb") as file:
        items = terminal.items((), file, pipeline.task)
        rows = terminal.with_blank_lines(pipeline.answers(items, errors="return"), pipeline.task, 0)
        assert terminal.text_rows(rows, pipeline.task, 0) == 1
    printed = capsys.readouterr()
    pairs = zip(pipeline(good)["labels"], pipeline(good)["scores"], strict=True)
    expected = ", ".join(f"{label} {score:.1%}" for label, score in pairs)
    assert printed.out.split("\n") == [expected, "", "", expected, ""]
    assert printed.err == 'zoo: line 3: {"story": "", "question": "The dog?"}: story: empty text\n'


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


def test_stages_share_weights_and_differ_in_the_softmax(tmp_path):
    """The recipe's linear start: the second stage has the weights of the first, and a softmax."""
    _, recipe = read_recipe("memory_network.babi")
    (_, first), (_, second) = recipe.runs(tmp_path)
    assert first.model_overrides == {"softmax": False}
    assert (second.model, second.model_overrides) == (None, {"softmax": True})
    start = make("memory_network", **first.model_overrides, classes=3)
    zoo.save(start, second.start_from)
    data = CONTRACTS["question_answering"].training_data(None, tmp_path / "data")
    source = open_source(data, "train", QuestionAnswering.fields, QuestionAnswering.layout)
    model = setup.make_model(second, source, ({}, {}, {}))
    assert model.get_layer("memory").softmax
    assert model.origin.overrides == {**start.origin.overrides, "softmax": True}
    for own, other in zip(model.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    wrong = second.model_copy(update={"model_overrides": {"hops": 4}})
    with pytest.raises(ZooError, match="do not fit the model memory_network: it holds 6 arrays, the model has 10"):
        setup.make_model(wrong, source, ({}, {}, {}))


def test_the_vocabulary_begins_with_the_answers(tmp_path):
    data = CONTRACTS["question_answering"].training_data(None, tmp_path / "data")
    source = open_source(data, "train", QuestionAnswering.fields, QuestionAnswering.layout)
    _, files, arguments = QuestionAnswering.adapt(source, {}, {})
    words = files["words.txt"].decode().split("\n")
    assert words == ["x", "y", "z", *sorted(["the", "is", "in", "where", *WORDS[3:6]])]
    assert arguments == {"classes": 3, "vocabulary": 4 + len(words)}
    assert QuestionAnswering.adapt(source, {}, files) == ({}, {}, {"classes": 3})


def test_answers_that_differ_in_capitals_are_refused(tmp_path):
    path = tmp_path / "own.jsonl"
    items = [
        {"story": f"A {n}.", "question": "Is it?", "answer": answer} for n, answer in enumerate(["Yes", "yes"] * 9)
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    source = open_source(path, "train", QuestionAnswering.fields, QuestionAnswering.layout)
    with pytest.raises(ZooError, match="has several answers that are 'yes' in small letters: keep one of them"):
        QuestionAnswering.adapt(source, {}, {})


def test_the_lines_that_each_hop_reads(model, pipeline, tmp_path):
    item = {"story": "The boat is a car.\nZebra\nThe bird is in the bag.", "question": "Is the bird in the zebra?"}
    rows = zoo.explain(model, [item, {**item, "question": ""}], tmp_path / "hops.png", errors="return")
    answer = pipeline(item)
    assert (rows[0]["label"], rows[0]["score"]) == (answer["labels"][0], pytest.approx(answer["scores"][0], abs=1e-6))
    assert rows[0]["lines"] == ["The boat is a car.", "The bird is in the bag."]
    assert rows[0]["warning"] == answer["warning"]
    assert np.shape(rows[0]["weights"]) == (2, 2)
    assert explaining.printable(rows[0])["weights"] == rows[0]["weights"]
    np.testing.assert_allclose(np.sum(rows[0]["weights"], axis=1), 1, rtol=1e-5)
    inputs, _ = task_of(model).checked({name: tf.constant([text]) for name, text in item.items()})
    _, weights = model.get_layer("memory")(*[inputs[name] for name in model.input])
    np.testing.assert_allclose(rows[0]["weights"], weights[0, :, ::-1], rtol=1e-5)
    assert rows[1]["error"] == "question: empty text"
    assert (tmp_path / "hops.png").stat().st_size > 1000


def test_hops_are_drawn_under_their_question(model, tmp_path, monkeypatch):
    titles = []

    def draw(panels, path):
        titles.extend(title for _, _, title in panels)
        path.touch()

    monkeypatch.setattr(plotting, "hops", draw)
    [row] = zoo.explain(model, {"story": "A cat.", "question": " The\tdog? "}, tmp_path / "hops.png")
    assert titles == [f"The dog?  {row['label']} {row['score']:.1%}"]
