"""Recurrent layers against Keras's own, attention and its decoder against NumPy, and embeddings that are shared."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import decoding
from zoo.errors import ZooError
from zoo.layers.attention import Attention, context_of
from zoo.layers.recurrent import LengthMask, Recurrent, scan

LAYERS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


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
@pytest.mark.parametrize("cell", LAYERS)
def test_as_keras(cell, reverse, sequences):
    inputs, mask = sequences
    ours, theirs = pair(cell, sequences, go_backwards=reverse)
    valid = np.array(mask)
    with tf.GradientTape() as tape:
        outputs, states = ours(inputs, mask)
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
        carry, told = tf.function(lambda x, reverse=reverse: scan(step, tf.zeros(2), x, reverse))(inputs)
        np.testing.assert_allclose(carry, [6.0, 9.0])
        np.testing.assert_allclose(told["twice"], 2.0 * inputs)
        np.testing.assert_allclose(told["sum"], sums)


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
        shares, row = np.exp(energies) / np.exp(energies).sum(), np.array(found)[item, beam]
        np.testing.assert_allclose(row[: len(shares)], shares, rtol=1e-5)
        assert (row[len(shares) :] == 0).all()  # exactly: the coverage penalty reads padding from it
        context = shares @ annotations[item, : len(shares)]
        np.testing.assert_allclose(contexts[item, beam], context, rtol=1e-4, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_attention_translator_against_numpy():
    """The equations of the paper's appendix A, step by step for one item, from the model's weights."""
    keras.utils.set_random_seed(4)
    model = zoo.create_model(
        "attention_seq2seq", source_vocabulary=9, target_vocabulary=8, embedding=5, units=6, attention_units=4, maxout=3
    )
    random = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    of = {weight.path: np.array(weight, "float64") for weight in model.weights}
    source, target = [3, 8, 1, 5], [1, 4, 7]

    def gru(name, x, h, context=0.0):
        kernel, recurrent, (given, inner) = (
            of[f"{name}/cell/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
        )
        x, h_ = x @ kernel + given + context, h @ recurrent + inner
        z, r = sigmoid(x[:6] + h_[:6]), sigmoid(x[6:12] + h_[6:12])
        return z * h + (1 - z) * np.tanh(x[12:] + r * h_[12:])

    states = {"encoder_forward": [], "encoder_backward": []}
    for name, order in (("encoder_forward", source), ("encoder_backward", source[::-1])):
        h = np.zeros(6)
        for token in order:
            h = gru(name, of["source_embedding/embeddings"][token], h)
            states[name].append(h)
    annotations = np.concatenate([states["encoder_forward"], states["encoder_backward"][::-1]], axis=1)
    s = np.tanh(states["encoder_backward"][-1] @ of["decoder/bridge/kernel"] + of["decoder/bridge/bias"])
    expected = []
    for token in target:
        y = of["target_embedding/embeddings"][token]
        part = {name: of[f"decoder/attention/{name}"] for name in ("kernel", "query_kernel", "bias", "energy")}
        fit = np.tanh(s @ part["query_kernel"] + annotations @ part["kernel"] + part["bias"]) @ part["energy"][:, 0]
        context = np.exp(fit) / np.exp(fit).sum() @ annotations
        deep = np.concatenate([s, y, context]) @ of["readout/dense/kernel"] + of["readout/dense/bias"]
        expected.append(np.maximum(deep[:3], deep[3:]) @ of["head/kernel"] + of["head/bias"])
        s = gru("decoder", y, s, context @ of["decoder/context/kernel"])
    inputs = {"source": np.array([[*source, 2]]), "source_length": np.array([4]), "target": np.array([target])}
    np.testing.assert_allclose(model(inputs)["logits"][0], expected, rtol=1e-4, atol=1e-4)


def test_the_thought_vector_is_the_source_backwards():
    """The deep translator's encoder is Keras's LSTMs on the reversed source; its decoder starts from their states."""
    keras.utils.set_random_seed(6)
    model = zoo.create_model("lstm_seq2seq", source_vocabulary=9, target_vocabulary=8, embedding=5, units=6, depth=2)
    source, target = np.array([[3, 8, 1, 5]]), np.array([[1, 4, 7]])
    of = {weight.path: np.array(weight) for weight in model.weights}

    def lstm(name):
        layer = keras.layers.LSTM(6, return_sequences=True, return_state=True)
        layer.build((None, None, 5 if name.endswith("1") else 6))
        layer.set_weights([of[f"{name}/cell/{part}"] for part in ("kernel", "recurrent_kernel", "bias")])
        return layer

    value, kept = of["source_embedding/embeddings"][source[:, ::-1]], []
    for number in (1, 2):
        value, *states = lstm(f"encoder{number}")(value)
        kept.append(states)
    value = of["target_embedding/embeddings"][target]
    for number, states in zip((1, 2), kept, strict=True):
        value, *_ = lstm(f"decoder{number}")(value, initial_state=states)
    expected = np.array(value) @ of["head/kernel"] + of["head/bias"]
    inputs = {"source": np.pad(source, [(0, 0), (0, 2)]), "source_length": np.array([4]), "target": target}
    np.testing.assert_allclose(model(inputs)["logits"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["attention_seq2seq", "lstm_seq2seq"])
def test_tied_embeddings(name, tmp_path):
    sizes = {"source_vocabulary": 9, "target_vocabulary": 9, "embedding": 6, "units": 6}
    sizes |= {"maxout": 6} if name == "attention_seq2seq" else {"depth": 1}
    counts = {tied: zoo.create_model(name, **sizes, tied=tied).count_params() for tied in ("none", "target", "all")}
    assert counts["none"] - counts["target"] == 9 * 6 + 9  # the head's weights and biases
    assert counts["target"] - counts["all"] == 9 * 6
    model = zoo.create_model(name, **sizes, tied="all")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"source": np.array([[3, 8]]), "source_length": np.array([2]), "target": np.array([[1, 4]])}
    np.testing.assert_allclose(again(inputs)["logits"], model(inputs)["logits"], atol=1e-6)
    for wrong, message in (
        ({"tied": "some"}, "tied 'some' is none of none, target, all"),
        ({"tied": "target", "embedding": 5}, "tied embeddings need a readout of their size: 6, not 5"),
        ({"tied": "all", "source_vocabulary": 8}, "tied = 'all' needs one vocabulary: 8, not 9"),
        ({"cell": "rnn"}, "cell 'rnn' is none of gru, lstm"),
    ):
        with pytest.raises(ZooError, match=f"{name}: {message}"):
            zoo.create_model(name, **{**sizes, **wrong})


def test_wrong_attention():
    with pytest.raises(ZooError, match="attention 'soft' is none of additive, dot, general"):
        zoo.create_model("attention_seq2seq", attention="soft", units=4, embedding=4)
    with pytest.raises(ZooError, match="dot scores need annotations as deep as the query: 8, not 4"):
        zoo.create_model("attention_seq2seq", attention="dot", units=4, embedding=4)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("attention_seq2seq", {"cell": "lstm"}),
        ("attention_seq2seq", {"attention": "general", "tied": "target", "maxout": 6}),
        ("attention_seq2seq", {"attention": "dot", "encoder_units": 3}),
        ("lstm_seq2seq", {"cell": "gru", "depth": 3, "tied": "all", "source_vocabulary": 8}),
    ],
)
def test_every_form_steps_as_it_is_taught_and_in_beams(name, overrides, monkeypatch):
    keras.utils.set_random_seed(7)
    sizes = {"source_vocabulary": 9, "target_vocabulary": 8, "embedding": 6, "units": 6}
    model = zoo.create_model(name, **{**sizes, **overrides})
    random = np.random.default_rng(8)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    target = random.integers(0, 8, (3, 5))
    inputs = {"source": random.integers(0, 8, (3, 4)), "source_length": np.array([4, 1, 2]), "target": target}
    expected = model(inputs)["logits"]
    memory = model.encode(inputs)
    state, told = model.initial_state(memory), []
    for tokens in target.T:
        logits, state = model.step(tf.constant(tokens), state, memory)
        told.append(logits)
    np.testing.assert_allclose(np.stack(told, axis=1), expected, rtol=1e-4, atol=1e-5)
    assert ("attention" in state) == model.attends
    sources = {key: inputs[key] for key in ("source", "source_length")}
    beams = [decoding.beam_search(model, sources, 1, 2, 6, 3, n_best=3)]
    monkeypatch.setattr(type(model), "shares_memory", False, raising=False)
    beams.append(decoding.beam_search(model, sources, 1, 2, 6, 3, n_best=3))
    np.testing.assert_array_equal(beams[0].tokens, beams[1].tokens)
    np.testing.assert_allclose(beams[0].scores, beams[1].scores, rtol=1e-4)


@pytest.mark.parametrize("name", ["attention_seq2seq", "lstm_seq2seq"])
def test_word_dropout_takes_whole_tokens_in_training_alone(name):
    keras.utils.set_random_seed(9)
    sizes = {"source_vocabulary": 9, "target_vocabulary": 8, "embedding": 6, "units": 6}
    model, plain = zoo.create_model(name, word_dropout=0.5, **sizes), zoo.create_model(name, **sizes)
    random = np.random.default_rng(9)
    weights = [random.normal(0, 0.5, weight.shape) for weight in model.weights]
    for each in (model, plain):
        each.set_weights(weights)
    for drop in model.drop_words:
        rows = np.reshape(drop(np.ones((40, 5, 6), "float32"), training=True), (200, 6))
        assert {tuple(row) for row in rows} == {(0.0,) * 6, (2.0,) * 6}
    inputs = {"source": random.integers(0, 8, (3, 4)), "target": random.integers(0, 8, (3, 5))}
    inputs["source_length"] = np.array([4, 1, 2])
    expected = np.array(plain(inputs, training=True)["logits"])
    np.testing.assert_allclose(model(inputs)["logits"], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(model(inputs, training=True)["logits"], expected, atol=1e-3)
