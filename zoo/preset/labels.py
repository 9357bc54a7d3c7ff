"""The names of a model's classes: checks of names that a user gives."""

from collections.abc import Collection, Sequence, Set

from zoo.errors import ZooError


def checked_labels(labels: Collection[str], known: Sequence[str] | None) -> list[str]:
    """`labels` as the new names of classes whose names are `known`; the first label is the name of the first class.

    Raises:
        ZooError: labels are not distinct strings, or a name of one class becomes the name of another.
    """
    is_list = isinstance(labels, Collection) and not isinstance(labels, (str, Set))
    if not is_list or not all(isinstance(label, str) for label in labels):
        raise ZooError(f"labels must be a list of strings, got {labels!r}")
    labels = list(labels)
    if not labels or "" in labels or len(set(labels)) < len(labels):
        raise ZooError(f"labels must be distinct and not empty, got {labels!r}")
    known = list(known or ())
    if len(known) == len(labels) and any(old != new and new in known for old, new in zip(known, labels, strict=True)):
        raise ZooError(f"labels are in another order than the model's classes: {', '.join(known)}")
    return labels
