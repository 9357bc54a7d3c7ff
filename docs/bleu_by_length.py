"""Draws the BLEU of two translators, with and without attention, by the length of the source, on Multi30k's test split.

python docs/bleu_by_length.py
"""

import functools
from pathlib import Path

import zoo
from zoo import metrics, plotting
from zoo.data.sources import open_source
from zoo.tasks.translation import Translation

PRESETS = ["attention_seq2seq.multi30k_en_de", "lstm_seq2seq.multi30k_en_de"]


def bleu(answers: list[str], targets: list[str], group: list[int]) -> float:
    """The BLEU of the answers with the numbers in `group`."""
    return metrics.bleu([answers[number] for number in group], [targets[number] for number in group])


def main() -> None:
    source = open_source("multi30k/en_de", "test_2016_flickr", Translation.fields)
    rows = [(row["source"].decode(), row["target"].decode()) for row in source.dataset.as_numpy_iterator()]
    lengths, lines = [len(sentence.split()) for sentence, _ in rows], {}
    for name in PRESETS:
        answers = [answer["translation"] for answer in zoo.pipeline(name)([sentence for sentence, _ in rows])]
        lines[name] = metrics.by_length(lengths, functools.partial(bleu, answers, [target for _, target in rows]))
    plotting.by_length(lines, "BLEU", len(rows), Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
