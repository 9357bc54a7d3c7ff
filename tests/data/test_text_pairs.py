"""Pairs of texts from files and from TFDS's folder, and which of them are held out."""

import gzip
import random

import pytest

from zoo.data import text_pairs
from zoo.data.layouts import Pairs
from zoo.data.sources import open_source
from zoo.errors import ZooError


def test_held_out_pairs():
    """No sentence of validation and test, nor a translation of one, is trained on; and a pair is held out once."""
    draw = random.Random(1)
    pairs = [(f"e{draw.randrange(60)}", f"f{draw.randrange(80)}") for _ in range(200)]
    rows = text_pairs.split_pairs(pairs, 10)
    assert len(rows["test"]) == len(rows["validation"]) == 10
    held = rows["test"] + rows["validation"]
    assert len({one for one, _ in held}) == len({other for _, other in held}) == 20
    assert set(held) <= set(pairs)
    for side in (0, 1):
        known = {pair[side] for pair in rows["train"]}
        assert not known & {pair[side] for pair in held}
    near = {other for one, other in pairs if one in dict(held)}
    assert rows["train"] == [pair for pair in pairs if pair[0] not in dict(held) and pair[1] not in near]
    assert text_pairs.split_pairs(pairs[::-1], 10)["test"] != []
    assert [one for one, _ in text_pairs.split_pairs(pairs[::-1], 10)["test"]] == [one for one, _ in rows["test"]]


def test_pronunciations():
    lines = [
        ";;; a comment",
        "a AH0",
        "a(2) EY1",
        "A 3 EY1",
        "'BOUT 1 B AW1 T",
        "d'artagnan D AH0 R # name",
        "%PERCENT 1 P",
    ]
    assert text_pairs.pronunciations(lines) == {"a": ["AH", "EY"], "'bout": ["B AW T"], "d'artagnan": ["D AH R"]}


@pytest.fixture
def manual(tmp_path, monkeypatch):
    """TFDS's folder with files as their publishers have them, a few lines each."""
    folder = tmp_path / "tfds"
    for name in ("multi30k", "tatoeba", "cmudict"):
        (folder / "downloads" / "manual" / name).mkdir(parents=True)
    files = folder / "downloads" / "manual"
    for split, count in (("train", 5), ("val", 2), ("test_2016_flickr", 3)):
        for language in ("en", "de", "fr"):
            lines = "".join(f"{language} {split} {number}\n" for number in range(count))
            (files / "multi30k" / f"{split}.{language}.gz").write_bytes(gzip.compress(lines.encode()))
    lines = [f"Sentence {number}.\tPhrase {number // 2}.\tCC-BY\n" for number in range(30)]
    (files / "tatoeba" / "fra.txt").write_text("".join(lines))
    (files / "cmudict" / "cmudict.dict").write_text("".join(f"w{'x' * n} W{' EH1' * n}\n" for n in range(150)))
    monkeypatch.setattr(text_pairs, "HELD_OUT", 4)
    return folder


def test_builders(manual):
    fields = ("source", "target", "references")
    train = open_source("multi30k/de_en", "train", fields, data_dir=manual)
    assert (train.examples, train.terms) == (5, "research and education (cite Elliott et al. 2016)")
    rows = {one["source"]: (one["target"], one["references"]) for one in train.dataset.as_numpy_iterator()}
    assert rows[b"de train 3"] == (b"en train 3", b"en train 3")
    assert open_source("multi30k/de_en", "test_2016_flickr", fields, data_dir=manual).examples == 3
    test = open_source("tatoeba_pairs/fr_en", "test", fields, data_dir=manual)
    for one in test.dataset.as_numpy_iterator():
        assert one["source"].startswith(b"Phrase")
        assert one["target"] in one["references"].split(b"\n")
        assert len(one["references"].split(b"\n")) == 2
    words = [open_source("cmudict", split, fields, data_dir=manual) for split in ("train", "validation", "test")]
    assert sum(part.examples for part in words) == 150
    with pytest.raises(ZooError, match="cifar10 is not in"):
        open_source("cifar10", "train", fields, data_dir=manual, download=False)


def test_files_that_do_not_match(manual):
    path = manual / "downloads" / "manual" / "multi30k" / "val.de.gz"
    path.write_bytes(gzip.compress(b"one line\n"))
    with pytest.raises(ZooError, match=r"multi30k/en_de is not in .*val.en.gz has 2 lines, .*val.de.gz 1: they must"):
        open_source("multi30k/en_de", "train", ("source",), data_dir=manual)
    path.unlink()
    with pytest.raises(ZooError, match=r"there is no .*val.de.gz: into multi30k/ put train, val and .*github.com"):
        open_source("multi30k/en_de", "train", ("source",), data_dir=manual)


def test_a_file_of_pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("\ufeff" + "".join(f"word {n // 2}\tWort {n}\tnoted\n\n" for n in range(40)), "utf-8")
    splits = {
        split: open_source(path, split, ("source", "references"), Pairs()) for split in ("train", "validation", "test")
    }
    sources = {name: [row["source"] for row in split.dataset.as_numpy_iterator()] for name, split in splits.items()}
    assert {name: len(rows) for name, rows in sources.items()} == {"train": 28, "validation": 2, "test": 4}
    assert len(set(sources["train"]) | set(sources["validation"]) | set(sources["test"])) == 20
    assert not set(sources["train"]) & set(sources["test"])  # all pairs of a source are in one split
    for content, message in (
        ("a\tb\nno tab\n", "line 2: expected a source, a tab and a target"),
        ("a\t \n", "line 1: expected a source, a tab"),
        ("a\tb\n", "has too few examples for the split 'validation': 1 in all"),
    ):
        path.write_text(content)
        with pytest.raises(ZooError, match=message):
            open_source(path, "validation", ("source",), Pairs())
    path.write_bytes(b"a\tb\n\xff\xfe\tc\n")
    with pytest.raises(ZooError, match="byte 4 is not UTF-8; save the file"):
        open_source(path, "train", ("source",), Pairs())
    with pytest.raises(ZooError, match="is not a file; expected a text file with tabs"):
        open_source(tmp_path, "train", ("source",), Pairs())
    with pytest.raises(
        ZooError, match="^missing.tsv is not a file; expected a text file"
    ):  # a file's name, not one of TFDS
        open_source("missing.tsv", "train", ("source",), Pairs())
