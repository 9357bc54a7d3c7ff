"""TFDS builder of novels: long running texts, for language models.

An example is {"text", "begins"}: a piece of a text, and whether a text begins with it. The pieces of a text follow each
other; joined, they are the text. The user downloads the file into a subfolder of TFDS's manual_dir. Importing this
module registers the builder: `tfds.builder("novels")`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from zoo.data.texts import pieces_of
from zoo.errors import ZooError

EVERY, TEST, VALIDATION = 24, 7, 19  # of 24 novels, the places of those that are held out


class Novels(tfds.core.GeneratorBasedBuilder):
    """98 English novels of 1839 to 1930 in small letters without punctuation, 13.95 million words.

    Every 24th novel from the 8th on is in test, every 24th from the 20th on in validation, and the others in train.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into novels/ put novels_clean.txt: novels from https://www.gutenberg.org, one per line, with the letters a to "
        "z and single spaces only"
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"text": tfds.features.Text(), "begins": np.bool_}),
            homepage="https://www.gutenberg.org",
            citation="novels published from 1839 to 1930, from Project Gutenberg",
            disable_shuffling=True,  # pieces stay in the order of the text
        )

    def _split_generators(self, dl_manager):
        path = Path(dl_manager.manual_dir) / "novels" / "novels_clean.txt"
        if not path.is_file():
            raise ZooError(f"there is no {path}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        return {split: self._generate_examples(path, split) for split in ("train", "validation", "test")}

    def _generate_examples(self, path, split):
        number = 0
        for novel in _novels(path, split):
            for place, piece in enumerate(pieces_of(novel)):
                yield number, {"text": piece, "begins": place == 0}
                number += 1


def _novels(path: Path, split: str) -> Iterator[bytes]:
    """The novels of a split; the file is read line by line."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            place = {TEST: "test", VALIDATION: "validation"}.get(number % EVERY, "train")
            if place == split and line.strip():
                yield line.strip()
