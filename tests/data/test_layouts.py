"""Layouts of a user's own files: what they read, how they divide it, and errors with their line."""

import numpy as np
import pytest

from zoo.data.layouts import ClassFolders, FolderTable, Pairs, Table
from zoo.data.sources import open_source
from zoo.errors import ZooError

SPLITS = ("train", "validation", "test")
CAPTIONS = FolderTable("captions.tsv", "image", "captions", "images", frozenset({".jpg"}), r"[.!?]")
MOODS = Table({"text": str, "loudness": float, "angry": int})


def rows_of(path, layout, fields) -> dict[str, list[dict]]:
    """The examples of each split, after a look at their number."""
    rows = {}
    for split in SPLITS:
        source = open_source(path, split, fields, layout)
        rows[split] = list(source.dataset.as_numpy_iterator())
        assert source.examples == len(rows[split])
        assert (source.split, source.labels, source.name) == (split, None, str(path))
    return rows


def check_divided(rows: dict, key: str, expected: set) -> None:
    """The splits share no value of the field `key`, and together they have all."""
    values = {split: {row[key] for row in part} for split, part in rows.items()}
    assert set.union(*values.values()) == expected
    assert sum(map(len, values.values())) == len(expected)


@pytest.fixture
def captions(tmp_path):
    """Thirty files with two captions each; the second ones come last."""
    for number in range(30):
        (tmp_path / f"{number}.jpg").write_bytes(b"file %d" % number)
    lines = [f"{number}.jpg\tcaption {turn} of {number}" for turn in (1, 2) for number in range(30)]
    (tmp_path / "captions.tsv").write_text("\ufeff" + "\n\n".join(lines) + "\n", "utf-8")
    return tmp_path


def test_a_folder_with_a_table(captions):
    rows = rows_of(captions, CAPTIONS, ("image", "captions"))
    assert {split: len(part) for split, part in rows.items()} == {"train": 21, "validation": 3, "test": 6}
    check_divided(rows, "image", {b"file %d" % number for number in range(30)})
    for row in sum(rows.values(), []):
        number = int(row["image"].split()[1])
        assert row["captions"].decode() == f"caption 1 of {number}\ncaption 2 of {number}"
        assert row["file"].decode() == str(captions / f"{number}.jpg")
    again = rows_of(captions, CAPTIONS, ("image", "captions"))
    assert again == rows
    marks = {split: open_source(captions, split, ("captions",), CAPTIONS).fingerprint for split in SPLITS}
    assert len({*marks.values()}) == 3
    (captions / "captions.tsv").write_text((captions / "captions.tsv").read_text().replace("caption 2", "text 2"))
    assert open_source(captions, "train", ("captions",), CAPTIONS).fingerprint != marks["train"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.jpg\ta\nno tab\n", "captions.tsv, line 2: expected a file name, a tab and a text"),
        ("0.jpg\ta\n\n1.jpg\t \n", "captions.tsv, line 3: expected a file name, a tab and a text"),
        ("\ta\n", "captions.tsv, line 1: expected a file name, a tab and a text"),
        ("0.jpg\ta\n1.jpg\t!? ...\n", "captions.tsv, line 2: expected a file name, a tab and a text"),
        ("0.jpg\t\u200b\n", "captions.tsv, line 1: expected a file name, a tab and a text"),
        ("0.jpg\ta\n1.jpg\ta \0 dog\n", "captions.tsv, line 2: contains a NUL character"),
        (
            "image\tcaption\n0.jpg\ta\n",
            "captions.tsv, line 1: there is no file 'image'; if the line is a header, remove it",
        ),
        (
            "".join(f"{number}.jpg\ta\n" for number in range(24, 40)),
            r"captions.tsv names 10 of 16 images that do not exist: 30.jpg \(line 7\), .*, 34.jpg \(line 11\) "
            "and 5 more; add them, or leave them out with skip_missing",
        ),
        ("0.jpg\ta\n", "has too few examples for the split 'validation': 1 in all"),
        ("", "captions.tsv is empty: expected lines of file name, tab, text"),
        (" \n\n", "captions.tsv is empty: expected lines of file name, tab, text"),
    ],
)
def test_mistakes_in_a_table_of_files(captions, content, message):
    (captions / "captions.tsv").write_text(content)
    with pytest.raises(ZooError, match=message) as raised:
        open_source(captions, "validation", ("captions",), CAPTIONS)
    assert "\n" not in str(raised.value)


def test_names_of_one_file_are_one_example(captions, recwarn):
    folder = captions / "more"
    folder.mkdir()
    lines = [f"{number}.jpg\tone of {number}" for number in range(30)]
    for spelled in ("./{}", "more/../{}", f"{captions}/{{}}"):
        lines += [f"{spelled.format(number)}.jpg\tother of {number}" for number in range(30)]
    (captions / "captions.tsv").write_text("\n".join(lines))
    rows = rows_of(captions, CAPTIONS, ("image", "captions"))
    assert {split: len(part) for split, part in rows.items()} == {"train": 21, "validation": 3, "test": 6}
    check_divided(rows, "image", {b"file %d" % number for number in range(30)})
    for row in sum(rows.values(), []):
        number = int(row["image"].split()[1])
        assert row["captions"].decode().split("\n") == [f"one of {number}", *[f"other of {number}"] * 3]
    assert not recwarn.list


def test_missing_files_are_left_out_on_request_and_files_without_a_line_with_a_warning(captions):
    lines = "".join(f"{number}.jpg\tcaption of {number}\n" for number in (*range(25), 30, 31))
    (captions / "captions.tsv").write_text(lines)
    with pytest.warns(UserWarning, match="left out") as caught:
        source = open_source(captions, "all", ("captions",), CAPTIONS, skip_missing=True)
    texts = [str(each.message) for each in caught]
    assert texts == [
        f"{captions / 'captions.tsv'}: 2 of 27 images do not exist and are left out: "
        "30.jpg (line 26), 31.jpg (line 27)",
        f"5 images have no line in {captions / 'captions.tsv'} and are left out: "
        "25.jpg, 26.jpg, 27.jpg, 28.jpg, 29.jpg",
    ]
    rows = {row["captions"].decode() for row in source.dataset.as_numpy_iterator()}
    assert rows == {f"caption of {number}" for number in range(25)}


def test_only_a_folder_with_a_table_has_missing_files(tmp_path):
    (tmp_path / "moods.tsv").write_text("text\tloudness\tangry\n")
    for name, layout in ((tmp_path / "moods.tsv", MOODS), ("mnist", CAPTIONS)):
        with pytest.raises(ZooError, match="skip_missing is for folders with a table of their files, which .* is not"):
            open_source(name, "train", ("text",), layout, skip_missing=True)


def test_a_folder_without_its_table(tmp_path, captions):
    (tmp_path / "captions.tsv").unlink()
    for place in (tmp_path, tmp_path / "0.jpg", tmp_path / "missing"):
        with pytest.raises(ZooError, match="is not a folder with a file captions.tsv: lines of file name, tab, text"):
            open_source(place, "train", ("captions",), CAPTIONS)


def test_a_table_of_columns(tmp_path):
    path = tmp_path / "moods.tsv"
    lines = [f"{number}\t{number / 4}\tnoted\ttext {number}" for number in range(-20, 20)]
    path.write_text("\n".join(["angry\tloudness\tnotes\ttext", *lines]))
    rows = rows_of(path, MOODS, ("text", "loudness", "angry"))
    assert {split: len(part) for split, part in rows.items()} == {"train": 28, "validation": 4, "test": 8}
    check_divided(rows, "text", {f"text {number}".encode() for number in range(-20, 20)})
    for row in sum(rows.values(), []):
        assert {*row} == {"text", "loudness", "angry"}
        assert row["text"].decode() == f"text {row['angry']}"
        assert row["loudness"] == row["angry"] / 4
        assert (row["loudness"].dtype, row["angry"].dtype) == (np.float32, np.int64)


def test_quoted_texts_of_a_table(tmp_path):
    path = tmp_path / "moods.tsv"
    path.write_text("text\tloudness\tangry\n" + '"a\tb ""c"""\t1\t0\n' * 5)
    for row in open_source(path, "train", ("text",), MOODS).dataset.as_numpy_iterator():
        assert row["text"] == b'a\tb "c"'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "moods.tsv has no column 'text': its first line must name text, loudness, angry"),
        ("text\tangry\n", "moods.tsv has no column 'loudness': its first line must name text, loudness, angry"),
        (
            "text\tloudness\tangry\na\t1\n",
            r"line 2: expected the columns text \(str\), loudness \(float\), angry \(int\)",
        ),
        ("text\tloudness\tangry\na\t1\t0\n\nb\tloud\t1\n", r"line 4: expected the columns text \(str\), loudness"),
        ("text\tloudness\tangry\na\t1\t0.5\n", "line 2: expected the columns"),
        ("text\tloudness\tangry\na\t1\t0\n", "has too few examples for the split 'validation': 1 in all"),
        ("text\tloudness\tangry\n", "has too few examples for the split 'validation': 0 in all"),
    ],
)
def test_mistakes_in_a_table(tmp_path, content, message):
    path = tmp_path / "moods.tsv"
    path.write_text(content)
    with pytest.raises(ZooError, match=message) as raised:
        open_source(path, "validation", ("text",), MOODS)
    assert "\n" not in str(raised.value)


def test_pairs_are_divided_by_their_sources(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"word {number % 20}\tWort {number}\n" for number in range(60)))
    rows = rows_of(path, Pairs(), ("source", "target", "references"))
    check_divided(rows, "source", {f"word {number}".encode() for number in range(20)})
    assert {split: len(part) for split, part in rows.items()} == {"train": 42, "validation": 2, "test": 4}
    for row in sum(rows.values(), []):
        number = int(row["source"].split()[1])
        assert row["references"].decode().split("\n") == [f"Wort {number + turn}" for turn in (0, 20, 40)]
        assert row["target"] in row["references"].split(b"\n")


@pytest.mark.parametrize(("layout", "name"), [(Pairs(), "pairs.tsv"), (MOODS, "moods.tsv")])
def test_files_that_can_not_be_read(tmp_path, layout, name):
    path = tmp_path / name
    with pytest.raises(ZooError, match=f"^{name} is not a file; expected a text file with tabs between its columns"):
        open_source(name, "train", (), layout)
    with pytest.raises(ZooError, match="is not a file; expected a text file"):
        open_source(tmp_path, "train", (), layout)
    path.write_bytes(b"text\tloudness\tangry\n\xff\t1\t0\n")
    with pytest.raises(ZooError, match=f"{name}: byte 20 is not UTF-8; save the file in this encoding"):
        open_source(path, "train", (), layout)
    path.write_text("text\tloudness\tangry\n" + "a\t1\t0\n" * 20)
    with pytest.raises(ZooError, match="has no split 'dev'; it has train, validation, test, all$"):
        open_source(path, "dev", (), layout)


def test_a_task_without_a_layout(tmp_path):
    (tmp_path / "file.bin").touch()
    with pytest.raises(ZooError, match="this task reads no files of your own; give a TFDS name"):
        open_source(tmp_path / "file.bin", "train", ("x",))


def test_class_folders_read_only_their_suffixes(tmp_path):
    for label in ("b", "a"):
        (tmp_path / label).mkdir()
        for number in range(10):
            (tmp_path / label / f"{number}.WAV").write_bytes(label.encode())
            (tmp_path / label / f"{number}.txt").write_bytes(b"notes")
            (tmp_path / label / f"._{number}.wav").write_bytes(b"hidden")  # macOS writes such files
    layout = ClassFolders("waveform", "recordings", frozenset({".wav"}))
    rows = [row for split in SPLITS for row in open_source(tmp_path, split, ("waveform", "label"), layout).dataset]
    assert len(rows) == 20
    assert {(row["label"].numpy(), row["waveform"].numpy()) for row in rows} == {(0, b"a"), (1, b"b")}


def class_folder(path, **counts):
    for label, count in counts.items():
        (path / label).mkdir(parents=True)
        for number in range(count):
            (path / label / f"{number}.wav").write_bytes(f"{label} {number}".encode())
    return path


WAVES = ClassFolders("waveform", "recordings", frozenset({".wav"}))


@pytest.mark.parametrize("counts", [{"a": 10, "b": 40, "c": 20}, {"a": 3, "b": 4}, {"a": 1, "b": 99}])
def test_each_class_is_divided_in_the_same_proportion(tmp_path, counts):
    """As exactly as its files allow: one more or less than its share. Together the sizes are those of the whole."""
    table = WAVES.counts(class_folder(tmp_path, **counts))
    shares, total = {"train": 0.7, "validation": 0.1, "test": 0.2}, sum(counts.values())
    for label, row in table.items():
        assert sum(row.values()) == counts[label]
        for split, count in row.items():
            assert abs(count - shares[split] * counts[label]) < 1
    bounds = [0, round(0.7 * total), round(0.8 * total), total]
    sizes = [sum(row[split] for row in table.values()) for split in SPLITS]
    assert sizes == [after - before for before, after in zip(bounds, bounds[1:], strict=False)]


def test_the_split_all_has_every_file_once(tmp_path):
    whole = open_source(class_folder(tmp_path / "whole", a=5, b=12), "all", ("waveform",), WAVES)
    read = [row["waveform"] for row in whole.dataset.as_numpy_iterator()]
    assert (whole.examples, len({*read})) == (17, 17)
    parts = [open_source(tmp_path / "whole", split, ("waveform",), WAVES) for split in SPLITS]
    assert sorted(row["waveform"] for part in parts for row in part.dataset.as_numpy_iterator()) == sorted(read)
    assert all(whole.overlaps(part) for part in parts)
    assert not parts[0].overlaps(parts[2])
    for split, counts in {"train": {"a": 3, "b": 2}, "test": {"a": 1}}.items():
        class_folder(tmp_path / "divided" / split, **counts)
    divided = open_source(tmp_path / "divided", "all", ("waveform", "label"), WAVES)
    assert (divided.examples, divided.labels) == (6, ["a", "b"])
    assert divided.overlaps(open_source(tmp_path / "divided", "test", ("waveform",), WAVES))
    assert WAVES.counts(tmp_path / "divided") == {"a": {"test": 1, "train": 3}, "b": {"test": 0, "train": 2}}
    (tmp_path / "t.tsv").write_text("text\tloudness\tangry\n" + "".join(f"a{n}\t1\t0\n" for n in range(9)))
    assert open_source(tmp_path / "t.tsv", "all", ("text",), MOODS).examples == 9


@pytest.mark.parametrize("counts", [{"a": 100, "b": 1, "c": 1}, {"a": 20, "b": 1, "c": 2}, {"a": 5, "b": 1}])
def test_every_class_has_a_file_to_train_on(tmp_path, counts):
    table = WAVES.counts(class_folder(tmp_path, **counts))
    assert min(row["train"] for row in table.values()) >= 1


def test_a_class_with_nothing_to_train_on_is_named(tmp_path):
    folder = class_folder(tmp_path, a=1, b=1)
    with pytest.raises(ZooError, match=r"[ab] has too few recordings: none is in the split 'train'"):
        open_source(folder, "train", ("waveform",), WAVES)
