"""A small generator with attention, in keras.ops, so that it runs on every backend of Keras.

Its `call` works on all target positions at once and its `step` on one, so that their agreement proves something.
"""

import keras
import numpy as np
from keras import layers, ops


class ToyGenerator(keras.Model):
    """Embedded source, a GRU over the target, additive attention of its state to the source.

    Inputs are a dict of `source` (B, S) and `source_length` (B,); call also takes `target` (B, U), the tokens fed in.
    """

    def __init__(self, vocabulary=5, source_vocabulary=7, units=6, attends=True, seed=0):
        super().__init__(name="toy_generator")
        self.attends = attends
        self.source_embedding = layers.Embedding(source_vocabulary, units, name="source_embedding")
        self.first = layers.Dense(units, activation="tanh", name="first")
        self.embedding = layers.Embedding(vocabulary, units, name="embedding")
        self.cell = layers.GRUCell(units, name="cell")
        self.unrolled = layers.RNN(self.cell, return_sequences=True, name="unrolled")
        self.query = layers.Dense(units, name="query")
        self.key = layers.Dense(units, name="key")
        self.energy = layers.Dense(1, use_bias=False, name="energy")
        self.output_layer = layers.Dense(vocabulary, name="logits")
        self({**example(), "target": np.zeros((4, 8), "int32")})
        random = np.random.default_rng(seed)
        for weight in self.weights:  # large enough that what it writes varies from source to source and step to step
            weight.assign(1.5 * random.normal(size=weight.shape).astype("float32"))

    def encode(self, inputs):
        source = self.source_embedding(inputs["source"])  # (B, S, D)
        mask = ops.arange(ops.shape(source)[1])[None] < ops.cast(inputs["source_length"], "int32")[:, None]
        mask = ops.cast(mask, "float32")
        mean = ops.sum(source * mask[..., None], axis=1) / ops.sum(mask, axis=1, keepdims=True)
        return {"source": source, "key": self.key(source), "mask": mask, "mean": mean}

    def initial_state(self, memory):
        state = {"hidden": self.first(memory["mean"])}
        if self.attends:
            state["attention"] = ops.zeros_like(memory["mask"])
        return state

    def step(self, tokens, state, memory):
        hidden, _ = self.cell(self.embedding(tokens), [state["hidden"]])  # (B, D)
        energy = self.energy(ops.tanh(self.query(hidden)[:, None] + memory["key"]))[..., 0]  # (B, S)
        attention = ops.softmax(energy - 1e9 * (1.0 - memory["mask"]))
        context = ops.sum(attention[..., None] * memory["source"], axis=1)
        logits = self.output_layer(ops.concatenate([hidden, context], axis=-1))
        return logits, {"hidden": hidden, "attention": attention} if self.attends else {"hidden": hidden}

    def call(self, inputs, return_attention=False):
        """Teacher forcing: logits (B, U, V), and the attention (B, U, S) if asked for."""
        memory = self.encode(inputs)
        hidden = self.unrolled(self.embedding(inputs["target"]), initial_state=[self.first(memory["mean"])])
        energy = self.energy(ops.tanh(self.query(hidden)[:, :, None] + memory["key"][:, None]))[..., 0]  # (B, U, S)
        attention = ops.softmax(energy - 1e9 * (1.0 - memory["mask"][:, None]))
        context = ops.matmul(attention, memory["source"])
        logits = self.output_layer(ops.concatenate([hidden, context], axis=-1))
        return (logits, attention) if return_attention else logits


def example():
    """Four sources of different lengths, padded, and the tokens fed to the decoder; the same on every call."""
    random = np.random.default_rng(5)
    return {
        "source": random.integers(0, 7, (4, 6)).astype("int32"),
        "source_length": np.array([3, 6, 2, 4], "int32"),
        "target": random.integers(0, 5, (4, 8)).astype("int32"),
    }


def stepped(model, inputs, target):
    """Logits (B, U, V) and, where the model attends, attention (B, U, S), made step by step."""
    memory = model.encode(inputs)
    state = model.initial_state(memory)
    logits, rows = [], []
    for tokens in target.T:
        made, state = model.step(ops.convert_to_tensor(tokens), state, memory)
        logits.append(ops.convert_to_numpy(made))
        rows.append(ops.convert_to_numpy(state["attention"]) if model.attends else None)
    return np.stack(logits, axis=1), np.stack(rows, axis=1) if model.attends else None
