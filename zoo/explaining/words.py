"""Words: the weight of each word of a text in a classifier's answer.

A model with attention to words and sentences states it: the weight of a word in its sentence times that of the sentence
(Yang et al. 2016, Figure 5, where the weight of the sentence is its square root). Of other models it is the gradient of
the class's logit with respect to the word's vector, times this vector, which is negative for words that speak against
the class (Li et al. 2016, "Visualizing and understanding neural models in NLP", arXiv 1506.01066, use its magnitude).
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import plotting
from zoo.errors import InputError
from zoo.explaining.rows import rows_of
from zoo.layers import activations
from zoo.tasks.task import Task

ITEMS = 4
SHOWN = 5  # words of a printed line
LONGEST = 50  # letters of a printed word


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """A row per text.

    Returns:
        {"input", "label", "score", "words", "weights"}: the best answer, the words that were read, and their weights.
        With attention the weights sum to 1, and "sentences" has for each sentence its number of words and its weight.
    """
    return rows_of(items, errors, functools.partial(_read, task), functools.partial(_weighed, task))


def _read(task: Task, item) -> tuple[list[list[str]], dict]:
    raw = task.collate([task.encode(item)])
    inputs, error = task.checked(raw)
    if error[0].numpy():
        raise InputError(error[0].numpy().decode())
    return task.written(raw["text"][0]), inputs


def _weighed(task: Task, value: tuple) -> dict:
    sentences, inputs = value
    with tf.GradientTape() as tape:
        outputs, recorded = activations.record(task.model, inputs)
        best = tf.reduce_max(outputs["logits"][0])
    layers = {each.name: each.output for each in recorded}
    answer = task.to_python({name: each[0].numpy() for name, each in task.answer(outputs).items()})
    row = {"label": answer["labels"][0], "score": answer["scores"][0], "words": sum(sentences, [])}
    if not task.reads_sentences:
        vectors = layers.get("both", layers["embedding"])  # (1, T, D)
        gradient = tf.convert_to_tensor(tape.gradient(best, vectors))
        return {**row, "weights": tf.reduce_sum(gradient * vectors, axis=-1)[0].numpy().tolist()}
    per_sentence = layers["sentence_attention"][0].numpy()  # (S,)
    weights = layers["word_attention"].numpy() * per_sentence[:, np.newaxis]  # (S, W)
    counts = [len(words) for words in sentences]
    return {
        **row,
        "weights": [float(each) for count, own in zip(counts, weights, strict=True) for each in own[:count]],
        "sentences": [
            {"words": count, "weight": float(weight)} for count, weight in zip(counts, per_sentence, strict=True)
        ],
    }


def draw(rows: list[dict], path: Path) -> None:
    """Words that speak against the class have no colour."""
    texts = [(row["words"], [max(each, 0.0) for each in row["weights"]], _title(row)) for row in rows]
    unit = "attention" if any("sentences" in row for row in rows) else "gradient x vector"
    plotting.coloured_text(texts, unit, path)


def _title(row: dict) -> str:
    return f"{row['label']} {row['score']:.1%}"


def line(row: dict) -> str:
    pairs = sorted(zip(row["weights"], row["words"], strict=True), key=lambda pair: -pair[0])[:SHOWN]
    return f"{_title(row)}: {', '.join(f'{word[:LONGEST]} {weight:.2f}' for weight, word in pairs)}"
