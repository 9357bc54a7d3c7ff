"""Pairs of embeddings: how well their distances tell pairs of one person from pairs of two."""

import numpy as np

from zoo.errors import ZooError

MOST = 10_000  # embeddings, of which each pair is compared: 50 million pairs


def distances(embeddings: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Euclidean distances of all pairs, each pair once.

    Args:
        embeddings: (N, D).
        people: (N,) numbers.

    Returns:
        The distances of pairs of the same person, and of pairs of different people, in ascending order.

    Raises:
        ZooError: a kind has no pairs, or N is more than MOST.
    """
    if len(people) > MOST:
        raise ZooError(f"{len(people):,} pictures have too many pairs to compare: take {MOST:,} or fewer (limit)")
    embeddings, same, different = np.asarray(embeddings, "float64"), [], []
    for row in range(len(people) - 1):
        others = np.sqrt(np.sum((embeddings[row + 1 :] - embeddings[row]) ** 2, axis=1)).astype("float32")
        is_same = people[row + 1 :] == people[row]
        same.append(others[is_same])
        different.append(others[~is_same])
    same, different = (np.sort(np.concatenate(own or [np.zeros(0)])) for own in (same, different))
    if not (len(same) and len(different)):
        missing = "no two pictures of the same person" if not len(same) else "pictures of one person only"
        raise ZooError(f"{missing}: two or more people are needed, with two or more pictures of a person")
    return same, different


def error_rates(same: np.ndarray, different: np.ndarray, threshold) -> tuple[np.ndarray, np.ndarray]:
    """(false accept rate, false reject rate) if a pair with a distance <= threshold counts as the same person."""
    accepted = np.searchsorted(different, threshold, side="right") / len(different)
    rejected = 1.0 - np.searchsorted(same, threshold, side="right") / len(same)
    return accepted, rejected


def equal_error_rate(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """(equal error rate, threshold): the mean of both error rates at the threshold where they differ least.

    Thresholds are the distances that occur. Of several that are equally good, the one with the least mean counts. The
    threshold lies half-way to the next distance that occurs, so that rounding does not move a pair.
    """
    thresholds = np.unique(np.concatenate([same, different]))
    accepted, rejected = error_rates(same, different, thresholds)
    total = len(same) * len(different)  # times which the rates are integers, and equal ones are equal
    gaps = np.abs(np.rint(accepted * total) - np.rint(rejected * total))
    best = int(np.lexsort((accepted + rejected, gaps))[0])
    threshold = float(np.mean(thresholds[best : best + 2]))
    return float(accepted[best] + rejected[best]) / 2.0, threshold


def area_under_curve(same: np.ndarray, different: np.ndarray) -> float:
    """The probability that a pair of the same person is nearer than one of different people; ties count as half."""
    below = np.searchsorted(different, same, side="left") + np.searchsorted(different, same, side="right")
    return float(1.0 - np.mean(below) / (2.0 * len(different)))


def accept_rate(same: np.ndarray, different: np.ndarray, false_accept_rate: float) -> float:
    """The greatest fraction of pairs of the same person that a threshold accepts at a false accept rate."""
    allowed = int(np.floor(false_accept_rate * len(different) + 1e-9))
    if allowed == len(different):
        return 1.0
    return float(np.searchsorted(same, different[allowed], side="left") / len(same))
