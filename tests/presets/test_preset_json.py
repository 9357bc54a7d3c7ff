"""A preset's files: their hashes, damage, and names that lead out of the folder."""

import hashlib
import re
import shutil

import pytest

import zoo
from tests.helpers.presets import edit, error_of, put, tree, write_preset
from zoo import preset


def test_a_preset_lists_its_files_with_their_hashes(tmp_path):
    saved = write_preset(tmp_path / "x")
    assert sorted(saved.record["files"]) == ["assets/words.txt", "model.weights.h5", "samples/s.bin"]
    facts = saved.record["files"]["assets/words.txt"]
    assert facts == {"sha256": hashlib.sha256(b"one two").hexdigest(), "size": 7}
    assert saved.assets() == {"words.txt": b"one two"}
    assert saved.record["format"] == 1
    assert sorted(tree(tmp_path / "x")) == sorted([*saved.record["files"], "README.md", "preset.json"])
    assert preset.open_preset(tmp_path / "x").record == saved.record
    assert "accuracy | 50.00 % | drawn | test | 3" in (tmp_path / "x" / "README.md").read_text()


@pytest.mark.parametrize("name", ["model.weights.h5", "assets/words.txt", "samples/s.bin"])
def test_every_damaged_file_is_named(tmp_path, name):
    path = write_preset(tmp_path / "x").path
    file, good = path / name, (path / name).read_bytes()
    changed = good[:-1] + bytes([good[-1] ^ 1])
    for content, what in ((changed, "its sha256"), (good[:-1], f"{len(good) - 1} bytes, not {len(good)}")):
        file.write_bytes(content)
        message = error_of(preset.open_preset(path).verify)
        assert message.startswith(f"{file} is damaged: ")
        assert what in message
    file.unlink()
    assert error_of(preset.open_preset(path).verify).startswith(f"{file} is missing")
    file.mkdir()
    assert error_of(preset.open_preset(path).file, name).startswith(f"{file} is missing")
    file.rmdir()
    file.write_bytes(good)
    preset.open_preset(path).verify()
    assert "has no file nothing.txt" in error_of(preset.open_preset(path).file, "nothing.txt")


def test_a_newer_format_is_refused_by_its_number(tmp_path):
    path = write_preset(tmp_path / "x").path
    edit(path, lambda content: {"format": 7, "everything": "else"})
    assert re.search(r"preset\.json has format 7, .* up to 1: upgrade", error_of(preset.open_preset, path))


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
    "operations a text": put("op_libraries", value="_ops.so"),
    "operations numbers": put("op_libraries", value=[1]),
    "name leaves": put("name", value="../../elsewhere"),
    "name backslash": put("name", value="..\\elsewhere"),
    "empty name": put("name", value=""),
    "a list": lambda content: [content],
    "a text": lambda content: "preset",
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_preset_json_is_named(places, change):
    """One line that names the file; and a listing goes on without it."""
    write_preset(places / "one" / "x.good")
    path = write_preset(places / "one" / "x.bad").path
    edit(path, change)
    assert error_of(preset.open_preset, path).startswith(f"{path / 'preset.json'} is damaged: ")
    assert error_of(preset.open_preset, "x.bad").startswith(f"{path / 'preset.json'} is damaged: ")
    assert zoo.list_models("x.") == ["x.good"]
    assert str(path) in error_of(zoo.model_info, "x.bad")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"null", b"{}", b'{"format": true'], ids=range(7)
)
def test_a_preset_json_that_is_not_json_is_named(tmp_path, content):
    path = write_preset(tmp_path / "x").path
    (path / "preset.json").write_bytes(content)
    assert error_of(preset.open_preset, path).startswith(f"{path / 'preset.json'} is damaged: ")


LEAVING = ["/etc/passwd", "../secret", "assets/../../secret", "..", ".", "", "..\\secret", "a\\b", "nul\0l"]


@pytest.mark.parametrize("name", LEAVING)
def test_a_file_cannot_leave_its_folder(tmp_path, name):
    path = write_preset(tmp_path / "x").path
    edit(path, put("files", name, value={"sha256": "0" * 64, "size": 3}))
    message = error_of(preset.open_preset, path)
    assert message.startswith(f"{path / 'preset.json'} lists ")
    assert repr(name) in message
    before = tree(tmp_path)
    assert repr(name) in error_of(write_preset, tmp_path / "y", others={name: b"bad"})
    assert tree(tmp_path) == before


def test_a_link_cannot_leave_its_folder(tmp_path):
    path = write_preset(tmp_path / "x").path
    (tmp_path / "words.txt").write_bytes(b"one two")
    (path / "assets" / "words.txt").unlink()
    (path / "assets" / "words.txt").symlink_to(tmp_path / "words.txt")
    assert "assets/words.txt, which lies outside its folder" in error_of(preset.open_preset(path).assets)
    shutil.rmtree(path / "assets")
    (path / "assets").symlink_to(tmp_path)
    assert "assets/words.txt, which lies outside its folder" in error_of(preset.open_preset(path).verify)
    write_preset(path, others={})  # overwriting removes the old preset's files, but none elsewhere
    assert (tmp_path / "words.txt").read_bytes() == b"one two"


def test_a_linked_preset_is_one(tmp_path):
    write_preset(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    preset.open_preset(tmp_path / "link").verify()
