"""`zoo predict --out`: answers that are files."""

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import zoo
from tests.helpers.kept_pipelines import kept_pipelines
from tests.helpers.masks import draw_cells
from tests.helpers.models import make
from tests.helpers.short_graphs import short_reader
from zoo.cli import main


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    """Runs `zoo predict` with a segmenter, in a folder with two pictures and a stack of three pages."""
    folder = tmp_path_factory.mktemp("pictures")
    model = make("unet")
    model.origin.labels = ["membrane", "cell"]
    zoo.save(model, folder / "preset")
    pages = [Image.fromarray(draw_cells((20, 30), number)[0]) for number in range(3)]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    (folder / "other").mkdir()
    pages[0].save(folder / "slice.png")
    pages[1].save(folder / "other" / "slice.png")

    def run(*arguments):
        return CliRunner().invoke(main, ["predict", str(folder / "preset"), *map(str, arguments)])

    with short_reader(), kept_pipelines(folder / "preset"):
        yield run, folder


def test_masks_of_files_and_of_the_pages_of_a_stack(predict, tmp_path):
    run, folder = predict
    inputs = [folder / "slice.png", folder / "other" / "slice.png", folder / "stack.tif"]
    done = run(*inputs, "--out", tmp_path / "masks")
    assert done.exit_code == 0, done.output
    names = ["slice.png", "slice-2.png", "stack-0.png", "stack-1.png", "stack-2.png"]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == sorted(names)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{folder}/slice.png: membrane ")
    assert [line.split(" -> ")[1] for line in lines] == [f"{tmp_path}/masks/{name}" for name in names]
    pipeline = zoo.pipeline(folder / "preset")
    for name, item in (("slice.png", inputs[0]), ("slice-2.png", inputs[1])):
        written = Image.open(tmp_path / "masks" / name)
        assert written.getpalette()[:6] == [0, 0, 0, 255, 255, 255]
        expected = np.asarray(Image.open(io.BytesIO(pipeline(item)["mask"])))
        np.testing.assert_array_equal(np.asarray(written), expected)
    assert (tmp_path / "masks/stack-0.png").read_bytes() == (tmp_path / "masks/slice.png").read_bytes()


def test_json_has_a_path_or_base64(predict, tmp_path):
    run, folder = predict
    [row] = json.loads(run(folder / "slice.png", "--json").stdout)
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["mask"]))))
    assert mask.shape == (20, 30)
    assert row["classes"][1] == {"label": "cell", "fraction": pytest.approx(mask.mean())}
    done = run(folder / "slice.png", tmp_path / "none.png", "--json", "--out", tmp_path / "masks")
    good, bad = json.loads(done.stdout)
    assert Path(good["mask"]).is_file()
    assert (done.exit_code, bad["error"]) == (1, "the file does not exist")
    rows = list(csv.reader(io.StringIO(run(folder / "slice.png", "--csv", "--out", tmp_path / "masks").stdout)))
    assert rows[0] == ["input", "membrane", "cell", "mask", "error"]
    assert rows[1][1:] == [f"{1 - mask.mean():.6f}", f"{mask.mean():.6f}", f"{tmp_path}/masks/slice.png", ""]


def test_other_answers_have_no_files(tmp_path):
    done = CliRunner().invoke(
        main, ["predict", "lenet5.mnist", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 1
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    done = CliRunner().invoke(
        main, ["predict", "lenet5.mnist", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    )
    assert "--out: an answer of image_classification has no files to write: leave it out" in done.output
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()
