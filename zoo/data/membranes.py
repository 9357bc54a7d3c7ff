"""TFDS builder of membranes in slices of brain tissue.

Each example is {"image", "mask"}: a slice under an electron microscope, and the class of each of its pixels. The user
downloads the files into a subfolder of TFDS's manual_dir. Importing this module registers the builder:
`tfds.builder("isbi2012")`.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from zoo.errors import ZooError

SLICES, SIDE = 30, 512
LABELS = ["membrane", "cell"]  # black and white in the publisher's labels
# Neighbouring slices resemble each other, so every split is a block of slices.
SPLITS = {"train": range(20), "validation": range(20, 24), "test": range(24, 30)}


class Isbi2012(tfds.core.GeneratorBasedBuilder):
    """30 serial sections of the ventral nerve cord of a Drosophila larva, 512x512, with their membranes.

    The training volume of the ISBI 2012 challenge on the segmentation of neuronal structures. It has no official
    splits: slices 0 to 19 are for training, 20 to 23 for validation and 24 to 29 for testing.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into isbi2012/ put train-volume.tif and train-labels.tif of the ISBI 2012 challenge, stacks of 30 pages"
    )

    def _info(self):
        shape = (SIDE, SIDE, 1)
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape, encoding_format="png"),
                    "mask": tfds.features.LabeledImage(labels=LABELS, shape=shape, encoding_format="png"),
                }
            ),
            disable_shuffling=True,
            homepage="https://imagej.net/events/isbi-2012-segmentation-challenge",
            citation="Cardona et al. 2010, PLoS Biology 8(10), e1000502; Arganda-Carreras et al. 2015, Frontiers in "
            "Neuroanatomy 9:142",
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "isbi2012"
        images, masks = self._pages(folder / "train-volume.tif"), self._pages(folder / "train-labels.tif")
        if unknown := {*np.unique(masks).tolist()} - {0, 255}:
            raise ZooError(f"{folder / 'train-labels.tif'} must be black and white, but has the value {min(unknown)}")
        return {split: self._generate_examples(images, masks, numbers) for split, numbers in SPLITS.items()}

    def _pages(self, path: Path) -> np.ndarray:
        """The pages of a stack: (30, 512, 512) uint8."""
        try:
            with Image.open(path) as stack:
                pages = []
                for number in range(getattr(stack, "n_frames", 1)):
                    stack.seek(number)
                    pages.append(np.asarray(stack.convert("L")))
        except FileNotFoundError:
            raise ZooError(f"there is no {path}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        except (UnidentifiedImageError, OSError) as error:
            raise ZooError(f"{path} can't be read: {error}") from None
        if len(pages) != SLICES or {page.shape for page in pages} != {(SIDE, SIDE)}:
            height, width = pages[0].shape
            raise ZooError(
                f"{path} must have {SLICES} pages of {SIDE} x {SIDE} pixels, got {len(pages)} of {width} x {height}"
            )
        return np.stack(pages)

    def _generate_examples(self, images: np.ndarray, masks: np.ndarray, numbers: range):
        for number in numbers:
            mask = (masks[number] == 255).astype("uint8")  # class numbers
            yield number, {"image": images[number][..., np.newaxis], "mask": mask[..., np.newaxis]}
