"""Image captioning through one vector: Vinyals et al. 2015, "Show and tell: A neural image caption generator",
arXiv 1411.4555.

The embedding of the image is the first input of an LSTM, before the start token (equations 10 to 12). The LSTM sees the
image only once.

Differences from the paper: the encoder is any image classifier of the registry (the paper: GoogLeNet); its last feature
maps, if it has any, are averaged; the output weights may be the token embeddings.
"""

import keras
from keras import layers, ops

from zoo.layers.embedding import target_embeddings
from zoo.layers.grids import grid_model, grid_of
from zoo.layers.model import GeneratorModel
from zoo.layers.recurrent import Recurrent
from zoo.registry import register_model


@keras.saving.register_keras_serializable("zoo")
class ShowAndTellModel(GeneratorModel):
    """The model of `show_and_tell`, with the same arguments; a generator for `zoo.decoding`.

    Inputs: `image` (B, h, w, C); `target` (B, T), the tokens before those to predict. Output: `logits` (B, T, V).
    """

    attends = False
    shares_memory = True  # a step does not read the memory

    def __init__(self, encoder, name="show_and_tell", **arguments):
        self.arguments = {"encoder": encoder, **arguments}
        embedding, units, dropout = arguments["embedding"], arguments["units"], arguments["dropout"]
        self.encoder = encoder
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.image_embedding = layers.Dense(embedding, name="image_embedding")
        self.target_embedding, self.head = target_embeddings(
            arguments["target_vocabulary"], embedding, arguments["readout"] or units, arguments["tied"]
        )
        self.drop_words = layers.Dropout(arguments["word_dropout"], noise_shape=(None, None, 1), name="word_dropout")
        self.drop_image = layers.Dropout(dropout, name="image_dropout")
        self.drop_target = layers.Dropout(dropout, name="target_dropout")
        self.drop_readout = layers.Dropout(dropout, name="readout_dropout")
        self.decoder = Recurrent(units, "lstm", dropout=arguments["recurrent_dropout"], name="decoder")
        self.readout = layers.Dense(arguments["readout"], name="readout") if arguments["readout"] else None
        image = keras.Input(encoder.input["image"].shape[1:], name="image")
        target = keras.Input((None,), dtype="int32", name="target")
        first = self._embedded({"image": image})
        embedded = self.drop_target(self.drop_words(self.target_embedding(target)))
        sequence = layers.Concatenate(axis=1, name="sequence")([layers.Reshape((1, embedding))(first), embedded])
        states, _ = self.decoder(sequence)
        states = layers.Cropping1D((1, 0), name="states")(states)  # without the image's
        super().__init__({"image": image, "target": target}, {"logits": self._logits(states)}, name=name)

    def _embedded(self, inputs):
        """-> (B, E), the embedding of the image."""
        return self.drop_image(self.image_embedding(self.pool(grid_of(self.encoder, inputs))))

    def _logits(self, states):
        states = self.readout(states) if self.readout else states
        return self.head(self.drop_readout(states))

    def encode(self, inputs):
        return {"image": self._embedded(inputs)}

    def initial_state(self, memory):
        cell = self.decoder.cell
        return {"states": cell.advance(cell(memory["image"]), cell.first(ops.shape(memory["image"])[0]))}

    def step(self, tokens, state, memory, beams: int = 1):
        cell = self.decoder.cell
        states = cell.advance(cell(self.target_embedding(tokens)), state["states"])
        return self._logits(states[0]), {"states": states}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = config["encoder"]  # a model, or the configuration of one in a .keras file
        if isinstance(encoder, dict):
            encoder = keras.saving.deserialize_keras_object(encoder, custom_objects)
        return super().from_config({**config, "encoder": encoder}, custom_objects)


@register_model(
    task="captioning",
    paper="Vinyals et al. 2015, Show and tell: A neural image caption generator, arXiv 1411.4555",
    parameters=16_376_080,  # with EfficientNet-Lite0 and 10,000 tokens; the paper does not state a number
    parts={"encoder": "image_classification"},
    settings_from="encoder",
    tiny={
        "encoder": {"model": "lenet5_modern", "overrides": {"classes": 0}},
        "target_vocabulary": 30, "embedding": 10, "units": 8, "dropout": 0.0,
    },
)  # fmt: skip
def show_and_tell(
    encoder: str | keras.Model = "efficientnet_lite0",
    target_vocabulary: int = 10_000,
    embedding: int = 512,
    units: int = 512,
    dropout: float = 0.5,
    recurrent_dropout: float = 0.0,
    word_dropout: float = 0.0,
    readout: int | None = None,
    tied: str = "none",
) -> keras.Model:
    """A captioner that sees the image once, as its first input: image and tokens in, logits of the next token out.

    Args:
        encoder: an image classifier with feature maps, whose mean is embedded.
        target_vocabulary: the number of tokens.
        embedding: the size of the embeddings of image and tokens.
        units: units of the LSTM.
        dropout: dropout rate of embeddings and states.
        recurrent_dropout: dropout rate of the state in the recurrent products; masks are drawn once per caption.
        word_dropout: the fraction of tokens whose whole vectors are dropped.
        readout: a linear layer between the LSTM and the output has this size; by default (the paper's) there is none.
        tied: "none" (the paper's), or "target": the token embeddings are also the output weights, which needs a
            readout (or units) of the size of the embedding.

    Raises:
        ValueError: the encoder has no feature maps with an extent.
    """
    return ShowAndTellModel(
        grid_model(encoder),
        target_vocabulary=target_vocabulary,
        embedding=embedding,
        units=units,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        word_dropout=word_dropout,
        readout=readout,
        tied=tied,
    )
