"""What a user is told when something is wrong: one line, what it was and what would be right."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class ZooError(ValueError):
    """A mistake in a call, or something it named (a preset, a recipe, a data set) that can't be used."""


class InputError(ZooError):
    """An input that can't be answered: no image, truncated, missing, too large."""


class Stopped(ZooError):
    """A signal ended the work, which can be continued; `number` is the signal's, 0 where another process had it."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


def unknown(kind: str, name: object, known: Iterable[str]) -> ZooError:
    """The error for a name that isn't known; its message names the nearest known ones.

    >>> str(unknown("model", "lenet6", ["lenet5", "mlp"]))
    "unknown model 'lenet6'; did you mean lenet5?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif not known:
        hint = "there is none"
    else:
        hint = f"known: {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")
    return ZooError(f"unknown {kind} {name!r}; {hint}")


def checked_path(value: object, what: str) -> Path:
    """A path where something is written or read; raises ZooError where `value` can't be one."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    if not text or "\0" in text:
        raise ZooError(f"{what}={value!r} is no path")
    return Path(text)


def checked_picture(value: object, what: str) -> Path:
    """A path where a picture can be drawn; raises ZooError where it can't, before the work is done."""
    path = checked_path(value, what)
    if not path.parent.is_dir() or path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ZooError(f"can't draw into {path}: give a .png, .pdf or .svg in a folder that exists")
    return path


def checked_count(value: object, what: str) -> int:
    """A whole number of at least one; raises ZooError where `value` is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ZooError(f"{what}={value!r} is no whole number of 1 or more")
    return value
