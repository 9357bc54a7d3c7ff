"""A long short-term memory network over the words of a text: Hochreiter & Schmidhuber 1997, "Long short-term memory",
Neural Computation 9, doi:10.1162/neco.1997.9.8.1735; on sentences, Tai, Socher & Manning 2015, arXiv 1503.00075.

The defaults are the bidirectional LSTM of Tai et al. for binary sentiment, table 1: 168 units in each direction, of
which the last states are joined.

Shapes: B batch, T words, D size of a vector, U units.
"""

import keras
from keras import layers

from zoo.layers.frames import FrameAverage, FrameMaximum
from zoo.layers.recurrent import LengthMask, Recurrent
from zoo.layers.words import word_vectors
from zoo.registry import register_model

STATES = ("last", "mean", "max")


@register_model(
    task="text_classification",
    paper="Tai, Socher & Manning 2015, Improved semantic representations from tree-structured long short-term memory "
    "networks, arXiv 1503.00075, the bidirectional LSTM",
    parameters=5_487_710,  # on the 16,185 words of the Stanford Sentiment Treebank
    tiny={"vocabulary": 30, "embedding": 8, "units": 6, "dropout": 0.0},
)
def lstm_text_classifier(
    vocabulary: int = 16_189,
    classes: int = 2,
    embedding: int = 300,
    units: int = 168,
    bidirectional: bool = True,
    state: str = "last",
    dropout: float = 0.5,
) -> keras.Model:
    """LSTM over words, in both directions or in one.

    Args:
        vocabulary: the number of words.
        classes: number of classes; 0 gives the joined states as `embeddings`.
        embedding: the size of a word's vector.
        units: units of the LSTM in each direction.
        bidirectional: whether a second LSTM reads the text from its end.
        state: what is classified: the "last" state of each direction, or the "mean" or the "max" of its states.
        dropout: fraction of the word vectors and of the joined states dropped in training.

    Returns:
        A model {"tokens": (B, T), "token_count": (B,)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: an unknown state.
    """
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}, got {state!r}")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    token_count = keras.Input((), dtype="int32", name="token_count")
    x = word_vectors(vocabulary, embedding)(tokens)  # (B, T, D)
    if dropout:
        x = layers.Dropout(dropout, name="word_dropout")(x)
    mask = LengthMask(name="mask")(x, token_count)  # (B, T)
    joined = []
    for side in ("forward", "backward") if bidirectional else ("forward",):
        states, last = Recurrent(units, "lstm", reverse=side == "backward", name=side)(x, mask)  # (B, T, U)
        if state == "last":
            joined.append(last[0])
        else:
            pool = FrameAverage if state == "mean" else FrameMaximum
            joined.append(pool(name=f"{state}_{side}")(states, token_count))
    x = layers.Concatenate(name="joined")(joined) if bidirectional else joined[0]  # (B, 2 U)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    inputs = {"tokens": tokens, "token_count": token_count}
    if classes == 0:
        return keras.Model(inputs, {"embeddings": x}, name="lstm_text_classifier")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model(inputs, {"logits": logits}, name="lstm_text_classifier")
