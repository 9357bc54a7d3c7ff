"""TFDS builder of portraits of 40 people.

Each example is {"image", "person"}: a portrait and the number of the person. The user downloads the files into a
subfolder of TFDS's manual_dir. Importing this module registers the builder: `tfds.builder("orl_faces/fold_3")`.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from zoo.errors import ZooError

PEOPLE, PORTRAITS, FOLDS, HELD_OUT = 40, 10, 4, 6
HEIGHT, WIDTH = 112, 92
SUFFIXES = (".pgm", ".png", ".webp")


def people_of(fold: int) -> dict[str, list[int]]:
    """The people of each split, numbered from 1 to 40.

    The test people of fold f are the ten from 10 f + 1 on. The six people before them are for validation; person 40 is
    before person 1.
    """
    first, test = fold * PEOPLE // FOLDS, PEOPLE // FOLDS
    order = [(first + number) % PEOPLE + 1 for number in range(PEOPLE)]
    return {
        "train": sorted(order[test:-HELD_OUT]),
        "validation": sorted(order[-HELD_OUT:]),
        "test": order[:test],
    }


class OrlFaces(tfds.core.GeneratorBasedBuilder):
    """The ORL Database of Faces, 1992 to 1994: 40 people with 10 grey portraits of 92x112 pixels each.

    No person is in two splits. In fold 3, people 1 to 24 are for training, 25 to 30 for validation and 31 to 40 for
    testing.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=f"fold_{number}", description=f"fold {number} of {FOLDS} is test")
        for number in range(FOLDS)
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into orl_faces/ put the folders s1 to s40 of the ORL Database of Faces (AT&T Laboratories Cambridge), with "
        "the portraits 1.pgm to 10.pgm in each"
    )

    def _info(self):
        image = tfds.features.Image(shape=(HEIGHT, WIDTH, 1), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"image": image, "person": np.int64}),
            disable_shuffling=True,
            homepage="https://cam-orl.co.uk/facedatabase.html",
            citation="Samaria & Harter 1994, Parameterisation of a stochastic model for human face identification, "
            "IEEE Workshop on Applications of Computer Vision; give credit to Olivetti Research Laboratory",
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "orl_faces"
        files = {person: self._files(folder / f"s{person}") for person in range(1, PEOPLE + 1)}
        people = people_of(int(self.builder_config.name.removeprefix("fold_")))
        return {split: self._generate_examples(files, own) for split, own in people.items()}

    def _files(self, folder: Path) -> list[Path]:
        """The portraits of a person in the order of their numbers."""
        files = []
        for number in range(1, PORTRAITS + 1):
            named = [folder / f"{number}{suffix}" for suffix in SUFFIXES]
            file = next((file for file in named if file.is_file()), None)
            if file is None:
                raise ZooError(f"there is no {named[0]}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
            files.append(file)
        return files

    def _generate_examples(self, files: dict[int, list[Path]], people: list[int]):
        for person in people:
            for number, file in enumerate(files[person]):
                yield PORTRAITS * person + number, {"image": _pixels(file), "person": person}


def _pixels(file: Path) -> np.ndarray:
    """A portrait, (112, 92, 1) uint8."""
    try:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise ZooError(f"{file} can't be read: {error}") from None
    if pixels.shape != (HEIGHT, WIDTH):
        raise ZooError(f"{file} must be {WIDTH} x {HEIGHT} pixels, got {pixels.shape[1]} x {pixels.shape[0]}")
    return pixels[..., np.newaxis]
