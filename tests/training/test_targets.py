"""What a task decides in training: targets that follow augmentation, padding, losses by output, the criterion."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.toy_training import install, write_captions, write_tags
from zoo.data.sources import open_source
from zoo.errors import ZooError
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.losses import CrossEntropy
from zoo.tasks.task import Criterion
from zoo.training import setup
from zoo.training.loop import Loop
from zoo.training.objective import Objective
from zoo.training.recipe import Training

TRAINING = {"epochs": 3, "batch_size": 8, "schedule": {"name": "constant"}, "weight_averaging": 0.9}


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    return tmp_path / "site"


def tags(tmp_path, **settings):
    """The task, and the source of its data."""
    model = zoo.create_model("toy_tagger")
    task = task_of(model, **settings)
    source = open_source(write_tags(tmp_path / "tags.tsv"), "train", task.fields, task.layout)
    return task, source


def history(path) -> list[dict]:
    with open(path / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_targets_follow_what_augmentation_does_to_inputs(tmp_path):
    task, source = tags(tmp_path, rotate=True)
    batches = stream(task, source, 8, seed=1, augment=True, shuffle=True)
    plain = stream(task, source, 8, seed=1, augment=False, shuffle=True)
    turned = 0
    for (inputs, y, weights), (before, _, _) in zip(batches.epoch(0), plain.epoch(0), strict=True):
        valid = weights["tags"].numpy() > 0
        np.testing.assert_array_equal((inputs["tokens"].numpy() % 3)[valid], y["tags"].numpy()[valid])
        np.testing.assert_allclose(y["total"][:, 0], np.sum(y["tags"].numpy() * valid, axis=1))
        turned += int(np.sum(inputs["tokens"].numpy()[valid] != before["tokens"].numpy()[valid]))
    assert turned > 20


def test_padding_has_the_values_of_its_field(tmp_path):
    task, source = tags(tmp_path)
    batches = stream(task, source, 8, augment=False, shuffle=False)
    for (inputs, _, weights), examples in zip(batches.epoch(0), source.dataset.batch(8), strict=True):
        counts = np.array([len(text.split()) for text in examples["tokens"].numpy()])
        is_padding = np.arange(counts.max()) >= counts[:, None]
        np.testing.assert_array_equal(inputs["tokens"].numpy() == 9, is_padding)  # no token is 9
        np.testing.assert_array_equal(weights["tags"].numpy() == 0, is_padding)  # as its y is -1


def test_without_padding_values_it_is_zero():
    from zoo.data.stream import Stream

    ragged = tf.data.Dataset.range(1, 5).map(lambda count: ({"a": tf.fill([count], 7)}, tf.fill([count], True)))
    made = Stream(ragged, lambda *item: item, None, lambda *item: item, 4, 4, shuffle=False)
    [(inputs, y)] = made.epoch(0)
    np.testing.assert_array_equal(inputs["a"].numpy() == 7, np.tri(4, dtype=bool))
    np.testing.assert_array_equal(y, np.tri(4, dtype=bool))
    half = Stream(ragged, lambda *item: item, None, lambda *item: item, 4, 4, shuffle=False,
                  padding=lambda spec: ({"a": tf.constant(5)}, None))  # fmt: skip
    [(inputs, y)] = half.epoch(0)
    np.testing.assert_array_equal(inputs["a"].numpy() == 5, ~np.tri(4, dtype=bool))


def test_a_step_with_losses_by_output_is_the_gradient_of_their_sum(tmp_path):
    """Plain SGD by hand; each loss is the mean over its own weights, and accumulation changes nothing."""
    found = {}
    for accumulation in (1, 3):
        task, source = tags(tmp_path)
        keras.utils.set_random_seed(0)
        model = zoo.create_model("toy_tagger")
        model.compile(keras.optimizers.SGD(0.1))
        model.optimizer.build(model.trainable_variables)
        loop = Loop(model, Training(epochs=1, batch_size=8, accumulation=accumulation),
                    tf.distribute.get_strategy(), objective=setup.make_objective(task, 0.0))  # fmt: skip
        batches = stream(task, source, 8, augment=False, shuffle=False)
        [(inputs, y, weights), *_] = batches.epoch(0)
        before = [tf.Variable(weight) for weight in model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = model(inputs)
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(y["tags"], outputs["tags"])
            loss = tf.reduce_sum(each * weights["tags"]) / tf.reduce_sum(weights["tags"])
            loss += tf.reduce_mean((y["total"] - outputs["total"]) ** 2)
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        loop.epoch(batches, 0, 1, lambda *_: None)
        assert loop.losses == [pytest.approx(float(loss), rel=1e-5)]
        for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
            np.testing.assert_allclose(variable, old - 0.1 * tf.convert_to_tensor(gradient), rtol=1e-4, atol=1e-6)
        found[accumulation] = model.get_weights()
    for a, b in zip(found[1], found[3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_figures_of_several_outputs_have_plain_names(tmp_path):
    task, source = tags(tmp_path)
    batches = stream(task, source, 8, augment=False, shuffle=False)
    model = task.model
    model.compile(keras.optimizers.SGD(0.1))
    loop = Loop(model, Training(epochs=1, batch_size=8), tf.distribute.get_strategy(),
                objective=setup.make_objective(task, 0.0))  # fmt: skip
    figures = loop.evaluate(batches)
    assert list(figures) == ["accuracy", "loss", "tags_loss", "total_error", "total_loss"]
    hits, errors, counts = 0, [], 0
    for inputs, y, weights in batches.epoch(0):
        outputs = model(inputs)
        hits += np.mean((np.argmax(outputs["tags"], -1) == y["tags"].numpy()) * weights["tags"].numpy(), 1).sum()
        counts += np.mean(weights["tags"], axis=1).sum()  # Keras's metrics take the mean over time first
        errors += np.abs(outputs["total"] - y["total"])[:, 0].tolist()
    assert figures["accuracy"] == pytest.approx(hits / counts, rel=1e-6)
    assert figures["total_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert figures["loss"] == pytest.approx(figures["tags_loss"] + figures["total_loss"], rel=1e-6)


def test_evaluation_gives_what_keras_gives(tmp_path):
    """One output, weights, batches of unequal size, a regularizer."""
    model = zoo.create_model("toy_captioner")
    model.get_layer("head").kernel.regularizer = keras.regularizers.L2(0.1)
    task = task_of(model)
    source = open_source(write_captions(tmp_path / "captions.tsv"), "train", task.fields, task.layout)
    batches = stream(task, source, 12, augment=False, shuffle=False)
    model.compile(keras.optimizers.SGD(0.1), task.loss(), weighted_metrics=task.metrics())
    expected = model.evaluate(batches.epoch(0), verbose=0, return_dict=True)
    loop = Loop(model, Training(epochs=1, batch_size=12), tf.distribute.get_strategy(),
                objective=setup.make_objective(task, 0.0))  # fmt: skip
    assert loop.evaluate(batches) == expected
    assert expected["loss"] > 1.7  # the regularizer counts


def test_metrics_of_one_name_get_that_of_their_output():
    metrics = {name: [keras.metrics.MeanAbsoluteError("error")] for name in ("one", "two")}
    losses = {name: keras.losses.MeanSquaredError() for name in ("one", "two")}
    objective = Objective(losses, metrics, ("one", "two", "three"))
    assert list(objective.metrics) == ["one_error", "two_error"]
    with pytest.raises(ZooError, match=r"loss\(\) has 'four', which is not an output of the model; it has one, two"):
        Objective({"four": "mse"}, [], ("one", "two"))
    with pytest.raises(ZooError, match=r"loss\(\) must be a dict by output, as the model has one, two"):
        Objective(CrossEntropy(), [], ("one", "two"))


def test_the_criterion_decides_what_is_kept(tmp_path, monkeypatch):
    """A criterion that should be small: its smallest epoch is kept, and early stopping and tuning go by it."""
    data = {"folder": str(write_tags(tmp_path / "tags.tsv"))}
    training = {**TRAINING, "epochs": 5, "optimizer": {"learning_rate": 0.3}, "weight_averaging": None}
    made = zoo.train("toy_tagger", tmp_path / "run", data=data, training=training)
    errors = [row["val_total_error"] for row in history(tmp_path / "run")]
    assert min(errors) < errors[-1]  # so that the last epoch is not the best
    kept = {metric["name"]: metric["value"] for metric in made.record["metrics"]}
    assert kept["total_error"] == min(errors)
    stopped = zoo.train(
        "toy_tagger", tmp_path / "stopped", data=data, training={**training, "epochs": 50, "early_stopping": 2}
    )
    rows = history(tmp_path / "stopped")
    best = int(np.argmin([row["val_total_error"] for row in rows]))
    assert len(rows) == best + 3
    assert stopped.record["provenance"]["epochs"] == f"{best + 3} of 50, kept that of epoch {best + 1}"


def test_a_search_goes_by_the_criterion(tmp_path):
    data = {"folder": str(write_tags(tmp_path / "tags.tsv"))}
    space = {"training.optimizer.learning_rate": {"values": [1e-5, 1e-1]}}
    rows = []
    found = zoo.tune("toy_tagger", space, tmp_path / "search", trials=2, method="random", data=data,
                     training=TRAINING, report=lambda *row: rows.append(row[2]))  # fmt: skip
    assert found["settings"] == {"training.optimizer.learning_rate": 1e-1}
    assert found["score"] == min(row["score"] for row in rows) < max(row["score"] for row in rows)
    for row in rows:
        errors = [each["val_total_error"] for each in history(tmp_path / "search" / "trials" / row["trial"])]
        assert row["score"] == min(errors)


def test_a_criterion_must_be_a_metric(tmp_path, monkeypatch):
    task, _ = tags(tmp_path)
    monkeypatch.setattr(type(task), "criterion", Criterion("bleu", "max"))
    with pytest.raises(ZooError, match="toy_tagging: the criterion 'bleu' must be one of loss, total_loss, tags_loss"):
        setup.make_objective(task, 0.0)


def test_a_task_without_defaults_of_its_own_has_those_of_other_tasks(tmp_path):
    from zoo.training.recipe import read_recipe

    _, recipe = read_recipe("toy_tagger", {"data.folder": "tags.tsv"})
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.training.schedule.name) == (20, 32, "cosine")


@pytest.mark.parametrize("precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_half_precision_with_losses_by_output(precision, tmp_path):
    data = {"folder": str(write_tags(tmp_path / "tags.tsv"))}
    training = {**TRAINING, "epochs": 8, "precision": precision, "optimizer": {"learning_rate": 0.05}}
    zoo.train("toy_tagger", tmp_path / "run", data=data, training=training)
    losses = [row["loss"] for row in history(tmp_path / "run")]
    assert losses[-1] < 0.5 * losses[0]
