"""Recurrent layers against Keras's own, and attention against NumPy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.errors import ZooError
from zoo.layers import lstm_alone
from zoo.layers.attention import Attention, context_of
from zoo.layers.lstm_scan import lstm_scan
from zoo.layers.recurrent import Cell, LengthMask, Recurrent, scan

LAYERS = {"tanh": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


@pytest.fixture
def sequences():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(4, 7, 5)).astype("float32")
    return inputs, LengthMask()(inputs, np.array([7, 3, 1, 5]))


def pair(cell: str, sequences, **options):
    """Our layer and Keras's, with the same weights, none of them zero."""
    ours = Recurrent(6, cell, reverse=options.get("go_backwards", False))
    theirs = LAYERS[cell](6, return_sequences=True, return_state=True, **options)
    ours(*sequences)
    theirs(sequences[0])
    random = np.random.default_rng(1)
    values = [random.normal(0, 0.5, weight.shape) for weight in theirs.get_weights()]
    ours.set_weights(values)
    theirs.set_weights(values)
    return ours, theirs


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cell", "training"), [*zip(LAYERS, [False] * 3, strict=True), ("lstm", True)])
def test_as_keras(cell, training, reverse, sequences):
    inputs, mask = sequences
    ours, theirs = pair(cell, sequences, go_backwards=reverse)
    valid = np.array(mask)
    with tf.GradientTape() as tape:
        outputs, states = ours(inputs, mask, training=training)
        loss = tf.reduce_sum(tf.where(valid[..., None], outputs, 0.0) ** 2) + tf.reduce_sum(states[0])
    found = tape.gradient(loss, [weight.value for weight in ours.trainable_weights])
    with tf.GradientTape() as tape:
        expected, *last = theirs(inputs, mask=mask)
        expected = expected[:, ::-1] if reverse else expected
        loss = tf.reduce_sum(tf.where(valid[..., None], expected, 0.0) ** 2) + tf.reduce_sum(last[0])
    gradients = tape.gradient(loss, [weight.value for weight in theirs.trainable_weights])
    np.testing.assert_allclose(np.array(outputs)[valid], np.array(expected)[valid], atol=1e-5)
    for one, other in zip(states, last, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", LAYERS)
def test_from_given_states(cell, sequences):
    ours, theirs = pair(cell, sequences)
    inputs = sequences[0]
    random = np.random.default_rng(2)
    states = tuple(random.normal(size=(4, 6)).astype("float32") for _ in ours.cell.first(1))
    expected, *last = theirs(inputs, initial_state=states if len(states) > 1 else states[0])
    outputs, found = ours(inputs, states=states)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(found[-1], last[-1], atol=1e-5)


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 3e-2)])
@pytest.mark.parametrize("has_mask", [False, True])
def test_the_gradient_of_an_lstm_in_training(policy, tolerance, has_mask, sequences):
    """For inputs, states, and weights, with recurrent dropout, against that of TensorFlow's loop in float32."""
    inputs, mask = map(tf.convert_to_tensor, sequences)
    valid = tf.transpose(mask)[:, :, None] if has_mask else None
    random = np.random.default_rng(2)
    h, c, kept = (tf.constant(random.normal(size=(4, 6)), tf.float32) for _ in range(3))
    weights_of_loss = [tf.constant(random.normal(size=shape), tf.float32) for shape in ((7, 4, 6), (4, 6), (4, 6))]
    cell = Cell(6, "lstm")
    cell.build(inputs.shape)

    def plain(products, kernel, h, c):
        def step(states, inputs):
            i, f, g, o = tf.split(inputs[0] + tf.matmul(states[0] * kept, kernel), 4, axis=-1)
            cell = tf.sigmoid(f) * states[1] + tf.sigmoid(i) * tf.tanh(g)
            after = tf.sigmoid(o) * tf.tanh(cell), cell
            after = tuple(tf.where(inputs[1], new, old) for new, old in zip(after, states, strict=True))
            return after, after[0]

        is_valid = tf.ones((7, 4, 1), tf.bool) if valid is None else valid
        states, outputs = scan(step, (h, c), (products, is_valid))
        return outputs, *states

    def fast(products, kernel, h, c):
        dtype = tf.bfloat16 if "bfloat16" in policy else tf.float32
        outputs, states = lstm_scan(tf.cast(products, dtype), kernel, h, c, valid, kept)
        return outputs, *states

    def with_gradients(function):
        given = [tf.transpose(cell(inputs), (1, 0, 2)), cell.recurrent_kernel.value, h, c]
        with tf.GradientTape() as tape:
            tape.watch(given)
            results = [tf.cast(each, tf.float32) for each in function(*given)]
            loss = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(results, weights_of_loss, strict=True)])
        return [*results, *tape.gradient(loss, given)]

    for one, other in zip(with_gradients(fast), with_gradients(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [lstm_alone.LONG - 1, lstm_alone.LONG, lstm_alone.LONG + 5])
def test_one_long_sequence_alone(length, reverse):
    """Compiled, an LSTM gives what it gives beside another sequence, and its gradient; the last 9 steps are padding."""
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(size=(2, length, 5)), tf.float32)
    layer = Recurrent(6, "lstm", reverse=reverse, compile_long=True)
    layer.build(inputs.shape)

    @tf.function(autograph=False)
    def forward(inputs):
        with tf.GradientTape() as tape:
            outputs, states = layer(inputs, LengthMask()(inputs, tf.fill([inputs.shape[0]], length - 9)))
            loss = tf.reduce_sum(outputs[0] ** 2) + tf.reduce_sum(states[1][0])
        kernel = layer.cell.recurrent_kernel.value
        return outputs[:1], states[0][:1], states[1][:1], tape.gradient(loss, kernel)

    for alone, beside in zip(forward(inputs[:1]), forward(inputs), strict=True):
        np.testing.assert_allclose(alone, beside, rtol=1e-4, atol=1e-5)
    for batch, is_compiled in ((1, True), (2, False)):
        graph = forward.get_concrete_function(inputs[:batch]).graph.as_graph_def()
        assert ("_XlaMustCompile" in str(graph)) == is_compiled


def test_new_layers_start_as_keras_does():
    """Forget gates open, the other biases at zero, orthogonal recurrence."""
    for cell, theirs in LAYERS.items():
        ours, theirs = Recurrent(6, cell), theirs(6)
        ours(np.zeros((1, 2, 5), "float32"))
        theirs(np.zeros((1, 2, 5), "float32"))
        assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
        np.testing.assert_array_equal(ours.get_weights()[2], theirs.get_weights()[2])
        square = ours.get_weights()[1] @ ours.get_weights()[1].T
        np.testing.assert_allclose(square, np.eye(6), atol=1e-5)


def test_recurrent_dropout_is_one_draw_a_sequence(sequences):
    """With all inputs zero and an LSTM that only adds, the same units are silent at every step."""
    keras.utils.set_random_seed(0)
    layer = Recurrent(50, "gru", dropout=0.5)
    inputs = np.zeros((2, 6, 5), "float32")
    layer(inputs)
    kernel, recurrent, bias = layer.get_weights()
    recurrent[:] = np.tile(np.eye(50), 3)  # each unit reads itself alone
    bias[:] = 0.3
    layer.set_weights([kernel, recurrent, bias])
    still, _ = layer(inputs, training=False)
    np.testing.assert_allclose(still[0], np.repeat(still[0, :, :1], 50, axis=1), atol=1e-6)
    moved, _ = layer(inputs, training=True)
    kinds = {tuple(np.round(row, 5)) for row in np.array(moved[0]).T}  # one course for the dropped, one for the others
    assert len(kinds) == 2
    assert np.abs(np.array(moved[0]) - np.array(moved[1])).max() > 0.01  # each item draws its own


def test_scan_gives_other_shapes_than_its_carry():
    def step(carry, at):
        return carry + at, {"twice": 2.0 * at, "sum": tf.reduce_sum(carry)}

    inputs = tf.reshape(tf.range(6.0), (3, 2))
    for reverse, sums in ((False, [0.0, 1.0, 6.0]), (True, [0.0, 9.0, 14.0][::-1])):
        carry, outputs = tf.function(lambda x, reverse=reverse: scan(step, tf.zeros(2), x, reverse))(inputs)
        np.testing.assert_allclose(carry, [6.0, 9.0])
        np.testing.assert_allclose(outputs["twice"], 2.0 * inputs)
        np.testing.assert_allclose(outputs["sum"], sums)


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("score", ["additive", "dot", "general"])
def test_attention_against_numpy(score, beams):
    random = np.random.default_rng(3)
    annotations, query = (random.normal(size=size).astype("float32") for size in ((3, 5, 4), (3, beams, 4)))
    mask = np.arange(5) < np.array([5, 2, 1])[:, None]
    layer = Attention(score, 6, 4)
    layer(annotations)
    weights = [random.normal(size=weight.shape).astype("float32") for weight in layer.weights]
    layer.set_weights(weights)
    found = layer.weigh(query.reshape(3 * beams, 4), layer(annotations), mask, beams)
    contexts = np.reshape(context_of(found, annotations), (3, beams, 4))
    for item, beam in itertools.product(range(3), range(beams)):
        asked, energies = query[item, beam], []
        for h in annotations[item, : mask[item].sum()]:
            if score == "additive":
                kernel, query_kernel, bias, energy = weights
                energies.append((np.tanh(asked @ query_kernel + h @ kernel + bias) @ energy)[0])
            else:
                energies.append(asked @ (h if score == "dot" else weights[0].T @ h))
        expected_weights, row = np.exp(energies) / np.exp(energies).sum(), np.array(found)[item, beam]
        np.testing.assert_allclose(row[: len(expected_weights)], expected_weights, rtol=1e-5)
        assert (row[len(expected_weights) :] == 0).all()  # exactly: the coverage penalty reads padding from it
        context = expected_weights @ annotations[item, : len(expected_weights)]
        np.testing.assert_allclose(contexts[item, beam], context, rtol=1e-4, atol=1e-5)


def test_wrong_attention():
    with pytest.raises(ZooError, match="attention must be one of additive, dot, general, got 'soft'"):
        zoo.create_model("attention_seq2seq", attention="soft", units=4, embedding=4)
    with pytest.raises(ZooError, match="dot scores need annotations of the query's size 4, got 8"):
        zoo.create_model("attention_seq2seq", attention="dot", units=4, embedding=4)
