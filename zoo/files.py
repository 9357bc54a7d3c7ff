"""Files and folders that are written whole or not at all: aside, under a hidden name, and then renamed."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, sync: bool = False) -> Iterator[Path]:
    """A hidden path beside `path`, with its suffix, to write to; it is renamed to `path` at the end of the block.

    If the block raises, the hidden file is removed and `path` stays as it was.

    Args:
        path: the file; its folder must exist.
        sync: wait until the content is on the disk before the file is renamed.
    """
    path = Path(path)
    hidden = _hidden(path, path.suffix)
    try:
        yield hidden
        if sync:
            with open(hidden, "rb+") as file:
                os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


@contextlib.contextmanager
def hidden_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A new hidden folder beside `path`; it is removed at the end of the block, unless the block renamed it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = _hidden(path)
    hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Like `hidden_folder`, but the folder replaces `path` at the end of the block.

    If the block raises, `path` stays as it was.
    """
    with hidden_folder(path) as hidden:
        yield hidden
        shutil.rmtree(path, ignore_errors=True)
        hidden.rename(path)


def disk_error(error: Exception) -> OSError | None:
    """The OSError of a full disk, if a library such as TensorFlow reports it as an error of its own; else None."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in str(error):
            return OSError(number, os.strerror(number))
    return None


def _hidden(path: Path, suffix: str = "") -> Path:
    """This process's hidden name beside `path`. Hidden files and folders of killed processes there are removed."""
    stem = path.name.removesuffix(suffix)
    pattern = re.compile(rf"\.{re.escape(stem)}\.(\d+)\.tmp{re.escape(suffix)}")
    with contextlib.suppress(OSError):  # writing reports a folder that can't be used
        for other in list(path.parent.iterdir()):
            match = pattern.fullmatch(other.name)
            if match and not _is_alive(int(match[1])):
                shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)
    return path.parent / f".{stem}.{os.getpid()}.tmp{suffix}"  # the name of "." is empty


def _is_alive(number: int) -> bool:
    """Whether another process with this number is running."""
    if number == os.getpid():
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
