"""Embeddings of a translator's source and target, which may share weights with the output layer."""

from keras import layers

TIES = ("none", "target", "all")


def tied_embeddings(source_vocabulary: int, target_vocabulary: int, size: int, readout: int, tied: str) -> tuple:
    """The layers (source embedding, target embedding, output layer from a readout (..., readout) to logits).

    Args:
        source_vocabulary, target_vocabulary: the number of tokens.
        size: the size of a token's vector.
        readout: the size of the readout.
        tied: "none"; "target", the target's vectors are also the output weights (Press & Wolf 2017, arXiv 1608.05859);
            or "all", and also the source's vectors.

    Raises:
        ValueError: sizes that can't be shared.
    """
    if tied not in TIES:
        raise ValueError(f"tied must be one of {', '.join(TIES)}, got {tied!r}")
    if tied == "none":
        source = layers.Embedding(source_vocabulary, size, name="source_embedding")
        target = layers.Embedding(target_vocabulary, size, name="target_embedding")
        return source, target, layers.Dense(target_vocabulary, name="head")
    if readout != size:
        raise ValueError(f"tied embeddings need a readout of their size {size}, got {readout}")
    target = layers.ReversibleEmbedding(target_vocabulary, size, name="target_embedding")
    if tied == "target":
        source = layers.Embedding(source_vocabulary, size, name="source_embedding")
    elif source_vocabulary == target_vocabulary:
        source = target
    else:
        raise ValueError(f"tied='all' needs equal vocabularies, got {source_vocabulary} and {target_vocabulary}")
    return source, target, lambda readout: target(readout, reverse=True)


def target_embeddings(vocabulary: int, size: int, readout: int, tied: str) -> tuple:
    """The layers (embedding, output layer from a readout (..., readout) to logits) of a model without source tokens.

    Args:
        vocabulary: the number of tokens.
        size: the size of a token's vector.
        readout: the size of the readout.
        tied: "none", or "target" as in `tied_embeddings`.

    Raises:
        ValueError: sizes that can't be shared.
    """
    if tied not in TIES[:2]:
        raise ValueError(f"tied must be one of {', '.join(TIES[:2])}, got {tied!r}")
    return tied_embeddings(1, vocabulary, size, readout, tied)[1:]
