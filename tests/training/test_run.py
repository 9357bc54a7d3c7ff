"""Recipes, their errors, and what a run leaves behind."""

import csv
import itertools
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.resumable_runs import settings
from tests.helpers.runs import train, weights
from tests.helpers.short_graphs import whole_runs
from zoo import preset
from zoo.errors import ZooError
from zoo.registry import entries, tapped
from zoo.training import tensorboard_images
from zoo.training.recipe import read_recipe


@pytest.fixture(scope="module")
def finished(digits_folder, tmp_path_factory):
    """A run that has ended: its folder, the preset it left, and what it reported."""
    folder, rows = tmp_path_factory.mktemp("finished") / "run", []
    with whole_runs(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorboard_images, "SECONDS", 0.0)  # pictures after every epoch
        made = train(digits_folder, folder, report=lambda step, total, row: rows.append((step, total, row)))
    return types.SimpleNamespace(folder=folder, preset=made, rows=rows)


def test_a_run_leaves_a_preset(finished, digit_file):
    finished.preset.verify()
    assert zoo.pipeline(finished.folder)(digit_file)["labels"][0] in "017"


def test_a_run_reports_every_step(finished):
    steps = [step for step, _, row in finished.rows if "epoch" not in row]
    assert steps == list(range(1, 13))  # 42 training images in batches of 12, three epochs
    assert {total for _, total, _ in finished.rows} == {12}


def test_a_run_leaves_its_history(finished):
    with open(finished.folder / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    assert (finished.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_leaves_its_recipe(finished, digits_folder):
    recipe = read_recipe(finished.folder / "recipe.toml")[1]
    assert recipe.data.folder == str(digits_folder)
    assert recipe.training.epochs == 3


def test_a_run_leaves_events_for_tensorboard(finished):
    (events,) = (finished.folder / "tensorboard").iterdir()
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert {"loss", "val_loss", "val_accuracy", "learning_rate"} <= tags


def test_a_run_records_its_data_and_metrics(finished, digits_folder):
    record = finished.preset.record
    assert record["provenance"]["seed"] == 0
    assert record["provenance"]["examples"] == 42
    assert record["data"] == {"name": str(digits_folder), "test": "test"}
    assert {metric["split"] for metric in record["metrics"]} == {"validation"}
    assert not any(metric["final"] for metric in record["metrics"])
    assert zoo.evaluate(finished.folder)["examples"] == 12


def test_the_rate_counts_examples_once(digits_folder, tmp_path, monkeypatch):
    """42 examples in a batch of 64, in an epoch of one second by this clock."""
    monkeypatch.setattr("zoo.training.epochs.time", types.SimpleNamespace(perf_counter=itertools.count().__next__))
    rows = []
    train(
        digits_folder, tmp_path / "run", training={"epochs": 1, "batch_size": 64}, report=lambda *row: rows.append(row)
    )
    assert rows[-1][2]["examples_per_second"] == 42.0


def test_tensorboard_gets_the_tasks_pictures(finished):
    [events] = (finished.folder / "tensorboard").iterdir()
    shown: dict[str, list] = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "images":
                shown.setdefault(value.tag, []).append(tf.make_ndarray(value.tensor)[2])
    assert {name: len(drawn) for name, drawn in shown.items()} == {"confusion": 3, "examples": 3}
    first = tf.io.decode_png(shown["examples"][0]).numpy()
    assert first.shape[2] == 3
    assert first.std() > 20


def test_another_seed_gives_other_weights(digits_folder, uncut_run, tmp_path):
    """That runs of the same seed are equal to the bit is what tests of cut and killed runs compare."""
    zoo.train("mlp", tmp_path / "run", seed=2, **settings(digits_folder))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(weights(uncut_run), weights(tmp_path / "run"), strict=True))


def test_the_loop_gives_what_fit_gives(digits_folder, tmp_path):
    """Plain SGD, no shuffling differences: the same stream through Keras's fit."""
    training = {"epochs": 2, "batch_size": 12, "optimizer": {"name": "sgd", "learning_rate": 0.1}, "keep": "last"}
    training["schedule"] = {"name": "constant"}
    train(digits_folder, tmp_path / "loop", training=training)

    keras.utils.set_random_seed(0)
    model = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    data = zoo.dataset(digits_folder, model=model, batch_size=12, augment=True, seed=0)
    from zoo.tasks import task_of

    model.compile(keras.optimizers.SGD(0.1), task_of(model).loss())
    model.fit(data, epochs=2, verbose=0)
    for a, b in zip(weights(tmp_path / "loop"), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_steps_end_a_run_early_on_the_schedule_of_the_whole(cut_run):
    assert preset.open_preset(cut_run).record["provenance"]["steps"] == 6
    with open(cut_run / "history.csv", newline="") as file:
        rate = float(list(csv.DictReader(file))[-1]["learning_rate"])
    assert rate == pytest.approx(1e-3 * 0.5 * (1 + np.cos(np.pi * 6 / 12)), rel=1e-5)


def test_the_weights_are_those_of_the_epoch_that_was_kept(finished):
    """tests/training/test_targets.py checks which epoch that is."""
    with open(finished.folder / "history.csv", newline="") as file:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(file))
    kept = {metric["name"]: metric["value"] for metric in finished.preset.record["metrics"]}
    assert kept["accuracy"] == best
    figures = zoo.evaluate(finished.folder, split="validation")
    assert figures["metrics"]["accuracy"] == pytest.approx(best)


def test_start_from_a_preset_freezes_all_but_the_head(digits_folder, tmp_path, tiny_preset):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'start_from = "{tiny_preset}"\nfreeze = "all but head"\n[data]\nfolder = "{digits_folder}"\n'
        "[training]\nepochs = 1\nbatch_size = 12\n"
    )
    made = zoo.train(recipe, tmp_path / "run", warn=lambda _: None)  # of a new head, as its classes have other names
    before, after = weights(tiny_preset), weights(tmp_path / "run")
    for old, new in zip(before[:-2], after[:-2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(before[-2] - after[-2]).max() > 1e-5
    assert made.record["provenance"]["started_from"] == str(tiny_preset)
    assert made.record["task"]["settings"]["labels"] == ["0", "1", "7"]
    assert made.record["parameters"] == sum(value.size for value in after)


def test_a_run_on_a_folder_is_evaluated_on_it_from_anywhere(digits_folder, tmp_path, monkeypatch):
    (tmp_path / "symbols").symlink_to(digits_folder)
    monkeypatch.chdir(tmp_path)
    train("symbols", "run", steps=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert zoo.evaluate("../run")["examples"] == 12


def test_a_damaged_photo_is_named(digits_folder, tmp_path):
    shutil.copytree(digits_folder, tmp_path / "photos")
    for file in (tmp_path / "photos" / "7").iterdir():
        file.write_bytes(file.read_bytes()[:70])
    with pytest.raises(ZooError, match=r"photos/7/\d\d.png: damaged or truncated PNG; repair or remove it$"):
        train(tmp_path / "photos", tmp_path / "run")
    assert not (tmp_path / "run" / "preset.json").exists()


def test_a_loss_that_is_not_finite_ends_the_run(digits_folder, tmp_path):
    training = {"epochs": 3, "batch_size": 12, "optimizer": {"name": "sgd", "learning_rate": 1e30}}
    with pytest.raises(ZooError, match=r"is not finite at step 2 \(epoch 1, batch 2 of 4\): lower the"):
        train(digits_folder, tmp_path / "run", training=training)
    assert not (tmp_path / "run" / "preset.json").exists()
    with np.load(tmp_path / "run" / "not_finite.npz") as batch:
        assert [batch[name].shape for name in batch.files] == [(12, 16, 16, 1), (12,)]


def test_statistics_are_those_of_the_averaged_weights(digits_folder, tmp_path):
    """After averaging, batch normalisation keeps the mean over batches of what the kept weights make of training."""
    from zoo.data.sources import open_source
    from zoo.tasks import task_of
    from zoo.tasks.dataset import stream

    training = {"epochs": 2, "batch_size": 14, "weight_averaging": 0.9, "keep": "last"}
    zoo.train("resnet_cifar20", tmp_path / "run", data={"folder": str(digits_folder)}, model_overrides={"depth": 8},
              training=training)  # fmt: skip
    model = preset.load_model(preset.open_preset(tmp_path / "run"))
    task = task_of(model)
    source = open_source(str(digits_folder), "train", task.fields, task.layout)
    means, variances = [], []
    convolution = tapped(model, ["conv1"])
    for inputs, _ in stream(task, source, 14, 0, augment=True, shuffle=True).epoch(2):  # the epoch after the last
        maps = convolution(inputs).numpy()
        means.append(maps.mean((0, 1, 2)))
        variances.append(maps.var((0, 1, 2)))
    norm = model.get_layer("conv1_norm")
    # The fused operation sums 14,336 values a map one after the other in float32.
    np.testing.assert_allclose(norm.moving_mean, np.mean(means, axis=0), rtol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, np.mean(variances, axis=0), rtol=1e-3)
    assert norm.momentum == 0.9
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    kept = {metric["name"]: metric["value"] for metric in preset.open_preset(tmp_path / "run").record["metrics"]}
    assert kept["loss"] != float(last["val_loss"])
    measured = zoo.load(tmp_path / "run").evaluate(
        zoo.dataset(digits_folder, "validation", model=model), verbose=0, return_dict=True
    )
    assert kept["loss"] == pytest.approx(measured["loss"], rel=1e-4)
