"""Transcripts of known words from the outputs of a CTC model, by a prefix beam search over a trie, in NumPy.

Graves & Jaitly 2014, "Towards end-to-end speech recognition with recurrent neural networks", section 4; Hannun et al.
2014, arXiv 1408.2873, algorithm 1. A transcript is words of a list with a space between them. Its score is

    log p_CTC(labels) + weight * log p(words) + bonus * number of words

where p(words) is that of a word bigram model, with the beginning and the end of the transcript. The search is outside
the graph, because its beams differ in what may follow.

Shapes: T steps, V classes with the blank, W words.
"""

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from zoo.decoding.ctc import BLANK
from zoo.errors import ZooError

LEAST = math.log(1e-6)  # a label that is less likely at a step is not tried there


class Hypothesis(NamedTuple):
    """A transcript.

    Attributes:
        labels: the classes of its characters.
        words: the numbers of its words.
        score: the sum above, in natural logarithms.
    """

    labels: list[int]
    words: list[int]
    score: float


class Lexicon:
    """A trie of words.

    Args:
        words: the words that a transcript may have; word n has the number n.
        alphabet: the characters; class n of the model is character n - 1.

    Raises:
        ZooError: the list of words is empty, or a word has a character that is not in the alphabet, a space in it, or
            none at all.
    """

    def __init__(self, words: list[str], alphabet: str):
        if not words:
            raise ZooError("the list of words is empty")
        self.words = words
        self.space = alphabet.find(" ") + 1  # BLANK, if words can't have one between them
        numbers = {character: number for number, character in enumerate(alphabet, start=1) if character != " "}
        self.root = _Node()
        for number, word in enumerate(words):
            if unknown := sorted(set(word) - numbers.keys()):
                listed = " ".join(map(repr, unknown))
                raise ZooError(f"the word {word!r} has characters that are not in the alphabet {alphabet!r}: {listed}")
            if not word:
                raise ZooError("a word has no characters")
            node = self.root
            for character in word:
                node = node.children.setdefault(numbers[character], _Node())
            node.word = number
            if self.space != BLANK:
                node.children[self.space] = self.root


class _Node:
    """A beginning of words.

    Attributes:
        children: class -> the beginning with one more character; a space after a word leads to the root.
        word: the number of the word that ends here, or None.
    """

    __slots__ = ("children", "word")

    def __init__(self):
        self.children: dict[int, _Node] = {}
        self.word: int | None = None


class _Prefix:
    """The labels of a beam. There is one object for the same labels, so it is the key of its probabilities.

    Attributes:
        parent, label: the labels before the last one, and the last one; None and BLANK if there are none.
        node: the place of the unfinished word in the trie.
        before: the number of the word before it; the number of words at the beginning.
        bonus: what the words before it add to the score.
        children: label -> prefix, of those that were reached.
    """

    __slots__ = ("before", "bonus", "children", "label", "node", "parent")

    def __init__(self, parent, label: int, node: _Node, before: int, bonus: float):
        self.parent, self.label, self.node, self.before, self.bonus = parent, label, node, before, bonus
        self.children: dict[int, _Prefix] = {}

    def is_complete(self) -> bool:
        """Whether it is a transcript: nothing, or words of which the last is finished."""
        return self.parent is None or self.node.word is not None


def beam_search(
    log_probabilities: np.ndarray,
    lexicon: Lexicon,
    width: int = 100,
    following: Callable[[int], np.ndarray] | None = None,
    weight: float = 1.0,
    bonus: float = 0.0,
    least: float = LEAST,
) -> Hypothesis:
    """The best transcript of one item. With a width of all prefixes and without `least` it is the best of all.

    Args:
        log_probabilities: (T, V), natural logarithms; class 0 is the blank.
        lexicon: the words.
        width: number of beams; at least one of them is a whole transcript.
        following: the language model: the number of a word, or W at the beginning -> (W + 1,) natural log
            probabilities of the words after it, and of the end. None for a language model that gives all words 1.
        weight: of the language model.
        bonus: added for each word. A language model prefers few words, which a positive bonus makes up for.
        least: the least log probability of a label at a step that is tried.

    Raises:
        ZooError: width < 1.
    """
    if width < 1:
        raise ZooError(f"width must be an integer >= 1, got {width}")
    edge = len(lexicon.words)

    def gain(before: int, word: int) -> float:
        language = weight * float(following(before)[word]) if following else 0.0
        return language + (bonus if word != edge else 0.0)

    def extended(prefix: _Prefix, label: int, node: _Node) -> _Prefix:
        """The prefix with one more label, which leads to a node."""
        if node is lexicon.root:
            word = prefix.node.word
            child = _Prefix(prefix, label, node, word, prefix.bonus + gain(prefix.before, word))
        else:
            child = _Prefix(prefix, label, node, prefix.before, prefix.bonus)
        prefix.children[label] = child
        return child

    def whole(prefix: _Prefix, value: float) -> float:
        """The score of a complete prefix."""
        if prefix.parent is None:
            return value + prefix.bonus + gain(edge, edge)
        word = prefix.node.word
        return value + prefix.bonus + gain(prefix.before, word) + gain(word, edge)

    # Prefix -> log probabilities of its paths that end in the blank, and of the others.
    beams = {_Prefix(None, BLANK, lexicon.root, edge, 0.0): [0.0, -math.inf]}
    for row in np.asarray(log_probabilities, "float64").tolist():
        candidates: dict[_Prefix, list[float]] = {}
        for prefix, (blank, label) in beams.items():
            total = _add(blank, label)
            kept = candidates.setdefault(prefix, [-math.inf, -math.inf])
            kept[0] = total + row[BLANK]
            if prefix.label != BLANK:
                kept[1] = _add(kept[1], label + row[prefix.label])
            for new, node in prefix.node.children.items():
                if row[new] < least:
                    continue
                child = prefix.children.get(new) or extended(prefix, new, node)
                reached = candidates.setdefault(child, [-math.inf, -math.inf])
                # A repetition is a new label only after a blank.
                reached[1] = _add(reached[1], (blank if new == prefix.label else total) + row[new])
        beams = _pruned(candidates, width)
    totals = {prefix: _add(*values) for prefix, values in beams.items() if prefix.is_complete()}
    best = max(totals, key=lambda prefix: whole(prefix, totals[prefix]))
    labels, words = [], [] if best.parent is None else [best.node.word]
    prefix = best
    while prefix.parent is not None:
        labels.append(prefix.label)
        if prefix.label == lexicon.space:
            words.append(prefix.before)
        prefix = prefix.parent
    return Hypothesis(labels[::-1], words[::-1], whole(best, totals[best]))


def _pruned(candidates: dict[_Prefix, list[float]], width: int) -> dict[_Prefix, list[float]]:
    """The best beams, of which one is complete, so that the search ends with a transcript."""
    if len(candidates) <= width:
        return candidates
    scores = {prefix: _add(*values) + prefix.bonus for prefix, values in candidates.items()}
    best = heapq.nlargest(width, scores, key=scores.__getitem__)
    if not any(prefix.is_complete() for prefix in best):
        best[-1] = max((prefix for prefix in scores if prefix.is_complete()), key=scores.__getitem__)
    return {prefix: candidates[prefix] for prefix in best}


def _add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))"""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))
