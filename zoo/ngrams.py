"""N-gram language models with interpolated modified Kneser-Ney smoothing, in NumPy.

Chen & Goodman 1998, "An empirical study of smoothing techniques for language modeling", TR-10-98, Harvard, section 3.
The probability of a word w after a history h is

    p(w | h) = (max(c(h w) - D(c(h w)), 0) + (D1 N1(h) + D2 N2(h) + D3 N3(h)) p(w | h')) / c(h)

where h' is h without its first word, and N1, N2, N3 are the numbers of words that follow h once, twice and more often.
c counts occurrences in the highest order; in lower orders, it is the number of different words that precede (h w). The
unigrams are interpolated with the uniform distribution over the vocabulary.
"""

import dataclasses

import numpy as np

MOST = 3  # counts from MOST on have the same discount


@dataclasses.dataclass(frozen=True)
class _Order:
    """The n-grams of one order and their counts."""

    keys: np.ndarray  # (G,) int64, sorted: number of the history * tokens + last token
    counts: np.ndarray  # (G,) occurrences
    continuations: np.ndarray | None  # (G,) different words before; None for the highest order
    histories: np.ndarray  # (G,) number of the history, an n-gram of the order below


class NGrams:
    """Counts the n-grams of a text, up to an order.

    Args:
        tokens: (N,) integers; the token `start` stands where a text begins and is not predicted.
        order: the greatest order, such as 5.
        size: number of token ids.
        vocabulary: number of tokens that can occur in a text, for the uniform distribution.
        start: the token at the beginning of each text.
    """

    def __init__(self, tokens: np.ndarray, order: int, size: int, vocabulary: int, start: int):
        self.order, self.size, self.vocabulary, self.start = order, size, vocabulary, start
        tokens = np.asarray(tokens, np.int64)
        self.orders: list[_Order] = []
        before = np.zeros(len(tokens), np.int64)  # the number of the n-gram of the order below that ends at a place
        for n in range(1, order + 1):
            keys, valid = self._keys(tokens, before, n)
            unique, first, numbers, counts = np.unique(
                keys[valid], return_index=True, return_inverse=True, return_counts=True
            )
            place = np.flatnonzero(valid)[first]  # of the first occurrence of each n-gram
            if n > 1:
                # An n-gram at the beginning of a text has no word before it, but is the only one: it keeps its count.
                below = self.orders[-1]
                different = np.bincount(before[place], minlength=len(below.keys))
                continuations = np.where(different > 0, different, below.counts)
                self.orders[-1] = dataclasses.replace(below, continuations=continuations)
            else:
                counts = np.where(unique % size == start, 0, counts)  # never predicted, but part of histories
            self.orders.append(_Order(unique, counts, None, unique // size))
            del keys, first, place
            after = np.full(len(tokens), -1, np.int64)
            after[valid] = numbers
            before = after

    @classmethod
    def of_pairs(cls, pairs: np.ndarray, counts: np.ndarray, size: int, vocabulary: int, start: int) -> "NGrams":
        """The model of order 2 of a text of which only the bigrams are known.

        Args:
            pairs: (G, 2) different bigrams, none of which ends with `start`.
            counts: (G,) their counts in the text.
            size, vocabulary, start: as for a text.
        """
        model = cls(np.zeros(0, np.int64), 0, size, vocabulary, start)
        pairs, counts = np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(counts, np.int64)
        keys = pairs[:, 0] * size + pairs[:, 1]
        order = np.argsort(keys)
        last = pairs[:, 1]
        occurrences = np.bincount(last, counts, size).astype(np.int64)
        different = np.bincount(last, minlength=size)
        words = np.arange(size)
        model.order = 2
        model.orders = [
            _Order(words, occurrences, different, np.zeros(size, np.int64)),
            _Order(keys[order], counts[order], None, pairs[order, 0]),
        ]
        return model

    def after(self, token: int) -> np.ndarray:
        """(size,) float64, the probability of each token after a token, by the model of order 2; NaN for `start`."""
        pairs = np.stack([np.full(self.size, token), np.arange(self.size)], axis=1)
        return self.probabilities(pairs.ravel())[1, 1::2]

    def _keys(self, tokens, before, n) -> tuple[np.ndarray, np.ndarray]:
        """The key of the n-gram that ends at each place, and whether there is one inside the text."""
        if n == 1:
            return tokens, np.ones(len(tokens), bool)
        history = np.concatenate([[-1], before[:-1]])
        return history * self.size + tokens, (history >= 0) & (tokens != self.start)

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """(N,) tokens of a text -> (order, N) float64, the probability of each by the model of each order.

        Start tokens have the probability NaN.
        """
        tokens = np.asarray(tokens, np.int64)
        lower = np.full(len(tokens), 1.0 / self.vocabulary)
        before, results = np.zeros(len(tokens), np.int64), []
        for n, grams in enumerate(self.orders, start=1):
            keys, valid = self._keys(tokens, before, n)
            place = np.minimum(np.searchsorted(grams.keys, keys), len(grams.keys) - 1)
            after = np.where(valid & (grams.keys[place] == keys), place, -1)
            history = np.zeros(len(tokens), np.int64) if n == 1 else np.where(valid, keys // self.size, -1)
            results.append(self._interpolated(grams, grams.counts, after, history, lower))
            if grams.continuations is not None:
                lower = self._interpolated(grams, grams.continuations, after, history, lower)
            before = after
        return np.where(tokens == self.start, np.nan, np.stack(results))

    def _interpolated(self, grams, counts, found, history, lower):
        histories = np.zeros_like(grams.histories) if grams is self.orders[0] else grams.histories
        discounts = _discounts(counts)[np.minimum(counts, MOST)]  # (G,)
        sums = np.bincount(histories, counts)
        freed = np.bincount(histories, discounts)
        own = np.where(found >= 0, np.maximum(counts - discounts, 0.0)[found], 0.0)
        is_known = (history >= 0) & (history < len(sums))
        history = np.where(is_known, history, 0)
        total = sums[history]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(is_known & (total > 0), (own + freed[history] * lower) / total, lower)

    def perplexities(self, tokens: np.ndarray) -> list[float]:
        """The perplexity of a text by the model of each order."""
        return [float(np.exp(-np.nanmean(np.log(each)))) for each in self.probabilities(tokens)]


def _discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of the counts 0, 1, 2, and 3 or more (equation 26).

    If some of the counts 1 to 4 do not occur, as in a short text, all discounts are that of Kneser & Ney 1995.
    """
    n1, n2, n3, n4 = (np.count_nonzero(counts == number) for number in range(1, 5))
    y = n1 / (n1 + 2 * n2) if n1 else 0.5
    if not all((n1, n2, n3, n4)):
        return np.array([0.0, y, y, y])
    return np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
