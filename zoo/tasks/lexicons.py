"""The words that a recogniser may write: those of its training transcripts with a bigram model, or a user's own."""

import collections
import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.decoding.lexicon import Lexicon
from zoo.errors import InputError, ZooError
from zoo.ngrams import NGrams
from zoo.tasks.raw.files import content_of

# The asset: a word, a tab, the word after it, a tab and their count in the training transcripts. The word before the
# first one and the word after the last one are empty.
PAIRS = "word_pairs.tsv"
EDGE = ""


class Words(NamedTuple):
    """A lexicon, and the language model as `decoding.lexicon.beam_search` takes it, or None."""

    lexicon: Lexicon
    following: Callable[[int], np.ndarray] | None


def pairs_of(transcripts: Iterable[str]) -> bytes:
    """The content of the asset."""
    counts = collections.Counter()
    for transcript in transcripts:
        words = [EDGE, *transcript.split(), EDGE]
        counts.update(zip(words, words[1:], strict=False))
    return "".join(f"{first}\t{second}\t{count}\n" for (first, second), count in sorted(counts.items())).encode()


def of_pairs(content: bytes, alphabet: str) -> Words:
    """The words of the asset, with a bigram model (interpolated modified Kneser-Ney smoothing) of their transcripts."""
    rows = [line.split("\t") for line in content.decode("utf-8").split("\n") if line]
    words = sorted({word for first, second, _ in rows for word in (first, second)} - {EDGE})
    end, start = len(words), len(words) + 1
    numbers = {word: number for number, word in enumerate(words)}
    pairs = [(numbers.get(first, start), numbers.get(second, end)) for first, second, _ in rows]
    counts = [int(count) for _, _, count in rows]
    model = NGrams.of_pairs(np.array(pairs), np.array(counts), size=len(words) + 2, vocabulary=end + 1, start=start)

    @functools.cache
    def following(word: int) -> np.ndarray:
        return np.log(model.after(start if word == end else word)[: end + 1])

    return Words(Lexicon(words, alphabet), following)


def own(path: str | os.PathLike, alphabet: str) -> Words:
    """The words of a file, one per line, without a language model.

    Raises:
        ZooError: the file can't be read, or has no words, or a line is not a word in the alphabet.
    """
    try:
        text = content_of(Path(path), "a list of words").decode("utf-8-sig")
        lines = [line.strip() for line in text.splitlines()]
        for number, line in enumerate(lines, start=1):
            if len(line.split()) > 1:
                raise ZooError(f"line {number} has several words, {line!r}: write one word per line")
        return Words(Lexicon([*dict.fromkeys(line for line in lines if line)], alphabet), None)
    except UnicodeDecodeError:
        raise ZooError(f"the lexicon {path} is not a text in UTF-8") from None
    except (InputError, ZooError) as error:
        raise ZooError(f"the lexicon {path}: {error}") from None
