"""TFDS builder of images with captions.

Each example is {"image", "captions"}: the encoded photo, and its captions, one per line. The user downloads the files
into a subfolder of TFDS's manual_dir. Importing this module registers the builder: `tfds.builder("flickr8k")`.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from zoo.errors import ZooError


class Flickr8k(tfds.core.GeneratorBasedBuilder):
    """8,000 photos from Flickr with five captions each, in the official splits of 6,000, 1,000 and 1,000."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into flickr8k/ put the folder Flicker8k_Dataset of Flickr8k_Dataset.zip, and Flickr8k.token.txt and "
        "Flickr_8k.trainImages.txt, .devImages.txt and .testImages.txt of Flickr8k_text.zip"
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(encoding_format="jpeg"), "captions": tfds.features.Text()}
            ),
            homepage="https://hockenmaier.cs.illinois.edu/Framing_Image_Description/KCCA.html",
            citation="Hodosh, Young & Hockenmaier 2013, Framing image description as a ranking task, JAIR 47",
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "flickr8k"
        files = {"train": "train", "validation": "dev", "test": "test"}
        try:
            captions = read_captions(folder / "Flickr8k.token.txt")
            names = {
                split: (folder / f"Flickr_8k.{name}Images.txt").read_text("utf-8").split()
                for split, name in files.items()
            }
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        for name in (name for own in names.values() for name in own):
            if name not in captions:
                raise ZooError(f"{folder / 'Flickr8k.token.txt'} has no caption of {name}")
            if not (folder / "Flicker8k_Dataset" / name).is_file():
                raise ZooError(
                    f"there is no {folder / 'Flicker8k_Dataset' / name}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        return {
            split: self._generate_examples(folder / "Flicker8k_Dataset", own, captions) for split, own in names.items()
        }

    def _generate_examples(self, folder, names, captions):
        for name in names:
            yield name, {"image": folder / name, "captions": "\n".join(captions[name])}


def read_captions(path: Path) -> dict[str, list[str]]:
    """A file of lines "name.jpg#0", tab, caption -> the captions of each photo, in the order of their numbers."""
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        key, _, caption = (part.strip() for part in line.partition("\t"))
        name, _, _ = key.rpartition("#")
        if not name or not caption:
            raise ZooError(f"{path}, line {number}: expected a name with #, a tab and a caption")
        captions.setdefault(name, []).append(caption)
    return captions
