"""Translation with attention: Bahdanau, Cho & Bengio 2015, "Neural machine translation by jointly learning to
align and translate", arXiv 1409.0473 (RNNsearch).

A bidirectional encoder computes an annotation of every source token. At every step of the decoder, attention computes
the context: a mean of the annotations, weighted according to the decoder's state. A maxout layer then reads the state,
the last token and the context (equations in appendix A).

Differences from the paper: the reset gate is applied after the recurrent matrix product instead of before it, as in
cuDNN, so that one product is enough; there are biases on both sides of the gate. Weights have Keras's default
initialisation; the paper draws most of them with a standard deviation of 0.01. The paper trains with Adadelta on
vocabularies of 30,000 words; here the recipe sets the optimizer and the vocabulary size.
"""

import keras
from keras import layers, ops

from zoo.layers.attention import Attention, context_of
from zoo.layers.embedding import tied_embeddings
from zoo.layers.model import GeneratorModel
from zoo.layers.recurrent import Cell, LengthMask, Recurrent, dropped, scan
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class AttentionDecoder(layers.Layer):
    """A recurrent layer that attends to the source at every step, with its state before the step as the query.

    Shapes: B batch, T target steps, S source tokens, E embedding size, U units, D annotation size.

    Args:
        units: U.
        cell: "gru" or "lstm".
        attention: "additive", "dot" or "general".
        attention_units: the hidden size of additive attention.
        dropout: dropout rate of the state in the recurrent products; the mask is drawn once per sequence.
    """

    def __init__(self, units: int, cell: str, attention: str, attention_units: int, dropout: float = 0.0, **options):
        super().__init__(**options)
        self.supports_jit = False  # XLA would recompile for every sequence length
        policy = self.dtype_policy
        self.units = units
        self.bridge = layers.Dense(units, activation="tanh", dtype=policy, name="bridge")
        self.cell = Cell(units, cell, dtype=policy, name="cell")
        wide = Cell.GATES[cell] * units
        # Projects the context to the cell's gates. The projection of a mean equals the mean of projections, so the
        # annotations are projected once per source.
        self.context = layers.Dense(wide, use_bias=False, dtype=policy, name="context")
        self.attention = Attention(attention, attention_units, units, dtype=policy, name="attention")
        self.dropout = layers.Dropout(dropout, dtype=policy, name="dropout")

    def build(self, embedded_shape, annotations_shape, last_shape, mask_shape=None):
        self.bridge.build(last_shape)
        self.cell.build(embedded_shape)
        self.context.build(annotations_shape)
        self.attention.build(annotations_shape)

    def call(self, embedded, annotations, last, mask, training=None):
        """Teacher forcing.

        Args:
            embedded: (B, T, E), the embedded previous tokens.
            annotations: (B, S, D), the annotations of the source.
            last: (B, U), the backward encoder state at the first token; gives the first state.
            mask: (B, S), true on source tokens.

        Returns:
            The state before each step (B, T, U), its context (B, T, D) and its attention (B, T, S).
        """
        keys, values, states = self.attention(annotations), self.context(annotations), self.first(last)
        kept = dropped(self.dropout, states[0], training)
        products = ops.transpose(self.cell(embedded), (1, 0, 2))  # (T, B, gates)

        def step(states, products):
            after, weights = self.advance(products, states, keys, values, mask, kept)
            return after, (states[0], weights)

        _, (before, weights) = scan(step, states, products)
        before, weights = ops.transpose(before, (1, 0, 2)), ops.transpose(weights[:, :, 0], (1, 0, 2))
        return before, ops.matmul(weights, annotations), weights

    def first(self, last):
        """The states before the first step, (B, U) each: h_0 = tanh(W last), and zeros for an LSTM's c."""
        h = self.bridge(last)
        return (h,) if self.cell.kind == "gru" else (h, ops.zeros_like(h))

    def advance(self, products, states, keys, values, mask, kept=None, beams: int = 1):
        """One step: the states after it, and the attention (B, beams, S).

        Args:
            products: (B * beams, gates), the output of `cell` for the token; the rows of an item are consecutive.
            states: the states before the step, (B * beams, U) each.
            keys, values: (B, S, A) and (B, S, gates), the outputs of `attention` and `context` for the annotations.
            mask: (B, S), true on source tokens.
            kept: as in `Cell.advance`.
            beams: the number of rows per item.
        """
        weights = self.attention.weigh(states[0], keys, mask, beams)
        return self.cell.advance(products + context_of(weights, values), states, kept), weights

    def compute_output_spec(self, embedded, annotations, last, mask, training=None):
        batch, time, _ = embedded.shape
        sizes = self.units, annotations.shape[-1], annotations.shape[1]
        return tuple(keras.KerasTensor((batch, time, size), dtype=self.compute_dtype) for size in sizes)

    def get_config(self):
        attention = {"attention": self.attention.score, "attention_units": self.attention.units}
        own = {"units": self.units, "cell": self.cell.kind, **attention, "dropout": self.dropout.rate}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("zoo")
class Maxout(layers.Layer):
    """Goodfellow et al. 2013, arXiv 1302.4389: the greater of two products, (..., D) -> (..., units)."""

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.units = units
        self.dense = layers.Dense(2 * units, dtype=self.dtype_policy, name="dense")

    def build(self, inputs_shape):
        self.dense.build(inputs_shape)

    def call(self, inputs):
        pairs = self.dense(inputs)
        return ops.maximum(pairs[..., : self.units], pairs[..., self.units :])

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("zoo")
class AttentionSeq2seqModel(GeneratorModel):
    """The model of `attention_seq2seq`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `source` (B, S), token ids; `source_length` (B,); `target` (B, T), the tokens before those to predict.
    Output: `logits` (B, T, V).
    """

    attends = True
    shares_memory = True  # the beams of an item share one memory

    def __init__(self, name="attention_seq2seq", **arguments):
        self.arguments = arguments
        units, dropout = arguments["units"], arguments["dropout"]
        cell, recurrent_dropout = arguments["cell"], arguments["recurrent_dropout"]
        self.source_embedding, self.target_embedding, self.head = tied_embeddings(
            arguments["source_vocabulary"],
            arguments["target_vocabulary"],
            arguments["embedding"],
            arguments["maxout"],
            arguments["tied"],
        )
        self.mask = LengthMask(name="mask")
        encoder_units = arguments["encoder_units"] or units
        self.forward = Recurrent(encoder_units, cell, dropout=recurrent_dropout, name="encoder_forward")
        self.backward = Recurrent(encoder_units, cell, reverse=True, dropout=recurrent_dropout, name="encoder_backward")
        self.joined = layers.Concatenate(name="annotations")
        self.drop_words = [
            layers.Dropout(arguments["word_dropout"], noise_shape=(None, None, 1), name=f"{side}_word_dropout")
            for side in ("source", "target")
        ]
        self.drop_source = layers.Dropout(dropout, name="source_dropout")
        self.drop_target = layers.Dropout(dropout, name="target_dropout")
        self.drop_annotations = layers.Dropout(dropout, name="annotation_dropout")
        self.drop_readout = layers.Dropout(dropout, name="readout_dropout")
        self.decoder = AttentionDecoder(
            units, cell, arguments["attention"], arguments["attention_units"], recurrent_dropout, name="decoder"
        )
        self.readout_inputs = layers.Concatenate(name="readout_inputs")
        self.readout = Maxout(arguments["maxout"], name="readout")
        source = keras.Input((None,), dtype="int32", name="source")
        length = keras.Input((), dtype="int32", name="source_length")
        target = keras.Input((None,), dtype="int32", name="target")
        annotations, last, mask = self._annotated(source, length)
        embedded = self.drop_target(self.drop_words[1](self.target_embedding(target)))
        states, contexts, _ = self.decoder(embedded, annotations, last, mask)
        inputs = {"source": source, "source_length": length, "target": target}
        super().__init__(inputs, {"logits": self._logits(states, embedded, contexts)}, name=name)

    def _annotated(self, source, length):
        """-> annotations (B, S, D), the backward state at the first token (B, U), mask (B, S)."""
        mask = self.mask(source, length)
        embedded = self.drop_source(self.drop_words[0](self.source_embedding(source)))
        forward, _ = self.forward(embedded, mask)
        backward, last = self.backward(embedded, mask)
        return self.drop_annotations(self.joined([forward, backward])), last[0], mask

    def _logits(self, states, embedded, contexts):
        """State before the step, last token and context -> logits (section A.2.2)."""
        return self.head(self.drop_readout(self.readout(self.readout_inputs([states, embedded, contexts]))))

    def encode(self, inputs):
        annotations, last, mask = self._annotated(inputs["source"], inputs["source_length"])
        keys, values = self.decoder.attention(annotations), self.decoder.context(annotations)
        return {"annotations": annotations, "keys": keys, "values": values, "last": last, "mask": mask}

    def initial_state(self, memory):
        return {"states": self.decoder.first(memory["last"]), "attention": ops.zeros_like(memory["keys"][:, :, 0])}

    def step(self, tokens, state, memory, beams: int = 1):
        embedded = self.target_embedding(tokens)
        products = self.decoder.cell(embedded)
        keys, values, mask = memory["keys"], memory["values"], memory["mask"]
        states, weights = self.decoder.advance(products, state["states"], keys, values, mask, beams=beams)
        context = context_of(weights, memory["annotations"])
        logits = self._logits(state["states"][0], embedded, context)
        return logits, {"states": states, "attention": ops.reshape(weights, (-1, ops.shape(mask)[1]))}


@register_model(
    task="translation",
    paper="Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate, "
    "arXiv 1409.0473",
    parameters=80_452_000,  # the appendix's matrices plus biases; the paper does not state a number
    tiny={
        "source_vocabulary": 40, "target_vocabulary": 30, "embedding": 10, "units": 8, "attention_units": 7, "maxout": 9
    },
)  # fmt: skip
def attention_seq2seq(
    source_vocabulary: int = 30_000,
    target_vocabulary: int = 30_000,
    embedding: int = 620,
    units: int = 1000,
    encoder_units: int | None = None,
    attention: str = "additive",
    attention_units: int = 1000,
    maxout: int = 500,
    cell: str = "gru",
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    word_dropout: float = 0.0,
    tied: str = "none",
) -> keras.Model:
    """A translator that attends to its source at every step: sequences of tokens in, logits of the next token out.

    Args:
        source_vocabulary, target_vocabulary: the number of tokens in each vocabulary.
        embedding: the size of a token's embedding.
        units: units of the decoder.
        encoder_units: units of the encoder in each direction; by default `units`.
        attention: "additive" (the paper's), or Luong's "dot" or "general"; "dot" needs encoder_units = units / 2.
        attention_units: units of additive attention.
        maxout: units of the readout.
        cell: "gru" (the paper's) or "lstm".
        dropout: dropout rate of embeddings, annotations and readout; the paper uses no dropout.
        recurrent_dropout: dropout rate of the states in the recurrent products; masks are drawn once per sequence.
        word_dropout: the fraction of source and target tokens whose whole vectors are dropped (Gal & Ghahramani 2016,
            arXiv 1512.05287, section 4.2, but each token is drawn separately).
        tied: "none" (the paper's); "target": the target embeddings are also the output weights, which needs
            maxout = embedding; "all": the source embeddings, too, share these weights, which needs source and target
            vocabularies of equal size.
    """
    return AttentionSeq2seqModel(
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        embedding=embedding,
        units=units,
        encoder_units=encoder_units,
        attention=attention,
        attention_units=attention_units,
        maxout=maxout,
        cell=cell,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        word_dropout=word_dropout,
        tied=tied,
    )
