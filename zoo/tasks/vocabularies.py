"""Vocabularies as assets of a preset: learned from training texts and opened from bytes; and tokens joined to words."""

from zoo.preprocessing import text

PIECES = "sentencepiece.model"  # one vocabulary for both sides
SYMBOLS = {"source": "source_symbols.txt", "target": "target_symbols.txt"}
CROWDED = 4  # mean tokens per word; a text with more is not written in words and spaces


def learn(tokens: str, size: int, texts: dict[str, list[str]]) -> dict[str, bytes]:
    """The assets of vocabularies for training texts.

    Args:
        tokens: "pieces" or "spelling".
        size: most pieces.
        texts: the texts of each side, "source" and "target".
    """
    if tokens == "pieces":
        return {PIECES: text.train_pieces([item for side in texts.values() for item in side], size)}
    return {SYMBOLS[side]: text.symbols_of(items, side == "source") for side, items in texts.items()}


def open_vocabulary(tokens: str, assets: dict[str, bytes], side: str):
    """The vocabulary of a side, "source" or "target"; None if it is not among the assets."""
    asset = PIECES if tokens == "pieces" else SYMBOLS[side]
    if asset not in assets:
        return None
    return text.Pieces(assets[asset]) if tokens == "pieces" else text.Symbols(assets[asset], side == "source")


def words(vocabulary, ids: list[int]) -> list[tuple[str, int]]:
    """Token ids -> words, and the number of tokens of each; the tokens themselves if the text has hardly any spaces."""
    names = vocabulary.names(ids)
    if isinstance(vocabulary, text.Symbols):
        return [(name, 1) for name in names]
    joined: list[list] = []
    for name in names:
        if name.startswith(text.WORD) or not joined or name == text.STOP:
            joined.append([name.removeprefix(text.WORD), 1])
        else:
            joined[-1] = [joined[-1][0] + name, joined[-1][1] + 1]
    if len(ids) > CROWDED * len(joined):
        return [(name.removeprefix(text.WORD), 1) for name in names]
    return [tuple(word) for word in joined]
