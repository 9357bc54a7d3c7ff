"""The translator that looks back: Bahdanau, Cho & Bengio 2015, "Neural machine translation by jointly learning to
align and translate", arXiv 1409.0473 (RNNsearch).

An encoder in both directions annotates every source token; at every step of the decoder an attention weighs these
annotations by the decoder's state, and a maxout layer reads state, last token and context. Appendix A has the
equations. Deviations: gates reset after the recurrent product and not before it (as cuDNN has it, so that this product
is one), with biases on both sides of it; weights start as Keras's layers do, where the paper draws most of them with a
deviation of 0.01. The paper trains by Adadelta on the words of two lists of 30,000, here recipes choose.
"""

import keras
from keras import layers, ops

from zoo.layers.attention import Attention, context_of
from zoo.layers.embedding import tied_embeddings
from zoo.layers.recurrent import Cell, LengthMask, Recurrent, dropped, scan
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class AttentionDecoder(layers.Layer):
    """A recurrent layer that is given, at every step, a mean of the source weighted by its state before the step.

    Shapes: B batch, T target steps, S source tokens, E embedding, U units, D annotation.

    Args:
        units: U.
        cell: "gru" or "lstm".
        attention: "additive", "dot" or "general".
        attention_units: the size of additive attention.
        dropout: of the state in the recurrent products, one draw a sequence.
    """

    def __init__(self, units: int, cell: str, attention: str, attention_units: int, dropout: float = 0.0, **options):
        super().__init__(**options)
        self.supports_jit = False  # XLA would compile anew for every length
        policy = self.dtype_policy
        self.units = units
        self.bridge = layers.Dense(units, activation="tanh", dtype=policy, name="bridge")
        self.cell = Cell(units, cell, dtype=policy, name="cell")
        wide = Cell.GATES[cell] * units
        # What the context is to the cell. As a product of a mean is the mean of products, it is made once a source.
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
            embedded: (B, T, E), the tokens before.
            annotations: (B, S, D) of the source.
            last: (B, U), what the first state is made of.
            mask: (B, S), true on source tokens.

        Returns:
            Of each step the state before it (B, T, U), the context (B, T, D) and the attention (B, T, S).
        """
        keys, values, states = self.attention(annotations), self.context(annotations), self.first(last)
        kept = dropped(self.dropout, states[0], training)
        given = ops.transpose(self.cell(embedded), (1, 0, 2))  # (T, B, gates)

        def step(states, given):
            after, weights = self.one(given, states, keys, values, mask, kept)
            return after, (states[0], weights)

        _, (before, weights) = scan(step, states, given)
        before, weights = ops.transpose(before, (1, 0, 2)), ops.transpose(weights[:, :, 0], (1, 0, 2))
        return before, ops.matmul(weights, annotations), weights

    def first(self, last):
        """The states before the first step, (B, U) each: h_0 = tanh(W last), and zeros for an LSTM's c."""
        h = self.bridge(last)
        return (h,) if self.cell.kind == "gru" else (h, ops.zeros_like(h))

    def one(self, given, states, keys, values, mask, kept=None, beams: int = 1):
        """One step: what the cell made of the token (B, gates) -> states after, and attention (B, beams, S).

        keys (B, S, A) and values (B, S, gates) are what `attention` and `context` make of the annotations. given and
        states have `beams` rows an item of these, which stand together.
        """
        weights = self.attention.weigh(states[0], keys, mask, beams)
        return self.cell.advance(given + context_of(weights, values), states, kept), weights

    def compute_output_spec(self, embedded, annotations, last, mask, training=None):
        batch, time, _ = embedded.shape
        sizes = self.units, annotations.shape[-1], annotations.shape[1]
        return tuple(keras.KerasTensor((batch, time, size), dtype=self.compute_dtype) for size in sizes)


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
class AttentionSeq2seqModel(keras.Model):
    """Built by `attention_seq2seq`, whose arguments these are; a generator for `zoo.decoding`.

    Inputs: `source` (B, S) token ids, `source_length` (B,), `target` (B, T) the tokens before those to be told.
    Output: `logits` (B, T, V).
    """

    attends = True
    shares_memory = True  # by the beams of an item

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
        super().__init__(inputs, {"logits": self._told(states, embedded, contexts)}, name=name)

    def _annotated(self, source, length):
        """-> annotations (B, S, D), the backward state at the first token (B, U), mask (B, S)."""
        mask = self.mask(source, length)
        embedded = self.drop_source(self.drop_words[0](self.source_embedding(source)))
        forward, _ = self.forward(embedded, mask)
        backward, last = self.backward(embedded, mask)
        return self.drop_annotations(self.joined([forward, backward])), last[0], mask

    def _told(self, states, embedded, contexts):
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
        given = self.decoder.cell(embedded)
        keys, values, mask = memory["keys"], memory["values"], memory["mask"]
        states, weights = self.decoder.one(given, state["states"], keys, values, mask, beams=beams)
        context = context_of(weights, memory["annotations"])
        logits = self._told(state["states"][0], embedded, context)
        return logits, {"states": states, "attention": ops.reshape(weights, (-1, ops.shape(mask)[1]))}

    def get_config(self):
        return {"name": self.name, **self.arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@register_model(
    task="translation",
    paper="Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate, "
    "arXiv 1409.0473",
    parameters=80_452_000,  # the sum of the appendix's matrices, and biases; the paper states none
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
        source_vocabulary, target_vocabulary: their numbers of tokens.
        embedding: the size of a token's vector.
        units: of the decoder.
        encoder_units: of the encoder, in either direction; by default as many as the decoder's.
        attention: "additive" (the paper's), or Luong's "dot" and "general"; "dot" needs encoder_units of half the
            decoder's.
        attention_units: of additive attention.
        maxout: units of the readout.
        cell: "gru" (the paper's) or "lstm".
        dropout: of embeddings, annotations and readout; the paper has none.
        recurrent_dropout: of the states in the recurrent products, one draw a sequence.
        word_dropout: the share of tokens, on either side, whose vectors are dropped whole (Gal & Ghahramani 2016, arXiv
            1512.05287, section 4.2, but a token at a time).
        tied: "none" (the paper's); "target": the target embeddings are also the output weights, which needs
            maxout = embedding; "all": and the source embeddings, which needs equal vocabularies.
    """
    return AttentionSeq2seqModel(**locals())
