"""Errors with messages of one line: what was wrong, what was expected, what to do."""

import contextlib
import difflib
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path


class ZooError(ValueError):
    """A mistake in a call, or a preset, recipe or data set that can't be used."""


class NoSplitError(ZooError):
    """A data set does not have the split that was asked for."""


class InputError(ZooError):
    """An input that can't be answered: not an image, truncated, missing, too large."""


class Stopped(ZooError):
    """A signal ended work that can be continued; `number` is the signal's number, 0 if another process received it."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Converts the errors of opening or reading a user's file to InputError, without the name of the file."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError("the file does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path, a closed file
        raise InputError(f"can't be read: {getattr(error, 'strerror', None) or error}") from None


def unknown(kind: str, name: object, known: Iterable[str]) -> ZooError:
    """The error for an unknown name; its message suggests the nearest known names.

    >>> str(unknown("model", "lenet6", ["lenet5", "mlp"]))
    "unknown model 'lenet6'; did you mean lenet5?"
    """
    known = sorted(known)
    near = _near(str(name).lower(), known)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif not known:
        hint = "none exist"
    else:
        hint = f"known: {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")
    return ZooError(f"unknown {kind} {name!r}; {hint}")


def _near(name: str, known: list[str]) -> list[str]:
    """The known names like a name in small letters, or whose part before the dot is like it; the best three."""
    spelled: dict[str, list[str]] = {}
    for each in known:
        for part in dict.fromkeys((each.lower(), each.lower().partition(".")[0])):
            spelled.setdefault(part, []).append(each)
    near = difflib.get_close_matches(name, spelled, n=3, cutoff=0.5)
    return list(dict.fromkeys(each for part in near for each in spelled[part]))[:3]


_WARNED: set[str] = set()


def warn_once(message: str, stacklevel: int = 1) -> None:
    """Warns like `warnings.warn`, but the same message only once per process."""
    if message not in _WARNED:
        _WARNED.add(message)
        warnings.warn(message, stacklevel=stacklevel + 1)


def checked_path(value: object, what: str) -> Path:
    """`value` as a path; raises ZooError if it can't be one. `what` names the argument."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    if not text or "\0" in text:
        raise ZooError(f"{what} must be a path, got {value!r}")
    return Path(text)


def checked_picture(value: object, what: str) -> Path:
    """`value` as the path of a picture; raises ZooError if no picture can be drawn there, before any work is done."""
    path = checked_path(value, what)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ZooError(f"can't draw into {path}: the name must end in .png, .pdf or .svg")
    if not path.parent.is_dir():
        raise ZooError(f"can't draw into {path}: there is no folder {path.parent}")
    return path


def checked_count(value: object, what: str) -> int:
    """`value`; raises ZooError if it is not an integer >= 1. `what` names the argument."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ZooError(f"{what} must be an integer >= 1, got {value!r}")
    return value
