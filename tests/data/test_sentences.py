"""Texts with classes: the builders and their folds, and a user's own table."""

import collections

import pytest

from zoo.data import sentences
from zoo.data.layouts import TextTable
from zoo.data.sources import open_source
from zoo.errors import NoSplitError, ZooError

FIELDS = ("text", "label")


def rows(source):
    return [(row["text"].decode(), int(row["label"])) for row in source.dataset.as_numpy_iterator()]


def test_parts_have_equal_shares_of_the_classes_and_no_text_in_common():
    texts = [(f"text {number % 90}", number % 90 % 3) for number in range(100)] + [("TEXT  4", 1)]
    parts = sentences.divided(texts, 10)
    assert sorted(sum(parts, [])) == sorted(texts)
    keys = [{sentences.key(text) for text, _ in part} for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 90
    for part in parts:
        assert collections.Counter({sentences.key(text): label for text, label in reversed(part)}.values()) == {
            0: 3,
            1: 3,
            2: 3,
        }
    again = sentences.divided(texts[::-1], 10)
    assert [{sentences.key(text) for text, _ in part} for part in again] == keys


def test_a_training_text_that_is_also_held_out_is_left_out():
    splits = {"train": [("a", 0), ("B  c", 1)], "validation": [("b C", 1), ("d", 0)], "test": [("D", 0)]}
    assert sentences.apart(splits) == {"train": [("a", 0)], "validation": [("b C", 1)], "test": [("D", 0)]}


def test_builders(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "sentence_classification"
    (manual / "sent-conv").mkdir(parents=True)
    with pytest.raises(ZooError, match="there is no .*TREC.train.all: into sentence_classification/sent-conv/ put"):
        open_source("trec", "train", FIELDS, data_dir=tmp_path)
    train = "".join(f"{number % 6} question {number} ?\n" for number in range(60)) + "3 Who is Jos\u00e9 ?\n0 \n"
    (manual / "sent-conv" / "TREC.train.all").write_bytes(train.encode("latin-1"))
    (manual / "sent-conv" / "TREC.test.all").write_text("1 Question 7 ?\n5 How far ?\n")
    opened = {split: open_source("trec", split, FIELDS, data_dir=tmp_path) for split in ("train", "validation", "test")}
    assert sorted(rows(opened["test"])) == [("How far ?", 5), ("Question 7 ?", 1)]
    assert opened["train"].labels == ["description", "entity", "abbreviation", "human", "location", "number"]
    texts = [text for split in ("train", "validation") for text, _ in rows(opened[split])]
    assert "Who is Jos\u00e9 ?" in texts
    assert "question 7 ?" not in texts
    assert len(texts) == len(set(texts)) == 60
    assert 5 <= opened["validation"].examples <= 12
    for name in ("neg", "pos"):
        (manual / "movie_reviews" / name).mkdir(parents=True)
        for number in range(0, 1000, 50):
            (manual / "movie_reviews" / name / f"cv{number:03}_1.txt").write_text(f"see {name} film {number}\nend .\n")
    reviews = [(name, label, number) for label, name in enumerate(("neg", "pos")) for number in (300, 350)]
    test = rows(open_source("film_reviews/fold_3", "test", FIELDS, data_dir=tmp_path))
    assert sorted(test) == [(f"see {name} film {number}\nend .", label) for name, label, number in reviews]
    test = rows(open_source("film_sentences/fold_3", "test", FIELDS, data_dir=tmp_path))
    assert sorted(test) == [(f"see {name} film {number}", label) for name, label, number in reviews]  # 4 words or more


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "mr.all"
    path.write_text("0 good\n2 bad\n")
    with pytest.raises(ZooError, match="mr.all, line 2: expected a number below 2, a space and a text"):
        sentences.read_rows(path, 2)


def table(tmp_path, content: str, name: str = "texts.tsv"):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    return path


@pytest.mark.parametrize("name", ["texts.tsv", "texts.csv"])
def test_a_table(tmp_path, name):
    separator = "," if name.endswith("csv") else "\t"
    lines = [separator.join([label, f"{number % 18} {label}", "1"]) for label in ("no", "yes") for number in range(20)]
    path = table(tmp_path, "\n".join([separator.join(["label", "text", "more"]), *lines]), name)
    splits = {split: open_source(path, split, FIELDS, TextTable()) for split in ("train", "validation", "test", "all")}
    assert splits["all"].labels == ["no", "yes"]
    found = {split: rows(source) for split, source in splits.items()}
    assert sorted(found["all"]) == sorted((line.split(separator)[1], int("yes" in line)) for line in lines)
    assert sorted(found["train"] + found["validation"] + found["test"]) == sorted(found["all"])
    keys = [set(found[split]) for split in ("train", "validation", "test")]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 36
    with pytest.raises(NoSplitError, match="has no split 'dev'"):
        open_source(path, "dev", FIELDS, TextTable())


def test_quotes_are_read_in_csv_only(tmp_path):
    rest = "".join(f"b,{number}\n" for number in range(9))
    path = table(tmp_path, 'label,text\na,"one, ""two""\nthree"\n' + rest, "texts.csv")
    assert ('one, "two"\nthree', 0) in rows(open_source(path, "all", FIELDS, TextTable()))
    path = table(tmp_path, 'label\ttext\na\t"one two\n' + rest.replace(",", "\t"))
    assert ('"one two', 0) in rows(open_source(path, "all", FIELDS, TextTable()))


def test_a_table_that_does_not_exist(tmp_path):
    with pytest.raises(ZooError, match="none.csv is not a file; expected a text file with commas between its columns"):
        open_source(tmp_path / "none.csv", "train", FIELDS, TextTable())


@pytest.mark.parametrize(
    ("content", "name", "error"),
    [
        ("", "t.tsv", "t.tsv is empty: expected a first line that names text and label"),
        (
            "text\tclass\na\tb\n",
            "t.tsv",
            "t.tsv has no column 'label': its first line must name text and label, got 'text, class'",
        ),
        ("text;label\na;b\n", "t.csv", "no column 'text': its first line must name text and label, got 'text;label'"),
        ("text\tlabel\ttext\na\tb\tc\n", "t.tsv", "t.tsv has two columns 'text'"),
        (
            "text\tlabel\na\tx\nb\tc\ty\n",
            "t.tsv",
            "t.tsv, line 3: 3 columns, but the first line names 2: put a text that has a tab into a .csv file, in",
        ),
        (
            "text,label\na,x,,\nb, c,y\n",
            "t.csv",
            "t.csv, line 3: 3 columns, but the first line names 2: put a text that has a comma into quotes",
        ),
        ("text\tlabel\n", "t.tsv", "two or more classes in its column 'label'; it has none: it has no rows"),
        ("text\tlabel\na\tx\nb\tx\n", "t.tsv", "two or more classes in its column 'label'; it has one, 'x'"),
        ("text\tlabel\n\na\tx\n  \ty\n", "t.tsv", "t.tsv, line 4: the text is empty: fill it in, or remove the row"),
        ("text,label\na,x\nb\n", "t.csv", "t.csv, line 3: the label is empty"),
        ('text,label\na,x\n"b,y\nc,x\n', "t.csv", "t.csv, line 3: a quote is not closed"),
        ('text,label\n"a\nb",x\n"c\nd",\n', "t.csv", "t.csv, line 4: the label is empty"),
        ("text\tlabel\na\tx\nb\ty\0\n", "t.tsv", "t.tsv, line 3: contains a NUL character: remove it"),
    ],
)
def test_bad_tables(tmp_path, content, name, error):
    with pytest.raises(ZooError) as caught:
        open_source(table(tmp_path, content, name), "train", FIELDS, TextTable())
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)
