"""Vocabularies as assets of a preset: learned from training texts and opened from bytes; and tokens joined to words."""

import collections
import contextlib
import itertools
import json
import re
from collections.abc import Iterable

import tensorflow as tf

from zoo.preprocessing import text

PIECES = "sentencepiece.model"  # one vocabulary for both sides
SYMBOLS = {"source": "source_symbols.txt", "target": "target_symbols.txt"}
FREQUENT = {"words": "words.txt", "sentence_words": "words.txt", "characters": "characters.json"}  # most frequent ones
_SPLIT = {"words": text.words_of, "sentence_words": text.sentence_words_of, "characters": text.characters_of}
_FREQUENT = {"words": text.Words, "sentence_words": text.SentenceWords, "characters": text.Characters}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # the name of a piece that is a byte
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


def learn_frequent(tokens: str, size: int, texts: Iterable, least_count: int = 1) -> dict[str, bytes]:
    """The asset of a vocabulary of the most frequent tokens of texts.

    Args:
        tokens: "words", "sentence_words" or "characters".
        size: most tokens, the unknown one among them.
        texts: batches of texts, (B,) strings each.
        least_count: tokens that occur less often are left out.
    """
    split = _SPLIT[tokens]
    counts: collections.Counter = collections.Counter()
    for batch in texts:
        names, _, occurrences = tf.unique_with_counts(split(batch).flat_values)
        counts.update(dict(zip(names.numpy().tolist(), occurrences.numpy().tolist(), strict=True)))
    # equally frequent tokens in the order of their bytes, so that the vocabulary depends on the text alone
    common = [name for name, count in counts.items() if count >= least_count]
    chosen = sorted(common, key=lambda name: (-counts[name], name))[: size - 1]
    names = [name.decode("utf-8") for name in chosen]
    listed = json.dumps(names) if tokens == "characters" else "\n".join(names)
    return {FREQUENT[tokens]: listed.encode("utf-8")} if names else {}


def open_vocabulary(tokens: str, assets: dict[str, bytes], side: str):
    """The vocabulary of a side, "source" or "target", if sides differ; None if it is not among the assets."""
    asset = FREQUENT.get(tokens) or (PIECES if tokens == "pieces" else SYMBOLS[side])
    if asset not in assets:
        return None
    if tokens in FREQUENT:
        return _FREQUENT[tokens](assets[asset])
    return text.Pieces(assets[asset]) if tokens == "pieces" else text.Symbols(assets[asset], side == "source")


def words(vocabulary, ids: list[int]) -> list[tuple[str, int]]:
    """Token ids -> words, and the number of tokens of each.

    If the text has hardly any spaces, the parts of words: pieces, and characters that are encoded as bytes.
    """
    names = vocabulary.names(ids)
    if isinstance(vocabulary, text.Symbols):
        return [(name, 1) for name in names]
    parts, joined = _with_characters(names), []
    for name, count in parts:
        if name.startswith(text.WORD) or not joined or name == text.STOP:
            joined.append((name, count))
        else:
            joined[-1] = (joined[-1][0] + name, joined[-1][1] + count)
    shown = parts if len(ids) > CROWDED * len(joined) else joined
    return [(name.removeprefix(text.WORD), count) for name, count in shown]


def _with_characters(names: list[str]) -> list[tuple[str, int]]:
    """Names of pieces -> names and numbers of pieces, where the bytes of a character become the character.

    The mark of a word's beginning is a piece of its own before bytes; it joins the first character.
    """
    parts: list[tuple[str, int]] = []
    place, is_bare = 0, False
    while place < len(names):
        name, size = _first_part(names[place : place + 4])
        if is_bare and not name.startswith(text.WORD) and name != text.STOP:
            parts[-1] = (text.WORD + name, size + 1)
        else:
            parts.append((name, size))
        place, is_bare = place + size, name == text.WORD
    return parts


def _first_part(names: list[str]) -> tuple[str, int]:
    """The first name, or the first character of bytes, and its number of pieces; U+FFFD for any other byte."""
    content = bytes(int(match[1], 16) for match in itertools.takewhile(bool, map(_BYTE.fullmatch, names)))
    if not content:
        return names[0], 1
    for size in range(1, len(content) + 1):
        with contextlib.suppress(UnicodeDecodeError):
            return content[:size].decode(), size
    return "\ufffd", 1
