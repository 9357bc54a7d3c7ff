"""Downloads of TensorFlow Datasets. Without a network they fail at once; TFDS alone would try for minutes."""

import contextlib
import io
import sys
import threading
import urllib.parse

PATIENCE = 8.0  # seconds to wait for the first answer of a server


def download(builder) -> None:
    """Downloads and prepares the data set of a builder of TFDS.

    Raises:
        ConnectionError: the server of the data can't be reached.
        Exception: any other error of TFDS.
    """
    url = next((url for url in builder.url_infos or () if url.startswith("http")), None)
    failure = _failure(url) if url else None
    if failure is None:
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
        return
    from tensorflow_datasets.core.download import downloader

    def refuse(url: str, **_):
        raise ConnectionError(f"no connection to {urllib.parse.urlsplit(url).hostname}: {failure}")

    # The files may have been downloaded before. If one is missing, nothing but the error is shown.
    usual, downloader._open_url = downloader._open_url, refuse
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            builder.download_and_prepare()
    finally:
        downloader._open_url = usual


def _failure(url: str) -> str | None:
    """Why the server of a URL can't be reached; None if it answers anything."""
    import requests

    reasons = ["it does not answer"]

    def ask() -> None:
        reason = None
        try:
            requests.head(url, timeout=PATIENCE)
        except requests.Timeout:
            return
        except requests.ConnectionError as error:
            cause = getattr(error.args[0] if error.args else error, "reason", error)
            reason = " ".join(str(cause).split()).partition(": ")[2] or type(cause).__name__
        except requests.RequestException:
            pass  # the server was reached
        reasons[0] = reason

    # In a thread, because a look-up of the host's name has no time limit.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return reasons[0]
