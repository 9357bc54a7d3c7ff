"""Text through the client and the development server."""

import math

import zoo
from zoo.exporting import dev_server
from zoo.exporting.client import Client


def test_a_client_gets_what_a_pipeline_gives(speller, tmp_path):
    """Sentences and bytes, good and bad, by gRPC and REST."""
    zoo.export(speller, tmp_path / "exports", name="speller", n_best=2)
    pipeline = zoo.pipeline(str(speller), n_best=2)
    items = ["fade", b"bed", "", "na\u00efve", b"\xff"]
    expected = pipeline(items, errors="return")
    running = dev_server.Server(tmp_path / "exports", 0, 0)
    running.start()
    try:
        for address in (f"grpc://localhost:{running.port}", f"http://localhost:{running.rest_port}"):
            rows = Client("speller", address).predict(items, errors="return")
            assert [row.get("error") for row in rows] == [row.get("error") for row in expected]
            for row, other in zip(rows[:2], expected[:2], strict=True):
                assert row["translation"] == other["translation"]
                assert [each["translation"] for each in row["alternatives"]] == [
                    each["translation"] for each in other["alternatives"]
                ]
                assert math.isclose(row["score"], other["score"], abs_tol=1e-5)
    finally:
        running.stop()
