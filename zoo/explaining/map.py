"""A map of words: near words have similar vectors (t-SNE, van der Maaten & Hinton 2008, JMLR 9)."""

from pathlib import Path

import numpy as np

from zoo import plotting
from zoo.errors import InputError, ZooError
from zoo.tasks.task import Task

ITEMS = 500
SAMPLES = False  # without inputs, the map has frequent words alone
FREQUENT = 200  # words beside the inputs
SKIPPED = 100  # the most frequent words, which are "the", "of" and the like


def explain(task: Task, items: list, errors: str) -> list[dict]:
    """Rows {"input", "x", "y", "is_chosen"}: the inputs, which are words or arithmetic, and frequent words."""
    words, vectors = task.vocabulary[0], task.vectors()
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    rows, places = [], []
    for item in items:
        try:
            raw = task.encode(item)
            inputs, error = task.checked(task.collate([raw]))
            if error[0] != "":
                raise InputError(error.numpy()[0].decode())
            query = np.sum(units[inputs["ids"][0]] * inputs["signs"].numpy()[0][:, np.newaxis], axis=0)
            if np.linalg.norm(query) < 1e-6:
                raise InputError("the words of the expression cancel each other")
        except InputError as error:
            if errors == "raise":
                raise InputError(f"{item}: {error}") from None
            rows.append({"input": str(item), "error": str(error)})
            continue
        rows.append({"input": str(item), "is_chosen": True})
        places.append(query)
    chosen = {row["input"] for row in rows}
    first = min(SKIPPED, max(len(words) - FREQUENT, 0))
    for number in range(first, min(first + FREQUENT, len(words))):
        word = words[number].decode("utf-8")
        if word not in chosen:
            rows.append({"input": word, "is_chosen": False})
            places.append(units[number])
    good = [row for row in rows if "error" not in row]
    for row, (x, y) in zip(good, _flat(np.array(places), task.model.name), strict=True):
        row |= {"x": float(x), "y": float(y)}
    return rows


def _flat(vectors: np.ndarray, name: str) -> np.ndarray:
    """Vectors (N, D) -> places (N, 2) by t-SNE; the same vectors have the same places."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(vectors) < 5:
        raise ZooError(f"{name} has too few words for a map: {len(vectors)}")
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    perplexity = min(15.0, (len(units) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca" if units.shape[1] > 1 else "random", random_state=0)
    with threadpool_limits(1):  # so few points take longer with more threads, and very long on a busy machine
        return tsne.fit_transform(units)


def draw(rows: list[dict], path: Path) -> None:
    places = np.array([(row["x"], row["y"]) for row in rows])
    plotting.word_map([row["input"] for row in rows], places, [row["is_chosen"] for row in rows], path)


def line(row: dict) -> str:
    return f"{row['input']}: {row['x']:.1f}, {row['y']:.1f}" if row["is_chosen"] else ""
