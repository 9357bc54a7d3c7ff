"""N-grams with Kneser-Ney smoothing: sums, and numbers worked by hand."""

import numpy as np
import pytest

from zoo.ngrams import NGrams, _discounts

START, A, B, C = range(4)
TEXT = np.array([START, A, B, A, B, C])


def test_by_hand():
    """Unigrams a 2, b 2, c 1; bigrams sa 1, ab 2, ba 1, bc 1. Counts 1 to 4 do not all occur: a single discount each.

    Order 1 has n1 = 1 and n2 = 2, so D = 1/5. Before a stand s and b, before b stands a, before c stands b: the
    continuation counts are a 2, b 1, c 1, with n1 = 2, n2 = 1 and D = 2/4. Bigrams have n1 = 3, n2 = 1 and D = 3/5.
    """
    model = NGrams(TEXT, 2, size=4, vocabulary=3, start=START)
    first, second = model.probabilities(np.array([START, A, B, C, C]))
    unigram = {word: (count - 0.2 + 0.6 / 3) / 5 for word, count in ((A, 2), (B, 2), (C, 1))}
    np.testing.assert_allclose(first[1:], [unigram[A], unigram[B], unigram[C], unigram[C]])
    lower = {word: (count - 0.5 + 1.5 / 3) / 4 for word, count in ((A, 2), (B, 1), (C, 1))}
    after_start = (1 - 0.6) / 1 + 0.6 * lower[A]
    after_a = (2 - 0.6) / 2 + 0.6 / 2 * lower[B]
    after_b = (1 - 0.6) / 2 + 1.2 / 2 * lower[C]
    np.testing.assert_allclose(second[1:], [after_start, after_a, after_b, lower[C]])  # nothing follows c
    assert np.isnan(first[0])
    assert model.perplexities(TEXT)[0] == pytest.approx(
        np.exp(-np.mean(np.log([unigram[word] for word in (A, B, A, B, C)])))
    )


def test_discounts():
    counts = np.repeat([1, 2, 3, 4, 9], [10, 5, 4, 2, 7])
    np.testing.assert_allclose(_discounts(counts), [0, 1 - 2 * 0.5 * 0.5, 2 - 3 * 0.5 * 0.8, 3 - 4 * 0.5 * 0.5])
    np.testing.assert_allclose(_discounts(np.array([1, 1, 2])), [0, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("history", [[START], [START, 3], [START, 5, 2], [START, 4, 4, 4], [START, 9, 1, 2, 3]])
def test_probabilities_sum_to_one(history):
    """After seen and unseen histories, in every order."""
    random = np.random.default_rng(0)
    texts = [np.concatenate([[START], 1 + np.minimum(random.geometric(0.3, 300) - 1, 8)]) for _ in range(5)]
    model = NGrams(np.concatenate(texts), 4, size=11, vocabulary=10, start=START)
    last = [model.probabilities(np.array([*history, word]))[:, -1] for word in range(1, 11)]
    np.testing.assert_allclose(np.sum(last, axis=0), np.ones(4))
    assert np.min(last) > 0


def test_the_text_before_another_is_no_history():
    model = NGrams(np.array([START, A, B, START, C]), 3, size=4, vocabulary=3, start=START)
    across = model.probabilities(np.array([START, A, B, START, C]))[:, -1]
    np.testing.assert_allclose(across, model.probabilities(np.array([START, C]))[:, -1])


def test_bigrams_and_their_counts_are_enough_for_order_2():
    random = np.random.default_rng(1)
    texts = [np.concatenate([[10], np.minimum(random.geometric(0.3, 200) - 1, 8)]) for _ in range(3)]
    text = np.concatenate(texts)
    pairs, counts = np.unique(
        [pair for own in texts for pair in zip(own, own[1:], strict=False)], axis=0, return_counts=True
    )
    model = NGrams(text, 2, size=11, vocabulary=10, start=10)
    same = NGrams.of_pairs(pairs[::-1], counts[::-1], size=11, vocabulary=10, start=10)
    np.testing.assert_allclose(same.probabilities(text), model.probabilities(text), rtol=1e-12)
    for token in (10, 0, 8, 9):  # the start, a common token, a rare one, and one that does not occur
        expected = [model.probabilities(np.array([token, word]))[1, 1] for word in range(10)]
        np.testing.assert_allclose(model.after(token)[:10], expected, rtol=1e-12)
        np.testing.assert_allclose(same.after(token)[:10], expected, rtol=1e-12)
        assert np.isnan(same.after(token)[10])
