"""Source: the examples of a split of a data set, and where they come from."""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Source:
    """Examples of a split; images and other files are still encoded."""

    name: str
    version: str
    split: str
    examples: int
    labels: list[str] | None
    stubs: tf.data.Dataset  # small enough to be shuffled: examples, or the names of their files
    load: Callable[[dict], dict]  # a stub -> {field: tensor}
    terms: str
    rows: Sequence[tuple[str, float, float]] = ()  # (file, begin, end) of the parts of files
    fingerprint: str = ""  # of the examples and their order: version, names of files, or pairs

    def overlaps(self, other: "Source") -> bool:
        """Whether two sources have examples in common."""
        return any(
            file == file_ and begin < end_ and begin_ < end
            for file, begin, end in self.rows
            for file_, begin_, end_ in other.rows
        )

    @property
    def dataset(self) -> tf.data.Dataset:
        """The examples: {field: tensor}."""
        return self.stubs.map(self.load)
