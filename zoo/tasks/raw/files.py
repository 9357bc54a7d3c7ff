"""The bytes of a file that a user names."""

import stat
from pathlib import Path

from zoo.errors import InputError

MAX_BYTES = 256 << 20


def content_of(path: Path, wanted: str) -> bytes:
    """Reads a file.

    Args:
        path: as the user gave it.
        wanted: the expected kind of file, with its article: "an image".

    Raises:
        InputError: the file is missing, a folder, not a regular file, too large, or can't be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            has_files = any(inner.is_file() for inner in path.iterdir())
            raise InputError(f"{path} is a folder{'' if has_files else ' without files of its own'}, not {wanted}")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path} has {status.st_size >> 20} MB, more than the limit of {MAX_BYTES >> 20} MB")
        return path.read_bytes()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
