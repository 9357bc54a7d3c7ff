"""Embeddings and taps from raw input: pipelines, batches of model inputs, and `zoo embed`."""

import json

import numpy as np
import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for digit in "017":
        draw_digit(digit).save(folder / f"{digit}.png")
    (folder / "bad.png").write_bytes(b"none")
    return folder


def test_a_model_without_its_head_answers_with_embeddings(files):
    model = make("lenet5_modern", classes=0)
    pipeline = zoo.pipeline(model)
    good, bad, other = pipeline([files / "0.png", files / "bad.png", files / "7.png"], errors="return")
    batch = zoo.preprocess(model, [files / "0.png", files / "7.png"])
    np.testing.assert_allclose([good["embeddings"], other["embeddings"]], model(batch), rtol=1e-5, atol=1e-6)
    assert good["embeddings"].dtype == np.float32
    assert set(bad) == {"input", "error"}
    np.testing.assert_allclose(pipeline(files / "0.png")["embeddings"], good["embeddings"], rtol=1e-5, atol=1e-6)
    task = task_of(model)
    assert task.lines(good) == [f"{files / '0.png'}: embeddings 84"]
    assert set(task.signatures()) == {"serving_default", "tensors"}
    for call in (task.csv_columns, task.compile, lambda: task.portable(False), lambda: task.measure(None, 1, None)):
        with pytest.raises(ZooError):
            call()


def test_preprocess_gives_what_the_data_set_gives(files, digits_folder):
    model = make("mlp", classes=3)
    path = digits_folder / "7" / "03.png"
    batch = zoo.preprocess(model, path)
    assert batch.shape == (1, 16, 16, 1)
    data = zoo.dataset(str(digits_folder), "all", model=model, shuffle=False, batch_size=60)
    [(images, _)] = data
    assert np.abs(images.numpy() - batch).max(axis=(1, 2, 3)).min() == 0
    with pytest.raises(InputError, match="bad.png: not an image"):
        zoo.preprocess(model, [path, files / "bad.png"])
    with pytest.raises(ZooError, match="inputs must not be an empty list"):
        zoo.preprocess(model, [])


def test_preprocess_of_texts():
    model = make("attention_seq2seq")
    batch = zoo.preprocess(model, ["abc", "ab"])
    assert {name: value.shape for name, value in batch.items()} == {"source": (2, 4), "source_length": (2,)}


def test_embed_writes_the_good_items(files, tiny_preset, tmp_path):
    out = tmp_path / "embeddings.npz"
    names = [str(files / name) for name in ("0.png", "bad.png", "7.png")]
    status, printed, err = run_zoo("embed", str(tiny_preset), *names, "--out", str(out), "--json")
    assert (status, err.count("\n")) == (1, 1)
    result = json.loads(printed)
    assert result["inputs"] == [names[0], names[2]]
    assert [row["input"] for row in result["errors"]] == [names[1]]
    stored = np.load(out)
    assert stored["inputs"].tolist() == [names[0], names[2]]
    expected = zoo.pipeline(zoo.load(tiny_preset, classes=0))([names[0], names[2]])
    np.testing.assert_allclose(stored["embeddings"], [row["embeddings"] for row in expected], rtol=1e-5)
    layer = tmp_path / "hidden.npz"
    status, printed, _ = run_zoo("embed", str(tiny_preset), names[0], "--out", str(layer), "--layer", "hidden1")
    assert (status, printed) == (0, f"1 embeddings written to {layer}\n")
    assert np.load(layer)["embeddings"].shape == (1, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0.png", "--out", "x.txt"], "give a .npz file in a folder that exists"),
        (["0.png", "--out", "nowhere/x.npz"], "give a .npz file in a folder that exists"),
        (["--out", "x.npz"], "no input: give INPUT or --file PATH"),
        (["bad.png", "--out", "x.npz"], "no input could be read, so x.npz is not written"),
        (["0.png", "--out", "x.npz", "--layer", "hidden3"], "unknown layer of mlp 'hidden3'; did you mean hidden2"),
    ],
)
def test_mistakes_of_embed(files, tiny_preset, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    status, _, err = run_zoo("embed", str(tiny_preset), *arguments)
    assert status in (1, 2)
    assert message in err.splitlines()[-1]
    assert not (files / "x.npz").exists()
