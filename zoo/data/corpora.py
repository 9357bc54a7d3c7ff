"""TFDS builders of running text for word vectors, and of questions that test them.

Each example is {"text", "questions", "score"}. Running text has questions "". An item of an evaluation set has the
name of its set in `questions`: "analogy", with four words as text, or a set of word pairs, "men", "ws353" or "simlex",
with two words as text and people's mean judgement of their similarity as score. The user downloads the files into
subfolders of TFDS's manual_dir, which each builder's instructions name. Importing this module registers the builders.
"""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from zoo.errors import ZooError

Example = tuple[str, str, float]  # text, questions, score

_PAIRS = {"men": "EN-MEN-TR-3k.txt", "ws353": "EN-WS-353-ALL.txt", "simlex": "EN-SIMLEX-999.txt"}
_QUESTIONS = (
    "into word_similarity/ put questions-words.txt of https://github.com/tmikolov/word2vec, and EN-MEN-TR-3k.txt, "
    "EN-WS-353-ALL.txt and EN-SIMLEX-999.txt of https://github.com/mfaruqui/eval-word-vectors"
)


class _Words(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the builders below; `parts` gives the examples of each split."""

    VERSION = tfds.core.Version("1.0.0")
    homepage: str
    citation: str

    def _info(self):
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"text": text, "questions": text, "score": tf.float32}),
            homepage=self.homepage,
            citation=self.citation,
        )

    def _split_generators(self, dl_manager):
        try:
            parts = self.parts(Path(dl_manager.manual_dir))
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        return {split: self._generate_examples(examples) for split, examples in parts.items()}

    def _generate_examples(self, examples: Iterable[Example]):
        for number, (text, questions, score) in enumerate(examples):
            yield number, {"text": text, "questions": questions, "score": score}

    def parts(self, manual_dir: Path) -> dict[str, Iterable[Example]]:
        raise NotImplementedError


class WordSimilarity(_Words):
    """Tests of word vectors: 19,544 analogies in 14 sections, and the word pairs of MEN, WS-353 and SimLex-999."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = _QUESTIONS
    homepage = "https://github.com/mfaruqui/eval-word-vectors"
    citation = (
        "Mikolov et al. 2013, arXiv 1301.3781; Bruni et al. 2014 (MEN); Finkelstein et al. 2002 (WS-353); Hill et al. "
        "2015 (SimLex-999)"
    )

    def parts(self, manual_dir):
        return {"test": read_questions(manual_dir / "word_similarity")}


class NovelsFactbook(_Words):
    """98 English novels of 1839-1930 and descriptions of countries, 14.6 M words in small letters without punctuation.

    The split test has the questions of `word_similarity`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into novels/ put novels_clean.txt, a novel of Project Gutenberg per line, into factbook/ put "
        "factbook_clean.txt, the descriptions of https://github.com/factbook/factbook.json, a country per line, both "
        f"in the letters a-z and spaces; {_QUESTIONS}"
    )
    homepage = "https://www.gutenberg.org"
    citation = "Project Gutenberg; The World Factbook"

    def parts(self, manual_dir):
        files = [manual_dir / "novels" / "novels_clean.txt", manual_dir / "factbook" / "factbook_clean.txt"]
        lines = [line for file in files for line in file.read_text("utf-8").splitlines() if line.strip()]
        return {"train": [(line, "", 0.0) for line in lines], "test": read_questions(manual_dir / "word_similarity")}


def read_questions(folder: Path) -> list[Example]:
    """The analogies and word pairs of a folder, as examples."""
    examples = []
    analogies = folder / "questions-words.txt"
    for number, line in enumerate(analogies.read_text("utf-8").splitlines(), start=1):
        if line.startswith(":") or not line.strip():  # the name of a section
            continue
        if len(line.split()) != 4:
            raise ZooError(f"{analogies}, line {number}: expected four words")
        examples.append((line, "analogy", 0.0))
    for questions, name in _PAIRS.items():
        for number, line in enumerate((folder / name).read_text("utf-8").splitlines(), start=1):
            try:
                first, second, score = line.split()
                examples.append((f"{first} {second}", questions, float(score)))
            except ValueError:
                raise ZooError(f"{folder / name}, line {number}: expected two words and a number") from None
    return examples
