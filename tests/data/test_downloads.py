"""Data sets that TFDS would download, on a machine without a network."""

import threading
import time

import pytest
import requests
from tensorflow_datasets.core.download import downloader

from zoo.data import downloads
from zoo.data.downloads import download
from zoo.data.sources import open_source
from zoo.errors import ZooError


class Builder:
    """A builder of TFDS with one file, which it has downloaded or not."""

    url_infos = {"https://data.example/file.zip": None}

    def __init__(self, has_file: bool):
        self.has_file, self.is_prepared = has_file, False

    def download_and_prepare(self):
        print("Downloading and preparing")
        if not self.has_file:
            downloader._open_url("https://data.example/file.zip", verify=True)
        self.is_prepared = True


@pytest.fixture
def no_network(monkeypatch):
    """Requests end as they do without a network; returns the list of requested URLs."""
    asked = []

    def head(url, **_):
        asked.append(url)
        raise requests.ConnectionError(OSError("HTTPSConnection(host='data.example'): Failed to resolve 'x'"))

    monkeypatch.setattr(requests, "head", head)
    return asked


def test_a_download_without_network_fails_once_with_one_line(no_network, capsys, tmp_path):
    usual = downloader._open_url
    with pytest.raises(ConnectionError, match="^no connection to data.example: Failed to resolve 'x'$"):
        download(Builder(has_file=False))
    assert no_network == ["https://data.example/file.zip"]
    assert downloader._open_url is usual
    with pytest.raises(ZooError) as caught:
        open_source("mnist", "test", ("image",), data_dir=tmp_path)
    assert str(caught.value) == (
        f"mnist is not in {tmp_path} and can't be downloaded: no connection to storage.googleapis.com: "
        "Failed to resolve 'x'"
    )
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "mnist").exists()


def test_files_that_are_there_need_no_network(no_network):
    builder = Builder(has_file=True)
    download(builder)
    assert builder.is_prepared


def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.05)
    ended = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *_, **__: ended.wait(20))
    started = time.monotonic()
    with pytest.raises(ConnectionError, match="no connection to data.example: it does not answer"):
        download(Builder(has_file=False))
    assert time.monotonic() - started < 10
    ended.set()


def test_any_answer_starts_the_download(monkeypatch, capsys):
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    builder = Builder(has_file=True)
    download(builder)
    assert builder.is_prepared
    assert capsys.readouterr() == ("", "Downloading and preparing\n")
