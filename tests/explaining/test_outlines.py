"""Outlines of a segmentation over the picture."""

import io

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers.masks import draw_cells
from tests.helpers.models import make
from tests.helpers.short_graphs import short_reader
from zoo import plotting


def test_outlines_show_the_mask_of_the_answer(tmp_path):
    model = make("unet")
    model.origin.labels = ["membrane", "cell"]
    picture = draw_cells((30, 40), 1)[0]
    with short_reader():
        rows = zoo.explain(model, [picture, b"no"], tmp_path / "out.png", errors="return")
        expected = zoo.pipeline(model)(picture)
    np.testing.assert_array_equal(rows[0]["mask"], np.asarray(Image.open(io.BytesIO(expected["mask"]))))
    assert rows[0]["classes"] == expected["classes"]
    assert rows[1]["error"].startswith("not an image")
    assert Image.open(tmp_path / "out.png").width > 300


@pytest.mark.parametrize("classes", [2, 3])
def test_lines_lie_on_the_edges(classes, tmp_path):
    """The coloured pixels of a drawing, in the coordinates of the picture, are near the edges of a square."""
    mask = np.zeros((40, 40), "uint8")
    mask[10:30, 10:30] = 1
    texts = [str(number) for number in range(classes)]
    plotting.outlines([np.full((40, 40, 1), 0.5)], [mask], [texts], ["a square"], tmp_path / "out.png")
    drawn = np.asarray(Image.open(tmp_path / "out.png").convert("RGB")).astype(int)
    coloured = np.ptp(drawn, axis=-1) > 60
    is_grey = np.abs(drawn - 128).max(axis=-1) < 3
    rows, columns = (np.flatnonzero(is_grey.any(axis=axis)) for axis in (1, 0))
    top, left, scale = rows[0], columns[0], (rows[-1] - rows[0] + 1) / 40
    middle = coloured[top : top + int(20 * scale), left : left + int(39 * scale)]  # without the legend
    places = np.argwhere(middle) / scale
    assert len(places) > 50
    near = np.minimum(np.abs(places - 10), np.abs(places - 30)).min(axis=1)
    assert near.max() < 1.0
