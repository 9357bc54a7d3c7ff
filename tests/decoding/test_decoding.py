"""What holds for every decoding function: batches, lengths, states, saved graphs and errors."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.plain_decoding import END, START, Chain, item, sources
from tests.helpers.toy_generator import ToyGenerator
from zoo.decoding import LOWEST, beam_search, greedy, sample
from zoo.errors import ZooError

GARDEN = [  # end, start, and two paths: greedy takes 2 (0.6 * 0.4 * 0.5), while 3 then the end has 0.4 * 0.9
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.6, 0.4],
    [0.38, 0.22, 0.4, 0.0],
    [0.9, 0.1, 0.0, 0.0],
]


@pytest.mark.parametrize("seed", [18, 40])
def test_a_batch_gives_what_its_items_give_alone(seed):
    model, inputs = ToyGenerator(seed=seed), sources()
    seeds = np.array([[7, 1], [7, 2], [8, 1], [8, 2]], "int32")
    beam = {"width": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.2}
    together = greedy(model, inputs, START, END, 7), beam_search(model, inputs, START, END, 7, **beam)
    together += (sample(model, inputs, START, END, 7, seed=seeds),)
    together += (sample(model, inputs, START, END, 7, seed=(3, 4)),)
    assert len(set(together[0].lengths.numpy())) > 1  # they stop at different times
    for index in range(4):
        one = item(inputs, index)
        alone = greedy(model, one, START, END, 7), beam_search(model, one, START, END, 7, **beam)
        alone += (sample(model, one, START, END, 7, seed=seeds[index : index + 1]),)
        if index == 0:  # one seed for all is mixed with the item's place
            alone += (sample(model, one, START, END, 7, seed=(3, 4)),)
        for many, single in zip(together[: len(alone)], alone, strict=True):
            np.testing.assert_array_equal(many.tokens[index], single.tokens[0])
            np.testing.assert_array_equal(many.lengths[index], single.lengths[0])
            np.testing.assert_allclose(many.scores[index], single.scores[0], atol=1e-5)
            length = one["source"].shape[1]
            np.testing.assert_allclose(many.attention[index, :, :length], single.attention[0], atol=1e-5)
            assert not many.attention[index, :, length:].numpy().any()


def test_a_broken_item_leaves_its_neighbours_alone():
    """A source of length 0 is divided by 0 and all its logits are NaN."""
    model, inputs = ToyGenerator(), sources()
    broken = {**inputs, "source_length": np.array([3, 0, 2, 4], "int32")}
    for decode in (greedy, beam_search, sample):
        right, decoded = (decode(model, each, START, END, 6) for each in (inputs, broken))
        others = [0, 2, 3]
        np.testing.assert_array_equal(decoded.tokens.numpy()[others], right.tokens.numpy()[others])
        np.testing.assert_allclose(decoded.scores.numpy()[others], right.scores.numpy()[others], atol=1e-5)
        assert np.isfinite(decoded.scores).all()
        assert np.max(decoded.scores[1]) <= LOWEST
        assert np.isin(decoded.tokens[1], range(5)).all()


def test_lengths_are_kept():
    surely = Chain([[1.0, 0.0], [0.999, 0.001]])
    for least in range(5):
        for decoded in (
            greedy(surely, tf.zeros(1), START, END, 4, min_length=least),
            sample(surely, tf.zeros(1), START, END, 4, min_length=least),
            beam_search(surely, tf.zeros(1), START, END, 4, width=2, min_length=least),
        ):
            assert decoded.lengths.numpy().ravel().tolist() == [least]
            assert decoded.tokens.numpy().ravel().tolist() == [1] * least + [0] * (4 - least)
            ending = np.log(0.999) if least < 4 else 0.0
            # The probability 0.999 is a float32, whose steps near 1 are 6e-8.
            np.testing.assert_allclose(np.ravel(decoded.scores), [least * np.log(0.001) + ending], rtol=1e-5, atol=1e-7)
    never = Chain([[1.0, 0.0], [0.0, 1.0]])
    for decode in (greedy, sample, beam_search):
        decoded = decode(never, tf.zeros(3), START, END, 5)
        assert decoded.lengths.numpy().ravel().tolist() == [5] * 3
        np.testing.assert_allclose(np.ravel(decoded.scores), 0.0, atol=1e-6)


def test_it_stops_when_every_item_is_done():
    count = Chain(np.eye(9)[[0, 0, 1, 2, 3, 4, 5, 6, 7]] * 0.98 + 0.01)  # counts down to its end
    for decode in (greedy, beam_search):
        count.steps = 0
        decoded = decode(count, tf.zeros(3), np.array([2, 6, 4]), END, 1000)
        assert decoded.lengths.numpy().ravel().tolist() == [1, 5, 3]
        assert decoded.tokens.numpy().reshape(3, 1000)[1, :7].tolist() == [5, 4, 3, 2, 1, 0, 0]
        assert count.steps == 6
    # A long answer might still win under a penalty on length: 1000 tokens divide the log probability by 167.
    count.steps = 0
    beam_search(count, tf.zeros(1), 6, END, 1000, width=2, length_penalty=1.0)
    assert 6 < count.steps < 1000


def test_half_precision_logits_are_summed_in_single():
    table = [[1.0, 0.0, 0.0], [0.001, 0.499, 0.5], [0.001, 0.499, 0.5]]
    logits = np.log(table[1]).astype("float16").astype("float64")
    step = logits[2] - np.log(np.exp(logits).sum())
    with np.errstate(divide="ignore"):
        for decode in (greedy, beam_search):
            decoded = decode(Chain(table, "float16"), tf.zeros(1), START, None, 50)
            assert decoded.scores.dtype == tf.float32
            np.testing.assert_allclose(np.ravel(decoded.scores), [50 * step], rtol=1e-5)


def test_a_state_without_attention():
    inputs = sources()
    for decode in (greedy, beam_search, sample):
        without, held = (decode(ToyGenerator(attends=attends), inputs, START, END, 6) for attends in (False, True))
        assert without.attention is None
        assert held.attention.shape == (4, 6, 6)
        np.testing.assert_array_equal(without.tokens, held.tokens)


@pytest.mark.parametrize("size", [1, 4])
def test_batches_of_a_size_that_the_graph_knows(size):
    model, inputs = ToyGenerator(seed=18), {key: tf.constant(value[:size]) for key, value in sources().items()}
    for decode in (greedy, functools.partial(beam_search, width=1), functools.partial(beam_search, width=3)):
        graph = tf.function(decode, autograph=False)  # as the tasks trace it
        decoded, traced = (call(model, inputs, START, END, 6) for call in (decode, graph))
        np.testing.assert_array_equal(decoded.tokens, traced.tokens)
        np.testing.assert_allclose(decoded.scores, traced.scores, rtol=1e-5)


def test_saved_model(tmp_path):
    model, inputs = ToyGenerator(seed=18), {key: tf.constant(value) for key, value in sources().items()}
    beam = {"width": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.2}
    signature = [{"source": tf.TensorSpec([None, None], tf.int32), "source_length": tf.TensorSpec([None], tf.int32)}]
    module = tf.Module()
    module.model = model
    graph = functools.partial(tf.function, input_signature=signature, autograph=False)  # as the tasks trace it
    module.greedy = graph(lambda each: greedy(model, each, START, END, 6)._asdict())
    module.beam = graph(lambda each: beam_search(model, each, START, END, 6, **beam)._asdict())
    module.sample = graph(lambda each: sample(model, each, START, END, 6, seed=(1, 2))._asdict())
    tf.saved_model.save(module, tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved")
    eager = {
        "greedy": greedy(model, inputs, START, END, 6),
        "beam": beam_search(model, inputs, START, END, 6, **beam),
        "sample": sample(model, inputs, START, END, 6, seed=(1, 2)),
    }
    for name, decoded in eager.items():
        answers = getattr(served, name)(inputs)
        np.testing.assert_array_equal(answers["tokens"], decoded.tokens)
        np.testing.assert_array_equal(answers["lengths"], decoded.lengths)
        np.testing.assert_allclose(answers["scores"], decoded.scores, atol=1e-5)
        np.testing.assert_allclose(answers["attention"], decoded.attention, atol=1e-5)
        nobody = getattr(served, name)({key: value[:0] for key, value in inputs.items()})
        assert nobody["tokens"].shape == (0, *decoded.tokens.shape[1:])


@pytest.mark.parametrize(
    ("decode", "options", "message"),
    [
        (greedy, {"max_length": 0}, "max_length must be an integer >= 1, got 0"),
        (greedy, {"min_length": 6}, "min_length must be an integer from 0 to max_length 5, got 6"),
        (sample, {"min_length": -1}, "min_length must be an integer from 0 to max_length 5, got -1"),
        (sample, {"temperature": 0.0}, "temperature must be > 0, got 0.0; greedy"),
        (sample, {"temperature": float("nan")}, "temperature must be > 0, got nan"),
        (sample, {"top_k": 0}, "top_k must be an integer >= 1 or None, got 0"),
        (sample, {"seed": 3}, r"seed must be integers of shape \(2,\) or \(B, 2\), got int32 of shape \(\)"),
        (sample, {"seed": (1, 2, 3)}, r"seed must be integers of shape .*, got int32 of shape \(3,\)"),
        (sample, {"seed": (1.0, 2.0)}, "seed must be integers of shape .*, got float32"),
        (beam_search, {"max_length": -1}, "max_length must be an integer >= 1, got -1"),
        (beam_search, {"width": 0}, "width must be an integer >= 1, got 0"),
        (beam_search, {"width": 2, "n_best": 3}, "n_best must be an integer from 1 to the width 2, got 3"),
        (beam_search, {"n_best": 0}, "n_best must be an integer from 1 to the width 5, got 0"),
        (beam_search, {"length_penalty": -0.1}, "penalty must be >= 0, got -0.1 and 0.0"),
        (beam_search, {"coverage_penalty": -1.0}, "penalty must be >= 0, got 0.0 and -1.0"),
        (beam_search, {"coverage_penalty": 0.2}, "coverage_penalty needs a model whose state has 'attention'"),
        (greedy, {"end": 4}, "end must be one of the model's 4 tokens, got 4"),
        (beam_search, {"end": -1}, "end must be one of the model's 4 tokens, got -1"),
    ],
)
def test_errors(decode, options, message):
    options = {"start": START, "end": END, "max_length": 5, **options}
    with pytest.raises(ZooError, match=message) as raised:
        decode(Chain(GARDEN), tf.zeros(1), **options)
    assert "\n" not in str(raised.value)
