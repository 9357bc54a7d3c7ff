"""Downloads of presets, and the cache that keeps them."""

import hashlib
import http.server
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.helpers.presets import edit, error_of, put, tree, write_preset
from zoo import preset
from zoo.preset import cache


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
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(places, monkeypatch):
    """A server on this machine that publishes the preset net.tag, and the index of its hash."""
    saved = write_preset(places / "published" / "net.tag")
    index = places / "index.json"
    index.write_text(json.dumps({"net.tag": hashlib.sha256((saved.path / "preset.json").read_bytes()).hexdigest()}))
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
    opened = preset.open_preset("net.tag")
    assert opened.path == places / "cache" / "net.tag"
    opened.verify()
    assert opened.assets() == {"words.txt": b"one two"}
    assert os.listdir(places / "cache") == ["net.tag"]
    assert server.asked[0] == "/net.tag/preset.json"
    count = len(server.asked)
    preset.open_preset("net.tag")  # from the cache
    assert len(server.asked) == count == 4
    monkeypatch.delenv("ZOO_PRESETS_URL")
    assert preset.open_preset("net.tag").path == places / "cache" / "net.tag"


def test_nothing_is_asked_for_without_an_address_or_a_hash(places, server, monkeypatch):
    write_preset(places / "published" / "other.tag")
    assert "unknown preset 'other.tag'" in error_of(preset.open_preset, "other.tag")
    monkeypatch.delenv("ZOO_PRESETS_URL")
    assert "unknown preset 'net.tag'" in error_of(preset.open_preset, "net.tag")
    assert server.asked == []


@pytest.mark.parametrize("file", ["preset.json", "model.weights.h5", "assets/words.txt"])
@pytest.mark.parametrize("how", ["404", "cut", "bytes"])
def test_a_bad_download_is_one_line_and_leaves_nothing(places, server, file, how):
    server.wrong[file] = how
    message = error_of(preset.open_preset, "net.tag")
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
        message = error_of(preset.open_preset, "net.tag")
        assert message.startswith(f"can't download {address.rstrip('/')}/net.tag/preset.json: ")
        assert message.endswith("; try again, or unset ZOO_PRESETS_URL")
    assert os.listdir(places / "cache") == []
    monkeypatch.setenv("ZOO_CACHE", str(places / "index.json"))  # no folder
    assert "can't keep net.tag in the cache" in error_of(cache.download, "net.tag")


def test_a_published_preset_cannot_leave_the_cache(places, server):
    edit(places / "published" / "net.tag", put("files", "../../evil", value={"sha256": "0" * 64, "size": 3}))
    content = (places / "published" / "net.tag" / "preset.json").read_bytes()
    (places / "index.json").write_text(json.dumps({"net.tag": hashlib.sha256(content).hexdigest()}))
    assert "lists '../../evil', which leaves the preset's folder" in error_of(preset.open_preset, "net.tag")
    assert os.listdir(places / "cache") == []
    assert not any("evil" in path for path in server.asked)


def run_cli(capsys, *arguments):
    from zoo.cli import main

    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code, *capsys.readouterr()


@pytest.fixture
def cached(places):
    """A cache of two presets, what a killed download left, and a folder that is not a preset."""
    folder = places / "cache"
    for name in ("a.one", "b.two"):
        write_preset(folder / name)
    write_preset(folder / ".c.three.4194999.tmp", name="c")
    (folder / "other").mkdir()
    return folder


def test_zoo_cache_lists_presets_with_their_size(cached, capsys):
    size = sum(len(content) for content in tree(cached / "a.one").values())
    assert cache.contents() == [{"name": "a.one", "bytes": size}, {"name": "b.two", "bytes": size}]
    code, out, _ = run_cli(capsys, "cache", "--json")
    assert (code, json.loads(out)["presets"]) == (0, cache.contents())


def test_zoo_cache_clears_a_preset_by_name(cached, capsys):
    code, out, _ = run_cli(capsys, "cache", "--clear", "a.one")
    assert code == 0
    assert "removed a.one" in out
    assert sorted(os.listdir(cached)) == [".c.three.4194999.tmp", "b.two", "other"]


def test_zoo_cache_clears_nothing_outside(cached, capsys):
    code, _, error = run_cli(capsys, "cache", "--clear", "../one")
    assert code == 2
    assert error.count("\n") == 1
    assert "has no preset '../one'" in error


def test_a_cleared_cache_is_empty(cached):
    assert [row["name"] for row in cache.clear()] == ["a.one", "b.two"]
    assert cache.contents() == []


def test_a_cache_that_does_not_exist_is_empty(places):
    shutil.rmtree(places / "cache")
    assert cache.contents() == cache.clear() == []


def test_the_cache_has_a_place_without_a_setting(monkeypatch):
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    assert cache.folder().name == "keras-zoo"
    assert cache.folder().is_absolute()
