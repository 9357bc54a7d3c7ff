"""Figures of a whole corpus, by the field's own tools."""

from collections.abc import Callable

import numpy as np


def translation_figures(hypotheses: list[str], targets: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """BLEU (Papineni et al. 2002) and chrF (Popovic 2015) as sacrebleu has them, 0 to 100, and their signatures.

    Cased, detokenised, one reference each; sacrebleu's signature says how they were made (Post 2018, arXiv 1804.08771).
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
    """Shares of wrong phonemes and of wrong words, against the nearest of several right answers.

    phoneme_error_rate: the edits (substitutions, deletions, insertions) over the phonemes of the nearest references;
    word_error_rate: the share of words that are none of their references.
    """
    import jiwer

    edits = total = wrong = 0
    for hypothesis, known in zip(hypotheses, references, strict=True):
        found = []
        for reference in known:
            told = jiwer.process_words(reference, hypothesis)
            found.append((told.substitutions + told.deletions + told.insertions, len(reference.split())))
        least = min(found, key=lambda pair: pair[0] / pair[1])
        edits, total, wrong = edits + least[0], total + least[1], wrong + (least[0] > 0)
    return {"phoneme_error_rate": edits / total, "word_error_rate": wrong / len(hypotheses)}


def by_length(lengths: list[int], figure: Callable[[np.ndarray], float], bins: int = 6) -> list[tuple[float, float]]:
    """A figure of the shortest items, of longer ones, and so on, in groups of about as many each.

    Args:
        lengths: of the items.
        figure: the items' numbers -> their figure.
        bins: the number of groups.

    Returns:
        (mean length, figure) of each group.
    """
    order = np.argsort(lengths, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [(float(np.mean(np.take(lengths, group))), figure(group)) for group in groups]
