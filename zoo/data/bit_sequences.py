"""TFDS builder of generated sequences of bits, and what becomes of them: the tasks of the neural Turing machine.

Graves, Wayne & Danihelka 2014, arXiv 1410.5401, section 4. Nothing is downloaded. Each example is
{"input" (T, D), "output" (A, bits)}:

    bit_sequences/copy                the output is the input, 1 to 20 vectors of 8 bits
    bit_sequences/repeat_copy         1 to 10 vectors, 1 to 10 times, and an end mark; D = 9, bits = 9
    bit_sequences/associative_recall  2 to 6 items of three vectors of 6 bits, and one of them again; the output is the
                                      item after it; D = 8, bits = 6
    bit_sequences/priority_sort       20 vectors with priorities; the output is the 16 of highest priority, highest
                                      first; D = 9, bits = 8

The last vector of `repeat_copy` has the number of times as its ninth value; the paper scales it to mean 0 and variance
1. In `associative_recall`, the seventh bit marks the start of an item, and the eighth that of the item that is asked
for. The ninth value of `priority_sort` is the priority, from -1 to 1.
"""

import zlib

import numpy as np
import tensorflow_datasets as tfds

EXAMPLES = {"train": 200_000}
OTHERS = 1_000  # examples of every other split

_LENGTHS = {  # split -> least and greatest number of vectors or items
    "copy": {"train": (1, 20), "validation": (1, 20), "test": (20, 20), "test_60": (60, 60), "test_120": (120, 120)},
    "repeat_copy": {"train": (1, 10), "validation": (1, 10), "test": (10, 10), "test_20": (20, 20)},
    "associative_recall": {"train": (2, 6), "validation": (2, 6), "test": (6, 6), "test_12": (12, 12)},
    "priority_sort": {"train": (20, 20), "validation": (20, 20), "test": (20, 20)},
}
_SIZES = {"copy": (8, 8), "repeat_copy": (9, 9), "associative_recall": (8, 6), "priority_sort": (9, 8)}  # D and bits
KEPT = 16  # of the vectors that are sorted


def copy(random: np.random.RandomState, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (T, 8), and the same."""
    vectors = random.randint(2, size=(length, 8))
    return vectors, vectors


def repeat_copy(random: np.random.RandomState, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and their number of repetitions (T + 1, 9) -> the vectors so many times and an end mark (T n + 1, 9)."""
    times = random.randint(1, 11)
    vectors = np.pad(random.randint(2, size=(length, 8)), ((0, 1), (0, 1)))
    output = np.concatenate([np.tile(vectors[:-1], (times, 1)), np.eye(9, dtype=int)[8:]])
    vectors[-1, 8] = times
    return vectors, output


def associative_recall(random: np.random.RandomState, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and one of them again, each with a mark before it (4 count + 4, 8) -> the item after that one (3, 6)."""
    items = random.randint(2, size=(count, 3, 6))
    asked = random.randint(count - 1)
    marked = np.zeros((count + 1, 4, 8), int)
    marked[:-1, 0, 6] = marked[-1, 0, 7] = 1
    marked[:-1, 1:, :6], marked[-1, 1:, :6] = items, items[asked]
    return marked.reshape(-1, 8), items[asked + 1]


def priority_sort(random: np.random.RandomState, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors with their priorities (T, 9) -> the 16 vectors of highest priority (16, 8)."""
    vectors = random.randint(2, size=(length, 8))
    priorities = random.uniform(-1.0, 1.0, length).astype("float32")
    order = np.argsort(-priorities, kind="stable")[:KEPT]
    return np.concatenate([vectors, priorities[:, np.newaxis]], axis=1), vectors[order]


TASKS = {task.__name__: task for task in (copy, repeat_copy, associative_recall, priority_sort)}


class BitSequences(tfds.core.GeneratorBasedBuilder):
    """Generated sequences of bits: copy, repeat copy, associative recall and priority sort.

    200,000 examples for training; 1,000 for validation, of the same lengths; and 1,000 for each test split. Those of
    `test` have the greatest length of training, and those of test_60 the length 60. Examples depend on their split and
    number alone.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, description=task.__doc__) for name, task in TASKS.items()]

    def _info(self):
        task = self.builder_config.name
        width, bits = _SIZES[task]
        kind = np.float32 if task == "priority_sort" else np.uint8
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"input": _rows(width, kind), "output": _rows(bits, np.uint8)}),
            homepage="https://arxiv.org/abs/1410.5401",
            citation="Graves, Wayne & Danihelka 2014, Neural Turing machines, arXiv 1410.5401",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in _LENGTHS[self.builder_config.name]}

    def _generate_examples(self, split):
        task = self.builder_config.name
        for number in range(EXAMPLES.get(split, OTHERS)):
            given, output = example(task, split, number)
            yield number, {"input": given, "output": output}


def example(task: str, split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Input (T, D) and output (A, bits) of an example, by its number in a split."""
    # The numbers of RandomState are the same in every version of NumPy.
    random = np.random.RandomState([zlib.crc32(f"{task} {split}".encode()), number])
    least, most = _LENGTHS[task][split]
    given, output = TASKS[task](random, random.randint(least, most + 1))
    return given.astype(np.float32 if task == "priority_sort" else np.uint8), output.astype(np.uint8)


def _rows(width: int, kind: type) -> tfds.features.Tensor:
    """(T, width), stored as bytes, because TFDS takes long to write lists of numbers."""
    return tfds.features.Tensor(shape=(None, width), dtype=kind, encoding=tfds.features.Encoding.BYTES)
