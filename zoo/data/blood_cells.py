"""TFDS builder of blood cells with boxes.

Importing this module registers the builder: `tfds.builder("bccd")`.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from zoo.data.boxes import check_size, fractions, read_voc, within
from zoo.errors import ZooError

LABELS = ("Platelets", "RBC", "WBC")


class Bccd(tfds.core.GeneratorBasedBuilder):
    """364 microscope pictures of blood: boxes of platelets, red (RBC) and white blood cells (WBC), in official splits.

    Two boxes of red cells have no area and are left out (BloodImage_00338, BloodImage_00343). The labels are not
    complete: fifteen pictures box no red cell though they show some, and cells that overlap are often left out.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into bccd/ put the folder BCCD of https://github.com/Shenggan/BCCD_Dataset, which has the folders JPEGImages, "
        "Annotations and ImageSets"
    )

    def _info(self):
        objects = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=LABELS)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "objects": tfds.features.Sequence(objects),
                }
            ),
            homepage="https://github.com/Shenggan/BCCD_Dataset",
            citation="Shenggan 2017, BCCD Dataset, https://github.com/Shenggan/BCCD_Dataset",
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "bccd" / "BCCD"
        files = {"train": "train", "validation": "val", "test": "test"}
        try:
            names = {
                split: (folder / "ImageSets" / "Main" / f"{name}.txt").read_text("utf-8").split()
                for split, name in files.items()
            }
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        for name in (name for own in names.values() for name in own):
            for file in (folder / "Annotations" / f"{name}.xml", folder / "JPEGImages" / f"{name}.jpg"):
                if not file.is_file():
                    raise ZooError(f"there is no {file}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        return {split: self._generate_examples(folder, own) for split, own in names.items()}

    def _generate_examples(self, folder: Path, names: list[str]):
        for name in names:
            image = folder / "JPEGImages" / f"{name}.jpg"
            annotation = read_voc(folder / "Annotations" / f"{name}.xml")
            check_size(annotation, image)
            [picture] = within([annotation], warn=False)
            boxes = [tfds.features.BBox(*map(float, box)) for box in fractions(picture)]
            objects = [{"bbox": box, "label": each.label} for box, each in zip(boxes, picture.objects, strict=True)]
            yield name, {"image": image, "objects": objects}
