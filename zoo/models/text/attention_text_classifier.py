"""Hierarchical attention: Yang, Yang, Dyer, He, Smola & Hovy 2016, "Hierarchical attention networks for document
classification", NAACL, https://aclanthology.org/N16-1174, Figure 2.

A GRU in both directions reads the words of each sentence, and attention makes a vector of them; a second one reads the
vectors of the sentences, and attention makes the vector of the document. The defaults are the sizes of section 3.3.

Deviations: dropout before the last layer, which the paper does not have.

Shapes: B batch, S sentences, W words of a sentence, D size of a vector, U units.
"""

import keras
from keras import layers

from zoo.layers.recurrent import LengthMask, Recurrent
from zoo.layers.words import ContextAttention, DividedSentences, JoinedSentences, WeightedSum, word_vectors
from zoo.registry import register_model


@register_model(
    task="text_classification",
    paper="Yang et al. 2016, Hierarchical attention networks for document classification, NAACL, "
    "https://aclanthology.org/N16-1174",
    parameters=6_141_802,
    tiny={"vocabulary": 30, "embedding": 8, "units": 6, "attention": 7, "dropout": 0.0},
)
def attention_text_classifier(
    vocabulary: int = 30_000,
    classes: int = 2,
    embedding: int = 200,
    units: int = 50,
    attention: int = 100,
    dropout: float = 0.0,
) -> keras.Model:
    """Attention over words and sentences, with GRUs in both directions.

    Args:
        vocabulary: the number of words.
        classes: number of classes; 0 gives the vector of the document as `embeddings`.
        embedding: the size of a word's vector.
        units: units of each GRU in each direction.
        attention: the size of the context vectors of words and sentences.
        dropout: fraction of the word vectors and of the document's vector dropped in training.

    Returns:
        A model {"tokens": (B, S, W), "word_counts": (B, S)} -> {"logits": (B, classes)}. A sentence of 0 words is
        padding. The layers `word_attention` and `sentence_attention` give the weights (B S, W) and (B, S).
    """
    tokens = keras.Input((None, None), dtype="int32", name="tokens")
    word_counts = keras.Input((None,), dtype="int32", name="word_counts")
    x = word_vectors(vocabulary, embedding)(JoinedSentences(name="words")(tokens))  # (B S, W, D)
    if dropout:
        x = layers.Dropout(dropout, name="word_dropout")(x)
    mask = LengthMask(name="word_mask")(x, JoinedSentences(name="counts")(word_counts))  # (B S, W)
    x = _attended(x, mask, units, attention, "word")  # (B S, 2 U)
    x = DividedSentences(name="sentences")(x, word_counts)  # (B, S, 2 U)
    x = _attended(x, word_counts > 0, units, attention, "sentence")  # (B, 2 U)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    inputs = {"tokens": tokens, "word_counts": word_counts}
    if classes == 0:
        return keras.Model(inputs, {"embeddings": x}, name="attention_text_classifier")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model(inputs, {"logits": logits}, name="attention_text_classifier")


def _attended(x, mask, units: int, attention: int, name: str):
    """Vectors (B, T, D) and a mask (B, T) -> their annotations in both directions, weighted (B, 2 U)."""
    sides = [Recurrent(units, "gru", reverse=side == "backward", name=f"{name}_{side}")(x, mask)[0]
             for side in ("forward", "backward")]  # fmt: skip
    annotations = layers.Concatenate(name=f"{name}_annotations")(sides)  # (B, T, 2 U)
    weights = ContextAttention(attention, name=f"{name}_attention")(annotations, mask)  # (B, T)
    return WeightedSum(name=f"{name}_sum")(annotations, weights)
