"""Writes docs/language_models.md: N-grams and neural language models on the same words of the test novels.

    python docs/language_models.py [PRESET ...]

N-grams are counted on the training novels with the vocabulary of the presets: the 10,000 most frequent words. Each
preset of words is also interpolated with the 5-gram, both with weight 1/2.
"""

import sys
import time
from pathlib import Path

import numpy as np

import zoo  # isort: skip; before TensorFlow
import tensorflow as tf

from zoo.data.sources import open_source
from zoo.ngrams import NGrams
from zoo.preprocessing import text
from zoo.tasks import language_modeling, task_of, vocabularies
from zoo.tasks.dataset import stream

ORDER, SIZE = 5, 10_000
FIELDS = ("text", "begins")


def tokens_of(vocabulary, source) -> np.ndarray:
    parts = []
    for batch in source.dataset.batch(16):
        for ids, begins in zip(vocabulary.encode(batch["text"]), batch["begins"].numpy(), strict=True):
            parts += [np.array([text.START], np.int32)] if begins else []
            parts.append(ids.numpy())
    return np.concatenate(parts)


def probabilities(task, source) -> np.ndarray:
    """(N,) the probability of each token of a source, in the order of the text; NaN for start tokens."""
    rows = language_modeling.ROWS
    batches, state, logs = stream(task, source, rows, augment=False, shuffle=False), None, []

    @tf.function(reduce_retracing=True)
    def step(inputs, y, state):
        outputs = task.model({"target": inputs["target"], "state": state}, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs["logits"])
        return outputs["next_state"], tf.where((y == text.START) | (y == text.PADDING), np.nan, -losses)

    spec = task.model.input["state"]
    state = tf.zeros([rows, *spec.shape[1:]], spec.dtype)
    for inputs, y, _ in batches.epoch(0):
        state, values = step(inputs, y, state)
        logs.append(values.numpy())
    return np.exp(np.concatenate(logs, axis=1).reshape(-1))


def perplexity(values: np.ndarray) -> float:
    return float(np.exp(-np.nanmean(np.log(values))))


def main(presets: list[str]) -> None:
    started = time.perf_counter()
    train, test = (open_source("novels", split, FIELDS) for split in ("train", "test"))
    assets = vocabularies.learn_frequent("words", SIZE, (batch["text"] for batch in train.dataset.batch(16)))
    vocabulary = vocabularies.open_vocabulary("words", assets, "target")
    held = tokens_of(vocabulary, test)
    model = NGrams(tokens_of(vocabulary, train), ORDER, vocabulary.size, SIZE, text.START)
    grams = model.probabilities(held)
    seconds = time.perf_counter() - started
    count = np.count_nonzero(held != text.START)
    unknown = np.count_nonzero(held == text.UNKNOWN) / count
    lines = [
        "# Language models of the novels",
        "",
        f"Written by `python docs/language_models.py`. Test: {count:,} words, {unknown:.1%} unknown.",
        f"N-grams have interpolated modified Kneser-Ney smoothing ({seconds:.0f} s for all).",
        "",
        "| model | perplexity | ratio to the 5-gram | interpolated with the 5-gram |",
        "|---|---|---|---|",
    ]
    best = perplexity(grams[-1])
    for order, values in enumerate(grams, start=1):
        lines.append(f"| {order}-gram | {perplexity(values):.1f} | {perplexity(values) / best:.3f} | |")
    for name in presets:
        task = task_of(zoo.load(name))
        if task.settings.tokens != "words":
            figures = zoo.evaluate(name, "novels", "test")["metrics"]
            lines.append(f"| `{name}` | {figures['bits_per_character']:.3f} bits per character | | |")
            continue
        own = probabilities(task, test)[: len(held) - 1]
        if task.assets[vocabularies.FREQUENT["words"]] != assets[vocabularies.FREQUENT["words"]]:
            raise SystemExit(f"{name} has another vocabulary than the N-grams")
        mixed = perplexity(0.5 * own + 0.5 * grams[-1][1:])
        lines.append(f"| `{name}` | {perplexity(own):.1f} | {perplexity(own) / best:.3f} | {mixed:.1f} |")
    lines += [
        "",
        "## How far back they look",
        "",
        "![Gradient by distance of a plain recurrent network and of an LSTM](vanishing_gradient.png)",
        "",
        "The gradient of a word's log probability with respect to the vector of the word at each distance before it,",
        "for two networks of one size after an epoch on a fifth of the novels. In the plain network it vanishes: it",
        "falls by about the same factor with every word. The LSTM keeps it. Drawn by `docs/vanishing_gradient.py`.",
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
