"""The search for known words against all paths, one by one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.decoding.lexicon import Lexicon, beam_search
from zoo.errors import ZooError

ALPHABET = " ab"
LISTS = [["a"], ["ab", "b"], ["a", "ab", "bb"], ["aa", "b", "ba"]]


def collapsed(path) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def sums_of(values: np.ndarray) -> dict[str, float]:
    """Every text that (T, V) log probabilities can write, with its log probability."""
    sums: dict[str, float] = {}
    for path in itertools.product(range(values.shape[1]), repeat=len(values)):
        text = "".join(ALPHABET[label - 1] for label in collapsed(path))
        sums[text] = sums.get(text, 0.0) + math.exp(sum(values[step, label] for step, label in enumerate(path)))
    return {text: math.log(value) for text, value in sums.items()}


def random_model(seed: int, size: int):
    table = np.log(np.random.default_rng(seed).dirichlet(np.ones(size + 1), size + 1))
    return table, lambda word: table[word]


def scores_of(values, words, table, weight, bonus) -> dict[str, float]:
    """The scores of all transcripts of known words."""
    scores = {}
    for text, value in sums_of(values).items():
        parts = text.split(" ") if text else []
        if set(parts) <= set(words):
            numbers = [len(words), *map(words.index, parts), len(words)]
            language = sum(table[pair] for pair in itertools.pairwise(numbers))
            scores[text] = value + weight * language + bonus * len(parts)
    return scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5), st.sampled_from(LISTS), st.sampled_from([0.0, 0.7]),
       st.sampled_from([-1.0, 0.0, 1.5]))  # fmt: skip
def test_with_a_width_of_all_it_gives_the_best_of_all(seed, steps, words, weight, bonus):
    logits = np.random.default_rng(seed).normal(0, 2, (steps, 4))
    values = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    table, following = random_model(seed, len(words))
    scores = scores_of(values, words, table, weight, bonus)
    best = max(scores, key=scores.__getitem__)
    found = beam_search(values, Lexicon(words, ALPHABET), 10_000, following, weight, bonus, -math.inf)
    assert "".join(ALPHABET[label - 1] for label in found.labels) == best
    assert " ".join(words[word] for word in found.words) == best
    assert found.score == pytest.approx(scores[best])
    # Fewer beams have a transcript too, which is not better.
    narrow = beam_search(values, Lexicon(words, ALPHABET), 2, following, weight, bonus)
    assert narrow.score <= found.score + 1e-9
    assert "".join(ALPHABET[label - 1] for label in narrow.labels) in scores


def almost_certain(path: str, other: float = 1e-3) -> np.ndarray:
    """One class per step with most of the probability; "-" is the blank."""
    numbers = ["- ab".index(letter) for letter in path]
    return np.log(np.where(np.eye(4)[numbers] > 0, 1 - 3 * other, other))


def test_a_misspelled_word_becomes_a_known_one():
    values = almost_certain("a-b-a- -bb")  # "aba b"
    found = beam_search(values, Lexicon(["ab", "b", "bb"], ALPHABET))
    assert found.words == [0, 1]
    assert [ALPHABET[label - 1] for label in found.labels] == ["a", "b", " ", "b"]


def test_the_language_model_chooses_between_words_that_sound_alike():
    values = np.log(np.array([[0.02, 0.01, 0.5, 0.47]]))  # a single step: "a" or "b"
    table = np.log([[0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [0.1, 0.9, 1e-9]])  # a transcript begins with "b"
    lexicon = Lexicon(["a", "b"], ALPHABET)
    assert beam_search(values, lexicon).words == [0]
    assert beam_search(values, lexicon, following=lambda word: table[word]).words == [1]
    assert beam_search(values, lexicon, following=lambda word: table[word], weight=0.01).words == [0]


def test_an_unfinished_word_is_left_out():
    """A narrow beam would end between words, or inside of one: its last place is that of a whole transcript."""
    lexicon = Lexicon(["a", "bbbb"], ALPHABET)
    for width in (1, 2, 30):
        labels, words, score = beam_search(almost_certain("a- "), lexicon, width)
        assert (labels, words) == ([2], [0])
        assert score == pytest.approx(math.log(0.997 * 0.997 * 1e-3), abs=0.01)
    labels, words, score = beam_search(almost_certain("-b-b-"), lexicon, width=1)
    assert (labels, words) == ([], [])
    assert score == pytest.approx(3 * math.log(0.997) + 2 * math.log(1e-3))


def test_without_a_space_there_is_one_word():
    values = almost_certain("a-b")[:, [0, 2, 3]]
    lexicon = Lexicon(["a", "b"], "ab")
    assert beam_search(values, lexicon, bonus=50.0).words in ([0], [1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "^the list of words is empty$"),
        (["ab", "cab!"], "^the word 'cab!' has characters that are not in the alphabet ' ab': '!' 'c'$"),
        (["a b"], "^the word 'a b' has characters that are not in the alphabet ' ab': ' '$"),
        (["a", ""], "^a word has no characters$"),
    ],
)
def test_bad_words_are_refused(words, message):
    with pytest.raises(ZooError, match=message):
        Lexicon(words, ALPHABET)


def test_a_width_of_zero_is_refused():
    with pytest.raises(ZooError, match="^width must be an integer >= 1, got 0$"):
        beam_search(np.zeros((1, 4)), Lexicon(["a"], ALPHABET), width=0)
