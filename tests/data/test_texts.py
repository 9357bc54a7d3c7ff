"""Running texts: the novels of TFDS's folder, and a user's own file, in pieces that joined are the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data import texts
from zoo.data.sources import open_source
from zoo.data.texts import TextFile, pieces_of
from zoo.errors import ZooError

FIELDS = ("text", "begins")


def rows(source) -> list[tuple[bytes, bool]]:
    return [(row["text"], bool(row["begins"])) for row in source.dataset.as_numpy_iterator()]


def test_novels(tmp_path, monkeypatch):
    """Of 50 novels the 8th and 32nd are in test, the 20th and 44th in validation; pieces stay in order."""
    monkeypatch.setattr(texts.pieces_of, "__defaults__", (30,))
    folder = tmp_path / "tfds" / "downloads" / "manual" / "novels"
    folder.mkdir(parents=True)
    novels = [" ".join(f"w{number}x{word}" for word in range(40)).encode() for number in range(1, 51)]
    (folder / "novels_clean.txt").write_bytes(b"\n".join(novels) + b"\n")
    held = {"test": (8, 32), "validation": (20, 44)}
    held["train"] = tuple(number for number in range(1, 51) if number not in held["test"] + held["validation"])
    for split, numbers in held.items():
        found = rows(open_source("novels", split, FIELDS, data_dir=tmp_path / "tfds"))
        assert sum(begins for _, begins in found) == len(numbers)
        assert len(found) > 5 * len(numbers)
        whole = b"".join((b"\n" if begins else b"") + text for text, begins in found)
        assert whole.strip().split(b"\n") == [novels[number - 1] for number in numbers]


def test_novels_without_their_file(tmp_path):
    (tmp_path / "tfds" / "downloads" / "manual" / "multi30k").mkdir(parents=True)
    with pytest.raises(ZooError, match="there is no .*novels_clean.txt: into novels/ put novels_clean.txt"):
        open_source("novels", "train", FIELDS, data_dir=tmp_path / "tfds")


@settings(max_examples=50)
@given(st.binary(max_size=60), st.integers(1, 20))
def test_pieces_joined_are_the_text(text, size):
    pieces = list(pieces_of(text, size))
    assert b"".join(pieces) == text
    for piece in pieces[:-1]:
        assert piece[-1:] in (b" ", b"\t", b"\n", b"\r")
        assert len(piece) > size


def test_a_text_file_in_three_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "PIECE", 50)
    path = tmp_path / "book.txt"
    content = " ".join(f"wört{number}" for number in range(100)).encode()
    path.write_bytes(content)
    parts = {split: rows(open_source(path, split, FIELDS, TextFile())) for split in ("train", "validation", "test")}
    joined = {split: b"".join(text for text, _ in part) for split, part in parts.items()}
    assert b"".join(joined.values()) == content
    assert [round(len(part) / len(content), 1) for part in joined.values()] == [0.7, 0.1, 0.2]
    for part in parts.values():
        assert [begins for _, begins in part] == [True] + [False] * (len(part) - 1)
        assert len(part) > 1
    assert b"".join(text for text, _ in rows(open_source(path, "all", FIELDS, TextFile()))) == content
    train, test = (open_source(path, split, FIELDS, TextFile()) for split in ("train", "test"))
    assert not train.overlaps(test)
    assert train.fingerprint != test.fingerprint


def test_a_large_file_is_not_read_at_once(tmp_path, monkeypatch):
    """No piece, and no read, has more than a block."""
    monkeypatch.setattr(texts, "PIECE", 1000)
    monkeypatch.setattr(texts, "BLOCK", 4000)
    path = tmp_path / "large.txt"
    path.write_bytes(b"abcd " * 20_000)
    monkeypatch.setattr(type(path), "read_bytes", None)
    monkeypatch.setattr(type(path), "read_text", None)
    found = rows(open_source(path, "all", FIELDS, TextFile()))
    assert max(len(text) for text, _ in found) <= 1010
    assert sum(len(text) for text, _ in found) == 100_000


@pytest.mark.parametrize(
    "text", ["one two  three\nfour\n" * 7, "no-space-at-all" * 9, "\u00e9\u00e8\u4e2d\u6587" * 20, "\u00e9 " * 40]
)
@pytest.mark.parametrize("size", [7, 16, 10_000])
def test_pieces_of_a_text_file(tmp_path, monkeypatch, text, size):
    """The pieces are the text, in UTF-8 each, and no word that is shorter than the longest one is cut."""
    monkeypatch.setattr(texts, "PIECE", size)
    monkeypatch.setattr(texts, "LONGEST_WORD", size)
    path = tmp_path / "text.txt"
    path.write_text(text, "utf-8", newline="")
    source = open_source(path, "all", FIELDS, TextFile())
    pieces = [piece.decode() for piece, _ in rows(source)]
    assert "".join(pieces) == text
    assert len(pieces) == source.examples
    assert all(len(piece.encode()) <= 2 * size for piece in pieces)
    if size > 6 and " " in text:
        assert [word for piece in pieces for word in piece.split()] == text.split()


@pytest.mark.parametrize(
    ("content", "split", "message"),
    [
        (b"", "train", "book.txt is empty: expected a text"),
        (b"ab", "validation", "has too little text for the split 'validation': 2 bytes in all"),
        (b"caf\xe9 noir", "train", "book.txt: byte 3 is not UTF-8; save the file in this encoding"),
        (b"ab \xc3", "train", "book.txt: byte 3 is not UTF-8"),
        (b"a b", "dev", "has no split 'dev'; it has train, validation, test, all"),
    ],
)
def test_bad_files(tmp_path, content, split, message):
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(ZooError, match=message):
        open_source(path, split, FIELDS, TextFile())
