"""The bytes of a file that a user names or has opened, and the files of a folder."""

import io
import os
import stat
from collections.abc import Iterator, KeysView, ValuesView
from pathlib import Path
from typing import Any

from zoo.errors import InputError, reading_errors

MAX_BYTES = 256 << 20


def content_of(path: Path, wanted: str) -> bytes:
    """Reads a file.

    Args:
        path: as the user gave it.
        wanted: the expected kind of file, with its article: "an image".

    Raises:
        InputError: the file is missing, a folder, not a regular file, too large, or can't be read. The message does not
            name the file.
    """
    with reading_errors():
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            has_files = any(inner.is_file() for inner in path.iterdir())
            raise InputError(f"a folder{'' if has_files else ' without files of its own'}, not {wanted}")
        if not stat.S_ISREG(status.st_mode):
            raise InputError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{status.st_size >> 20} MB are more than the limit of {MAX_BYTES >> 20} MB")
        return path.read_bytes()


def is_file_object(item: Any) -> bool:
    """Whether an item is an open file, such as open(path, "rb") or io.BytesIO."""
    return callable(getattr(item, "read", None))


def content_of_object(file: Any) -> bytes:
    """Reads an open file, from its start if it can seek, so that the same file can be read again.

    Raises:
        InputError: the file is closed, was opened as text, is too large, or can't be read.
    """
    if isinstance(file, io.TextIOBase):
        raise InputError('the file was opened as text: open it with mode "rb"')
    with reading_errors():
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read(MAX_BYTES + 1)
    if not isinstance(content, bytes):
        raise InputError(f"an open file of {type(content).__name__}, not of bytes")
    if len(content) > MAX_BYTES:
        raise InputError(f"more than the limit of {MAX_BYTES >> 20} MB")
    return content


def is_stream(x: Any) -> bool:
    """Whether the argument of a pipeline is a generator, another iterator or a view, whose values are items."""
    return isinstance(x, Iterator | ValuesView | KeysView) and not is_file_object(x)


def files_of(item: Any) -> list[str]:
    """The visible files of a folder in sorted order, without those of its subfolders; [] if `item` is not a folder."""
    if not isinstance(item, (str, os.PathLike)) or not os.fspath(item):
        return []
    try:
        with os.scandir(item) as entries:
            return sorted(entry.path for entry in entries if entry.name[0] != "." and entry.is_file())
    except (OSError, ValueError):
        return []
