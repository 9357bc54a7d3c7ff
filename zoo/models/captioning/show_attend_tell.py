"""Image captioning with attention: Xu et al. 2015, "Show, attend and tell: Neural image caption generation with visual
attention", arXiv 1502.03044, with its soft attention.

An encoder gives one annotation vector for each place of a grid over the image. At every step of the decoder, attention
computes the context: a mean of the annotations, weighted according to the decoder's state. An LSTM reads the last
token and the context, and a deep output layer reads the LSTM's state, the last token and the context.

Differences from the paper: the encoder is any convolutional image classifier of the registry (the paper: VGG), and a
linear layer may reduce its annotations; the output weights may be the token embeddings.
"""

import keras
from keras import layers, ops

from zoo.layers.attention import Attention, context_of
from zoo.layers.embedding import target_embeddings
from zoo.layers.grids import grid_model, grid_of
from zoo.layers.model import GeneratorModel
from zoo.layers.recurrent import Cell, dropped, scan
from zoo.registry import register_model

PADDING, END = 0, 2  # token ids


@keras.saving.register_keras_serializable("zoo")
class CaptionDecoder(layers.Layer):
    """An LSTM that attends to the annotations of an image at every step, with its state before the step as the query.

    Shapes: B batch, T target steps, S places, E embedding size, U units, D annotation size.

    Args:
        units: U.
        attention_units: the hidden size of additive attention.
        dropout: dropout rate of the state in the recurrent products; the mask is drawn once per caption.
    """

    def __init__(self, units: int, attention_units: int, dropout: float = 0.0, **options):
        super().__init__(**options)
        self.supports_jit = False  # XLA would recompile for every length
        policy = self.dtype_policy
        self.units, self.attention_units = units, attention_units
        self.first_h = layers.Dense(units, activation="tanh", dtype=policy, name="first_h")
        self.first_c = layers.Dense(units, activation="tanh", dtype=policy, name="first_c")
        self.cell = Cell(units, "lstm", dtype=policy, name="cell")
        self.context = layers.Dense(4 * units, use_bias=False, dtype=policy, name="context")
        self.attention = Attention("additive", attention_units, units, dtype=policy, name="attention")
        self.gate = layers.Dense(1, activation="sigmoid", dtype=policy, name="gate")
        self.dropout = layers.Dropout(dropout, dtype=policy, name="dropout")

    def build(self, embedded_shape, annotations_shape):
        for layer in (self.first_h, self.first_c, self.context, self.attention):
            layer.build(annotations_shape)
        self.cell.build(embedded_shape)
        self.gate.build((None, self.units))

    def call(self, embedded, annotations, training=None):
        """Teacher forcing.

        Args:
            embedded: (B, T, E), the embedded previous tokens.
            annotations: (B, S, D).

        Returns:
            The state after each step (B, T, U), its gated context (B, T, D) and its attention (B, T, S).
        """
        keys, states = self.attention(annotations), self.first(annotations)
        kept = dropped(self.dropout, states[0], training)
        products = ops.transpose(self.cell(embedded), (1, 0, 2))  # (T, B, gates)

        def step(states, products):
            after, context, weights = self.advance(products, states, keys, annotations, kept)
            return after, (after[0], context, weights[:, 0])

        _, outputs = scan(step, states, products)
        return tuple(ops.transpose(output, (1, 0, 2)) for output in outputs)

    def first(self, annotations):
        """The states before the first step, (B, U) each, from the mean annotation (section 3.1.2)."""
        mean = ops.mean(annotations, axis=1)
        return self.first_h(mean), self.first_c(mean)

    def advance(self, products, states, keys, annotations, kept=None, beams: int = 1):
        """One step: the states after it, the gated context (B * beams, D), and the attention (B, beams, S).

        Args:
            products: (B * beams, gates), the output of `cell` for the token; the rows of an item are consecutive.
            states: the states before the step, (B * beams, U) each.
            keys, annotations: (B, S, A) and (B, S, D).
            kept: as in `Cell.advance`.
            beams: the number of rows per item.
        """
        mask = ops.ones_like(keys[:, :, 0], dtype="bool")
        weights = self.attention.weigh(states[0], keys, mask, beams)
        context = self.gate(states[0]) * context_of(weights, annotations)  # beta of section 4.2.1
        return self.cell.advance(products + self.context(context), states, kept), context, weights

    def compute_output_spec(self, embedded, annotations, training=None):
        batch, time, _ = embedded.shape
        sizes = self.units, annotations.shape[-1], annotations.shape[1]
        return tuple(keras.KerasTensor((batch, time, size), dtype=self.compute_dtype) for size in sizes)

    def get_config(self):
        own = {"units": self.units, "attention_units": self.attention_units, "dropout": self.dropout.rate}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("zoo")
class DoublyStochastic(layers.Layer):
    """Doubly stochastic attention (equation 14): adds weight * sum_i (1 - sum_t alpha_ti)^2 to the loss in training.

    The sum over t covers the tokens of a caption without its padding. Equation 14 adds the penalty to the loss of a
    whole caption. The loss of a batch here is a mean over tokens, so the penalties, too, are divided by the tokens.
    """

    def __init__(self, weight: float, **options):
        super().__init__(**options)
        self.weight = weight

    def call(self, states, attention, target, training=None):
        """states (any shape), attention (B, T, S), target (B, T) -> states, unchanged."""
        if training and self.weight:
            # In `target`, the end stands before the first padding; nothing is predicted from either.
            valid = ops.cast(ops.logical_and(target != PADDING, target != END), "float32")  # (B, T)
            total = ops.sum(ops.cast(attention, "float32") * valid[:, :, None], axis=1)  # (B, S)
            is_caption = ops.max(valid, axis=1)  # (B,), 0 for a row of padding alone
            penalty = is_caption * ops.sum(ops.square(1.0 - total), axis=-1)
            self.add_loss(self.weight * ops.sum(penalty) / ops.maximum(ops.sum(valid), 1.0))
        return states

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable("zoo")
class ShowAttendTellModel(GeneratorModel):
    """The model of `show_attend_tell`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `image` (B, h, w, C); `target` (B, T), the tokens before those to predict. Output: `logits` (B, T, V).
    """

    attends = True
    shares_memory = True  # the beams of an item share one memory

    def __init__(self, encoder, name="show_attend_tell", **arguments):
        self.arguments = {"encoder": encoder, **arguments}
        embedding, units, dropout = arguments["embedding"], arguments["units"], arguments["dropout"]
        self.encoder = encoder
        rows, columns, depth = encoder.output["grid"].shape[1:]
        self.places = layers.Reshape((rows * columns, depth), name="places")
        reduced = arguments["annotation"]
        self.annotations = layers.Dense(reduced, name="annotations") if reduced else layers.Identity(name="annotations")
        self.target_embedding, self.head = target_embeddings(
            arguments["target_vocabulary"], embedding, embedding, arguments["tied"]
        )
        self.drop_words = layers.Dropout(arguments["word_dropout"], noise_shape=(None, None, 1), name="word_dropout")
        self.drop_annotations = layers.Dropout(dropout, name="annotation_dropout")
        self.drop_target = layers.Dropout(dropout, name="target_dropout")
        self.drop_output = layers.Dropout(dropout, name="output_dropout")
        self.decoder = CaptionDecoder(
            units, arguments["attention_units"], arguments["recurrent_dropout"], name="decoder"
        )
        self.doubly_stochastic = DoublyStochastic(arguments["doubly_stochastic"], name="doubly_stochastic")
        self.output_state = layers.Dense(embedding, name="output_state")
        self.output_context = layers.Dense(embedding, use_bias=False, name="output_context")
        self.output_sum = layers.Add(name="output_sum")
        image = keras.Input(encoder.input["image"].shape[1:], name="image")
        target = keras.Input((None,), dtype="int32", name="target")
        annotations = self.drop_annotations(self._annotated({"image": image}))
        embedded = self.drop_target(self.drop_words(self.target_embedding(target)))
        states, contexts, attention = self.decoder(embedded, annotations)
        states = self.doubly_stochastic(states, attention, target)
        inputs = {"image": image, "target": target}
        super().__init__(inputs, {"logits": self._logits(states, embedded, contexts)}, name=name)

    def _annotated(self, inputs):
        """-> annotations (B, S, D) of the image's places, row by row."""
        return self.annotations(self.places(grid_of(self.encoder, inputs)))

    def _logits(self, states, embedded, contexts):
        """State after the step, last token and context -> logits (equation 7)."""
        total = self.output_sum([embedded, self.output_state(states), self.output_context(contexts)])
        return self.head(self.drop_output(total))

    def encode(self, inputs):
        annotations = self._annotated(inputs)
        return {"annotations": annotations, "keys": self.decoder.attention(annotations)}

    def initial_state(self, memory):
        first = self.decoder.first(memory["annotations"])
        return {"states": first, "attention": ops.zeros_like(memory["keys"][:, :, 0])}

    def step(self, tokens, state, memory, beams: int = 1):
        embedded = self.target_embedding(tokens)
        products, keys, annotations = self.decoder.cell(embedded), memory["keys"], memory["annotations"]
        states, context, weights = self.decoder.advance(products, state["states"], keys, annotations, beams=beams)
        attention = ops.reshape(weights, (-1, keys.shape[1]))
        return self._logits(states[0], embedded, context), {"states": states, "attention": attention}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = config["encoder"]  # a model, or the configuration of one in a .keras file
        if isinstance(encoder, dict):
            encoder = keras.saving.deserialize_keras_object(encoder, custom_objects)
        return super().from_config({**config, "encoder": encoder}, custom_objects)


@register_model(
    task="captioning",
    paper="Xu et al. 2015, Show, attend and tell: Neural image caption generation with visual attention, "
    "arXiv 1502.03044",
    parameters=29_692_265,  # with EfficientNet-Lite0 and 10,000 tokens; the paper does not state a number
    parts={"encoder": "image_classification"},
    settings_from="encoder",
    tiny={
        "encoder": {"model": "lenet5_modern", "overrides": {"classes": 0}},
        "target_vocabulary": 30, "embedding": 10, "units": 8, "attention_units": 7, "dropout": 0.0,
    },
)  # fmt: skip
def show_attend_tell(
    encoder: str | keras.Model = "efficientnet_lite0",
    target_vocabulary: int = 10_000,
    embedding: int = 512,
    units: int = 1000,
    attention_units: int = 512,
    annotation: int | None = None,
    dropout: float = 0.5,
    recurrent_dropout: float = 0.0,
    word_dropout: float = 0.0,
    doubly_stochastic: float = 1.0,
    tied: str = "none",
) -> keras.Model:
    """A captioner that attends to places of an image: image and tokens in, logits of the next token out.

    Args:
        encoder: an image classifier with feature maps; its last ones are the annotations.
        target_vocabulary: the number of tokens.
        embedding: the size of a token's embedding, and of the deep output layer.
        units: units of the LSTM.
        attention_units: units of additive attention.
        annotation: a linear layer reduces the annotations to this size; by default (the paper's) none does.
        dropout: dropout rate of annotations, embeddings and the deep output layer.
        recurrent_dropout: dropout rate of the state in the recurrent products; masks are drawn once per caption.
        word_dropout: the fraction of tokens whose whole vectors are dropped.
        doubly_stochastic: the weight of doubly stochastic attention in the loss, lambda of equation 14.
        tied: "none" (the paper's), or "target": the token embeddings are also the output weights.

    Raises:
        ValueError: the encoder has no feature maps with an extent.
    """
    return ShowAttendTellModel(
        grid_model(encoder),
        target_vocabulary=target_vocabulary,
        embedding=embedding,
        units=units,
        attention_units=attention_units,
        annotation=annotation,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        word_dropout=word_dropout,
        doubly_stochastic=doubly_stochastic,
        tied=tied,
    )
