"""Translation through one vector: Sutskever, Vinyals & Le 2014, "Sequence to sequence learning with neural networks".

arXiv 1409.3215. A deep LSTM reads the source from its last token to its first (section 3.3). Its last states
initialise, layer by layer, a deep LSTM that generates the target. The decoder gets nothing else from the source.

Deviations: the end of the source is read first, as part of the reversed sentence, and weights are initialised as in
Keras's layers (forget gates open), where the paper draws them from -0.08 to 0.08.
"""

import keras
from keras import layers

from zoo.layers.embedding import tied_embeddings
from zoo.layers.model import GeneratorModel
from zoo.layers.recurrent import LengthMask, Recurrent
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class LstmSeq2seqModel(GeneratorModel):
    """The model of `lstm_seq2seq`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `source` (B, S) token ids, `source_length` (B,), `target` (B, T) the tokens before those to predict.
    Output: `logits` (B, T, V).
    """

    attends = False

    def __init__(self, name="lstm_seq2seq", **arguments):
        self.arguments = arguments
        units, depth = arguments["units"], arguments["depth"]
        cell, recurrent_dropout = arguments["cell"], arguments["recurrent_dropout"]
        self.source_embedding, self.target_embedding, self.head = tied_embeddings(
            arguments["source_vocabulary"],
            arguments["target_vocabulary"],
            arguments["embedding"],
            units,
            arguments["tied"],
        )
        self.mask = LengthMask(name="mask")
        self.encoder = [
            Recurrent(units, cell, reverse=True, dropout=recurrent_dropout, name=f"encoder{number + 1}")
            for number in range(depth)
        ]
        self.decoder = [
            Recurrent(units, cell, dropout=recurrent_dropout, name=f"decoder{number + 1}") for number in range(depth)
        ]
        self.drops = [
            [layers.Dropout(arguments["dropout"], name=f"{side}_dropout{number}") for number in range(depth + 1)]
            for side in ("encoder", "decoder")
        ]
        self.drop_words = [
            layers.Dropout(arguments["word_dropout"], noise_shape=(None, None, 1), name=f"{side}_word_dropout")
            for side in ("encoder", "decoder")
        ]
        source = keras.Input((None,), dtype="int32", name="source")
        length = keras.Input((), dtype="int32", name="source_length")
        target = keras.Input((None,), dtype="int32", name="target")
        states = self._read(source, length)
        value = self.drop_words[1](self.target_embedding(target))
        for layer, drop, first in zip(self.decoder, self.drops[1], states, strict=False):
            value, _ = layer(drop(value), states=first)
        inputs = {"source": source, "source_length": length, "target": target}
        super().__init__(inputs, {"logits": self._logits(value)}, name=name)

    def _read(self, source, length) -> list:
        """The last states of each layer of the encoder, (B, U) each."""
        value, mask, states = self.drop_words[0](self.source_embedding(source)), self.mask(source, length), []
        for layer, drop in zip(self.encoder, self.drops[0], strict=False):
            value, last = layer(drop(value), mask)
            states.append(tuple(last))
        return states

    def _logits(self, value):
        return self.head(self.drops[1][-1](value))

    def encode(self, inputs):
        return {"states": self._read(inputs["source"], inputs["source_length"])}

    def initial_state(self, memory):
        return {"states": memory["states"]}

    def step(self, tokens, state, memory):
        value, states = self.target_embedding(tokens), []
        for layer, before in zip(self.decoder, state["states"], strict=True):
            states.append(layer.cell.advance(layer.cell(value), before))
            value = states[-1][0]
        return self._logits(value), {"states": states}


@register_model(
    task="translation",
    paper="Sutskever, Vinyals & Le 2014, Sequence to sequence learning with neural networks, arXiv 1409.3215",
    parameters=384_112_000,
    tiny={"source_vocabulary": 40, "target_vocabulary": 30, "embedding": 10, "units": 8, "depth": 2},
)
def lstm_seq2seq(
    source_vocabulary: int = 160_000,
    target_vocabulary: int = 80_000,
    embedding: int = 1000,
    units: int = 1000,
    depth: int = 4,
    cell: str = "lstm",
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    word_dropout: float = 0.0,
    tied: str = "none",
) -> keras.Model:
    """A translator through one vector: a deep LSTM reads the source backwards, another writes the target.

    Args:
        source_vocabulary, target_vocabulary: the number of tokens.
        embedding: the size of a token's vector.
        units: units of every layer.
        depth: the number of layers of the encoder, and of the decoder.
        cell: "lstm" (the paper's) or "gru".
        dropout: dropout of the inputs of each layer and of the readout; the paper has none.
        recurrent_dropout: dropout of the states in the recurrent products, drawn once per sequence.
        word_dropout: the fraction of source and target tokens whose whole vectors are dropped (Gal & Ghahramani 2016,
            arXiv 1512.05287, section 4.2, but one token at a time).
        tied: "none" (the paper's); "target": the target embeddings are also the output weights, which needs
            units = embedding; "all": and the source embeddings, which needs equal vocabularies.
    """
    return LstmSeq2seqModel(
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        embedding=embedding,
        units=units,
        depth=depth,
        cell=cell,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        word_dropout=word_dropout,
        tied=tied,
    )
