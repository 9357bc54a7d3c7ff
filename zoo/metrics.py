"""Metrics of a whole corpus, by the tools that the field uses."""

import collections
import math
import re
from collections.abc import Callable

import numpy as np


def translation_figures(hypotheses: list[str], targets: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """BLEU (Papineni et al. 2002) and chrF (Popovic 2015) by sacrebleu, 0 to 100, and their signatures.

    Cased, detokenised, one reference each. A signature records how sacrebleu computed the metric (Post 2018, arXiv
    1804.08771).
    """
    from sacrebleu.metrics import BLEU, CHRF

    figures, signatures = {}, {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        figures[name] = float(metric.corpus_score(hypotheses, [targets]).score)
        signatures[name] = f"sacrebleu {metric.get_signature()}"
    return figures, signatures


def bleu(hypotheses: list[str], targets: list[str]) -> float:
    """BLEU of a corpus, 0 to 100."""
    return translation_figures(hypotheses, targets)[0]["bleu"]


def pronunciation_figures(hypotheses: list[str], references: list[list[str]]) -> dict[str, float]:
    """Error rates of phonemes and words, each word compared with the nearest of its references.

    phoneme_error_rate: edits (substitutions, deletions, insertions) over the number of phonemes of the references;
    word_error_rate: the fraction of words that equal none of their references.
    """
    import jiwer

    edits = total = wrong = 0
    for hypothesis, known in zip(hypotheses, references, strict=True):
        counts = []
        for reference in known:
            output = jiwer.process_words(reference, hypothesis)
            counts.append((output.substitutions + output.deletions + output.insertions, len(reference.split())))
        least = min(counts, key=lambda pair: pair[0] / pair[1])
        edits, total, wrong = edits + least[0], total + least[1], wrong + (least[0] > 0)
    return {"phoneme_error_rate": edits / total, "word_error_rate": wrong / len(hypotheses)}


def transcription_figures(
    hypotheses: list[str], references: list[str]
) -> tuple[dict[str, float], None, dict[str, str]]:
    """Word and character error rate of transcripts: edits over the number of words, or characters, of the references.

    Returns:
        The metrics, None, and notes with the numbers of substitutions, insertions and deletions: the arguments of
        `zoo.tasks.task.Measured`. Words are what stands between spaces; characters include spaces.
    """
    import jiwer

    texts = [[text.split() for text in side] for side in (references, hypotheses)]
    letters = [[list(" ".join(words)) for words in side] for side in texts]
    figures, notes, as_is = {}, {}, jiwer.Compose([])
    for unit, (known, own) in (("word", texts), ("character", letters)):
        pairs = [pair for pair in zip(known, own, strict=True) if pair[0]]  # jiwer takes no empty references
        inserted = sum(len(b) for a, b in zip(known, own, strict=True) if not a)
        counts = {"substitutions": 0, "insertions": inserted, "deletions": 0}
        if pairs:
            output = jiwer.process_words(*map(list, zip(*pairs, strict=True)), as_is, as_is)
            counts = {kind: count + getattr(output, kind) for kind, count in counts.items()}
        total = sum(map(len, known))
        figures[f"{unit}_error_rate"] = sum(counts.values()) / max(total, 1)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        notes[f"{unit}_error_rate"] = f"{listed} in {total:,} {unit}s"
    return figures, None, notes


def by_length(lengths: list[int], figure: Callable[[np.ndarray], float], bins: int = 6) -> list[tuple[float, float]]:
    """A metric by length: the items are sorted by length and split into groups of about equal size.

    Args:
        lengths: the length of each item.
        figure: indices of items -> the metric of these items.
        bins: the number of groups.

    Returns:
        (mean length, metric) of each group.
    """
    order = np.argsort(lengths, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [(float(np.mean(np.take(lengths, group))), figure(group)) for group in groups]


def caption_figures(captions: list[str], references: list[list[str]]) -> tuple[dict[str, float], None, dict[str, str]]:
    """BLEU-1 to BLEU-4 (0 to 1), ROUGE-L and CIDEr-D of captions, each with several references.

    The metrics are those of the COCO caption evaluation (Chen et al. 2015, arXiv 1504.00325). Its Java tokenizer is
    replaced by `caption_words`.

    Returns:
        The metrics, None, and notes on how they were computed: the arguments of `zoo.tasks.task.Measured`.
    """
    from sacrebleu.metrics import BLEU

    captions = [caption_words(caption) for caption in captions]
    references = [[caption_words(reference) for reference in own] for own in references]
    # sacrebleu takes one list per reference; items with fewer references repeat their first one
    most = max(map(len, references))
    columns = [[" ".join(own[min(k, len(own) - 1)]) for own in references] for k in range(most)]
    texts = [" ".join(caption) for caption in captions]
    figures = {}
    for order in (1, 2, 3, 4):
        metric = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
        figures[f"bleu_{order}"] = metric.corpus_score(texts, columns).score / 100
    figures["rouge_l"] = float(np.mean([rouge_l(*pair) for pair in zip(captions, references, strict=True)]))
    figures["cider"] = float(np.mean(CiderD(references).scores(captions, references)))
    return figures, None, {}


def caption_words(text: str) -> list[str]:
    """The words of a caption in lower case, without punctuation; "dog's" is two words, "t-shirt" is one."""
    return re.findall(r"\w+(?:-\w+)*|'\w+", text.lower())


def rouge_l(words: list[str], references: list[list[str]], beta: float = 1.2) -> float:
    """ROUGE-L (Lin 2004): the F-measure of the longest common subsequence, with the best precision and recall."""
    common = [_longest_common(words, reference) for reference in references]
    precision = max(each / max(len(words), 1) for each in common)
    recall = max(each / max(len(own), 1) for each, own in zip(common, references, strict=True))
    if not precision * recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def _longest_common(words: list[str], others: list[str]) -> int:
    lengths = [0] * (len(others) + 1)
    for word in words:
        before = 0  # the length one row up and one column left
        for place, other in enumerate(others, start=1):
            above = lengths[place]
            lengths[place] = before + 1 if word == other else max(above, lengths[place - 1])
            before = above
    return lengths[-1]


class CiderD:
    """CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726, section 6), 0 to 10.

    Counts of n-grams are weighted by how few images have the n-gram in their references. Each order n gives a cosine
    similarity, with counts clipped to those of the reference and a Gaussian penalty on the difference in length; the
    score is 10 times the mean over orders and references.

    Args:
        corpus: the references of each image, as words, from which the weights are computed.
    """

    def __init__(self, corpus: list[list[list[str]]], orders: int = 4, sigma: float = 6.0):
        self.orders, self.sigma, self.total = orders, sigma, math.log(len(corpus))
        self.images = collections.Counter(
            gram for own in corpus for gram in {gram for reference in own for gram in _grams(reference, orders)}
        )

    def scores(self, captions: list[list[str]], references: list[list[list[str]]]) -> list[float]:
        """The score of each caption against its references, all as words; 0 for a caption without references."""
        return [self._score(*pair) for pair in zip(captions, references, strict=True)]

    def _score(self, caption: list[str], references: list[list[str]]) -> float:
        vector, score = self._vectors(caption), 0.0
        for reference in references:
            # Lengths are numbers of bigrams, as in the COCO tools.
            difference = max(len(caption) - 1, 0) - max(len(reference) - 1, 0)
            penalty = math.exp(-(difference**2) / (2 * self.sigma**2))
            for (mine, norm), (theirs, other_norm) in zip(vector, self._vectors(reference), strict=True):
                product = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in mine.items())
                score += penalty * product / (norm * other_norm) if norm and other_norm else 0.0
        return 10.0 * score / self.orders / max(len(references), 1)

    def _vectors(self, words: list[str]) -> list[tuple[dict[tuple, float], float]]:
        """The weighted counts of each order, and their norm."""
        weighted: list[dict[tuple, float]] = [{} for _ in range(self.orders)]
        for gram, count in _grams(words, self.orders).items():
            weighted[len(gram) - 1][gram] = count * (self.total - math.log(max(1, self.images[gram])))
        return [(own, math.sqrt(sum(value**2 for value in own.values()))) for own in weighted]


def _grams(words: list[str], orders: int) -> collections.Counter:
    return collections.Counter(
        tuple(words[i : i + order]) for order in range(1, orders + 1) for i in range(len(words) - order + 1)
    )


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two lists of numbers; equal numbers share the mean of their ranks."""

    def ranks(values):
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return ((last - counts) + (last - 1))[places] / 2

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])
