"""The neural probabilistic language model: word vectors and a tanh layer over a context of a few words.

Bengio, Ducharme, Vincent & Jauvin 2003, "A neural probabilistic language model", Journal of Machine Learning Research
3, section 2. The vectors C of the n - 1 words before are joined to x = (C(w[t-1]), ..., C(w[t-n+1])), and the logits of
the next word are y = b + W x + U tanh(d + H x) (equation 1), where W, the direct connections, may be absent. The
defaults are the network without direct connections of Table 1 (n = 5, h = 100, m = 30, Brown corpus).

Deviations: before a text, the context is filled with token 0, which has a vector of its own; the paper does not say
what it does there. Training is Adam with dropout instead of stochastic gradient descent with weight decay.
"""

import keras
from keras import layers, ops

from zoo.layers.continuing import ContinuingModel
from zoo.layers.embedding import target_embeddings
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class NeuralLanguageModel(ContinuingModel):
    """The model of `neural_language_model`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `target` (B, T) token ids, and `state` (B, n - 1), the tokens before them. Outputs: `logits` (B, T, V) and
    `next_state`, the last n - 1 tokens.
    """

    def __init__(self, name="neural_language_model", **arguments):
        self.arguments = arguments
        self.before = arguments["context"]  # n - 1
        units, vocabulary = arguments["units"], arguments["vocabulary"]
        self.target_embedding, self.head = target_embeddings(
            vocabulary, arguments["embedding"], arguments["projection"] or units, arguments["tied"]
        )
        self.hidden = layers.Dense(units, activation="tanh", name="hidden")  # H, d
        rate, projection = arguments["dropout"], arguments["projection"]
        self.drops = [layers.Dropout(rate, name=f"dropout{number}") for number in range(2)]
        self.projection = layers.Dense(projection, use_bias=False, name="projection") if projection else None
        self.direct = layers.Dense(vocabulary, use_bias=False, name="direct") if arguments["direct"] else None  # W
        target = keras.Input((None,), dtype="int32", name="target")
        state = keras.Input((self.before,), dtype="int32", name="state")
        tokens = ops.concatenate([state, target], axis=1)  # (B, n - 1 + T)
        logits = self._logits(self.target_embedding(tokens))
        outputs = {"logits": logits, "next_state": ops.reshape(tokens[:, -self.before :], (-1, self.before))}
        super().__init__({"target": target, "state": state}, outputs, name=name)

    def _logits(self, vectors):
        """The vectors (B, n - 1 + T, m) of the tokens and those before them -> (B, T, V)."""
        parts = [vectors[:, 1 + place : place - self.before + 1 or None] for place in range(self.before)]
        x = self.drops[0](ops.concatenate(parts, axis=-1))  # (B, T, (n - 1) m), the word before last
        hidden = self.drops[1](self.hidden(x))  # (B, T, h)
        logits = self.head(self.projection(hidden) if self.projection else hidden)
        return logits + self.direct(x) if self.direct else logits

    def step(self, tokens, state, memory):
        tokens = ops.concatenate([state["state"], ops.cast(tokens, "int32")[:, None]], axis=1)  # (B, n)
        return self._logits(self.target_embedding(tokens))[:, 0], {"state": tokens[:, 1:]}


@register_model(
    task="language_modeling",
    paper="Bengio, Ducharme, Vincent & Jauvin 2003, A neural probabilistic language model, JMLR 3",
    parameters=2_158_273,
    tiny={"vocabulary": 31, "embedding": 5, "units": 9, "context": 3, "direct": True},
)
def neural_language_model(
    vocabulary: int = 16_383,
    embedding: int = 30,
    units: int = 100,
    context: int = 4,
    direct: bool = False,
    dropout: float = 0.0,
    projection: int = 0,
    tied: str = "none",
) -> keras.Model:
    """A feedforward network that predicts a word from the few words before it.

    Args:
        vocabulary: V, the number of tokens.
        embedding: m, the size of a word's vector.
        units: h, units of the tanh layer.
        context: n - 1, the number of words before.
        direct: whether the word vectors are also connected directly to the logits (W of equation 1).
        dropout: dropout of the word vectors and of the tanh layer; the paper has none.
        projection: the size to which the tanh layer is projected before the logits; 0 (the paper's): no projection.
        tied: "none" (the paper's), or "target": the word vectors are also the output weights U (Press & Wolf 2017,
            arXiv 1608.05859), which needs projection = embedding, or units = embedding without a projection.
    """
    return NeuralLanguageModel(
        vocabulary=vocabulary,
        embedding=embedding,
        units=units,
        context=context,
        direct=direct,
        dropout=dropout,
        projection=projection,
        tied=tied,
    )
