"""Pronunciations, and files of alignments."""

import pytest

from zoo.data import phones
from zoo.errors import ZooError


def test_every_phone_has_its_own_letter():
    assert len({*phones.LETTERS.values()}) == len(phones.LETTERS) == 39
    assert all(len(letter) == 1 and letter.isprintable() and letter != " " for letter in phones.LETTERS.values())
    assert phones.NAMES[-1] == "SIL"


def test_words_to_letters(tmp_path):
    path = tmp_path / "an4.dic"
    path.write_text("A AH\nA(2)  EY\n\nZERO(2)\tZ IY R OW\nO'NEIL OW N IY L\n")
    dictionary = phones.read_dictionary(path)
    assert dictionary == {"A": "e", "ZERO": "ziro", "O'NEIL": "onil"}
    assert phones.spoken(" A  ZERO", dictionary) == "e ziro"
    with pytest.raises(ZooError, match="the dictionary has no word 'B', which 'A B' has"):
        phones.spoken("A B", dictionary)


@pytest.mark.parametrize(
    ("line", "message"),
    [("A AX", "line 1: unknown phone 'AX'; known: AA AE"), ("A", "line 1: expected a word and its phones")],
)
def test_damaged_dictionary(line, message, tmp_path):
    (tmp_path / "an4.dic").write_text(line)
    with pytest.raises(ZooError, match=message):
        phones.read_dictionary(tmp_path / "an4.dic")


def test_alignments_survive_their_file(tmp_path):
    path = tmp_path / "phones.tsv"
    phones.write_alignments(path, [("b", [("SIL", 2), ("HH", 1)]), ("a", [("AA", 3)])])
    assert path.read_text() == "a\tAA 3\nb\tSIL 2 HH 1\n"
    assert phones.read_alignments(path) == {"a": ["AA"] * 3, "b": ["SIL", "SIL", "HH"]}


@pytest.mark.parametrize("text", ["a", "a\t", "a\tAA", "a\tAA x", "a\tAA 1 BB 2", "a\tAA -1"])
def test_damaged_alignments(text, tmp_path):
    (tmp_path / "phones.tsv").write_text(f"b\tAA 1\n{text}\n")
    with pytest.raises(ZooError, match="phones.tsv, line 2: expected a name, a tab, and phones with their numbers"):
        phones.read_alignments(tmp_path / "phones.tsv")
