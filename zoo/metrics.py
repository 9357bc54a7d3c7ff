"""Metrics of a whole corpus, by the tools that the field uses."""

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
