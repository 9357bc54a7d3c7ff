"""Running text: the builders of corpora and of questions about words, and a user's own text file."""

import pytest

from zoo.data import corpora
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks.word_embedding import WordEmbedding

FIELDS = ("text", "questions", "score")


def write_manual(folder):
    files = {
        "novels/novels_clean.txt": "it was a dark night\nthe end\n",
        "factbook/factbook_clean.txt": "a country\n",
        "word_similarity/questions-words.txt": ": capital\nAthens Greece Baghdad Iraq\n",
        "word_similarity/EN-MEN-TR-3k.txt": "sun\tsunlight\t50.0\n",
        "word_similarity/EN-WS-353-ALL.txt": "tiger\tcat\t7.35\n",
        "word_similarity/EN-SIMLEX-999.txt": "old\tnew\t1.58\n",
    }
    for name, content in files.items():
        path = folder / "downloads" / "manual" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def rows(source):
    return [
        (row["text"].decode(), row["questions"].decode(), round(float(row["score"]), 2))
        for row in source.dataset.as_numpy_iterator()
    ]


def test_novels_and_questions(tmp_path):
    write_manual(tmp_path)
    train = open_source("novels_factbook", "train", FIELDS, data_dir=tmp_path)
    assert sorted(rows(train)) == [("a country", "", 0.0), ("it was a dark night", "", 0.0), ("the end", "", 0.0)]
    expected = [
        ("Athens Greece Baghdad Iraq", "analogy", 0.0), ("old new", "simlex", 1.58), ("sun sunlight", "men", 50.0),
        ("tiger cat", "ws353", 7.35),
    ]  # fmt: skip
    for name in ("novels_factbook", "word_similarity"):
        assert sorted(rows(open_source(name, "test", FIELDS, data_dir=tmp_path))) == expected


@pytest.mark.parametrize(
    ("name", "line", "error"),
    [
        ("questions-words.txt", "a b c", "line 3: expected four words"),
        ("EN-MEN-TR-3k.txt", "a b", "line 2: expected two words and a number"),
    ],
)
def test_damaged_questions(tmp_path, name, line, error):
    folder = write_manual(tmp_path) / "downloads" / "manual" / "word_similarity"
    with (folder / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ZooError, match=error):
        corpora.read_questions(folder)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ZooError, match="into novels/ put"):
        open_source("novels_factbook", "train", FIELDS, data_dir=tmp_path)


def test_a_text_file_is_for_training(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one two three\n" * 9000)
    source = open_source(path, "train", FIELDS, WordEmbedding.layout)
    assert {row[1:] for row in rows(source)} == {("", 0.0)}
    assert "".join(text for text, _, _ in rows(source)) == path.read_text()
    assert source.examples > 1
    with pytest.raises(ZooError, match="has no split 'test'; it has train, all"):
        open_source(path, "test", FIELDS, WordEmbedding.layout)
