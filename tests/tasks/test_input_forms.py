"""What a pipeline takes: open files, generators, folders; and pipelines in other processes."""

import io
import multiprocessing
import pickle

import numpy as np
import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.tensors import small
from zoo.errors import InputError
from zoo.tasks import raw
from zoo.tasks.raw import RawInput

IMAGE, TENSOR, TEXT, NUMBER = (
    (RawInput("image_bytes", "image"),),
    (RawInput("tensor", "tensor", (2,)),),
    (RawInput("text", "text"),),
    (RawInput("loudness", "number"),),
)


@pytest.fixture(scope="module")
def pipeline(tiny_preset):
    return zoo.pipeline(tiny_preset)


@pytest.fixture
def photos(tmp_path):
    """A folder of two pictures, notes, a hidden file and a subfolder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, digit in (("b.png", "7"), ("a.png", "1"), ("more/c.png", "0")):
        draw_digit(digit).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def scores(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key != "input"}


def test_open_files(pipeline, photos):
    path = photos / "a.png"
    want = scores(pipeline(path))
    with open(path, "rb") as file:
        first, again = pipeline(file), pipeline(file)
        assert first == again == {"input": str(path), **want}
        assert [scores(row) for row in pipeline([file, path])] == [scores(row) for row in pipeline([path, path])]
    buffer = io.BytesIO()
    draw_digit("1").save(buffer, "PNG")  # its position is at the end
    assert pipeline(buffer) == {"input": "<BytesIO>", **want}
    for closed, message in ((file, "can't be read: "), (open(path), "the file was opened as text: open it with mode")):  # noqa: SIM115
        assert pipeline(closed, errors="return")["error"].startswith(message)
        closed.close()


def test_open_npy_files(tmp_path):
    model = small()
    values = np.random.default_rng(0).normal(size=model.input.shape[1:]).astype("float32")
    np.save(tmp_path / "a.npy", values)
    pipeline = zoo.pipeline(model)
    with open(tmp_path / "a.npy", "rb") as file:
        assert scores(pipeline(file)) == scores(pipeline(values))
    assert [scores(row) for row in pipeline(iter([values]))] == [scores(row) for row in pipeline([values])]
    assert [row["input"] for row in pipeline(tmp_path)] == [str(tmp_path / "a.npy")]


def test_generators(pipeline, photos):
    paths = [photos / "a.png", photos / "b.png"]
    want = pipeline(paths)
    for many in ((path for path in paths), iter(paths), map(str, paths), dict.fromkeys(paths).keys()):
        assert pipeline(many) == want
    assert pipeline(iter([])) == []


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: f"{path}/"])
def test_a_folder_is_its_files_in_order(pipeline, photos, form):
    rows = pipeline(form(photos), errors="return")
    assert [row["input"].removeprefix(str(photos)) for row in rows] == ["/a.png", "/b.png", "/notes.txt"]
    assert [scores(row) for row in rows[:2]] == [scores(row) for row in pipeline([photos / "a.png", photos / "b.png"])]
    assert rows[2]["error"].startswith("not an image")
    with pytest.raises(InputError, match=r"notes\.txt: not an image"):
        pipeline(form(photos))
    assert list(pipeline.answers(form(photos), errors="return")) == rows


def test_a_folder_without_pictures_is_named(pipeline, tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: a folder without files of its own, not an image$"):
        pipeline(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "x", "several"),
    [
        (IMAGE, io.BytesIO(b"x"), False),
        (IMAGE, iter("ab"), True),
        (TENSOR, io.BytesIO(b"x"), False),
        (TENSOR, iter([[1, 2]]), True),
        (TEXT, io.StringIO("a\nb"), True),
        (TEXT, iter("ab"), True),
        (TEXT, "/", False),
        (NUMBER, "/", False),
        (NUMBER, iter([1.0]), True),
        (IMAGE, "/etc", True),
    ],
)
def test_one_item_or_several(inputs, x, several):
    assert raw.is_batch(inputs, x) is several


def test_an_open_file_of_texts_is_its_lines():
    for file in (io.StringIO("\ufeffone \ntwo\n\nthree"), io.BytesIO(b"\xef\xbb\xbfone \r\ntwo\n\nthree\n")):
        assert [*raw.items(TEXT, file)] == ["one", "two", "", "three"]


def test_an_error_always_has_the_name_in_front(tiny_preset, pipeline, tmp_path, monkeypatch):
    """Also if the name is a part of the error's text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image").write_bytes(b"not an image")
    with pytest.raises(InputError, match="^image: not an image: expected"):
        pipeline("image")
    with pytest.raises(InputError, match="^image: not an image: expected"):
        zoo.explain(tiny_preset, "image", "out.png")
    assert run_zoo("predict", tiny_preset, "image")[2].startswith("zoo: image: not an image: expected")
    assert run_zoo("predict", tiny_preset, "file")[2] == "zoo: file: the file does not exist\n"


def test_a_picture_on_standard_input(tiny_preset, pipeline, photos):
    content = (photos / "a.png").read_bytes()
    status, printed, _ = run_zoo("predict", tiny_preset, "-", photos / "b.png", "--top", "1", input=content)
    first, second = (pipeline(photos / name)["labels"][0] for name in ("a.png", "b.png"))
    assert status == 0
    assert printed.splitlines()[0].startswith(f"-: {first} ")
    assert printed.splitlines()[1].startswith(f"{photos / 'b.png'}: {second} ")
    status, _, error = run_zoo("predict", tiny_preset, "-", input=b"")
    assert (status, error) == (1, "zoo: -: empty\n")
    status, _, error = run_zoo("predict", tiny_preset, "-", "--file", "-", input=content)
    assert (status, error) == (2, "zoo: standard input can be read only once: give - once\n")
    status, _, _ = run_zoo("explain", tiny_preset, "-", "--out", photos / "out.png", input=content)
    assert status == 0


def test_texts_on_standard_input(speller):
    status, printed, error = run_zoo("predict", speller, "cab", "-", "--beam", "1", input="bad\nz\nface\n")
    assert printed == "C A B\nB A D\n\nF A C E\n"
    assert (status, error.startswith("zoo: line 2: z: ")) == (1, True)


def test_a_pipeline_is_pickled(tiny_preset, photos):
    """That of a preset as its path; that of a model with its weights."""
    pipeline = zoo.pipeline(tiny_preset, batch_size=7, top=2)
    content = pickle.dumps(pipeline)
    assert len(content) < 1000
    again = pickle.loads(content)
    assert again(photos / "a.png") == pipeline(photos / "a.png")
    assert again.batch_size == 7
    model = zoo.load(tiny_preset)
    model.weights[0].assign(model.weights[0] * 2.0)
    pipeline = zoo.pipeline(model, top=2)
    again = pickle.loads(pickle.dumps(pipeline))
    assert again(photos / "a.png") == pipeline(photos / "a.png")


@pytest.mark.slow
def test_a_pipeline_in_another_process(tiny_preset, photos):
    pipeline = zoo.pipeline(tiny_preset)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(pipeline, [str(photos / "a.png")]) == [pipeline(photos / "a.png")]
