"""Downloads of presets: the user's cache, and the package's index of hashes."""

import json
import os
import shutil
from pathlib import Path, PurePosixPath

from zoo.errors import ZooError
from zoo.files import whole_folder

INDEX = Path(__file__).parents[1] / "presets" / "index.json"  # name -> sha256 of its preset.json


def folder() -> Path:
    """The user's cache: ZOO_CACHE, or a folder where the system keeps caches."""
    if os.environ.get("ZOO_CACHE"):
        return Path(os.environ["ZOO_CACHE"])
    import platformdirs

    return Path(platformdirs.user_cache_dir("keras-zoo"))


def leaves_folder(name: str) -> bool:
    """Whether a file name in preset.json leads out of the preset's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name


def available(name: str) -> bool:
    """Whether this preset can be downloaded."""
    return bool(os.environ.get("ZOO_PRESETS_URL")) and name in _index()


def _index() -> dict[str, str]:
    return json.loads(INDEX.read_text()) if INDEX.is_file() else {}


def download(name: str) -> Path:
    """Downloads a preset from ZOO_PRESETS_URL/NAME/ into the cache and checks the hash of every file.

    Returns:
        The preset's folder.

    Raises:
        ZooError: the server can't be reached, ends the connection early, or sends other content than was published.
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
        with whole_folder(folder() / name) as hidden:
            record = json.loads(fetch("preset.json", _index()[name]).read_bytes())
            for file, facts in record["files"].items():
                fetch(file, facts["sha256"])
    except OSError as error:
        raise ZooError(f"can't keep {name} in the cache {folder()}: {error.strerror or error}") from error
    finally:
        logger.setLevel(level)
    return folder() / name


def contents() -> list[dict]:
    """The presets in the cache, {"name", "bytes"} each."""
    paths = sorted(folder().iterdir()) if folder().is_dir() else []
    paths = [path for path in paths if path.is_dir() and not path.name.startswith(".")]
    size = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in paths}
    return [{"name": path.name, "bytes": size[path]} for path in paths if (path / "preset.json").is_file()]


def clear(name: str | None = None) -> list[dict]:
    """Removes one preset, or all, from the cache; returns their rows of `contents`."""
    removed = [row for row in contents() if name in (None, row["name"])]
    if name is not None and not removed:
        raise ZooError(f"the cache {folder()} has no preset {name!r}")
    for row in removed:
        shutil.rmtree(folder() / row["name"])
    return removed
