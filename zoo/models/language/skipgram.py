"""Skip-gram word vectors of Mikolov, Sutskever, Chen, Corrado & Dean 2013, arXiv 1310.4546.

Section 2.2, negative sampling: the vector of a word predicts the words around it. For a pair (word, context word) the
objective is log sigmoid(u_context . v_word) + the sum over k drawn words of log sigmoid(-u_drawn . v_word), where v are
the vectors of the words, which are kept, and u the vectors of the contexts.

The model scores a segment of text at once: each of its words against all words of the segment and of a halo of `window`
words on both sides, and against negatives that the words of the segment share. The paper draws k negatives per pair;
sharing them makes one product of matrices out of many short ones. The task weights the scores: pairs within the window,
nearer ones more, and the negatives.
"""

import keras
from keras import layers

from zoo.registry import register_model


@register_model(
    task="word_embedding",
    paper="Mikolov et al. 2013, Distributed representations of words and phrases and their compositionality, "
    "arXiv 1310.4546, section 2.2",
    variants={"skipgram": {}},
    parameters=415_200_000,
    tiny={"vocabulary": 20, "size": 8, "window": 2, "segment": 6, "negatives": 4},
)
def skipgram(
    vocabulary: int = 692_000,
    size: int = 300,
    window: int = 5,
    segment: int = 16,
    negatives: int = 16,
) -> keras.Model:
    """Skip-gram with negative sampling.

    Args:
        vocabulary: number of words V.
        size: size of a word's vector D.
        window: greatest distance between a word and a context word W.
        segment: number of words S of a segment. It changes the speed; no pair is lost at its ends.
        negatives: number of words K that are drawn for a segment.

    Returns:
        A model {"words": (B, S + 2 W), "negatives": (B, K)} -> {"logits": (B, S, S + 2 W + K)}, of the words of the
        segment without its halo, with all words and with the negatives. `embedding` has the vectors of the words.
    """
    words = keras.Input((segment + 2 * window,), dtype="int32", name="words")  # (B, L), L = S + 2 W
    drawn = keras.Input((negatives,), dtype="int32", name="negatives")  # (B, K)
    # The initial values of the authors' program word2vec: small for the words, zero for the contexts.
    uniform = keras.initializers.RandomUniform(-0.5 / size, 0.5 / size)
    vectors = layers.Embedding(vocabulary, size, uniform, name="embedding")(words)  # (B, L, D)
    vectors = layers.Cropping1D(window, name="without_halo")(vectors)  # (B, S, D)
    columns = layers.Concatenate(axis=1, name="columns")([words, drawn])  # (B, L + K)
    contexts = layers.Embedding(vocabulary, size, "zeros", name="context")(columns)  # (B, L + K, D)
    scores = layers.Dot(axes=2, name="scores")([vectors, contexts])  # (B, S, L + K)
    logits = layers.Activation("linear", dtype="float32", name="logits")(scores)
    return keras.Model({"words": words, "negatives": drawn}, {"logits": logits}, name="skipgram")
