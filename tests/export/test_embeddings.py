"""Exports of models of faces: embeddings from a server, and from the runner without keras-zoo."""

import numpy as np
import pytest

import zoo
from tests.helpers.models import make
from tests.helpers.portraits import draw_portrait
from tests.helpers.run_alone import run_alone
from tests.helpers.short_graphs import short_reader
from zoo.exporting import Client
from zoo.exporting.dev_server import Server


@short_reader()
def test_a_server_sends_embeddings_by_both_protocols(tmp_path):
    model = make("face_embedding")
    zoo.export(model, tmp_path, name="faces", windows=2)
    items = [np.asarray(draw_portrait(0, 0)), b"no image", np.asarray(draw_portrait(1, 0, (30, 30)))]
    expected = zoo.pipeline(model, windows=2)(items, errors="return")
    server = Server(tmp_path, 0, 0)
    server.start()
    try:
        for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
            rows = Client("faces", address).predict(items, errors="return")
            assert [row.get("error") for row in rows] == [row.get("error") for row in expected]
            for row, other in zip(rows[::2], expected[::2], strict=True):
                assert row["embedding"] == pytest.approx(other["embedding"], abs=1e-5)
    finally:
        server.stop()


@pytest.mark.parametrize("format", ["onnx", pytest.param("litert", marks=pytest.mark.slow)])
@pytest.mark.parametrize("windows", [1, pytest.param(2, marks=pytest.mark.slow)])
@short_reader()
def test_the_runner_gives_the_embedding_of_the_pipeline_without_zoo(format, windows, tmp_path):
    model = make("face_embedding")
    version = zoo.export(model, tmp_path, format=format, name="faces", windows=windows)
    files = [tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "wide.png"]
    draw_portrait(0, 0).save(files[0])
    files[1].write_bytes(b"nothing")
    draw_portrait(1, 0, (70, 40)).save(files[2])
    status, rows = run_alone(version, *files)
    assert status == 1
    assert ["error" in row for row in rows] == [False, True, False]
    pipeline, tolerance = zoo.pipeline(model, windows=windows), {"onnx": 1e-4, "litert": 0.02}[format]
    for file, row in ((files[0], rows[0]), (files[2], rows[2])):
        assert row["embedding"] == pytest.approx(pipeline(file)["embedding"], abs=tolerance)
    assert "distance of two tells people apart" in (version / "README.md").read_text("utf-8")
