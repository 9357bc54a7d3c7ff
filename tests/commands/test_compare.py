"""`zoo predict --compare`, and the other commands on faces."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

import zoo
from tests.helpers.kept_pipelines import kept_pipelines
from tests.helpers.models import make
from tests.helpers.portraits import draw_portrait
from tests.helpers.short_graphs import short_reader
from zoo.cli import main


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Runs a command on a preset, in a folder with three portraits."""
    folder = tmp_path_factory.mktemp("portraits")
    zoo.save(make("face_embedding"), folder / "preset")
    for person in range(3):
        draw_portrait(person, 0).save(folder / f"{person}.png")

    def run(name, *arguments):
        return CliRunner().invoke(main, [name, str(folder / "preset"), *map(str, arguments)])

    with short_reader(), kept_pipelines(folder / "preset"):
        yield run, folder


def test_pairs_have_a_line_each(command):
    run, folder = command
    files = [folder / f"{person}.png" for person in range(3)]
    done = run("predict", *files, "--compare", "--threshold", "0.8")
    assert done.exit_code == 0, done.output
    expected = zoo.pipeline(folder / "preset", threshold=0.8).compare(files)
    lines = [
        f"{row['input']}, {row['other']}: {'the same person' if row['same'] else 'different people'}, distance "
        f"{row['distance']:.3f} (threshold 0.8)"
        for row in expected
    ]
    assert done.stdout.splitlines() == lines
    rows = json.loads(run("predict", *files[:2], "--compare", "--threshold", "0.8", "--json").stdout)
    assert rows == [pytest.approx(expected[0])]


def test_a_bad_picture_is_named_and_the_others_are_compared(command):
    run, folder = command
    (folder / "notes.txt").write_text("no picture")
    done = run("predict", folder / "0.png", folder / "notes.txt", folder / "1.png", "--compare")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.startswith(f"zoo: {folder}/notes.txt: not an image")
    assert run("predict", folder / "0.png", "--compare").exception is not None
    both = run("predict", folder / "0.png", folder / "1.png", "--compare", "--csv")
    assert both.exit_code == 2
    assert "--compare prints text or JSON: leave out --csv" in both.stderr


def test_embeddings_as_text_json_csv_and_npz(command, tmp_path):
    run, folder = command
    point = zoo.pipeline(folder / "preset")(folder / "0.png")["embedding"]
    done = run("predict", folder / "0.png")
    assert done.exit_code == 0, done.output
    text = done.stdout
    assert text.startswith(f"{folder}/0.png: embedding of 6 numbers: {point[0]:.3f}, ")
    [row] = json.loads(run("predict", folder / "0.png", "--json").stdout)
    assert row["embedding"] == pytest.approx(point, abs=1e-6)
    [row] = csv.DictReader(io.StringIO(run("predict", folder / "0.png", "--csv").stdout))
    assert [float(row[f"embedding_{number}"]) for number in range(1, 7)] == pytest.approx(point, abs=1e-6)
    done = run("embed", folder / "0.png", folder / "1.png", "--out", tmp_path / "points.npz")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "points.npz") as arrays:
        assert arrays["embeddings"].shape == (2, 6)
        np.testing.assert_allclose(arrays["embeddings"][0], point, atol=1e-6)


def test_both_faces_are_explained(command, tmp_path):
    run, folder = command
    done = run("explain", folder / "0.png", folder / "1.png", "--out", tmp_path / "faces.png")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 3
    assert (tmp_path / "faces.png").exists()
