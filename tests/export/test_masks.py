"""Exports of models of the classes of pixels: masks from a server, and from the runner without keras-zoo."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers.masks import draw_cells
from tests.helpers.models import make
from tests.helpers.run_alone import run_alone
from tests.helpers.short_graphs import short_reader
from zoo.exporting import Client
from zoo.exporting.dev_server import Server
from zoo.exporting.rest import as_json, from_json


@pytest.fixture
def model():
    made = make("unet")
    made.origin.labels = ["membrane", "cell"]
    made.origin.settings["boundary"] = "membrane"
    return made


@short_reader()
def test_a_server_sends_masks_by_both_protocols(model, tmp_path):
    zoo.export(model, tmp_path, name="cells")
    items = [draw_cells((30, 41), 0)[0], b"no image", draw_cells((7, 20), 1)[0]]
    expected = zoo.pipeline(model)(items, errors="return")
    server = Server(tmp_path, 0, 0)
    server.start()
    try:
        for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
            rows = Client("cells", address).predict(items, errors="return")
            assert [row.get("mask") for row in rows] == [row.get("mask") for row in expected]
            assert [row.get("error") for row in rows] == [row.get("error") for row in expected]
            for row, other in zip(rows[::2], expected[::2], strict=True):
                for own, each in zip(row["classes"], other["classes"], strict=True):
                    assert own == {"label": each["label"], "fraction": pytest.approx(each["fraction"], abs=1e-6)}
    finally:
        server.stop()


def test_bytes_survive_rest():
    values = np.array([b"\xff\x00", b"", b"a"], object)
    np.testing.assert_array_equal(from_json(as_json(values)), values)


@pytest.mark.parametrize("format", ["onnx", pytest.param("litert", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings", [{}, pytest.param({"orientations": 8, "threshold": 0.3}, marks=pytest.mark.slow)], ids=["plain", "all"]
)
@short_reader()
def test_the_runner_gives_the_mask_of_the_pipeline_without_zoo(model, format, settings, tmp_path):
    """A picture of several tiles, a file that is not an image, and a photo in colour."""
    version = zoo.export(model, tmp_path, format=format, name="cells", **settings)
    files = [tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "colour.png"]
    Image.fromarray(draw_cells((45, 61), 2)[0]).save(files[0])
    files[1].write_bytes(b"nothing")
    Image.fromarray(np.stack([draw_cells((20, 9), seed)[0] for seed in (3, 4, 5)], axis=-1)).save(files[2])
    status, rows = run_alone(version, *files)
    assert status == 1
    assert ["error" in row for row in rows] == [False, True, False]
    pipeline = zoo.pipeline(model, **settings)
    for file, row in ((files[0], rows[0]), (files[2], rows[2])):
        answer = pipeline(file)
        mask, own = (
            np.asarray(Image.open(io.BytesIO(content))) for content in (answer["mask"], base64.b64decode(row["mask"]))
        )
        assert own.shape == mask.shape
        assert np.mean(own != mask) < 0.01
        for each, other in zip(row["classes"], answer["classes"], strict=True):
            assert each == {"label": other["label"], "fraction": pytest.approx(other["fraction"], abs=0.01)}
    status, rows = run_alone(version, files[0], "--out", tmp_path / "masks")
    assert (status, rows[0]["mask"]) == (0, str(tmp_path / "masks" / "good.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(rows[0]["mask"])).shape, (45, 61))
