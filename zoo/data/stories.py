"""TFDS builder of bAbI: stories, questions about them, and answers of one word.

Each example is {"story", "question", "answer", "task"}; `story` has a sentence per line, and `task` is a number from 1
to 20. The user downloads the files into TFDS's manual_dir, as the builder's instructions say. Importing this module
registers the builder: `tfds.builder("babi")`.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from zoo.errors import ZooError

TASKS = 20
HELD_OUT = 10  # of each task, one of so many training stories is for validation

_PLACES = "bathroom bedroom cinema garden hallway kitchen office park school"
_OTHERS = (
    "bored cat gray green hungry maybe mouse no none nothing one sheep thirsty three tired two white wolf yellow yes"
)
_THINGS = ("apple", "football", "milk")
# A list, such as those of task 8 and the paths of task 19, is one answer.
LABELS = (
    *("Bill", "Fred", "Jeff", "Mary"),
    *f"{_PLACES} {_OTHERS}".split(),
    *(",".join(things) for count in (1, 2, 3) for things in itertools.permutations(_THINGS, count)),
    *(f"{first},{second}" for first in "nesw" for second in "nesw" if {first, second} not in ({*"ns"}, {*"ew"})),
)


class Babi(tfds.core.GeneratorBasedBuilder):
    """20 tasks of 1,000 questions for training and 1,000 for testing, in English (bAbI 1.2).

    The splits are the official ones, and of the training stories of each task every tenth is for validation.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into babi/en/ put the files qa1_*_train.txt to qa20_*_test.txt of the folder en of tasks_1-20_v1-2.tar.gz "
        "from https://research.facebook.com/downloads/babi"
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "story": tfds.features.Text(),
                    "question": tfds.features.Text(),
                    "answer": tfds.features.ClassLabel(names=LABELS),
                    "task": np.int64,
                }
            ),
            homepage="https://research.facebook.com/downloads/babi",
            citation="Weston et al. 2015, Towards AI-complete question answering, arXiv 1502.05698",
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.manual_dir) / "babi" / "en"
        files = {part: [self._file(folder, task, part) for task in range(1, TASKS + 1)] for part in ("train", "test")}
        held_out = HELD_OUT - 1
        return {
            "train": self._generate_examples(files["train"], {*range(HELD_OUT)} - {held_out}),
            "validation": self._generate_examples(files["train"], {held_out}),
            "test": self._generate_examples(files["test"], {*range(HELD_OUT)}),
        }

    def _file(self, folder: Path, task: int, part: str) -> Path:
        file = next(folder.glob(f"qa{task}_*_{part}.txt"), None)
        if file is None:
            raise ZooError(f"there is no {folder / f'qa{task}_*_{part}.txt'}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        return file

    def _generate_examples(self, files: list[Path], remainders: set[int]):
        """The examples of the stories whose number in their file has one of the remainders."""
        for task, file in enumerate(files, start=1):
            for number, (story, lines, question, answer) in enumerate(read_questions(file)):
                if story % HELD_OUT in remainders:
                    example = {"story": "\n".join(lines), "question": question, "answer": answer, "task": task}
                    yield f"{task:02}_{number:05}", example


def read_questions(path: Path) -> Iterator[tuple[int, list[str], str, str]]:
    """(number of the story from 0, its lines before the question, the question, the answer) of each question.

    Raises:
        ZooError: a line does not begin with a number, or a question has no answer.
    """
    story, lines = -1, []
    for place, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        number, _, content = line.strip().partition(" ")
        if not number.isdecimal() or not content.strip():
            raise ZooError(f"{path}, line {place}: expected a number, a space and a sentence")
        if number == "1":
            story, lines = story + 1, []
        question, *rest = (part.strip() for part in content.split("\t"))
        if not rest:
            lines.append(question)
        elif rest[0]:
            yield story, [*lines], question, rest[0]
        else:
            raise ZooError(f"{path}, line {place}: the question has no answer")
