"""Classification of signals and volumes: training, saving and the commands."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.tensors import CASES
from zoo import demo
from zoo.data.sources import open_source
from zoo.tasks import task_of
from zoo.tasks.inputs.tensor import TensorInput

# The task treats all shapes alike; the laws have both networks in the plain tests.
MARKS = {"conv3d_classifier": pytest.mark.slow}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in CASES])
def case(request, tmp_path_factory):
    """(model's name, folder of data, folder of the preset that zoo.train made of it)."""
    draw, overrides = CASES[request.param]
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "run"
    random = np.random.default_rng(0)
    for number, label in enumerate(("first", "second")):
        (data / label).mkdir()
        for item in range(100):
            np.save(data / label / f"{item}.npy", draw(bool(number), random).astype("float32"))
    settings = {"epochs": 12, "batch_size": 16, "optimizer": {"learning_rate": 1e-2}}
    zoo.train(request.param, out, data={"folder": str(data)}, model_overrides=overrides, training=settings)
    return request.param, data, out


def test_they_learn_what_is_held_out(case):
    name, data, out = case
    result = zoo.evaluate(out)
    assert (result["dataset"], result["split"], result["examples"]) == (str(data), "test", 40)
    assert result["metrics"]["accuracy"] >= 0.9  # chance is a half
    assert zoo.load(out).origin.model == name


def test_training_learns_mean_and_deviation(case):
    _, data, out = case
    source = open_source(data, "train", ("tensor",), TensorInput.layout)
    files = [example["file"].numpy().decode() for example in source.dataset]
    values = np.stack([np.load(file) for file in files]).astype("float64")
    settings = zoo.load(out).origin.settings
    assert len(files) == 140
    assert settings["mean"] == pytest.approx(values.mean(), rel=1e-4)
    assert settings["deviation"] == pytest.approx(values.std(), rel=1e-4)


def test_settings_that_are_given_are_kept(case, tmp_path):
    name, data, out = case
    short = {"epochs": 1, "batch_size": 64}
    zoo.train(name, tmp_path / "own", data={"folder": str(data)}, model_overrides=CASES[name][1], training=short,
              task={"mean": 1.5})  # fmt: skip
    assert zoo.load(tmp_path / "own").origin.settings == {"mean": 1.5}
    recipe = tmp_path / "more.toml"
    recipe.write_text(f'start_from = "{out}"\n[data]\nfolder = "{data}"\n')
    zoo.train(recipe, tmp_path / "more", training=short)
    assert zoo.load(tmp_path / "more").origin.settings == zoo.load(out).origin.settings


def test_fit_learns_too(case):
    name, data, _ = case
    keras.utils.set_random_seed(0)
    model = zoo.create_model(name, classes=2, **CASES[name][1])
    model.origin.settings |= {"mean": 100.0, "deviation": 17.0} if name == "conv1d_classifier" else {}
    model.compile(keras.optimizers.Adam(1e-2), task_of(model).loss(), metrics=["accuracy"])
    model.fit(zoo.dataset(str(data), model=model, batch_size=16), epochs=10, verbose=0)
    figures = model.evaluate(zoo.dataset(str(data), "test", model=model), verbose=0, return_dict=True)
    assert figures["accuracy"] >= 0.9
    assert model.origin.labels == ["first", "second"]


def test_save_and_load_round_trip(case, tmp_path):
    _, data, out = case
    sample = sorted((data / "second").iterdir())[0]
    zoo.save(str(out), tmp_path / "kept", storage="float16", samples=[sample])
    answer, again = zoo.pipeline(out)(sample), zoo.pipeline(tmp_path / "kept")(sample)
    assert answer["labels"] == again["labels"] == ["second", "first"]
    np.testing.assert_allclose(answer["scores"], again["scores"], atol=0.02)
    record = json.loads((tmp_path / "kept" / "preset.json").read_text())
    assert record["samples"][0]["answer"]["labels"] == again["labels"]
    assert record["task"]["name"] == "tensor_classification"
    times = zoo.benchmark(tmp_path / "kept", seconds=0.05)
    assert times["latency_1_ms"] > 0
    assert times["latency_32_ms"] > 0
    (shown,) = demo.demo([tmp_path / "kept"])
    values = np.load(sample)
    assert (
        shown["shown"] == f"{' x '.join(map(str, values.shape))} values from {values.min():.4g} to {values.max():.4g}"
    )
    assert shown["answer"].startswith("second (")


def test_the_command_answers_files_and_names_the_bad(case, tmp_path):
    _, data, out = case
    files = sorted((data / "first").iterdir())[:3]
    bad = tmp_path / "bad.npy"
    bad.write_bytes(files[0].read_bytes()[:-9])
    status, printed, _ = run_zoo("predict", out, *files, bad, "--json", "--top", 1)
    rows = json.loads(printed)
    assert status == 1
    assert [row["labels"] for row in rows[:3]] == [["first"]] * 3
    assert "damaged or truncated .npy file" in rows[3]["error"]


def test_the_command_answers_a_folder(case):
    _, data, out = case
    status, printed, err = run_zoo("predict", out, data / "second")
    assert (status, err) == (0, "")
    assert sum(line.split(": ")[1].startswith("second") for line in printed.splitlines()) >= 90


def test_the_command_evaluates(case):
    name, _, out = case
    status, printed, _ = run_zoo("evaluate", out, "--json")
    assert status == 0
    assert json.loads(printed)["metrics"]["accuracy"] >= 0.9
    assert name in run_zoo("list", "--task", "tensor_classification")[1]


def test_the_command_exports(case, tmp_path):
    _, data, out = case
    files = sorted((data / "first").iterdir())[:3]
    status, printed, _ = run_zoo("export", out, tmp_path / "exports", "--json")
    assert status == 0
    served = tf.saved_model.load(json.loads(printed)["path"]).signatures["serving_default"]
    answers = served(tensor=tf.constant(np.stack([np.load(file) for file in files])))
    assert [row[0].decode() for row in answers["labels"].numpy()] == ["first"] * 3
