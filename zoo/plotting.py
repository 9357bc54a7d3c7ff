"""Arrays to pictures."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def curves(history: list[dict], path: Path) -> None:
    """Training and validation figures by epoch, one panel a figure; `history` has a row an epoch."""
    shown = [name.removeprefix("val_") for name in history[0] if name not in ("epoch", "step", "seconds")]
    names = list(dict.fromkeys(shown))
    figure = Figure(figsize=(5 * len(names), 3.6), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        epochs = [row["epoch"] for row in history]
        marker = "." if len(epochs) < 20 else ""
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history[0]:
                axes.plot(epochs, [row[key] for row in history], label=label, marker=marker)
        if name != "learning_rate":
            axes.legend()
        if name == "loss" and min(row[name] for row in history) > 0:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "))
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def confusion(counts: np.ndarray, labels: list[str], path: Path) -> None:
    """A confusion matrix: counts[i, j] items of class i (row) that were taken for class j (column)."""
    side = max(4.0, 0.45 * len(labels) + 1.8)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root makes rare confusions visible
    if len(labels) <= 30:
        axes.set_xticks(range(len(labels)), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
        axes.set_yticks(range(len(labels)), labels)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.4 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    else:
        figure.colorbar(picture, label="root of the share")
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    right = np.trace(counts)
    axes.set_title(f"{right:,} of {counts.sum():,} right")
    figure.savefig(path, dpi=110)
