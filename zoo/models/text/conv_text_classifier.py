"""A convolutional network over the vectors of words: Kim 2014, "Convolutional neural networks for sentence
classification", arXiv 1408.5882, Figure 1.

Convolutions of several widths see windows of words; the greatest value of each map over time goes to the last layer.
The defaults are those of section 3.1. With the argument `channels` and the task's setting `vectors`, the network is any
of the four of section 3.2: CNN-rand (no vectors), CNN-static, CNN-non-static and CNN-multichannel.

Shapes: B batch, T words, D size of a vector, W width of a convolution, M maps.
"""

import keras
from keras import layers

from zoo.layers.frames import FrameMask, FrameMaximum
from zoo.layers.words import word_vectors
from zoo.registry import register_model

CHANNELS = ("trained", "static", "both")


@register_model(
    task="text_classification",
    paper="Kim 2014, Convolutional neural networks for sentence classification, arXiv 1408.5882",
    parameters=5_991_602,  # of CNN-rand on the 18,765 words of MR
    tiny={"vocabulary": 30, "embedding": 12, "widths": (2, 3), "maps": 10, "dropout": 0.0},
)
def conv_text_classifier(
    vocabulary: int = 18_769,
    classes: int = 2,
    embedding: int = 300,
    widths: tuple[int, ...] = (3, 4, 5),
    maps: int = 100,
    channels: str = "trained",
    word_dropout: float = 0.0,
    dropout: float = 0.5,
    max_norm: float = 3.0,
) -> keras.Model:
    """Convolutional network over words, with the maximum over time.

    Args:
        vocabulary: the number of words.
        classes: number of classes; 0 gives the maxima as `embeddings`.
        embedding: the size of a word's vector.
        widths: words in the window of each convolution.
        maps: maps of each convolution.
        channels: "trained", vectors that training changes; "static", vectors that stay as they are; "both": a window
            of both, where each filter is applied to both and the results are added.
        word_dropout: fraction of the words whose vectors are dropped in training, which the paper does not do.
        dropout: fraction of the maxima dropped in training.
        max_norm: greatest length of the weights of a class in the last layer.

    Returns:
        A model {"tokens": (B, T), "token_count": (B,)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: no widths, or unknown channels.
    """
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must be integers >= 1, got {tuple(widths)}")
    if channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(CHANNELS)}, got {channels!r}")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    token_count = keras.Input((), dtype="int32", name="token_count")
    x = word_vectors(vocabulary, embedding, trainable=channels != "static")(tokens)  # (B, T, D)
    if channels == "both":
        # The convolution of a sum is the sum of the convolutions.
        static = word_vectors(vocabulary, embedding, "static_embedding", trainable=False)(tokens)
        x = layers.Add(name="both")([x, static])
    if word_dropout:
        x = layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout")(x)
    x = FrameMask(name="mask")(x, token_count)
    maxima = []
    for width in widths:
        # Every window with a word of the text, as in the program of the paper.
        padded = layers.ZeroPadding1D(width - 1, name=f"pad{width}")(x) if width > 1 else x
        convolution = layers.Conv1D(maps, width, activation="relu", kernel_initializer="he_normal", name=f"conv{width}")
        windows = convolution(padded)  # (B, T + W - 1, M)
        maxima.append(FrameMaximum(width - 1, name=f"maximum{width}")(windows, token_count))  # (B, M)
    x = layers.Concatenate(name="maxima")(maxima) if len(maxima) > 1 else maxima[0]
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    inputs = {"tokens": tokens, "token_count": token_count}
    if classes == 0:
        return keras.Model(inputs, {"embeddings": x}, name="conv_text_classifier")
    limit = keras.constraints.MaxNorm(max_norm, axis=0)
    logits = layers.Dense(classes, kernel_constraint=limit, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model(inputs, {"logits": logits}, name="conv_text_classifier")
