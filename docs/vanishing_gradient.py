"""Draws docs/vanishing_gradient.png: how far back language models look, as the gradient by distance.

    zoo train recurrent_language_model.novels --out runs/lstm --set data.train="train[:20%]" --set training.epochs=1
    zoo train recurrent_language_model.novels --out runs/tanh --set data.train="train[:20%]" --set training.epochs=1 \
        --set model_overrides.cell=tanh
    python docs/vanishing_gradient.py runs/lstm runs/tanh

The mean over excerpts of the test novels, of 100 words each. Preset and cell name the lines.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

import zoo
from zoo import plotting
from zoo.data.sources import open_source
from zoo.explaining import reach
from zoo.tasks import task_of

EXCERPTS, WORDS = 24, 100


def main(presets: list[str]) -> None:
    pieces = open_source("novels", "test", ("text", "begins")).dataset.skip(1).as_numpy_iterator()
    texts = [piece["text"] for piece in itertools.islice(pieces, EXCERPTS)]
    lines = {}
    for name in presets:
        task = task_of(zoo.load(name), longest=10**9)
        numbers = [reach.read(task, b" ".join(text.split()[:WORDS])) for text in texts]
        each = [reach.by_distance(task, excerpt[: WORDS + 1]) for excerpt in numbers]
        mean = np.nanmean(np.concatenate(each), axis=0)
        cell = task.model.origin.overrides.get("cell", "lstm")
        lines[f"{cell}, {name}"] = (mean / mean[0]).tolist()
        print(name, reach.line({"gradient": lines[f"{cell}, {name}"]}))
    plotting.reaches(lines, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main(sys.argv[1:])
