"""One step at a time equals the whole target at once; and the helpers of the decoding loops."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.paths import ROOT
from tests.helpers.plain_decoding import END, START, sources
from tests.helpers.toy_generator import ToyGenerator, example, stepped
from zoo.decoding import beam_search, greedy, sample, steps


@pytest.mark.parametrize("attends", [True, False])
def test_stepping_equals_teacher_forcing(attends):
    model, inputs = ToyGenerator(attends=attends), example()
    called, attention = model(inputs, return_attention=True)
    logits, rows = stepped(model, inputs, inputs["target"])
    assert np.ptp(called, axis=1).max() > 1.0  # the law would be easy to keep for logits that never change
    np.testing.assert_allclose(logits, called, atol=1e-5)
    if attends:
        np.testing.assert_allclose(rows, attention, atol=1e-5)


def test_padding_and_later_tokens_change_nothing():
    model, inputs = ToyGenerator(), example()
    other = {key: value.copy() for key, value in inputs.items()}
    for row, length in zip(other["source"], inputs["source_length"], strict=True):
        row[length:] = 6 - row[length:]
    assert (other["source"] != inputs["source"]).sum() > 5
    other["target"][:, 5:] = 4 - other["target"][:, 5:]
    np.testing.assert_allclose(model(other)[:, :5], model(inputs)[:, :5], atol=1e-5)
    logits, _ = stepped(model, other, inputs["target"])
    np.testing.assert_allclose(logits, model(inputs), atol=1e-5)
    for decode in (greedy, beam_search, sample):
        first, second = (decode(model, sources(each), START, END, 6) for each in (inputs, other))
        np.testing.assert_array_equal(first.tokens, second.tokens)
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    beam = {"width": 3, "coverage_penalty": 0.5}  # padding gets no attention, which is not a lack of coverage
    first, second = (beam_search(model, sources(each), START, END, 6, **beam) for each in (inputs, other))
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


@pytest.mark.parametrize("size", [43, 640, 641, 4000])  # one block; blocks of 32; a prime number; blocks of 32
@pytest.mark.parametrize("levels", [3, 1_000_000])  # nearly all tied, hardly any
def test_the_greatest_of_many_are_those_of_a_sort(size, levels):
    values = np.random.default_rng(size).integers(0, levels, (20, size)).astype("float32")
    values[0] = np.arange(size) // 2
    for k in (1, 11, size):
        order = np.argsort(-values, axis=-1, kind="stable")[:, :k]
        found, places = steps.greatest(tf.constant(values), k)
        np.testing.assert_array_equal(places, order)
        np.testing.assert_array_equal(found, np.take_along_axis(values, order, axis=-1))
    assert steps.greatest(tf.constant(values), size + 1)[0].shape == values.shape


@pytest.mark.slow  # a process that compiles; the slow test_models_run_on_jax does the same for every model
def test_the_generator_steps_on_jax(tmp_path):
    """The same weights and inputs in a process with Keras's JAX backend: step, call and TensorFlow agree."""
    script = """
import sys
import keras, numpy as np
from tests.helpers.toy_generator import ToyGenerator, example, stepped
model, inputs = ToyGenerator(), example()
called = keras.ops.convert_to_numpy(model(inputs))
logits, rows = stepped(model, inputs, inputs["target"])
np.savez(sys.argv[1], backend=keras.backend.backend(), called=called, logits=logits, rows=rows)
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiling is most of what it does
    command = [sys.executable, "-c", script, str(tmp_path / "jax.npz")]
    child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    with np.load(tmp_path / "jax.npz") as file:
        decoded = dict(file)
    assert decoded["backend"] == "jax"
    np.testing.assert_allclose(decoded["logits"], decoded["called"], atol=1e-5)
    model, inputs = ToyGenerator(), example()
    called, attention = model(inputs, return_attention=True)
    np.testing.assert_allclose(decoded["called"], called, atol=1e-4)
    np.testing.assert_allclose(decoded["rows"], attention, atol=1e-4)
