"""Draws what attention adds to a translator: the BLEU of two on Multi30k's test, by the length of the source.

python docs/bleu_by_length.py
"""

from pathlib import Path

import zoo
from zoo import metrics, plotting
from zoo.data.sources import open_source
from zoo.tasks.translation import Translation

PRESETS = ["attention_seq2seq.multi30k_en_de", "lstm_seq2seq.multi30k_en_de"]


def main() -> None:
    source = open_source("multi30k/en_de", "test_2016_flickr", Translation.fields)
    rows = [(row["source"].decode(), row["target"].decode()) for row in source.dataset.as_numpy_iterator()]
    lengths, lines = [len(sentence.split()) for sentence, _ in rows], {}
    for name in PRESETS:
        told = [answer["translation"] for answer in zoo.pipeline(name)([sentence for sentence, _ in rows])]
        lines[name] = metrics.by_length(
            lengths, lambda group, told=told: metrics.bleu([told[i] for i in group], [rows[i][1] for i in group])
        )
    plotting.by_length(lines, "BLEU", len(rows), Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
