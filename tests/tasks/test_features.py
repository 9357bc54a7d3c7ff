"""Embeddings and taps from raw input: pipelines, batches of model inputs, and `zoo embed`."""

import json
import re

import numpy as np
import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from tests.helpers.paths import PHOTOS
from zoo import terminal
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of

pytestmark = pytest.mark.usefixtures("short_runs")


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    """A preset of a tiny model for signals; a folder with two good files and a bad one."""
    folder = tmp_path_factory.mktemp("signals")
    model = make("conv1d_classifier")
    zoo.save(model, folder / "preset")
    values = np.random.default_rng(0).normal(size=(2, *model.input.shape[1:])).astype("float32")
    np.save(folder / "0.npy", values[0])
    np.save(folder / "7.npy", values[1])
    (folder / "bad.npy").write_bytes(b"none")
    return folder


def test_a_model_without_its_head_answers_with_embeddings(tmp_path):
    model = make("lenet5_modern", classes=0)
    draw_digit("0").save(tmp_path / "0.png")
    (tmp_path / "bad.png").write_bytes(b"none")
    good, bad = zoo.pipeline(model)([tmp_path / "0.png", tmp_path / "bad.png"], errors="return")
    batch = zoo.preprocess(model, tmp_path / "0.png")
    np.testing.assert_allclose(good["embeddings"], model(batch)[0], rtol=1e-5, atol=1e-6)
    assert good["embeddings"].dtype == np.float32
    assert set(bad) == {"input", "error"}
    with pytest.raises(InputError, match="bad.png: not an image"):
        zoo.preprocess(model, [tmp_path / "0.png", tmp_path / "bad.png"])


def test_the_task_of_a_model_without_its_head(signals):
    model = zoo.load(signals / "preset", classes=0)
    task = task_of(model)
    answer = zoo.pipeline(model)(signals / "0.npy")
    np.testing.assert_allclose(answer["embeddings"], model(zoo.preprocess(model, signals / "0.npy"))[0], rtol=1e-5)
    assert task.lines(answer) == [f"{signals / '0.npy'}: embeddings {len(answer['embeddings'])}"]
    assert set(task.signatures()) == {"serving_default", "tensors"}
    for call in (task.csv_columns, task.compile, lambda: task.portable(False), lambda: task.measure(None, 1, None)):
        with pytest.raises(ZooError):
            call()


def test_preprocess_gives_what_the_data_set_gives(digits_folder):
    model = make("mlp", classes=3)
    path = digits_folder / "7" / "03.png"
    batch = zoo.preprocess(model, path)
    assert batch.shape == (1, 16, 16, 1)
    [(images, _)] = zoo.dataset(str(digits_folder), "all", model=model, shuffle=False, batch_size=60)
    assert np.abs(images.numpy() - batch).max(axis=(1, 2, 3)).min() == 0


def test_preprocess_of_texts():
    model = make("attention_seq2seq")
    batch = zoo.preprocess(model, ["abc", "ab"])
    assert {name: value.shape for name, value in batch.items()} == {"source": (2, 4), "source_length": (2,)}
    with pytest.raises(ZooError, match="inputs must not be an empty list"):
        zoo.preprocess(model, [])


def test_embed_writes_the_good_items(signals, tmp_path):
    out, place = tmp_path / "embeddings.npz", str(signals / "preset")
    names = [str(signals / name) for name in ("0.npy", "bad.npy", "7.npy")]
    status, printed, err = run_zoo("embed", place, *names, "--out", str(out), "--json")
    assert (status, err.count("\n")) == (1, 1)
    result = json.loads(printed)
    assert result["inputs"] == [names[0], names[2]]
    assert [row["input"] for row in result["errors"]] == [names[1]]
    stored = np.load(out)
    assert stored["inputs"].tolist() == [names[0], names[2]]
    model = zoo.load(place, classes=0)
    expected = model(zoo.preprocess(model, [names[0], names[2]]))
    np.testing.assert_allclose(stored["embeddings"], expected, rtol=1e-4, atol=1e-5)
    layer = tmp_path / "layer.npz"
    status, printed, _ = run_zoo("embed", place, names[0], "--out", str(layer), "--layer", "head")
    assert (status, printed) == (0, f"1 embeddings written to {layer}\n")
    whole = zoo.load(place)
    np.testing.assert_allclose(
        np.load(layer)["embeddings"], whole(zoo.preprocess(whole, names[0])), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0.npy", "--out", "x.txt"], "give a .npz file in a folder that exists"),
        (["0.npy", "--out", "nowhere/x.npz"], "give a .npz file in a folder that exists"),
        (["--out", "x.npz"], "no input: give INPUT, --file PATH or --field NAME=VALUE"),
        (["bad.npy", "--out", "x.npz"], "no input could be read, so x.npz is not written"),
        (["0.npy", "--out", "x.npz", "--layer", "haed"], "'haed'; did you mean head"),
    ],
)
def test_mistakes_of_embed(signals, monkeypatch, arguments, message):
    monkeypatch.chdir(signals)
    status, _, err = run_zoo("embed", "./preset", *arguments)
    assert status in (1, 2)
    assert message in err.splitlines()[-1]
    assert not (signals / "x.npz").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "zoo: attention_seq2seq.cmudict has no head to leave out, so it has no embeddings\n"),
        (
            ["--layer", "annotations"],
            "zoo: attention_seq2seq generates texts: its embeddings and outputs of layers have no pipeline\n",
        ),
    ],
)
def test_a_translator_has_no_embeddings(options, message, tmp_path):
    done = run_zoo("embed", "attention_seq2seq.cmudict", "hello", "--out", tmp_path / "x.npz", *options)
    assert done == (2, "", message)


def test_a_detector_has_the_outputs_of_its_layers_only(tmp_path):
    done = run_zoo("embed", "single_shot_detector.bccd", PHOTOS / "coffee.jpg", "--out", tmp_path / "x.npz")
    message = "zoo: single_shot_detector.bccd needs its head, so it has no embeddings below it: choose a layer\n"
    assert done == (2, "", message)


def test_embeddings_that_can_not_be_written(tmp_path):
    out = tmp_path / "nowhere" / "x.npz"
    with pytest.raises(ZooError, match=f"^can't write {re.escape(str(out))}: No such file or directory$"):
        terminal.write_embeddings([{"input": "a", "embeddings": np.zeros(2, "float32")}], str(out))
