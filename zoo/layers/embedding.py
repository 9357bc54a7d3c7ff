"""Embeddings of a translator's two sides, and the output weights that may be one of them."""

from keras import layers

TIES = ("none", "target", "all")


def tied_embeddings(source_vocabulary: int, target_vocabulary: int, size: int, readout: int, tied: str) -> tuple:
    """(source embedding, target embedding, what makes logits of a readout (..., readout)).

    Args:
        source_vocabulary, target_vocabulary: numbers of tokens.
        size: of a token's vector.
        readout: what the logits are made from.
        tied: "none"; "target", the target's vectors are the output weights, too (Press & Wolf 2017, arXiv 1608.05859);
            or "all", and the source's.

    Raises:
        ValueError: sizes that can't be shared.
    """
    if tied not in TIES:
        raise ValueError(f"tied {tied!r} is none of {', '.join(TIES)}")
    if tied == "none":
        source = layers.Embedding(source_vocabulary, size, name="source_embedding")
        target = layers.Embedding(target_vocabulary, size, name="target_embedding")
        return source, target, layers.Dense(target_vocabulary, name="head")
    if readout != size:
        raise ValueError(f"tied embeddings need a readout of their size: {readout}, not {size}")
    target = layers.ReversibleEmbedding(target_vocabulary, size, name="target_embedding")
    if tied == "target":
        source = layers.Embedding(source_vocabulary, size, name="source_embedding")
    elif source_vocabulary == target_vocabulary:
        source = target
    else:
        raise ValueError(f"tied = 'all' needs one vocabulary: {source_vocabulary}, not {target_vocabulary}")
    return source, target, lambda readout: target(readout, reverse=True)
