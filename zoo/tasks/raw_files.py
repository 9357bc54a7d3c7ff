"""The bytes of a file that a user names, or of a sentence."""

import stat
from pathlib import Path
from typing import Any

from zoo.errors import InputError

MAX_BYTES = 256 << 20


def content_of(path: Path, wanted: str) -> bytes:
    """Reads a file.

    Args:
        path: as the user gave it.
        wanted: what it should be, with its article: "an image".

    Raises:
        InputError: missing, a folder, no regular file, too large, or not to be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            has_files = any(inner.is_file() for inner in path.iterdir())
            raise InputError(f"{path} is a folder{'' if has_files else ' without files of its own'}, not {wanted}")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no regular file")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path} has {status.st_size >> 20} MB, more than the limit of {MAX_BYTES >> 20} MB")
        return path.read_bytes()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None


def encoded_sentence(item: Any) -> bytes:
    """A sentence, or its bytes, as UTF-8; whether bytes are any is for the graph to say.

    Raises:
        InputError: something else, or a string with half a character.
    """
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if not isinstance(item, str):
        raise InputError(f"an item of type {type(item).__name__} is no sentence: give a string, or its bytes in UTF-8")
    try:
        return item.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InputError("no UTF-8") from None
