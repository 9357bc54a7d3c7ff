"""The bytes of a file that a user names."""

import stat
from pathlib import Path

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
            raise InputError(f"{path} is a folder, not {wanted}")
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
