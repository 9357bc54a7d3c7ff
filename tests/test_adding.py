"""docs/ADDING.md as it stands: a package with a model, a data set, a task and an explanation of its own.

Its task has two raw inputs and an answer of a new kind; every command works on it through entry points alone.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib

import h5py
import numpy as np
import pytest

from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "ADDING.md"
ITEM = '{"text": "I hate this, stop", "loudness": 75}'

# Runs commands of the command line; then asks a server by both protocols, and shows a preset with a sample. One process
# does all of it. It prints [[[arguments, exit status, standard output, error], ...], answers, rows of the demo].
DRIVER = """
import contextlib, io, json, sys
from tests.helpers.verifying_here import verifying_here  # another test verifies in a process of its own
from zoo.cli import main

class Terminal(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8")
    def text(self):
        self.flush()
        return self.buffer.getvalue().decode()

def run(arguments):
    out, err = Terminal(), Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            status = end.code
    return [arguments, status, out.text(), err.text()]

with verifying_here():
    results = [run(arguments) for arguments in json.loads(sys.argv[1])]

import zoo
from zoo.demo import demo
from zoo.exporting import Client
from zoo.exporting.dev_server import Server

server = Server("exports", 0, 0)
server.start()
items = [{"text": "hate", "loudness": 75}, {"text": "", "loudness": 60}, {"text": "thanks"}]
answers = []
for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
    client = Client("moods", address)
    answers.append([client.predict(items, errors="return"), client.predict(items[0])])
server.stop()
zoo.save("runs/moods", "runs/sampled", samples=["item.json"])
print(json.dumps([results, answers, list(demo(["./runs/sampled"]))]))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    [script] = blocks("bash")
    return [shlex.split(line.removesuffix("|| true"))[1:] for line in script.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the page's package installed: its files, and metadata with its entry points."""
    folder = tmp_path_factory.mktemp("adding")
    for block in blocks("python"):
        path = folder / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    (folder / "zoo_moods" / "__init__.py").touch()
    (folder / "zoo_moods" / "models" / "__init__.py").touch()
    project = tomllib.loads(blocks("toml")[0])["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text(points)
    return folder


def python(place, script, *arguments):
    folders = os.pathsep.join(map(str, (place, ROOT)))
    environment = {**os.environ, "PYTHONPATH": folders, "TFDS_DATA_DIR": str(place / "tfds"), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def printed(place):
    """What DRIVER prints for the page's commands and further ones after them."""
    (place / "item.json").write_text(ITEM)
    (place / "lines.txt").write_text(f'{ITEM}\n{{"text": "thanks", "loudness": 40}}\nno json\n')
    rows = [f"{'hate stop' if angry else 'thanks please'}\t{50 + 20 * angry}\t{angry}" for angry in (0, 1) * 20]
    (place / "moods.tsv").write_text("\n".join(["text\tloudness\tangry", *rows]) + "\n")
    short = ["--set", "training.epochs=3"]
    further = [
        ["predict", "runs/moods", ITEM, "--csv"],
        ["predict", "runs/moods", "--file", "lines.txt", "--json"],
        ["predict", "runs/moods", "--help"],
        ["predict", "runs/moods", ITEM, "--threshold", "2"],
        ["predict", "runs/moods", ITEM, "--set", "threshold=0.999999"],
        ["explain", "runs/moods", ITEM, "--out", "set.svg", "--set", "threshold=0.999999"],
        ["info", "runs/moods"],
        ["evaluate", "runs/moods", "--dataset", "./moods.tsv", "--json"],
        ["train", "mood_net", "--out", "runs/own", "--set", "data.folder=moods.tsv", "--set", "training.epochs=2"],
        *[
            ["train", "mood_net", "--out", f"runs/{name}", "--set", "data.name=moods", *short, *steps]
            for name, steps in (("whole", []), ("parts", ["--steps", "5"]), ("parts", []))
        ],
    ]  # fmt: skip
    return python(place, DRIVER, json.dumps([*commands(), *further]))


@pytest.fixture(scope="module")
def results(printed):
    """[arguments, status, output, error] of each command."""
    return printed[0]


def result(results, *words):
    """The result of the only command that has these words."""
    [row] = [each for each in results if all(word in each[0] for word in words)]
    return row[1:]


def test_the_commands_of_the_page_work(results):
    for arguments, status, _, error in results[: len(commands())]:
        expected = 1 if '{"text": "", "loudness": 60}' in arguments and arguments[0] == "predict" else 0
        assert status == expected, (arguments, error)


def test_listing(results):
    _, output, _ = result(results, "list")
    assert "mood_net" in output
    assert "4,145" in output


def test_answers_and_errors(results):
    _, output, error = result(results, "predict", '{"text": "", "loudness": 60}')
    assert re.fullmatch(rf"{re.escape(ITEM)}: angry \(\d+\.\d% angry\)\n", output)
    assert "empty text" in error
    [row] = json.loads(result(results, "predict", "--field")[1])
    assert row["mood"] == "calm"
    assert 0 <= row["probability"] < 0.9


def test_comma_separated_values(results):
    header, line = result(results, "predict", "--csv")[1].splitlines()
    assert header == "input,answer,error"
    assert "angry" in line


def test_items_from_a_file(results):
    status, output, _ = result(results, "predict", "--file")
    rows = json.loads(output)
    assert status == 1
    assert [row.get("mood") for row in rows] == ["angry", "calm", None]
    assert "expected a JSON object with text, loudness" in rows[2]["error"]


def test_flags_and_settings(results):
    assert "Least probability of an angry mood [0.5]" in " ".join(result(results, "predict", "--help")[1].split())
    status, _, error = result(results, "predict", "2")
    assert status == 2
    assert "mood: threshold must be a finite number > 0 and < 1, got 2" in error
    assert ": calm (" in result(results, "predict", "threshold=0.999999")[1]
    assert ": calm\n" in result(results, "explain", "threshold=0.999999")[1]


def test_evaluation(results):
    status, output, _ = result(results, "evaluate", "runs/moods", "--json")
    assert status == 0
    assert json.loads(output)["metrics"]["accuracy"] == 1.0
    assert "accuracy 1.0000" in [row for row in results if row[0] == ["evaluate", "runs/moods"]][0][2]


def test_the_card_names_the_task(results):
    assert "Task: mood" in result(results, "info")[1]


def test_resuming_gives_the_same_weights(results, place):
    arrays = []
    for name in ("whole", "parts"):
        with h5py.File(place / "runs" / name / "model.weights.h5") as file:
            arrays.append({})
            file.visititems(lambda path, item: arrays[-1].update({path: item[()]}) if hasattr(item, "shape") else None)
    assert arrays[0].keys() == arrays[1].keys()
    for path, values in arrays[0].items():
        np.testing.assert_array_equal(values, arrays[1][path], err_msg=path)


def test_training_on_a_file(results, place):
    assert result(results, "train", "runs/own")[0] == 0
    assert (place / "runs" / "own" / "preset.json").is_file()


def test_explanation(results, place):
    status, output, _ = result(results, "explain", "words.png")
    assert status == 0
    assert "angry" in output
    assert (place / "words.png").read_bytes().startswith(b"\x89PNG")


def test_verification(results):
    status, output, _ = result(results, "verify")
    assert status == 0
    assert output.count("equal") == 2


def test_serving(printed):
    for rows, single in printed[1]:
        assert rows[0]["mood"] == single["mood"] == "angry"
        assert "empty text" in rows[1]["error"]
        assert "expected the inputs text, loudness" in rows[2]["error"]


def test_demo(printed):
    [row] = printed[2]
    assert row["shown"] == ITEM
    assert row["answer"].startswith("angry (")
