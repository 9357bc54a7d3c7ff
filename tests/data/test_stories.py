"""bAbI, and a user's own stories."""

import json

import pytest

from zoo.data import stories
from zoo.data.layouts import StoryLines
from zoo.data.sources import open_source
from zoo.errors import NoSplitError, ZooError

FIELDS = ("story", "question", "answer", ("task", "answer"))


def rows(source):
    return [
        (row["story"].decode(), row["question"].decode(), source.labels[row["answer"]], int(row.get("task", 0)))
        for row in source.dataset.as_numpy_iterator()
    ]


def test_babi(tmp_path):
    folder = tmp_path / "downloads" / "manual" / "babi" / "en"
    folder.mkdir(parents=True)
    with pytest.raises(ZooError, match=r"there is no .*qa1_\*_train.txt: into babi/en/ put"):
        open_source("babi", "train", FIELDS, data_dir=tmp_path)
    for task in range(1, 21):
        for part in ("train", "test"):
            story = f"1 Story of {part}.\n2 Where? \tkitchen\t1\n3 More.\n4 What? \tn,s\t1 3\n".replace("n,s", "s,e")
            (folder / f"qa{task}_any_{part}.txt").write_text(story * 20)
    opened = {split: open_source("babi", split, FIELDS, data_dir=tmp_path) for split in ("train", "validation", "test")}
    assert {split: source.examples for split, source in opened.items()} == {
        "train": 720, "validation": 80, "test": 800,
    }  # fmt: skip
    found = rows(opened["validation"])
    assert sorted(set(found))[:2] == [
        ("Story of train.", "Where?", "kitchen", 1), ("Story of train.", "Where?", "kitchen", 2),
    ]  # fmt: skip
    assert ("Story of train.\nMore.", "What?", "s,e", 20) in found
    assert {row[0].split(".")[0] for row in rows(opened["test"])} == {"Story of test"}


def test_labels_of_babi():
    assert len(stories.LABELS) == len(set(stories.LABELS)) == 60
    assert {"Mary", "football,apple", "milk,apple,football", "n,w", "e,e", "none"} <= {*stories.LABELS}
    assert not {"n,s", "e,w"} & {*stories.LABELS}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("1 A.\nB.\n", "line 2: expected a number, a space and a sentence"),
        ("1 A.\n2 Who?\t\t1\n", "line 2: the question has no answer"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, content, error):
    (tmp_path / "qa1.txt").write_text(content)
    with pytest.raises(ZooError, match=f"qa1.txt, {error}"):
        list(stories.read_questions(tmp_path / "qa1.txt"))


def file(tmp_path, items) -> object:
    path = tmp_path / "own.jsonl"
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items))
    return path


def test_own_stories(tmp_path):
    items = [{"story": f"Story {n % 20}.", "question": f"{n}?", "answer": "ba"[n % 2], "more": 1} for n in range(40)]
    path = file(tmp_path, items)
    opened = {split: open_source(path, split, FIELDS, StoryLines()) for split in ("train", "validation", "test", "all")}
    assert opened["all"].labels == ["a", "b"]
    found = {split: [row[:3] for row in rows(source)] for split, source in opened.items()}
    assert sorted(found["all"]) == sorted((item["story"], item["question"], item["answer"]) for item in items)
    assert sorted(found["train"] + found["validation"] + found["test"]) == sorted(found["all"])
    stories = [{row[0] for row in found[split]} for split in ("train", "validation", "test")]
    assert [len(each) for each in stories] == [14, 2, 4]
    assert len(set().union(*stories)) == 20
    with pytest.raises(NoSplitError, match="has no split 'dev'"):
        open_source(path, "dev", FIELDS, StoryLines())


GOOD = {"story": "A.", "question": "B?", "answer": "c"}


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([], "needs two or more different answers; it has none"),
        ([GOOD, GOOD], "needs two or more different answers; it has c"),
        ([GOOD, "{"], "own.jsonl, line 2: expected a JSON object with story, question and answer: "),
        ([GOOD, "[1]"], "own.jsonl, line 2: expected a JSON object with story, question and answer, got [1]"),
        ([{**GOOD, "answer": " "}], "own.jsonl, line 1: answer must be a text that is not empty, got ' '"),
        ([{"story": "A.", "answer": "c"}], "own.jsonl, line 1: question must be a text that is not empty, got None"),
    ],
)
def test_bad_stories(tmp_path, items, error):
    with pytest.raises(ZooError) as caught:
        open_source(file(tmp_path, items), "train", FIELDS, StoryLines())
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)
