"""Pictures: what stands on their axes, and that nothing covers anything or stays empty."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from zoo import plotting


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn; none is written."""
    drawn = []
    monkeypatch.setattr(plotting.Figure, "savefig", lambda figure, path, dpi: drawn.append(figure))
    return drawn


def history(epochs: int) -> list[dict]:
    keys = ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")
    return [{"epoch": n, "step": n, "seconds": 1.0, **dict.fromkeys(keys, 1 / n)} for n in range(1, epochs + 1)]


@pytest.mark.parametrize("epochs", [1, 2, 5, 40])
def test_curves_have_whole_epochs_and_a_legend_beside_them(figures, epochs):
    plotting.curves(history(epochs), None)
    (figure,) = figures
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_coloured_words_stay_inside_the_picture(figures):
    tokens = ["short", "x" * 5000, "W" * 50, "y"] * 9
    plotting.coloured_text([(tokens, [0.5] * 36, "a"), (["\u4e2d"], [1.0], "\u4e2d 50.0%")], "attention", None)
    (figure,) = figures
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == 39
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert figure.texts[2].get_text() == "x" * 47 + "..."


def test_attention_has_titled_axes(figures):
    row = {"source": ["a", "word", "<end>"], "target": ["ein", "<end>"], "attention": np.full((2, 3), 1 / 3)}
    plotting.attention([row, row], None)
    for axes in figures[0].axes:
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("source", "target")
        assert [label.get_text() for label in axes.get_xticklabels()] == row["source"]
        assert [label.get_rotation() for label in axes.get_xticklabels()] == [0, 90, 90]


@pytest.mark.parametrize("rows", [1, 3])
def test_heat_has_a_scale_and_no_empty_band(figures, rows):
    pictures = [np.full((20, 30, 3), 0.5)] * rows
    row = {"layer": "conv", "heat": np.eye(20, 30), "gradient": np.eye(20, 30)}
    plotting.heat(pictures, [row] * rows, ["a\nb"] * rows, None)
    (figure,) = figures
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "", "", "relative strength"] * rows
    height = figure.get_figheight()
    bottoms, tops = ([getattr(axes.get_position(), side) * height for axes in figure.axes] for side in ("y0", "y1"))
    assert min(bottoms) < 0.15
    assert height - max(tops) < 0.55  # the titles
    for above, below in itertools.pairwise(range(0, 4 * rows, 4)):
        assert bottoms[above] - tops[below] < 0.55


def test_characters_that_no_font_has_are_code_points(monkeypatch):
    manager = plotting.font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.name == "DejaVu Sans"])
    assert plotting.drawable(["caf\u00e9", "<end>"]) == (["caf\u00e9", "<end>"], ["DejaVu Sans"])
    assert plotting.drawable(["\u6211a\n\u559c"]) == (["U+6211a\nU+559C"], ["DejaVu Sans"])


@pytest.mark.parametrize("draw", ["confusion", "attention", "attention_maps", "examples", "heat", "feature_maps"])
def test_texts_of_the_user_are_drawn_as_they_are(draw, figures, monkeypatch):
    """Without boxes for characters that no font has, and without formulas between dollars."""
    manager = plotting.font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.name == "DejaVu Sans"])
    text, picture = "a\u6211 $1 $2", np.full((8, 8, 3), 0.5)
    words = {"source": [text], "target": [text], "words": [text], "attention": np.ones((1, 1))}
    arguments = {
        "confusion": (np.eye(2, dtype=int), [text, "b"]),
        "attention": ([words],),
        "attention_maps": ([{**words, "input": text, "attention": np.ones((1, 2, 2)), "_picture": picture}],),
        "examples": (picture[np.newaxis], [(text, text)]),
        "heat": ([picture], [{"layer": "conv", "heat": np.eye(8), "gradient": np.eye(8)}], [text]),
        "feature_maps": (picture, {"conv": np.ones((8, 8, 3))}, text),
    }
    getattr(plotting, draw)(*arguments[draw], None)
    drawn = [item for item in figures[0].findobj(Text) if "$" in item.get_text()]
    assert {item.get_text() for item in drawn} == {"aU+6211 $1 $2"}
    assert not any(item.get_parse_math() for item in drawn)


def test_a_font_of_the_system_complements_the_usual_one(monkeypatch):
    usual = plotting._characters
    entry = plotting.font_manager.FontEntry(fname="chinese.ttf", name="Chinese")
    monkeypatch.setattr(plotting.font_manager.fontManager, "ttflist", [entry])
    monkeypatch.setattr(plotting, "_characters", lambda path: {0x6211} if path == "chinese.ttf" else usual(path))
    assert plotting.drawable(["a\u6211"]) == (["a\u6211"], ["DejaVu Sans", "Chinese"])


def test_a_validation_curve_has_the_colour_of_validation_in_every_panel(figures):
    rows = [{key: value for key, value in row.items() if key != "accuracy"} for row in history(3)]
    plotting.curves(rows, None)
    colours = {(line.get_label(), line.get_color()) for axes in figures[0].axes for line in axes.lines}
    assert colours == {("training", "C0"), ("validation", "C1")}


def test_a_map_of_words_has_their_labels(tmp_path):
    """Labels do not cover each other: of two words at the same place, the chosen one is drawn first."""
    places = np.array([[x, y] for x in range(-40, 50, 20) for y in range(-30, 40, 15)], "float32")
    words = [f"word{number}" for number in range(len(places))]
    assert sorted(plotting.word_map(words, places, [False] * len(words), tmp_path / "map.png")) == sorted(words)
    crowd = np.concatenate([np.zeros((9, 2)), [[9.0, 9.0]]])
    shown = plotting.word_map(words[:10], crowd, [False] * 8 + [True] * 2, tmp_path / "map.png")
    assert set(shown[:2]) == {"word8", "word9"}
    assert 2 < len(shown) < 8
