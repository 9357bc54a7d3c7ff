"""The step on one device, many, and many machines; in parts; in half precision. Schedules by number."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.raw_inputs import training_folder
from tests.test_laws import run_child
from tests.test_training import train, weights
from zoo.data.stream import Stream
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.training.loop import SCALE, Loop, NotFinite
from zoo.training.optimizers import learning_rate
from zoo.training.recipe import Training
from zoo.training.strategies import distributed, open_strategy

EVERYTHING = {"epochs": 2, "batch_size": 16, "global_clipnorm": 0.5, "weight_averaging": 0.9, "accumulation": 3}


def rates(steps, **schedule) -> np.ndarray:
    settings = Training(epochs=1, batch_size=1, optimizer={"learning_rate": 0.2}, schedule=schedule)
    rate = learning_rate(settings, steps)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps)])


def test_schedules_by_number():
    np.testing.assert_allclose(rates(4), [0.2] * 4)
    np.testing.assert_allclose(rates(5, warmup_steps=2), [0, 0.1, 0.2, 0.2, 0.2], rtol=1e-6)
    np.testing.assert_allclose(rates(8, name="step", factor=0.5), [0.2] * 4 + [0.1] * 2 + [0.05] * 2, rtol=1e-6)
    np.testing.assert_allclose(
        rates(8, name="step", warmup_steps=2, drops=[0.5]), [0, 0.1, 0.2, 0.2, 0.02, 0.02, 0.02, 0.02], rtol=1e-6
    )
    cosine = 0.1 * (1 + np.cos(np.pi * np.arange(6) / 6))
    np.testing.assert_allclose(rates(6, name="cosine"), cosine, rtol=1e-5)
    np.testing.assert_allclose(rates(8, name="cosine", warmup_steps=2)[2:], cosine, rtol=1e-5)
    np.testing.assert_array_equal(rates(8, warmup_share=0.25), rates(8, warmup_steps=2))
    np.testing.assert_array_equal(rates(8, warmup_share=0.5, warmup_steps=2), rates(8, warmup_steps=2))
    cycle = rates(101, name="one_cycle")
    assert cycle[0] == pytest.approx(0.2 / 25)
    assert cycle[15] == pytest.approx((0.2 + 0.2 / 25) / 2, rel=1e-5)  # half of the way up
    assert cycle.argmax() == 30
    assert cycle[30] == pytest.approx(0.2)
    assert cycle[65] == pytest.approx((0.2 + 2e-6) / 2, rel=1e-4)  # half of the way down
    assert cycle[-1] == pytest.approx(2e-6, rel=1e-2)
    with pytest.raises(ZooError, match="one_cycle rises by itself"):
        rates(8, name="one_cycle", warmup_share=0.25)


def test_a_batch_in_parts_gives_the_step_of_the_whole(digits_folder, tmp_path):
    """42 examples in batches of 16, the last of 10, each in three parts."""
    for name, training in (("parts", EVERYTHING), ("whole", {**EVERYTHING, "accumulation": 1})):
        train(digits_folder, tmp_path / name, training=training)
    for a, b in zip(weights(tmp_path / "parts"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def tokens(model_units=4):
    """A toy of unequal lengths: the loss counts each token once, whatever its row; 5 rows, the last batch has 1."""
    random = np.random.default_rng(0)
    x = random.random((5, 6, 3), "float32")
    y = random.integers(0, model_units, (5, 6))
    weight = (np.arange(6) < random.integers(1, 7, (5, 1))).astype("float32")
    return x, y, weight


def toy() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 3), name="x")
    model = keras.Model({"x": image}, {"logits": keras.layers.Dense(4, dtype="float32")(keras.layers.Dense(8)(image))})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.SGD(0.5), loss, auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    return model


def stream(batch_size: int = 2) -> Stream:
    data = tf.data.Dataset.from_tensor_slices(tokens())
    return Stream(data, lambda *item: item, None, lambda x, y, w: ({"x": x}, y, w), 5, batch_size, shuffle=False)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_step_is_the_gradient_of_the_mean_over_tokens(accumulation):
    """Plain SGD by hand: weights less the rate times the gradient of the weighted mean of the batch."""
    model = toy()
    loop = Loop(model, Training(epochs=1, batch_size=2, accumulation=accumulation), tf.distribute.get_strategy())
    expected = [tf.Variable(weight) for weight in model.trainable_variables]
    x, y, weight = tokens()
    losses = []
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        with tf.GradientTape() as tape:
            hidden = tf.tensordot(x[rows], expected[0], 1) + expected[1]
            logits = tf.tensordot(hidden, expected[2], 1) + expected[3]
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(y[rows], logits)
            mean = tf.reduce_sum(each * weight[rows]) / tf.reduce_sum(weight[rows])
        losses.append(float(mean))
        for variable, gradient in zip(expected, tape.gradient(mean, expected), strict=True):
            variable.assign_sub(0.5 * gradient)
    loop.epoch(stream(), 0, 10, lambda *_: None)
    np.testing.assert_allclose(loop.losses, losses, rtol=1e-5)
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def recurrent() -> keras.Model:
    """Carries its state from batch to batch, as a language model does along a text."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input(batch_shape=(2, 6, 3), name="x")
    x = keras.layers.LSTM(4, stateful=True, return_sequences=True)(tokens)
    model = keras.Model({"x": tokens}, {"logits": keras.layers.Dense(4, dtype="float32")(x)})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.SGD(0.5), loss, auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    return model


def test_recurrent_state_is_part_of_a_runs_state():
    def made() -> Loop:
        return Loop(recurrent(), Training(epochs=1, batch_size=2), tf.distribute.get_strategy())

    x, y, weight = (np.concatenate([value, value, value[:2]]) for value in tokens())
    data = tf.data.Dataset.from_tensor_slices((x, y, weight))
    batches = Stream(data, lambda *item: item, None, lambda x, y, w: ({"x": x}, y, w), 12, 2, shuffle=False)
    whole, first, second = made(), made(), made()
    losses: dict = {"whole": [], "parts": []}
    for last in (2, 6):
        whole.epoch(batches, 0, last, lambda step, loss, stop: losses["whole"].append(loss))
        assert whole.evaluate(batches) == whole.evaluate(batches)  # from no state, and leaves training's as it was
    first.epoch(batches, 0, 3, lambda step, loss, stop: losses["parts"].append(loss))
    second.restore(first.state())
    second.epoch(batches, 0, 6, lambda step, loss, stop: losses["parts"].append(loss))
    assert losses["whole"] == losses["parts"]
    [state] = [layer.states for layer in second.model.layers if isinstance(layer, keras.layers.LSTM)]
    assert np.abs(state[0].numpy()).max() > 0
    forgotten = made()
    forgotten.restore({**first.state(), **{key: np.zeros_like(value) for key, value in first.state().items()
                                          if value.shape == (2, 4)}})  # fmt: skip
    forgotten.epoch(batches, 0, 4, lambda step, loss, stop: losses.setdefault("forgotten", []).append(loss))
    assert losses["forgotten"][0] != losses["whole"][3]


def test_half_precision_recovers_from_an_overflow(monkeypatch):
    """A step whose gradients overflow changes no weight and halves the scale; the next ones learn."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = toy()
    finally:
        keras.config.set_dtype_policy("float32")
    settings = Training(epochs=1, batch_size=2, precision="mixed_float16")
    loop = Loop(model, settings, tf.distribute.get_strategy())
    loop.scale.assign(2.0**24)  # past float16's 65,504
    before = model.get_weights()
    loop.epoch(stream(), 0, 1, lambda *_: None)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert float(loop.scale) == 2.0**23
    while float(loop.scale) > 2.0**10:
        loop.scale.assign(float(loop.scale) / 2)
    first = None
    for number in range(1, 30):
        loop.losses = []
        loop.epoch(stream(), number, 100, lambda *_: None)
        first = first or loop.losses[0]
    assert loop.losses[0] < 0.9 * first
    assert np.isfinite(loop.norms[1:]).all()
    assert SCALE == 2.0**15


def test_a_gradient_that_is_not_finite_changes_nothing_and_ends_the_run():
    model = toy()
    model.layers[-1].kernel.assign(np.full((8, 4), np.inf, "float32"))
    before = model.get_weights()
    loop = Loop(model, Training(epochs=1, batch_size=2), tf.distribute.get_strategy())
    with pytest.raises(NotFinite, match=r"not finite at step 1 \(epoch 1, batch 1 of 3\)"):
        loop.epoch(stream(), 0, 10, lambda *_: None)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


MIRRORED = """
import json, sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3)
import keras
from tests.test_strategies import stream, toy
from zoo.training.loop import Loop
from zoo.training.recipe import Training
three = tf.distribute.MirroredStrategy()
for precision in ("float32", "mixed_float16"):
    for strategy in (tf.distribute.get_strategy(), three):
        keras.config.set_dtype_policy(precision)
        with strategy.scope():
            model = toy()
        settings = Training(epochs=1, batch_size=2, accumulation=2, global_clipnorm=0.3, weight_averaging=0.9,
                            precision=precision)
        loop = Loop(model, settings, strategy)
        losses = []
        if precision == "mixed_float16":
            loop.scale.assign(2.0 ** 22)
        for number in range(4):
            loop.losses = []
            loop.epoch(stream(), number, 100, lambda step, loss, stop: losses.append(loss))
        print(json.dumps([losses, [np.abs(weight).sum().item() for weight in loop.weights()],
                          float(np.array(loop.scale or 0))]))
        for loop.step in (0, 5001, 123_457_891):
            loop.check_agreement()
"""


def test_three_replicas_give_the_steps_of_one():
    """Rows of unequal length, parts, clipping and averages; batches of 2 and 1 over three devices, so that some have
    no row. In half precision, from a scale that overflows at first, both recover alike."""
    one, three, half, half_three = map(json.loads, run_child(MIRRORED).splitlines())
    np.testing.assert_allclose(one[0], three[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], three[1], rtol=1e-5)
    np.testing.assert_allclose(half[0], half_three[0], rtol=1e-3)
    assert half[2] == half_three[2] < 2.0**22
    assert half[0][-3] < half[0][0]


class Workers:
    """A strategy of several workers as far as handing out batches goes; `datasets` are theirs."""

    def __init__(self, workers: int, each: int):
        self.num_replicas_in_sync, self.workers = workers * each, workers

    def distribute_datasets_from_function(self, own):
        contexts = [
            tf.distribute.InputContext(self.workers, worker, self.num_replicas_in_sync)
            for worker in range(self.workers)
        ]
        return [list(own(context)) for context in contexts]


@pytest.mark.parametrize(("examples", "batch_size"), [(23, 8), (28, 9), (13, 3), (5, 4)])
@pytest.mark.parametrize(("workers", "each"), [(2, 1), (2, 2), (3, 1), (5, 1)])
def test_workers_read_their_own_rows(examples, batch_size, workers, each, monkeypatch):
    """Every row of a batch goes to one replica, in order; a worker reads its own and the one before."""
    monkeypatch.setattr("zoo.data.stream.KEEP_BYTES", 0)
    read = []

    def prepare(number):
        return tf.numpy_function(lambda value: read.append(int(value)) or value, [number], tf.int64)

    def finish(number):
        return {"x": number, "before": tf.roll(number, 1, axis=0)}, number

    def shaped(number):
        return tf.ensure_shape(prepare(number), ())

    stream = Stream(tf.data.Dataset.range(100, 100 + examples), shaped, None, finish, examples, batch_size, seed=3)
    whole = [(x["x"].numpy(), x["before"].numpy()) for x, _ in stream.epoch(1, 1)]
    read.clear()
    parts = distributed(Workers(workers, each), lambda wanted: stream.epoch(1, 1, wanted))
    for number, (rows, before) in enumerate(whole):
        own = [part for worker in parts for part in worker[number * each : (number + 1) * each]]
        counted = [np.stack([x["x"], x["before"], y])[:, weight > 0] for x, y, weight in own]
        np.testing.assert_array_equal(np.concatenate(counted, axis=1), [rows, before, rows])
        assert all(len(weight) for _, _, weight in own)  # no replica is without a row
    # Each worker reads its own, and one before; an empty part borrows a row.
    lent = sum(max(0, workers * each - len(rows)) for rows, _ in whole)
    assert len(read) <= sum(len(rows) for rows, _ in whole) + len(whole) * workers + lent


WORKER = """
import json, sys
import zoo
import zoo.data.stream
from zoo.training import loop
zoo.data.stream.KEEP_BYTES = 0  # so that each worker decodes its own rows
name, out, steps, keywords, scale = sys.argv[1:]
loop.SCALE = float(scale)
losses = []
made = zoo.train(name, out, strategy="multi_worker", steps=int(steps) or None,
                 report=lambda step, total, row: losses.append(row["loss"]), **json.loads(keywords))
print(json.dumps(losses), made is not None)
"""


def workers(name, out, steps: int, settings: dict, scale=SCALE, count: int = 2) -> list[tuple[list[float], str]]:
    """What each of several workers on this machine prints."""
    arguments = [name, str(out), str(steps), json.dumps(settings), str(scale)]
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    hosts = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    running = []
    for index in range(count):
        place = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(place), "TF_CPP_MIN_LOG_LEVEL": "3"}
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * count, told[0][1][-2000:]
    return [(json.loads(out.rsplit(" ", 1)[0]), out.split()[-1]) for out, _ in told]


@pytest.mark.slow
def test_two_workers_give_the_run_of_one_and_go_on_where_they_were(digits_folder, tmp_path):
    rows = []
    one = {"data": {"folder": str(digits_folder)}, "model_overrides": entries()["mlp"].tiny, "training": EVERYTHING}
    zoo.train("mlp", tmp_path / "one", report=lambda step, total, row: rows.append(row["loss"]), **one)
    first = workers("mlp", tmp_path / "two", 2, one)
    assert [made for _, made in first] == ["True", "False"]
    second = workers("mlp", tmp_path / "two", 0, one)
    for (begun, _), (ended, _) in zip(first, second, strict=True):
        np.testing.assert_allclose(begun[:2] + ended, rows, rtol=1e-5)
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "two" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "training", "scale", "tolerance"),
    [
        ("attention_seq2seq", EVERYTHING, SCALE, 1e-5),  # rows of unequal length
        ("resnet_cifar20", {**EVERYTHING, "accumulation": 1}, SCALE, 1e-3),  # statistics over both workers
        ("mlp", {**EVERYTHING, "epochs": 6, "precision": "mixed_float16"}, 2.0**22, 1e-3),  # overflows at first
    ],
)
def test_two_workers_agree_with_one(name, training, scale, tolerance, digits_folder, tmp_path, monkeypatch):
    tiny = entries()[name].tiny
    folder = training_folder(zoo.create_model(name, **tiny), tmp_path / "data", digits_folder)
    sizes = {key: value for key, value in tiny.items() if not key.endswith("_vocabulary")}  # the data tells these
    one = {"data": {"folder": str(folder)}, "model_overrides": sizes, "training": training}
    rows = []
    monkeypatch.setattr("zoo.training.loop.SCALE", scale)
    zoo.train(name, tmp_path / "one", report=lambda step, total, row: rows.append(row["loss"]), **one)
    for losses, _ in workers(name, tmp_path / "two", 0, one, scale):
        np.testing.assert_allclose(losses, rows, rtol=tolerance)
    assert rows[-1] < rows[0]  # past an overflow, too


def test_mistakes_in_a_strategy_are_named(digits_folder, tmp_path, monkeypatch):
    with pytest.raises(ZooError, match="strategy='both' is none of one, mirrored, multi_worker"):
        open_strategy("both")
    two = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 3}}'
    damaged = [
        two, two.replace("3", "-1"), two.replace("3", '"0"'), two.replace("3", "0").replace('"worker",', '"wrker",'),
        two.replace("3", "0").replace("a:1", "nonsense"), two.replace("3", "0").replace('["a:1", "b:1"]', '"abc"'),
        two.replace("3", "0").replace('"type": "worker", ', ""),
    ]  # fmt: skip
    for config in ("", "{", '{"cluster": {}}', *damaged):
        monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ZooError, match="multi_worker reads TF_CONFIG"):
            train(digits_folder, tmp_path / "run", strategy="multi_worker")
    assert not (tmp_path / "run").exists()


HALVES = ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]


@pytest.mark.parametrize("precision", HALVES)
def test_a_run_in_half_precision_learns_and_keeps_float32(precision, digits_folder, tmp_path):
    training = {"epochs": 14, "batch_size": 12, "precision": precision}
    losses = []
    train(digits_folder, tmp_path / "run", training=training, report=lambda *told: losses.append(told[2]["loss"]))
    assert losses[-1] < 0.6 * losses[0]
    assert {value.dtype for value in weights(tmp_path / "run")} == {np.dtype("float32")}
    assert keras.config.dtype_policy().name == "float32"
