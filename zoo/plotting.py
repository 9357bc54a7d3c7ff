"""Drawing arrays as picture files."""

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator


def curves(history: list[dict], path: Path) -> None:
    """Training and validation metrics by epoch, one panel per metric; `history` has one row per epoch."""
    shown = [name.removeprefix("val_") for name in history[0] if name not in ("epoch", "step", "seconds")]
    names = list(dict.fromkeys(shown))
    figure = Figure(figsize=(5 * len(names), 3.6), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        epochs = [row["epoch"] for row in history]
        marker = "." if len(epochs) < 20 else ""
        for key, label, colour in ((name, "training", "C0"), (f"val_{name}", "validation", "C1")):
            if key in history[0]:
                axes.plot(epochs, [row[key] for row in history], label=label, marker=marker, color=colour)
        if name == "loss" and min(row[name] for row in history) > 0:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_title(name.replace("_", " "))
        axes.grid(alpha=0.3)
    # Beside the panels, where it covers no curve. The first panel with two lines has all labels.
    panel = max(figure.axes, key=lambda axes: len(axes.lines))
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=110)


def confusion(counts: np.ndarray, labels: list[str], path: Path) -> None:
    """A confusion matrix: counts[i, j] items of class i (row) were classified as class j (column)."""
    side = max(4.0, 0.45 * len(labels) + 1.8)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(np.sqrt(fractions), cmap="Blues", vmin=0, vmax=1)  # the root makes rare confusions visible
    if len(labels) <= 30:
        labels, fonts = drawable(labels)
        rotation = 90 if max(map(len, labels)) > 2 else 0
        axes.set_xticks(range(len(labels)), labels, rotation=rotation, family=fonts, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, family=fonts, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if fractions[row, column] > 0.4 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    else:
        figure.colorbar(picture, label="square root of the fraction")
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    correct = np.trace(counts)
    axes.set_title(f"{correct:,} of {counts.sum():,} correct")
    figure.savefig(path, dpi=110)


def pair_distances(same: np.ndarray, different: np.ndarray, threshold: float, path: Path) -> None:
    """Histograms of the distances of pairs of the same person and of different people, and the threshold."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(0.0, 2.0, 61)
    for values, name in ((same, "the same person"), (different, "different people")):
        axes.hist(
            values, bins, weights=np.full(len(values), 1 / len(values)), alpha=0.6, label=f"{name}: {len(values):,}"
        )
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    axes.set(xlabel="distance", ylabel="fraction of the pairs")
    axes.legend()
    figure.savefig(path, dpi=110)


def by_length(lines: dict[str, list[tuple[float, float]]], metric: str, examples: int, path: Path) -> None:
    """A metric by length: points (length, value) of groups of equal size, one line per name."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_xlabel("length of the source")
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_ylim(bottom=0)
    axes.set_title(f"{examples:,} examples, {len(points)} groups of equal size", fontsize=10)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    figure.savefig(path, dpi=110)


def attention(rows: list[dict], path: Path) -> None:
    """One panel per sentence: words of "source" and "target" on the axes, "attention" (target, source) as shades."""
    sides = [(1.5 + 0.42 * len(row["source"]), 1.4 + 0.34 * len(row["target"])) for row in rows]
    width, height = max(4.0, max(side[0] for side in sides)), sum(side[1] + 0.9 for side in sides)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[side[1] for side in sides])[:, 0]
    for axes, row in zip(panels, rows, strict=True):
        axes.imshow(row["attention"], cmap="Greys", vmin=0, vmax=1)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        for axis, name in ((axes.xaxis, "source"), (axes.yaxis, "target")):
            words, fonts = drawable(row[name])
            axis.set_ticks(range(len(words)), words, family=fonts, parse_math=False)
            axis.set_label_text(name, style="italic")
        for label in axes.get_xticklabels():
            label.set_rotation(90 if len(label.get_text()) > 2 else 0)
        axes.tick_params(length=0)
    figure.savefig(path, dpi=110)


def attention_maps(rows: list[dict], path: Path) -> None:
    """For each item the picture "_picture" (h, w, C), then the picture once per word with the attention over it.

    "words" are the titles; "attention" (words, H, W) is drawn bright where the weights are high, scaled per word.
    """
    columns = min(8, 1 + max(len(row["words"]) for row in rows))
    counts = [-(-(1 + len(row["words"])) // columns) for row in rows]
    figure = Figure(figsize=(1.7 * columns, 1.95 * sum(counts)), layout="constrained")
    panels = figure.subplots(sum(counts), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    first = 0
    for row, count in zip(rows, counts, strict=True):
        own, picture = panels[first : first + count].flat, row["_picture"]
        first += count
        height, width = picture.shape[:2]
        axes = next(own)
        _picture(axes, picture)
        (title,), fonts = drawable([Path(row["input"]).name[-24:]])
        axes.set_title(title, fontsize=8, family=fonts, parse_math=False)
        words, fonts = drawable(row["words"])
        for word, weights in zip(words, row["attention"], strict=True):
            axes = next(own)
            _picture(axes, picture)
            # Each place of the grid covers an equal part of the picture.
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            axes.imshow(weights, cmap="gray", alpha=0.75, extent=extent, interpolation="bicubic")
            axes.set(xlim=extent[:2], ylim=extent[2:])
            axes.set_title(word, fontsize=10, family=fonts, parse_math=False)
    figure.savefig(path, dpi=110)


def examples(pictures: np.ndarray, pairs: list[tuple[str, str]], path: Path) -> None:
    """Pictures (B, h, w, C) in [0, 1] under their answers; a wrong answer is red and has the truth below it."""
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    for axes in np.atleast_1d(figure.subplots(rows, columns)).flat:
        axes.axis("off")
    for axes, picture, (truth, answer) in zip(figure.axes, pictures, pairs, strict=False):
        _picture(axes, picture)
        (title,), fonts = drawable([answer if truth == answer else f"{answer}\nis {truth}"])
        colour = "black" if truth == answer else "red"
        axes.set_title(title, fontsize=8, color=colour, family=fonts, parse_math=False)
    figure.savefig(path, dpi=110)


def heat(pictures: list[np.ndarray], rows: list[dict], titles: list[str], path: Path) -> None:
    """One row per picture (h, w, C): the picture, its heat over it, its gradient over it.

    Args:
        pictures: values in [0, 1].
        rows: for each picture {"layer", "heat" (h, w) in [0, 1] or None, "gradient" (h, w)}.
        titles: for each picture, of two lines.
        path: the file that is written.
    """
    has_heat = rows[0]["heat"] is not None
    columns = 3 if has_heat else 2
    # All in inches. The panels have the shape of the pictures, so that nothing is empty around them.
    side, gap, above, scale = 3.3, 0.1, 0.5, 0.8
    below = side * pictures[0].shape[0] / pictures[0].shape[1]
    width, height = (side + gap) * columns + scale, (above + below) * len(rows) + gap
    figure = Figure(figsize=(width, height))
    for number, (picture, row, title) in enumerate(zip(pictures, rows, titles, strict=True)):
        bottom = (gap + (above + below) * (len(rows) - 1 - number)) / height
        panels = [
            figure.add_axes(((gap + (side + gap) * column) / width, bottom, side / width, below / height))
            for column in range(columns)
        ]
        (title,), fonts = drawable([title])
        _picture(panels[0], picture)
        panels[0].set_title(title, fontsize=11, family=fonts, parse_math=False)
        if has_heat:
            _overlay(panels[1], picture, row["heat"])
            note = "" if row["heat"].any() else " (nowhere positive)"
            panels[1].set_title(f"Grad-CAM\n{row['layer']}{note}", fontsize=11)
        low, high = np.quantile(row["gradient"], (0.5, 0.995))
        _overlay(panels[-1], picture, np.clip((row["gradient"] - low) / max(high - low, 1e-12), 0, 1))
        note = "" if has_heat else "\n(no Grad-CAM: no layer has an extent)"
        panels[-1].set_title(f"input gradient{note}", fontsize=11)
        left = ((side + gap) * columns + gap) / width
        bar = figure.add_axes((left, bottom, 0.12 / width, below / height))
        steps = _colours(np.linspace(0, 1, 256))
        laid = steps[:, :3] * steps[:, 3:] + 0.5 * (1 - steps[:, 3:])  # over a middle grey
        figure.colorbar(ScalarMappable(cmap=ListedColormap(laid)), bar, label="relative strength")
        bar.tick_params(labelsize=8)
    figure.savefig(path, dpi=110)


def likeness(pictures: list[np.ndarray], heats: list[np.ndarray], titles: list[str], verdict: str, path: Path) -> None:
    """Two faces (h, w, C) in [0, 1], each with its heat (h, w): blue where it is positive, red where it is negative."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    greatest = max(float(np.abs(heat).max()) for heat in heats) or 1.0
    norm = Normalize(-greatest, greatest)
    for axes, picture, heat, title in zip(panels, pictures, heats, titles, strict=True):
        axes.set_axis_off()
        _picture(axes, picture)
        alpha = 0.7 * np.abs(heat) / greatest
        axes.imshow(heat, cmap="RdBu", norm=norm, alpha=alpha, interpolation="bilinear")
        (text,), fonts = drawable([title])
        axes.set_title(text, fontsize=10, family=fonts, parse_math=False)
    bar = figure.colorbar(ScalarMappable(norm, "RdBu"), ax=panels, shrink=0.6)
    bar.set_label("change of the distance if the place is covered")
    figure.suptitle(verdict, fontsize=11)
    figure.savefig(path, dpi=110)


def glimpses(pictures: list[np.ndarray], rows: list[dict], titles: list[str], path: Path) -> None:
    """For each picture (h, w, C) in [0, 1] the glimpses on it: squares from dark to light, and the way between them.

    Args:
        pictures: values in [0, 1].
        rows: for each picture {"locations", pairs of row and column in pixels, "widths" of the squares}.
        titles: for each picture, of two lines.
        path: the file that is written.
    """
    columns = min(4, len(pictures))
    count = -(-len(pictures) // columns)
    figure = Figure(figsize=(3.3 * columns, 3.7 * count), layout="constrained")
    panels = figure.subplots(count, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, picture, row, title in zip(panels.flat, pictures, rows, titles, strict=False):
        _picture(axes, picture)
        (title,), fonts = drawable([title])
        axes.set_title(title, fontsize=11, family=fonts, parse_math=False)
        places = np.array(row["locations"]) - 0.5  # the centre of the first pixel is drawn at 0
        axes.plot(places[:, 1], places[:, 0], color="red", linewidth=1.0)
        for number, (down, right) in enumerate(places):
            colour = colormaps["plasma"](0.15 + 0.8 * number / max(len(places) - 1, 1))
            for width in row["widths"]:
                corner = (right - width / 2, down - width / 2)
                axes.add_patch(Rectangle(corner, width, width, fill=False, edgecolor=colour, linewidth=1.5))
            axes.text(
                right,
                down,
                str(number + 1),
                clip_on=True,
                color=colour,
                fontsize=9,
                weight="bold",
                ha="center",
                va="center",
            )
        height, width = picture.shape[:2]
        beyond = 0.15 * max(height, width)  # squares may reach farther, but panels have one size
        axes.set(xlim=(-0.5 - beyond, width - 0.5 + beyond), ylim=(height - 0.5 + beyond, -0.5 - beyond))
    figure.savefig(path, dpi=110)


def outlines(
    pictures: list[np.ndarray], masks: list[np.ndarray], texts: list[list[str]], titles: list[str], path: Path
) -> None:
    """Pictures with the edges of their classes; of two classes, one line lies between them.

    Args:
        pictures: (H, W, C) in [0, 1].
        masks: for each picture its class numbers, (H, W).
        texts: for each picture the texts of its classes, for the legend.
        titles: for each picture.
        path: the file that is written.
    """
    columns = min(2, len(pictures))
    count = -(-len(pictures) // columns)
    figure = Figure(figsize=(6.4 * columns, 6.8 * count), layout="constrained")
    panels = figure.subplots(count, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, picture, mask, own, title in zip(panels.flat, pictures, masks, texts, titles, strict=False):
        _picture(axes, picture)
        (title, *own), fonts = drawable([title, *own])
        axes.set_title(title, fontsize=11, family=fonts, parse_math=False)
        for number in range(len(own)) if len(own) > 2 else (1,):
            colour = colormaps["tab10"]((number - 1) % 10)
            is_inside = mask == number
            if is_inside.any() and not is_inside.all() and min(mask.shape) > 1:
                axes.contour(is_inside, [0.5], colors=[colour], linewidths=1.0)
            axes.plot([], [], color=colour, label=own[number])
        axes.legend(loc="lower right", prop={"family": fonts, "size": 9})
    figure.savefig(path, dpi=110)


def spectrograms(rows: list[dict], titles: list[str], path: Path) -> None:
    """Features of sounds over time, and the heat of a class over them.

    Args:
        rows: for each sound {"features" (N, M), "heat" (N, M) in [0, 1] or None, "layer", "_seconds": start and end}.
            A sound of a single frame has no heat.
        titles: for each sound, of two lines.
        path: the file that is written.
    """
    figure = Figure(figsize=(8.8, 2.9 * len(rows)), layout="constrained")
    for row, title, panels in zip(rows, titles, figure.subplots(len(rows), 2, squeeze=False), strict=True):
        features = row["features"].T
        options = {"origin": "lower", "aspect": "auto", "extent": (*row["_seconds"], -0.5, len(features) - 0.5)}
        (title,), fonts = drawable([title])
        panels[0].imshow(features, cmap="magma", interpolation="nearest", **options)
        panels[0].set_title(title, fontsize=10, family=fonts, parse_math=False)
        panels[0].set_ylabel("feature")
        panels[1].imshow(features, cmap="gray", interpolation="nearest", **options)
        panels[1].set_title("no Grad-CAM: no layer has an extent", fontsize=10)
        if row["heat"] is not None:
            panels[1].imshow(_colours(row["heat"].T), **options)
            note = "" if row["heat"].any() else " (nowhere positive)"
            panels[1].set_title(f"Grad-CAM\n{row['layer']}{note}", fontsize=10)
        for axes in panels:
            axes.set_xlabel("seconds")
    figure.savefig(path, dpi=110)


def _picture(axes, picture: np.ndarray, **options) -> None:
    axes.set_axis_off()
    axes.imshow(picture if picture.shape[-1] == 3 else picture.mean(axis=-1), cmap="gray", vmin=0, vmax=1, **options)


def _overlay(axes, picture: np.ndarray, strength: np.ndarray) -> None:
    """Lays colours over a grey picture: transparent where `strength` (h, w) is 0, purple to yellow up to 1."""
    _picture(axes, picture.mean(axis=-1, keepdims=True))
    axes.imshow(_colours(strength))


def _colours(strength: np.ndarray) -> np.ndarray:
    """Values in [0, 1] -> red, green, blue and alpha: (...) -> (..., 4)."""
    colours = colormaps["inferno"](0.3 + 0.65 * strength)  # without the map's black
    colours[..., 3] = 0.9 * strength
    return colours


def drawable(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Texts that can be drawn, and the font families to draw them with.

    Fonts of the system complement matplotlib's own font, for example with Chinese characters; its font of last resort,
    which draws only boxes, does not. A character that no font has is replaced by its code point, such as "U+6211".
    """
    texts = list(texts)
    families, known = ["DejaVu Sans"], _characters(font_manager.findfont("DejaVu Sans"))
    missing = {ord(letter) for text in texts for letter in text if letter.isprintable()} - known
    for font in font_manager.fontManager.ttflist if missing else ():
        if font.style == "normal" and font.name != "Last Resort" and (found := missing & _characters(font.fname)):
            families.append(font.name)
            missing -= found
    codes = {code: f"U+{code:04X}" for code in missing}
    return [text.translate(codes) for text in texts], families


@functools.cache
def _characters(path: str) -> frozenset[int]:
    """The code points that a font can draw; none for a font of bitmaps or a damaged file."""
    try:
        font = font_manager.get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def filters(weights: np.ndarray, title: str, path: Path) -> None:
    """The first 96 of filters (h, w, C, count), each scaled by its largest weight; mid-grey is 0."""
    height, width, channels, count = weights.shape
    chosen = np.moveaxis(weights[..., :96], -1, 0)  # (96, h, w, C)
    columns = min(12, max(6, int(1.3 * len(chosen) ** 0.5)))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(0.8 * columns + 0.2, 0.8 * rows + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    for number, kernel in enumerate(chosen):
        row, column = divmod(number, columns)
        kernel = 0.5 + 0.5 * kernel / max(np.abs(kernel).max(), 1e-12)
        extent = (column, column + 0.92, -row - 0.92, -row)
        _picture(axes, kernel, extent=extent, interpolation="nearest")
    axes.set(xlim=(-0.1, columns + 0.02), ylim=(-rows, 0.5), aspect="equal", anchor="S")
    more = f", the first {len(chosen)}" if len(chosen) < count else ""
    axes.text(0, 0.12, f"{title}: {count} filters, {height} x {width}{more}", fontsize=11, parse_math=False)
    figure.savefig(path, dpi=110)


def feature_maps(picture: np.ndarray, layers: dict[str, np.ndarray], title: str, path: Path) -> None:
    """The picture (h, w, C), and one row per layer: maps (H, W, C), or values (D,) as a strip; each scaled by itself.

    If a layer has more maps than fit into a row, the maps that vary most from place to place are shown.
    """
    columns, left, top = 8, 2.6, 2.1
    is_map = {name: output.ndim == 3 and min(output.shape[:2]) > 1 for name, output in layers.items()}
    below = sum(1.0 if is_map[name] else 0.7 for name in layers)
    figure = Figure(figsize=(left + columns, top + below + 0.2))
    axes = figure.add_axes((0, 0, 1, 1))
    width = (top - 0.06) * picture.shape[1] / picture.shape[0]
    _picture(axes, picture, extent=(0, width, 0.06, top))
    (title,), fonts = drawable([title])
    style = {"fontsize": 13, "linespacing": 1.5, "family": fonts, "parse_math": False}
    axes.text(width + 0.15, top / 2, title, va="center", **style)
    y = 0.0
    for name, output in layers.items():
        y -= 1.0 if is_map[name] else 0.7
        if is_map[name]:
            size = "{} maps, {} x {}".format(output.shape[-1], *output.shape[:2])
            # The outermost places also read the padding, and may stand out for that reason.
            inner = output[1:-1, 1:-1] if min(output.shape[:2]) > 4 else output
            for column, number in enumerate(np.argsort(-inner.std(axis=(0, 1)), kind="stable")[:columns]):
                extent = (column, column + 0.94, y, y + 0.94)
                scale = {"vmin": inner[..., number].min(), "vmax": inner[..., number].max()}
                axes.imshow(output[..., number], cmap="inferno", extent=extent, interpolation="nearest", **scale)
        else:
            size = f"{output.size} values"
            extent = (0, columns - 0.06, y + 0.06, y + 0.6)
            axes.imshow(output.reshape(1, -1), cmap="inferno", extent=extent, interpolation="nearest")
        axes.text(-0.15, y + (0.47 if is_map[name] else 0.33), f"{name}\n{size}", ha="right", va="center", fontsize=9)
    axes.set(xlim=(-left, columns), ylim=(-below - 0.1, top + 0.1), aspect="equal")
    figure.savefig(path, dpi=110)


def word_map(words: list[str], places: np.ndarray, is_chosen: list[bool], path: Path) -> list[str]:
    """Words at places (N, 2), chosen ones larger. A label moves to a free side of its point, or is left out.

    Returns:
        The labels that are drawn, chosen words first.
    """
    figure = Figure(figsize=(12, 9))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.scatter(
        *places.T, s=[14 if chosen else 5 for chosen in is_chosen], c=["C3" if c else "0.6" for c in is_chosen]
    )
    texts, families = drawable(words)
    FigureCanvasAgg(figure).draw()  # sets the limits of the axes, on which the places of labels depend
    renderer, taken, drawn = figure.canvas.get_renderer(), [], []
    sides = ((4, 0, "left", "center"), (-4, 0, "right", "center"), (0, 4, "center", "bottom"), (0, -4, "center", "top"))
    corners = [(x, y, "left" if x > 0 else "right", "center") for y in (-14, 14, -28, 28) for x in (6, -6)]
    for number in sorted(range(len(words)), key=lambda number: not is_chosen[number]):  # chosen words first
        style = {"fontsize": 11, "color": "C3"} if is_chosen[number] else {"fontsize": 8, "color": "0.15"}
        for x, y, horizontal, vertical in (*sides, *corners) if is_chosen[number] else sides:
            label = axes.annotate(
                texts[number], places[number], (x, y), textcoords="offset points", ha=horizontal, va=vertical,
                family=families, parse_math=False, **style,
            )  # fmt: skip
            box = label.get_window_extent(renderer)
            is_inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if is_inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                drawn.append(words[number])
                break
            label.remove()
    figure.savefig(path, dpi=110)
    return drawn


def coloured_text(texts: list[tuple[list[str], list[float], str]], unit: str, path: Path) -> None:
    """Each text as lines of tokens on a background that is darker for higher values; (tokens, values, title) each.

    A token that is longer than a line is cut.
    """
    width, height, size = 9.0, 0.32, 11  # inches of the picture and of a line, points of the font
    figure = Figure(figsize=(width, 1.0))
    renderer = FigureCanvasAgg(figure).get_renderer()
    highest = max(max(values) for _, values, _ in texts)
    scale = ScalarMappable(Normalize(0.0, max(highest, 1e-9)), colormaps["YlOrRd"])
    labels, y = [], 0.0  # (left, line, text, colour, families)
    for tokens, values, title in texts:
        cut = [token if len(token) <= 50 else f"{token[:47]}..." for token in tokens]
        shown, families = drawable([token if token.strip() else "\u2423" for token in cut])
        [title], fonts = drawable([title])
        labels.append((0.1, y, title, None, fonts))
        x, y = 0.1, y + 1.0
        for token, value in zip(shown, values, strict=True):
            label = figure.text(0, 0, token, fontsize=size, family=families, parse_math=False)
            extent = label.get_window_extent(renderer).width / figure.dpi
            label.remove()
            if x + extent > width - 0.2 and x > 0.1:
                x, y = 0.1, y + 1.0
            labels.append((x, y, token, scale.to_rgba(value), families))
            x += extent + 0.09
        y += 1.6
    whole = height * y + 0.75
    figure.set_size_inches(width, whole)
    for x, line, content, colour, families in labels:
        box = {} if colour is None else {"bbox": {"facecolor": colour, "edgecolor": "none", "pad": 1.5}}
        is_dark = colour is not None and np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5
        figure.text(
            x / width, 1 - height * (line + 0.8) / whole, content, fontsize=size if box else 9, family=families,
            color="white" if is_dark else "black", parse_math=False, va="baseline", **box,
        )  # fmt: skip
    bar = figure.add_axes((0.1, 0.42 / whole, 0.35, 0.12 / whole))
    figure.colorbar(scale, cax=bar, orientation="horizontal", label=unit)
    figure.savefig(path, dpi=110)


def hops(stories: list[tuple[list[str], np.ndarray, str]], path: Path) -> None:
    """Lines of text with a column of shades per hop beside them; (lines, weights (hops, lines), title) each."""
    heights = [0.25 * len(lines) + 0.7 for lines, _, _ in stories]
    figure = Figure(figsize=(7.0, sum(heights)), layout="constrained")
    panels = figure.subplots(len(stories), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (lines, weights, title) in zip(panels, stories, strict=True):
        axes.imshow(weights.T, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        shown, families = drawable([line if len(line) <= 70 else f"{line[:67]}..." for line in lines])
        axes.set_yticks(range(len(lines)), shown, family=families, parse_math=False)
        axes.set_xticks(range(len(weights)), [f"hop {hop}" for hop in range(1, len(weights) + 1)])
        [title], families = drawable([title])
        axes.set_title(title, family=families, fontsize=10, loc="left", parse_math=False)
        axes.tick_params(length=0)
    figure.savefig(path, dpi=110)


def posteriors(rows: list[dict], path: Path) -> None:
    """Sounds: the features over time, the probabilities of the symbols under them, and the words under these.

    Args:
        rows: of each sound "input", "symbols", "posteriors" (T, V), "step_times" (T + 1,), "words", and "_frames"
            (N, D) with "_times", their start and end.
    """
    figure = Figure(figsize=(9.0, 3.4 * len(rows)), layout="constrained")
    grid = figure.subplots(2 * len(rows), 1, squeeze=False)[:, 0]
    for row, top, bottom in zip(rows, grid[::2], grid[1::2], strict=True):
        start, end = row["_times"]
        extent = (start, end, -0.5, row["_frames"].shape[1] - 0.5)
        top.imshow(
            row["_frames"].T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest"
        )
        [title], fonts = drawable([row["input"]])
        top.set_title(title, family=fonts, fontsize=10, parse_math=False)
        top.set_ylabel("feature")
        top.tick_params(labelbottom=False)
        middles = (row["step_times"][1:] + row["step_times"][:-1]) / 2
        for number, symbol in enumerate(row["symbols"]):
            values = row["posteriors"][:, number]
            if number == 0:
                bottom.fill_between(middles, values, color="0.9", linewidth=0, label="blank")
            elif len(values) and values.max() > 0.1:  # others can't be seen
                [label], _ = drawable(["\u2423" if symbol == " " else symbol])
                bottom.plot(middles, values, linewidth=1.2, label=label)
        for word in row["words"]:
            [text], fonts = drawable([word["word"]])
            middle = (word["start"] + word["end"]) / 2
            bottom.annotate(
                text, (middle, 0), (0, -4), textcoords="offset points", ha="center", va="top", family=fonts,
                parse_math=False, annotation_clip=False,
            )  # fmt: skip
        bottom.set_xlim(start, max(end, start + 1e-3))
        top.set_xlim(bottom.get_xlim())
        bottom.set_ylim(0, 1.02)
        bottom.tick_params(axis="x", pad=14)
        bottom.set_xlabel("seconds")
        bottom.set_ylabel("probability")
        bottom.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.savefig(path, dpi=110)


def reaches(lines: dict[str, list[float]], path: Path) -> None:
    """Values by distance from 0, one line per name, on a logarithmic axis where they are positive."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in lines.items():
        values = np.array(values)
        short = name if len(name) <= 60 else f"{name[:57]}..."
        label = drawable([short])[0][0]
        marker = "." if len(values) < 30 else ""
        axes.plot(np.arange(len(values)), np.where(values > 0, values, np.nan), label=label, marker=marker)
    axes.set_yscale("log")
    axes.set_xlabel("distance in tokens")
    axes.set_ylabel("gradient, relative to distance 0")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8)
    figure.savefig(path, dpi=110)


def memories(rows: list[dict], path: Path) -> None:
    """Sequences: what a machine reads and writes over time. To the left is writing, to the right reading.

    Args:
        rows: of each sequence "input", "_sequence" (S, D), "_bits" (A, bits) of the answer; "adds" and "reads"
            (S, H, W), and "write_weights" and "read_weights" (S, H, N).
    """
    figure = Figure(figsize=(10.0, 6.4 * len(rows)), layout="constrained")
    for row, part in zip(rows, np.atleast_1d(figure.subfigures(len(rows), 1)), strict=True):
        [title], fonts = drawable([row["input"]])
        part.suptitle(title, family=fonts, fontsize=10, parse_math=False)
        steps = len(row["_sequence"])
        outputs = np.pad(
            row["_bits"], ((steps - len(row["_bits"]), 0), (0, 0)), constant_values=np.nan
        )  # (S, bits), empty before the answer
        panels = [
            [("input", row["_sequence"]), ("output", outputs)],
            [("adds", row["adds"].reshape(steps, -1)), ("reads", row["reads"].reshape(steps, -1))],
            [
                ("write weightings", row["write_weights"].max(axis=1)),
                ("read weightings", row["read_weights"].max(axis=1)),
            ],
        ]
        grid = part.subplots(3, 2, sharex=True, height_ratios=[1, 1.4, 2.6])
        for axes, (name, values) in zip(grid.ravel(), sum(panels, []), strict=True):
            colours = "RdBu_r" if name in ("adds", "reads") else "viridis"
            most = np.abs(values).max() if name in ("adds", "reads") else 1.0
            lowest = -most if name in ("adds", "reads") else 0.0
            axes.imshow(values.T, aspect="auto", cmap=colours, vmin=lowest, vmax=most, interpolation="nearest")
            axes.set_title(name, fontsize=9)
            axes.set_yticks([])
        for axes in grid[2]:
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid[2, 0].set_ylabel("place")
    figure.savefig(path, dpi=110)
