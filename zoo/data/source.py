"""Source: the examples of a split of a data set, and where they come from."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

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
    is_files: bool = False  # whether an example is a file, and the field "file" of its stub the path

    def overlaps(self, other: "Source") -> bool:
        """Whether two sources have examples in common."""
        return any(
            file == file_ and begin < end_ and begin_ < end
            for file, begin, end in self.rows
            for file_, begin_, end_ in other.rows
        )

    def in_file_order(self) -> "Source":
        """The same examples, sorted by the paths of their files; other sources unchanged."""
        if not self.is_files:
            return self
        [stubs] = self.stubs.batch(self.examples).as_numpy_iterator()
        order = sorted(range(self.examples), key=lambda place: Path(os.fsdecode(stubs["file"][place])))
        stubs = tf.data.Dataset.from_tensor_slices({name: values[order] for name, values in stubs.items()})
        return dataclasses.replace(self, stubs=stubs)

    @property
    def dataset(self) -> tf.data.Dataset:
        """The examples: {field: tensor}."""
        return self.stubs.map(self.load)
