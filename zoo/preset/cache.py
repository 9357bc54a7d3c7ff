"""Presets that are downloaded: the user's cache, and the index of hashes that the package carries."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zoo.errors import ZooError

INDEX = Path(__file__).parents[1] / "presets" / "index.json"  # name -> sha256 of its preset.json


def folder() -> Path:
    """The user's cache: ZOO_CACHE, or where the system keeps caches."""
    if os.environ.get("ZOO_CACHE"):
        return Path(os.environ["ZOO_CACHE"])
    import platformdirs

    return Path(platformdirs.user_cache_dir("keras-zoo"))


def leaves_folder(name: str) -> bool:
    """Whether a file of this name, as preset.json lists it, would lie outside the preset's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name


@contextlib.contextmanager
def hidden_folder(path: Path) -> Iterator[Path]:
    """A new hidden folder beside `path`, gone afterwards; those that killed processes left are removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in list(path.parent.iterdir()):
        stale = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.tmp", other.name)
        if stale and not _alive(int(stale[1])):
            shutil.rmtree(other, ignore_errors=True)
    hidden = path.parent / f".{path.name}.{os.getpid()}.tmp"
    hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _alive(number: int) -> bool:
    """Whether another process of this number runs."""
    if number == os.getpid():
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def available(name: str) -> bool:
    """Whether `download` may be asked for this preset."""
    return bool(os.environ.get("ZOO_PRESETS_URL")) and name in _index()


def _index() -> dict[str, str]:
    return json.loads(INDEX.read_text()) if INDEX.is_file() else {}


def download(name: str) -> Path:
    """Fetches a preset from ZOO_PRESETS_URL/NAME/ into the cache, every file checked by its hash.

    Returns:
        The preset's folder.

    Raises:
        ZooError: the server can't be reached, breaks off, or sends something else than was published.
    """
    import pooch
    import requests

    address = f"{os.environ['ZOO_PRESETS_URL'].rstrip('/')}/{name}"

    def fetch(file: str, known_hash: str) -> Path:
        if leaves_folder(file):
            raise ZooError(f"{address}/preset.json lists {file!r}, which leaves the preset's folder")
        quiet = pooch.HTTPDownloader(progressbar=False, timeout=30)
        target = hidden / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            pooch.retrieve(
                f"{address}/{file}", f"sha256:{known_hash}", fname=target.name, path=target.parent, downloader=quiet
            )
        except (requests.RequestException, ValueError) as error:
            if "does not match the known hash" in str(error):
                raise ZooError(f"{address}/{file} is not what was published: its sha256 differs") from error
            reason = type(error).__name__
            raise ZooError(f"can't download {address}/{file}: {reason}; try again, or unset ZOO_PRESETS_URL") from error
        return target

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with hidden_folder(folder() / name) as hidden:
            record = json.loads(fetch("preset.json", _index()[name]).read_bytes())
            for file, facts in record["files"].items():
                fetch(file, facts["sha256"])
            shutil.rmtree(folder() / name, ignore_errors=True)
            hidden.rename(folder() / name)
    except OSError as error:
        raise ZooError(f"can't keep {name} in the cache {folder()}: {error.strerror or error}") from error
    finally:
        logger.setLevel(level)
    return folder() / name


def contents() -> list[dict]:
    """What the cache holds: {"name", "bytes"} each."""
    found = sorted(folder().iterdir()) if folder().is_dir() else []
    found = [path for path in found if path.is_dir() and not path.name.startswith(".")]
    size = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in found}
    return [{"name": path.name, "bytes": size[path]} for path in found if (path / "preset.json").is_file()]


def clear(name: str | None = None) -> list[dict]:
    """Removes one preset, or all, from the cache; returns what was removed."""
    gone = [row for row in contents() if name in (None, row["name"])]
    if name is not None and not gone:
        raise ZooError(f"the cache {folder()} holds no preset {name!r}")
    for row in gone:
        shutil.rmtree(folder() / row["name"])
    return gone
