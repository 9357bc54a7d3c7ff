"""Presets: their files, how they are found, checked, downloaded, and written whole or not at all."""

import hashlib
import http.server
import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies

import zoo
from tests.drawings import draw_digit
from zoo import preset
from zoo.errors import ZooError
from zoo.preset import cache, preset_json, weights

METRIC = {"name": "accuracy", "value": 0.5, "dataset": "drawn", "split": "test", "examples": 3, "final": True}


class Fake:
    """What `preset.write` needs of a model, without Keras."""

    name = "fake"

    def __init__(self, values):
        self.values = values

    def save_weights(self, path):
        with h5py.File(path, "w") as file:
            file["layers/dense/vars/0"] = np.asarray(self.values, "float32")


def make(path, value=1.0, others=None, **changes):
    """A small preset, written without Keras."""
    facts = {
        "name": Path(path).name,
        "model": {"name": "mlp", "overrides": {}},
        "task": {"name": "image_classification", "settings": {"labels": ["a", "b"]}},
        "parameters": 4,
        "metrics": [METRIC],
        **changes,
    }
    others = {"assets/words.txt": b"one two", "samples/s.bin": b"\x00\x01"} if others is None else others
    return preset.write(Path(path), facts, Fake(np.full((2, 2), value)), "float32", others)


def edit(path, change):
    """Changes preset.json by a function of its content."""
    content = json.loads((path / "preset.json").read_text())
    content = change(content) or content
    (path / "preset.json").write_text(json.dumps(content))


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(call, *arguments, **keywords):
    """The message of the ZooError that a call raises; one line."""
    with pytest.raises(ZooError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """No presets but the test's: two folders of ZOO_PRESETS, the bundled ones, the cache."""
    for part in ("one", "two", "bundled", "cache"):
        (tmp_path / part).mkdir()
    monkeypatch.setenv("ZOO_PRESETS", f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}{os.pathsep}")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_PRESETS_URL", raising=False)
    monkeypatch.setattr("zoo.preset.folders.BUNDLED", tmp_path / "bundled")
    return tmp_path


# Files and their hashes


def test_a_preset_lists_its_files_with_their_hashes(tmp_path):
    made = make(tmp_path / "x")
    assert sorted(made.record["files"]) == ["assets/words.txt", "model.weights.h5", "samples/s.bin"]
    facts = made.record["files"]["assets/words.txt"]
    assert facts == {"sha256": hashlib.sha256(b"one two").hexdigest(), "size": 7}
    assert made.assets() == {"words.txt": b"one two"}
    assert made.record["format"] == 1
    assert sorted(tree(tmp_path / "x")) == sorted([*made.record["files"], "README.md", "preset.json"])
    assert preset.open_preset(tmp_path / "x").record == made.record
    assert "accuracy | 50.00 % | drawn | test | 3" in (tmp_path / "x" / "README.md").read_text()


@pytest.mark.parametrize("name", ["model.weights.h5", "assets/words.txt", "samples/s.bin"])
def test_every_damaged_file_is_named(tmp_path, name):
    path = make(tmp_path / "x").path
    file, good = path / name, (path / name).read_bytes()
    for content, what in ((good[:-1] + b"?", "its sha256"), (good[:-1], f"{len(good) - 1} bytes, not {len(good)}")):
        file.write_bytes(content)
        message = told(preset.open_preset(path).verify)
        assert message.startswith(f"{file} is damaged: ")
        assert what in message
    file.unlink()
    assert told(preset.open_preset(path).verify).startswith(f"{file} is missing")
    file.mkdir()
    assert told(preset.open_preset(path).file, name).startswith(f"{file} is missing")
    file.rmdir()
    file.write_bytes(good)
    preset.open_preset(path).verify()
    assert "lists no file nothing.txt" in told(preset.open_preset(path).file, "nothing.txt")


def test_a_newer_format_is_refused_by_its_number(tmp_path):
    path = make(tmp_path / "x").path
    edit(path, lambda content: {"format": 7, "everything": "else"})
    assert re.search(r"preset\.json has format 7, .* up to 1: upgrade", told(preset.open_preset, path))


def put(*keys, value):
    """A change of preset.json: the value under the keys, or nothing there where it is `...`."""

    def change(content):
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        if value is ...:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value

    return change


BROKEN = {
    **{
        f"no {key}": put(key, value=...)
        for key in ("format", "name", "model", "task", "parameters", "storage", "files")
    },
    **{f"null {key}": put(key, value=None) for key in ("format", "name", "model", "task", "parameters", "files")},
    "format as text": put("format", value="1"),
    "parameters as text": put("parameters", value="many"),
    "model as text": put("model", value="mlp"),
    "no model name": put("model", "name", value=...),
    "model name a list": put("model", "name", value=["mlp"]),
    "no overrides": put("model", "overrides", value=...),
    "overrides a list": put("model", "overrides", value=[]),
    "no task name": put("task", "name", value=...),
    "no settings": put("task", "settings", value=None),
    "labels a number": put("task", "settings", "labels", value=2),
    "labels numbers": put("task", "settings", "labels", value=[1, 2]),
    "files a list": put("files", value=["model.weights.h5"]),
    "file facts text": put("files", "model.weights.h5", value="abc"),
    "no sha256": put("files", "model.weights.h5", "sha256", value=...),
    "no size": put("files", "model.weights.h5", "size", value=...),
    "size text": put("files", "model.weights.h5", "size", value="12"),
    "metrics a number": put("metrics", value=5),
    "metric a text": put("metrics", value=["good"]),
    "metric without value": put("metrics", 0, "value", value=...),
    "metric value text": put("metrics", 0, "value", value="high"),
    "samples a dict": put("samples", value={"a": 1}),
    "sample without answer": put("samples", value=[{"input": "samples/s.bin"}]),
    "terms a list": put("terms", value=["free"]),
    "provenance text": put("provenance", value="home"),
    "speed without latency": put("speed", value={"hardware": "mine"}),
    "name leaves": put("name", value="../../elsewhere"),
    "name backslash": put("name", value="..\\elsewhere"),
    "empty name": put("name", value=""),
    "a list": lambda content: [content],
    "a text": lambda content: "preset",
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_preset_json_is_named(places, change):
    """One line that names the file; and a listing goes on without it."""
    make(places / "one" / "x.good")
    path = make(places / "one" / "x.bad").path
    edit(path, change)
    assert told(preset.open_preset, path).startswith(f"{path / 'preset.json'} is damaged: ")
    assert told(preset.open_preset, "x.bad").startswith(f"{path / 'preset.json'} is damaged: ")
    assert zoo.list_models("x.") == ["x.good"]
    assert str(path) in told(zoo.model_info, "x.bad")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"null", b"{}", b'{"format": true'], ids=range(7)
)
def test_a_preset_json_that_is_no_json_is_named(tmp_path, content):
    path = make(tmp_path / "x").path
    (path / "preset.json").write_bytes(content)
    assert told(preset.open_preset, path).startswith(f"{path / 'preset.json'} is damaged: ")


LEAVING = ["/etc/passwd", "../secret", "assets/../../secret", "..", ".", "", "..\\secret", "a\\b", "nul\0l"]


@pytest.mark.parametrize("name", LEAVING)
def test_a_file_cannot_leave_its_folder(tmp_path, name):
    path = make(tmp_path / "x").path
    edit(path, put("files", name, value={"sha256": "0" * 64, "size": 3}))
    message = told(preset.open_preset, path)
    assert message.startswith(f"{path / 'preset.json'} lists ")
    assert repr(name) in message
    before = tree(tmp_path)
    assert repr(name) in told(make, tmp_path / "y", others={name: b"bad"})
    assert tree(tmp_path) == before


def test_a_link_cannot_leave_its_folder(tmp_path):
    path = make(tmp_path / "x").path
    (tmp_path / "words.txt").write_bytes(b"one two")
    (path / "assets" / "words.txt").unlink()
    (path / "assets" / "words.txt").symlink_to(tmp_path / "words.txt")
    assert "assets/words.txt, which lies outside its folder" in told(preset.open_preset(path).assets)
    shutil.rmtree(path / "assets")
    (path / "assets").symlink_to(tmp_path)
    assert "assets/words.txt, which lies outside its folder" in told(preset.open_preset(path).verify)
    make(path, others={})  # overwriting removes the old preset's files, but none elsewhere
    assert (tmp_path / "words.txt").read_bytes() == b"one two"


def test_a_linked_preset_is_one(tmp_path):
    make(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    preset.open_preset(tmp_path / "link").verify()


# Finding


def test_lookup_order(places):
    for part in ("cache", "bundled", "two", "one"):
        make(places / part / "x.tag", name=f"from {part}")
        assert preset.open_preset("x.tag").name == f"from {part}"
        assert preset.open_preset("x.tag").path == places / part / "x.tag"
    assert zoo.list_models("x.tag") == ["x.tag"]
    (places / "one" / "x.tag" / "preset.json").unlink()
    assert preset.open_preset("x.tag").name == "from two"


def test_a_name_is_no_path(places, monkeypatch):
    """A name is not looked for in the working folder, and a path not in the folders of presets."""
    make(places / "x.tag")
    make(places / "one" / "y.tag")
    monkeypatch.chdir(places)
    assert "unknown preset 'x.tag'; for the folder give ./x.tag" in told(preset.open_preset, "x.tag")
    assert preset.open_preset("./x.tag").name == "x.tag"
    assert "no preset: there is no such folder" in told(preset.open_preset, "./y.tag")
    assert "no preset: it has no preset.json" in told(preset.open_preset, Path("one"))
    for name in ("..", "one/../..", "", ".", "x.tag\n", "one\\y.tag", "..x", "x..y"):
        assert "preset" in told(preset.open_preset, name)


def test_a_models_name_is_no_preset(places):
    assert "'mlp' is a model, not a preset: it has no trained weights yet" in told(preset.open_preset, "mlp")
    make(places / "two" / "mlp.tag")
    make(places / "cache" / "mlp.other")
    assert "'mlp' is a model, not a preset: load mlp.tag or mlp.other" in told(preset.open_preset, "mlp")
    assert zoo.model_info("mlp")["presets"] == ["mlp.tag", "mlp.other"]
    assert zoo.list_models("mlp", pretrained=True) == ["mlp.other", "mlp.tag"]
    info = zoo.model_info("mlp.tag")
    assert (info["kind"], info["metrics"], info["path"]) == ("preset", [METRIC], str(places / "two" / "mlp.tag"))
    assert info["paper"] == zoo.model_info("mlp")["paper"]


# Rounding


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(
    hypothesis.extra.numpy.arrays(
        "float32",
        strategies.one_of(
            hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=4, max_side=5),
            strategies.tuples(*[strategies.integers(1, 3)] * 3, strategies.just(1)),
        ),
        elements=strategies.one_of(
            strategies.floats(-10, 10, width=32), strategies.floats(-(2.0**100), 2.0**100, width=32)
        ),
    )
)
def test_int8_is_within_half_a_scale_of_its_channel(values):
    rounded, scale = weights.quantize(values)
    channel = values.ndim - 1 if values.shape[-1] > 1 else values.ndim - 2
    assert rounded.dtype == np.int8
    assert rounded.shape == values.shape
    assert rounded.min() >= -127
    assert scale.dtype == np.float32
    assert scale.shape == tuple(size if axis == channel else 1 for axis, size in enumerate(values.shape))
    assert (scale > 0).all()
    again = rounded.astype("float64") * scale
    assert (np.abs(again - values) <= 0.5001 * scale.astype("float64")).all()
    greatest = np.abs(values).max(tuple(axis for axis in range(values.ndim) if axis != channel), keepdims=True)
    normal = greatest > 1e-30
    np.testing.assert_allclose(scale[normal], greatest[normal] / 127, rtol=1e-6)  # no coarser than it must be
    twice, same = weights.quantize(rounded.astype("float32") * scale)
    np.testing.assert_array_equal(twice, rounded)
    np.testing.assert_array_equal(same, scale)


def test_each_channel_of_a_depthwise_kernel_has_its_own_scale():
    values = np.ones((3, 3, 4, 1), "float32") * np.array([1, 10, 100, 0], "float32")[:, None]
    rounded, scale = weights.quantize(values)
    np.testing.assert_allclose(scale.ravel()[:3], np.array([1, 10, 100]) / 127, rtol=1e-6)
    assert (rounded[..., :3, :] == 127).all()
    assert (rounded[..., 3, :] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_int8_refuses_what_is_no_number(tmp_path, value):
    values = np.array([[1.0, 2.0], [value, 3.0]], "float32")
    assert "int8 can't hold" in told(weights.write, Fake(values), tmp_path / "a.weights.h5", "int8")
    weights.write(Fake(values), tmp_path / "b.weights.h5", "float16")  # which has infinities of its own
    assert "float16 can't hold" in told(weights.write, Fake([[1.0, 7e4]]), tmp_path / "c.weights.h5", "float16")
    assert "storage='int4' is none of" in told(weights.write, Fake(values), tmp_path / "d.weights.h5", "int4")


@pytest.mark.parametrize("storage", weights.STORAGES)
def test_round_trip(tmp_path, storage):
    """A loaded preset has the weights to the bit, after the rounding of its storage; and again after another save."""
    model = zoo.create_model("mlp", classes=3, hidden_units=(16, 12), input_shape=(16, 16, 1))
    for number, weight in enumerate(model.weights):
        random = np.random.default_rng(number)
        weight.assign(random.normal(0, 0.1, weight.shape) * 10.0 ** random.integers(-3, 3, weight.shape[-1]))
    zoo.save(model, tmp_path / "one", storage=storage)
    one = preset.open_preset(tmp_path / "one")
    zoo.save(tmp_path / "one", tmp_path / "two")
    assert one.record["storage"] == preset.open_preset(tmp_path / "two").record["storage"] == storage
    loaded = zoo.load(tmp_path / "one").get_weights()
    for exact, first, second in zip(model.get_weights(), loaded, zoo.load(tmp_path / "two").get_weights(), strict=True):
        expected = exact
        if storage == "float16":
            expected = exact.astype("float16").astype("float32")
        elif storage == "int8" and exact.ndim > 1:
            rounded, scale = weights.quantize(exact)
            expected = rounded.astype("float32") * scale
            assert np.abs(expected - exact).max() > 0
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, expected)
        np.testing.assert_array_equal(first, second)
    with h5py.File(one.file("model.weights.h5")) as file:
        kinds = {str(file[name].dtype) for name in weights._arrays(file)}
    assert kinds == {"float32": {"float32"}, "float16": {"float16"}, "int8": {"int8", "float32"}}[storage]
    assert one.record["parameters"] == sum(weight.size for weight in model.get_weights())
    share = {"float32": 4.0, "float16": 2.0, "int8": 1.0}[storage] * 4096
    assert share < one.record["files"]["model.weights.h5"]["size"] < share + 25_000


# Writing: whole, or not at all

WRITING = """
import errno, json, os, sys
from pathlib import Path
import h5py
import numpy as np
from tests.test_presets import Fake, make
from zoo import preset
from zoo.errors import ZooError

folder, what = Path(sys.argv[1]), sys.argv[2]

def setup(path):
    make(path, 1.0, {"assets/old.txt": b"old", "assets/words.txt": b"old words"}, name="old")
    (path / "history.csv").write_text("epoch,loss")
    (path / "assets" / "mine.txt").write_text("mine")

def act(path):
    if what == "update":
        preset.update(preset.open_preset(path), name="new")
    else:
        make(path, 2.0, {"samples/new.txt": b"new", "assets/words.txt": b"new words"}, name="new")

def look(path):
    assert (path / "history.csv").read_text() == "epoch,loss"
    assert (path / "assets" / "mine.txt").read_text() == "mine"
    try:
        found = preset.open_preset(path)
    except ZooError as error:
        assert str(error).endswith("is no preset: it has no preset.json"), error
        return "none"
    found.verify()
    with h5py.File(found.file("model.weights.h5")) as file:
        value = float(file["layers/dense/vars/0"][0, 0])
    assert found.assets()["words.txt"].decode() == ("new words" if value == 2 else "old words")
    if what != "update":
        assert value == {"old": 1, "new": 2}[found.name]
    return found.name

def at(number, path, end):
    # Acts at the number-th change of a file in this folder, before the system makes it.
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        if not str(arguments[0]).startswith(str(path.parent)):
            return
        writes = event == "os.mkdir" or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if what == "full" and not writes or event == "open" and not writes:
            return
        count += 1
        if count == number:
            end()
    sys.addaudithook(hook)
    return lambda: count >= number

def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

seen = []
for number in range(1, 200):
    path = folder / str(number) / "x"
    setup(path)
    child = os.fork()
    if not child:
        try:
            reached = at(number, path, full if what == "full" else lambda: os._exit(9))
            act(path)
        except ZooError as error:
            (folder / "error").write_text(str(error))
            os._exit(8)
        except BaseException as error:
            (folder / "error").write_text(repr(error))
            os._exit(7)
        os._exit(6 if reached() else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    state = look(path)
    error = (folder / "error").read_text().replace(str(path), "PATH") if code in (7, 8) else ""
    hidden = [name for name in os.listdir(path.parent) if name != "x"]
    act(path)  # the next one clears up, and is whole
    assert look(path) == "new"
    left = [name for name in os.listdir(path.parent) if name != "x"]
    seen.append([code, state, error, len(hidden), left])
    if code == 0:
        assert what == "update" or not (path / "assets" / "old.txt").exists()
        break
print(json.dumps(seen))
"""


def attempts(folder, what):
    """[exit status, preset found, error, hidden folders left, those left after the next write] of each attempt."""
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", WRITING, str(folder), what],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_kill_leaves_the_old_preset_none_or_the_new(tmp_path):
    seen = attempts(tmp_path, "kill")
    *killed, last = seen
    assert last[:2] == [0, "new"]
    assert {code for code, *_ in killed} == {9}
    states = [state for _, state, *_ in killed]
    assert len(states) > 15
    assert states == sorted(states, key=["old", "none", "new"].index)  # in this order, none of them skipped
    assert set(states) == {"old", "none", "new"}
    assert max(hidden for *_, hidden, _ in killed) == 1
    assert [left for *_, left in seen if left] == []


def test_a_kill_while_figures_are_recorded_leaves_a_preset(tmp_path):
    *killed, last = attempts(tmp_path, "update")
    assert last[:2] == [0, "new"]
    assert len(killed) >= 4
    assert {(code, state) for code, state, *_ in killed} == {(9, "old")} or {state for _, state, *_ in killed} == {
        "old",
        "new",
    }


def test_a_full_disk_leaves_the_old_preset(tmp_path):
    """Each file and folder can't be made once; a folder that is there need not be."""
    *failed, last = attempts(tmp_path, "full")
    assert last[:2] == [0, "new"]
    reason = "can't write the preset PATH: No space left on device"
    assert {tuple(row[:4]) for row in failed} == {(8, "old", reason, 0), (6, "new", "", 0)}
    assert sum(row[0] == 8 for row in failed) >= 5


@pytest.mark.parametrize("storage", weights.STORAGES)
def test_a_disk_that_fills_up_in_hdf5_leaves_the_old_preset(tmp_path, monkeypatch, storage):
    """HDF5 tells of it in many lines, and as another kind of error when it closes the file."""
    path = make(tmp_path / "x").path
    before = tree(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = Fake(np.random.default_rng(0).random((300, 400)))
    facts = {key: preset.open_preset(path).record[key] for key in ("name", "model", "task", "parameters")}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        message = told(preset.write, path, facts, model, storage, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message == f"can't write the preset {path}: File too large"

    def close(_):
        raise RuntimeError(
            "Can't decrement id ref count (unable to extend file properly, errno = 28, error message = .."
        )

    monkeypatch.setattr(model, "save_weights", close)
    message = told(preset.write, path, facts, model, storage, {})
    assert message == f"can't write the preset {path}: No space left on device"
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["x"]


def test_stale_hidden_folders_are_removed(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for name in (f".x[1].{done.pid}.tmp", f".x[1].{os.getpid()}.tmp", f".x[1].{10**30}.tmp"):
            (tmp_path / name / "assets").mkdir(parents=True)
        kept = {f".x[1].{sleeping.pid}.tmp", f".x[1].other.{done.pid}.tmp", f".x1.{done.pid}.tmp", ".x[1].mine.tmp"}
        for name in kept:
            (tmp_path / name).mkdir()
        make(tmp_path / "x[1]").verify()
        assert set(os.listdir(tmp_path)) == {"x[1]", *kept}
    finally:
        sleeping.kill()
        sleeping.wait()


def test_what_is_in_the_way_leaves_the_old_preset(tmp_path):
    path = make(tmp_path / "x").path
    shutil.rmtree(path / "assets")
    (path / "assets").write_text("a file")
    (path / "samples" / "folder").mkdir()
    before = tree(tmp_path)
    assert f"can't write the preset {path}: " in told(make, path, 2.0)
    assert "is a folder" in told(make, path, 2.0, {"samples/folder": b""})
    assert "No such" not in told(make, path / "model.weights.h5")
    assert "not JSON serializable" not in told(make, path, 2.0, {}, provenance={"by": object()})
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["x"]


def test_a_damaged_preset_is_overwritten(tmp_path):
    path = make(tmp_path / "x").path
    (path / "preset.json").write_text("{")
    make(path, 2.0).verify()


def test_numbers_of_numpy_are_recorded(tmp_path):
    made = make(tmp_path / "x", parameters=np.int64(4), metrics=[{**METRIC, "value": np.float32(0.5)}])
    assert made.record["parameters"] == 4
    assert made.record["metrics"] == [METRIC]
    assert json.loads(preset_json.record_text({"a": np.arange(3)})) == {"a": [0, 1, 2]}


# Downloads and the cache


class Server(http.server.BaseHTTPRequestHandler):
    """Serves a folder, and misbehaves where `wrong` says so: name of a file -> how."""

    folder: Path
    wrong: dict[str, str] = {}
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        path = self.folder / self.path.lstrip("/")
        how = next((how for name, how in self.wrong.items() if self.path.endswith(name)), "")
        if how == "404" or not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if how == "cut":
            content = content[: len(content) // 2]
        elif how == "bytes":
            content = content[:-1] + b"?"
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(places, monkeypatch):
    """A server on this machine that publishes the preset net.tag, and the index of its hash."""
    made = make(places / "published" / "net.tag")
    index = places / "index.json"
    index.write_text(json.dumps({"net.tag": hashlib.sha256((made.path / "preset.json").read_bytes()).hexdigest()}))
    monkeypatch.setattr(cache, "INDEX", index)
    handler = type("Handler", (Server,), {"folder": places / "published", "wrong": {}, "asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("ZOO_PRESETS_URL", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield handler
    running.shutdown()
    running.server_close()
    thread.join()


def test_download(places, server, monkeypatch):
    found = preset.open_preset("net.tag")
    assert found.path == places / "cache" / "net.tag"
    found.verify()
    assert found.assets() == {"words.txt": b"one two"}
    assert os.listdir(places / "cache") == ["net.tag"]
    assert server.asked[0] == "/net.tag/preset.json"
    count = len(server.asked)
    preset.open_preset("net.tag")  # from the cache
    assert len(server.asked) == count == 4
    monkeypatch.delenv("ZOO_PRESETS_URL")
    assert preset.open_preset("net.tag").path == places / "cache" / "net.tag"


def test_nothing_is_asked_for_without_an_address_or_a_hash(places, server, monkeypatch):
    make(places / "published" / "other.tag")
    assert "unknown preset 'other.tag'" in told(preset.open_preset, "other.tag")
    monkeypatch.delenv("ZOO_PRESETS_URL")
    assert "unknown preset 'net.tag'" in told(preset.open_preset, "net.tag")
    assert server.asked == []


@pytest.mark.parametrize("file", ["preset.json", "model.weights.h5", "assets/words.txt"])
@pytest.mark.parametrize("how", ["404", "cut", "bytes"])
def test_a_bad_download_is_one_line_and_leaves_nothing(places, server, file, how):
    server.wrong[file] = how
    message = told(preset.open_preset, "net.tag")
    assert f"/net.tag/{file}" in message
    assert ("is not what was published" in message) == (how == "bytes")
    assert ("can't download" in message) == (how != "bytes")
    assert os.listdir(places / "cache") == []
    server.wrong.clear()
    preset.open_preset("net.tag").verify()


def test_a_server_that_is_not_there(places, server, monkeypatch):
    closed = http.server.HTTPServer(("127.0.0.1", 0), Server)
    closed.server_close()
    for address in (f"http://127.0.0.1:{closed.server_port}", "127.0.0.1/presets", "ftp://127.0.0.1", "http://"):
        monkeypatch.setenv("ZOO_PRESETS_URL", address)
        message = told(preset.open_preset, "net.tag")
        assert message.startswith(f"can't download {address.rstrip('/')}/net.tag/preset.json: ")
        assert message.endswith("; try again, or unset ZOO_PRESETS_URL")
    assert os.listdir(places / "cache") == []
    monkeypatch.setenv("ZOO_CACHE", str(places / "index.json"))  # no folder
    assert "can't keep net.tag in the cache" in told(cache.download, "net.tag")


def test_a_published_preset_cannot_leave_the_cache(places, server):
    edit(places / "published" / "net.tag", put("files", "../../evil", value={"sha256": "0" * 64, "size": 3}))
    content = (places / "published" / "net.tag" / "preset.json").read_bytes()
    (places / "index.json").write_text(json.dumps({"net.tag": hashlib.sha256(content).hexdigest()}))
    assert "lists '../../evil', which leaves the preset's folder" in told(preset.open_preset, "net.tag")
    assert os.listdir(places / "cache") == []
    assert not any("evil" in path for path in server.asked)


def run_cli(capsys, *arguments):
    from zoo.cli import main

    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code, *capsys.readouterr()


def test_zoo_cache(places, capsys):
    for name in ("a.one", "b.two"):
        make(places / "cache" / name)
    stale = make(places / "cache" / ".c.three.4194999.tmp", name="c").path  # a download that was killed
    (places / "cache" / "other").mkdir()
    size = sum(len(content) for content in tree(places / "cache" / "a.one").values())
    assert cache.contents() == [{"name": "a.one", "bytes": size}, {"name": "b.two", "bytes": size}]
    code, out, _ = run_cli(capsys, "cache", "--json")
    assert (code, json.loads(out)["presets"]) == (0, cache.contents())
    code, out, _ = run_cli(capsys, "cache", "--clear", "a.one")
    assert code == 0
    assert "removed a.one" in out
    assert sorted(os.listdir(places / "cache")) == [stale.name, "b.two", "other"]
    code, _, error = run_cli(capsys, "cache", "--clear", "../one")
    assert code == 2
    assert error.count("\n") == 1
    assert "holds no preset '../one'" in error
    assert [row["name"] for row in cache.clear()] == ["b.two"]
    assert cache.contents() == []
    shutil.rmtree(places / "cache")
    assert cache.contents() == cache.clear() == []


def test_the_cache_has_a_place_without_being_told(monkeypatch):
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    assert cache.folder().name == "keras-zoo"
    assert cache.folder().is_absolute()


# Saving and loading models


@pytest.fixture
def mine(tiny_preset, tmp_path):
    """A copy of the tiny preset, with figures, terms and a history; not to be found by name."""
    path = tmp_path / "mine"
    shutil.copytree(tiny_preset, path)
    changes = {"metrics": [METRIC], "terms": {"weights": "CC0"}, "data": {"name": "drawn", "test": "test"}}
    preset.update(preset.open_preset(path), **changes, provenance={"recipe": "by.hand", "seed": 3})
    return path


def kept(made):
    return {key: made.record.get(key) for key in ("metrics", "terms", "data", "provenance", "samples", "name")}


def fit(model):
    """One step on one item."""
    shape = model.input["image"].shape[1:]
    model.fit({"image": np.ones((1, *shape), "float32")}, np.array([1]), verbose=0)


def test_what_was_not_fitted_keeps_its_figures(mine, tmp_path):
    before = preset.open_preset(mine)
    model = zoo.load(mine, freeze="all but head")
    made = zoo.save(model, tmp_path / "copy")
    assert kept(made) == kept(before)
    assert made.file("samples/seven.png").read_bytes() == before.file("samples/seven.png").read_bytes()
    assert made.record["files"]["model.weights.h5"]["size"] == before.record["files"]["model.weights.h5"]["size"]
    assert [layer.trainable for layer in model.layers] == [layer.name == "head" for layer in model.layers]
    assert made.record["parameters"] == before.record["parameters"] == 16 * 16 * 16 + 16 + 16 * 12 + 12 + 12 * 3 + 3
    model.trainable = False
    assert zoo.save(model, tmp_path / "frozen").record["parameters"] == made.record["parameters"]
    assert not model.trainable
    converted = zoo.save(mine, tmp_path / "small", storage="int8")
    assert converted.record["metrics"] == before.record["metrics"]
    # The answers of the samples are those of the rounded weights.
    told = zoo.pipeline(converted.path)(converted.file("samples/seven.png"))
    np.testing.assert_allclose(converted.record["samples"][0]["answer"]["scores"], told["scores"], atol=1e-6)
    assert told["scores"] != before.record["samples"][0]["answer"]["scores"]
    assert converted.record["storage"] == "int8"
    in_place = zoo.save(zoo.load(mine), mine, storage="float16")
    assert in_place.record["metrics"] == before.record["metrics"]
    in_place.verify()


def test_what_was_fitted_has_figures_of_its_own(mine, tmp_path):
    model = zoo.load(mine)
    before = preset.load_model(preset.open_preset(mine)).get_weights()
    fit(model)
    made = zoo.save(model, tmp_path / "fitted")
    assert made.record["metrics"] == []
    assert made.record["samples"] == []
    assert made.record["terms"] == {}
    assert made.record["data"] is None
    assert made.name == "fitted"
    size = preset.open_preset(mine).record["files"]["model.weights.h5"]["size"]
    assert made.record["files"]["model.weights.h5"]["size"] == size  # the optimizer's moments are not kept
    provenance = made.record["provenance"]
    assert provenance["started_from"] == preset.open_preset(mine).name
    assert "recipe" not in provenance
    assert "seed" not in provenance
    assert "Nothing was measured" in (made.path / "README.md").read_text()
    assert made.record["task"]["settings"]["labels"] == ["zero", "one", "seven"]
    changes = [np.abs(a - b).max() for a, b in zip(before, zoo.load(made.path).get_weights(), strict=True)]
    assert max(changes) > 0


def test_a_fresh_head_has_no_figures(mine, tmp_path):
    """Another number of classes makes another model, though nothing was fitted."""
    made = zoo.save(zoo.load(mine, classes=5), tmp_path / "five")
    assert made.record["metrics"] == []
    assert made.record["samples"] == []
    assert "labels" not in made.record["task"]["settings"]
    assert made.record["provenance"]["started_from"] == preset.open_preset(mine).name
    assert zoo.load(made.path).output["logits"].shape == (None, 5)


@pytest.mark.parametrize(
    "arguments", [{"classes": 5}, {"labels": list("abcde")}, {"classes": 5, "labels": list("abcde")}]
)
def test_load_with_other_classes(tiny_preset, arguments):
    before = {layer.name: layer.get_weights() for layer in zoo.load(tiny_preset).layers}
    model = zoo.load(tiny_preset, **arguments)
    assert model.output["logits"].shape == (None, 5)
    assert model.origin.labels == arguments.get("labels")
    assert model.origin.overrides["classes"] == 5
    for layer in model.layers:
        if layer.name != "head":
            for a, b in zip(layer.get_weights(), before[layer.name], strict=True):
                np.testing.assert_array_equal(a, b)
    kernel, bias = model.get_layer("head").get_weights()
    assert kernel.shape == (12, 5)
    assert np.abs(kernel).min() > 0
    assert (bias == 0).all()
    assert np.abs(kernel[:, :3] - before["head"][0]).min() > 0
    other = zoo.load(tiny_preset, **arguments).get_layer("head").get_weights()[0]
    assert np.abs(kernel - other).max() > 0  # fresh, each time


def test_load_keeps_the_head_of_as_many_classes(tiny_preset):
    before, model = zoo.load(tiny_preset), zoo.load(tiny_preset, labels=["a", "b", "c"])
    for a, b in zip(before.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.origin.labels == ["a", "b", "c"]
    assert before.origin.labels == ["zero", "one", "seven"]
    assert before.loss is not None  # compiled
    assert "classes=2, but 3 labels" in told(zoo.load, tiny_preset, classes=2, labels=["a", "b", "c"])
    assert "classes=-1" in told(zoo.load, tiny_preset, classes=-1)
    assert "0 labels" in told(zoo.load, tiny_preset, labels=[])


def test_labels(mine, tmp_path):
    model = zoo.load(mine)
    assert "another order than the model's classes: zero, one, seven" in told(
        zoo.save, model, tmp_path / "x", labels=["one", "zero", "seven"]
    )
    assert "3 classes, 2 labels" in told(zoo.save, model, tmp_path / "x", labels=["one", "zero"])
    assert "no list of strings" in told(zoo.save, model, tmp_path / "x", labels=[0, 1, 2])
    assert "no list of strings" in told(zoo.save, model, tmp_path / "x", labels="abc")
    assert not (tmp_path / "x").exists()
    assert model.origin.labels == ["zero", "one", "seven"]  # what was refused is not remembered
    made = zoo.save(model, tmp_path / "x")
    assert made.record["task"]["settings"]["labels"] == ["zero", "one", "seven"]
    made = zoo.save(model, tmp_path / "x", labels=["null", "eins", "sieben"])
    assert made.record["task"]["settings"]["labels"] == ["null", "eins", "sieben"]
    assert made.record["metrics"] == [METRIC]
    old, new = preset.open_preset(mine).record["samples"][0], made.record["samples"][0]
    names = {"zero": "null", "one": "eins", "seven": "sieben"}
    assert new["answer"]["labels"] == [names[label] for label in old["answer"]["labels"]]
    np.testing.assert_allclose(new["answer"]["scores"], old["answer"]["scores"], atol=1e-5)


def test_samples(tiny_preset, tmp_path, digit_file):
    """The answers are those that the pipeline gives, and go with the preset."""
    record = preset.open_preset(tiny_preset).record
    answer = zoo.pipeline(tiny_preset)(tiny_preset / "samples" / "seven.png")
    assert record["samples"] == [
        {"input": "samples/seven.png", "answer": {"labels": answer["labels"], "scores": answer["scores"]}}
    ]
    draw_digit("1").save(tmp_path / "one.png")
    made = zoo.save(tiny_preset, tmp_path / "x", samples=[tmp_path / "one.png"])
    assert [row["input"] for row in made.record["samples"]] == ["samples/one.png"]
    assert not (made.path / "samples" / "seven.png").exists()
    made.verify()
    (tmp_path / "sub").mkdir()
    draw_digit("0").save(tmp_path / "sub" / "one.png")
    both = [tmp_path / "one.png", tmp_path / "sub" / "one.png"]
    assert "two samples are named one.png" in told(zoo.save, tiny_preset, tmp_path / "y", samples=both)
    (tmp_path / "bad.png").write_bytes(digit_file.read_bytes()[:40])
    for sample in ("bad.png", "none.png"):
        with pytest.raises(ZooError, match=sample):
            zoo.save(tiny_preset, tmp_path / "y", samples=[tmp_path / sample])
    assert not (tmp_path / "y").exists()


def test_like_gives_back_a_lost_origin(mine, tmp_path):
    import keras

    model = zoo.load(mine)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert "has no origin" in told(zoo.save, clone, tmp_path / "x")
    made = zoo.save(clone, tmp_path / "x", like=str(mine))
    assert kept(made) == kept(preset.open_preset(mine))
    clone.set_weights([weight + 1 for weight in clone.get_weights()])
    made = zoo.save(clone, tmp_path / "y", like=str(mine))
    assert made.record["metrics"] == []
    for a, b in zip(clone.get_weights(), zoo.load(made.path).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = zoo.create_model("mlp", hidden_units=(3,), input_shape=(16, 16, 1))
    del other.origin
    assert "do not fit the plan of" in told(zoo.save, other, tmp_path / "z", like=str(mine))
    assert not (tmp_path / "z").exists()


def test_saving_into_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    model = zoo.create_model("mlp", hidden_units=(2,), input_shape=(4, 4, 1))
    assert zoo.save(model, ".").name == "run"
    assert zoo.load(tmp_path / "run").origin.preset == "run"
    assert sorted(os.listdir(".")) == ["README.md", "model.weights.h5", "preset.json"]


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def replace_weights(path, content):
    """Other bytes as weights, with the hash that fits."""
    (path / "model.weights.h5").write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    edit(path, put("files", "model.weights.h5", value=facts))
    preset.open_preset(path).verify()


def test_loading_executes_nothing(mine, tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    replace_weights(mine, bomb)
    assert f"the weights in {mine / 'model.weights.h5'} do not fit" in told(zoo.load, mine)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file["layers/head/vars/0"] = np.frombuffer(bomb, "uint8")
    replace_weights(mine, (tmp_path / "bomb.h5").read_bytes())
    assert "do not fit the model mlp" in told(zoo.load, mine)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()  # it would have shown


def test_weights_of_another_model_are_refused(mine, tmp_path):
    other = zoo.create_model("mlp", classes=3, hidden_units=(5, 12), input_shape=(16, 16, 1))
    other.save_weights(tmp_path / "other.weights.h5")
    replace_weights(mine, (tmp_path / "other.weights.h5").read_bytes())
    assert f"{mine / 'model.weights.h5'} do not fit the model mlp: " in told(zoo.load, mine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("model", "name", value="mlq"), "unknown model 'mlq'; did you mean mlp?"),
        (put("model", "overrides", "units", value=3), "unknown argument of mlp 'units'; "),
        (put("model", "overrides", "name", value="mlp"), ""),
        (put("model", "overrides", "activation", value="os.system"), "activation='os.system' is none of"),
        (put("model", "overrides", "hidden_units", value="ab"), ""),
    ],
)
def test_a_plan_that_cannot_be_built_names_the_preset(mine, change, message):
    edit(mine, change)
    found = told(zoo.load, mine)
    assert found.startswith(f"{mine / 'preset.json'} can't be used: ")
    assert message in found
