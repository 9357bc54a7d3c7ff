"""TFDS builder of MNIST's digits at random places of a larger image.

Importing this module registers the builder: `tfds.builder("mnist_translated")`.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SIZE = 60
HELD_OUT = 5_000  # the last of MNIST's training digits are for validation
# Split -> (MNIST's split, number that makes its places differ from those of other splits, or None for the middle).
SPLITS = {
    "train": (f"train[:-{HELD_OUT}]", 0),
    "centred": (f"train[:-{HELD_OUT}]", None),
    "validation": (f"train[-{HELD_OUT}:]", 1),
    "test": ("test", 2),
}


class MnistTranslated(tfds.core.GeneratorBasedBuilder):
    """MNIST's digits, each at a random place of a black image of 60x60 (Mnih et al. 2014, section 4.1).

    The place of an example never changes. The split `centred` has the digits of `train` in the middle of the image:
    with the augmentation `shift = 16`, training sees each digit at another place in every epoch.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation="LeCun, Cortes & Burges 2010; Mnih, Heess, Graves & Kavukcuoglu 2014, arXiv 1406.6247",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(*facts) for split, facts in SPLITS.items()}

    def _generate_examples(self, split: str, salt: int | None):
        for number, (digit, label) in enumerate(self.digits(split)):
            image = np.zeros((SIZE, SIZE), np.uint8)
            top, left = place(number, salt, SIZE - digit.shape[0])
            image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit[..., 0]
            yield number, {"image": Image.fromarray(image), "label": int(label)}  # TFDS encodes arrays slowly

    def digits(self, split: str) -> Iterator[tuple[np.ndarray, int]]:
        """The digits (28, 28, 1) uint8 of a split of MNIST, and their classes."""
        mnist = tfds.builder("mnist", data_dir=self.data_path.parents[1])
        mnist.download_and_prepare()
        return tfds.as_numpy(mnist.as_dataset(split=split, as_supervised=True))


def place(number: int, salt: int | None, room: int) -> tuple[int, int]:
    """The row and column, 0 to `room`, at which example `number` begins: random, or in the middle if salt is None."""
    if salt is None:
        return room // 2, room // 2
    return tuple(np.random.default_rng((salt, number)).integers(0, room, 2, endpoint=True).tolist())
