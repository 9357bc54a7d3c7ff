"""What a user is told when something is wrong: one line, what it was and what would be right."""

import difflib
from collections.abc import Iterable


class ZooError(ValueError):
    """A mistake in a call, or something it named (a preset, a recipe, a data set) that can't be used."""


class InputError(ZooError):
    """An input that can't be answered: no image, truncated, missing, too large."""


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
