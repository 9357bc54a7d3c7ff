"""The translators against NumPy, their forms, and embeddings used twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import decoding
from zoo.errors import ZooError


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
        ({"tied": "some"}, "tied must be one of none, target, all, got 'some'"),
        ({"tied": "target", "embedding": 5}, "tied embeddings need a readout of their size 5, got 6"),
        ({"tied": "all", "source_vocabulary": 8}, "tied='all' needs equal vocabularies, got 8 and 9"),
        ({"cell": "rnn"}, "cell must be one of tanh, gru, lstm, got 'rnn'"),
    ):
        with pytest.raises(ZooError, match=f"{name}: {message}"):
            zoo.create_model(name, **{**sizes, **wrong})


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
    state, stepped = model.initial_state(memory), []
    for tokens in target.T:
        logits, state = model.step(tf.constant(tokens), state, memory)
        stepped.append(logits)
    np.testing.assert_allclose(np.stack(stepped, axis=1), expected, rtol=1e-4, atol=1e-5)
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
