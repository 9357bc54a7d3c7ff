"""Recurrent language models: a plain recurrent network, a GRU or an LSTM that predicts the next token.

Mikolov et al. 2010, "Recurrent neural network based language model" (the plain network); Graves 2013, "Generating
sequences with recurrent neural networks", arXiv 1308.0850, section 2 (deep LSTMs over words and characters); Zaremba,
Sutskever & Vinyals 2014, "Recurrent neural network regularization", arXiv 1409.2329 (dropout). The defaults are the
medium LSTM of Zaremba et al., section 4.1.

Deviations: weights are initialised as in Keras's layers (forget gates open), where Zaremba et al. draw them from -0.05
to 0.05. Graves's skip connections from the input to every layer are left out, as in Zaremba et al.
"""

import keras
from keras import layers, ops

from zoo.layers.continuing import ContinuingModel
from zoo.layers.embedding import target_embeddings
from zoo.layers.recurrent import Recurrent
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class RecurrentLanguageModel(ContinuingModel):
    """The model of `recurrent_language_model`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `target` (B, T) token ids, and `state` (B, depth * states, units): the states of each layer before them, h
    and, of an LSTM, c. Outputs: `logits` (B, T, V) and `next_state`, the states after the tokens.
    """

    def __init__(self, name="recurrent_language_model", **arguments):
        self.arguments = arguments
        units, depth, dropout = arguments["units"], arguments["depth"], arguments["dropout"]
        projection = arguments["projection"]
        self.target_embedding, self.head = target_embeddings(
            arguments["vocabulary"], arguments["embedding"], projection or units, arguments["tied"]
        )
        self.recurrent = [Recurrent(units, arguments["cell"], name=f"recurrent{number + 1}") for number in range(depth)]
        # Equation 7 of Zaremba et al.: dropout of what a layer gets from the one below, never of what it gets from the
        # step before; and of the input of the softmax.
        self.drops = [layers.Dropout(dropout, name=f"dropout{number}") for number in range(depth + 1)]
        # Press & Wolf 2017, arXiv 1608.05859, section 3: a linear map between the network and the tied weights.
        self.projection = layers.Dense(projection, use_bias=False, name="projection") if projection else None
        states = len(self.recurrent[0].cell.first(1))
        target = keras.Input((None,), dtype="int32", name="target")
        state = keras.Input((depth * states, units), name="state")
        value, after = self.target_embedding(target), []  # (B, T, embedding)
        for layer, drop, before in zip(self.recurrent, self.drops, self._by_layer(state), strict=False):
            value, last = layer(drop(value), states=before)  # (B, T, units)
            after += last
        after = ops.cast(ops.stack(after, axis=1), state.dtype)
        super().__init__(
            {"target": target, "state": state}, {"logits": self._logits(value), "next_state": after}, name=name
        )

    def _by_layer(self, state) -> list[tuple]:
        """(B, depth * states, units) -> the states of each layer, (B, units) each."""
        depth = len(self.recurrent)
        states = state.shape[1] // depth
        each = [state[:, number] for number in range(depth * states)]
        return [tuple(each[number * states : (number + 1) * states]) for number in range(depth)]

    def _logits(self, value):
        value = self.drops[-1](value)
        return self.head(self.projection(value) if self.projection else value)

    def step(self, tokens, state, memory):
        value, after = self.target_embedding(tokens), []  # (B, embedding)
        for layer, before in zip(self.recurrent, self._by_layer(state["state"]), strict=True):
            products = layer.cell(value)
            last = layer.cell.advance(products, tuple(ops.cast(each, products.dtype) for each in before))
            after += last
            value = last[0]
        return self._logits(value), {"state": ops.cast(ops.stack(after, axis=1), state["state"].dtype)}


@register_model(
    task="language_modeling",
    paper="Zaremba, Sutskever & Vinyals 2014, Recurrent neural network regularization, arXiv 1409.2329",
    parameters=19_775_200,
    tiny={"vocabulary": 31, "embedding": 8, "units": 9, "depth": 2, "projection": 8, "tied": "target", "dropout": 0.0},
)
def recurrent_language_model(
    vocabulary: int = 10_000,
    embedding: int = 650,
    units: int = 650,
    depth: int = 2,
    cell: str = "lstm",
    dropout: float = 0.5,
    projection: int = 0,
    tied: str = "none",
) -> keras.Model:
    """A recurrent network that predicts each token of a text from those before it.

    Args:
        vocabulary: the number of tokens.
        embedding: the size of a token's vector.
        units: units of every layer.
        depth: the number of recurrent layers.
        cell: "tanh" (the plain network of Elman 1990), "gru" or "lstm" (the paper's).
        dropout: dropout between layers, but not between steps (Zaremba et al., section 3.1).
        projection: the size to which the output of the last layer is projected; 0: no projection.
        tied: "none" (the paper's), or "target": the embeddings are also the output weights (Press & Wolf 2017, arXiv
            1608.05859), which needs projection = embedding, or units = embedding without a projection.
    """
    return RecurrentLanguageModel(
        vocabulary=vocabulary,
        embedding=embedding,
        units=units,
        depth=depth,
        cell=cell,
        dropout=dropout,
        projection=projection,
        tied=tied,
    )
