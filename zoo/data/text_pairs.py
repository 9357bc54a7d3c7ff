"""TFDS builders of pairs of texts: translations, and words with their pronunciations.

Each example is {"source", "target", "references"}: strings; references are all correct targets, one per line.
The user downloads the files into a subfolder of TFDS's manual_dir, which each builder's instructions name. Importing
this module registers the builders: `tfds.builder("multi30k/en_de")`.
"""

import gzip
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds

from zoo.errors import ZooError

HELD_OUT = 2000  # sentences of Tatoeba for validation, and the same number for test

Row = tuple[str, str, list[str]]  # source, target, references


class TextPairs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the builders below; `rows` gives the pairs of each split."""

    VERSION = tfds.core.Version("1.0.0")
    homepage: str
    citation: str

    def _info(self):
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"source": text, "target": text, "references": text}),
            supervised_keys=("source", "target"),
            homepage=self.homepage,
            citation=self.citation,
        )

    def _split_generators(self, dl_manager):
        try:
            rows = self.rows(Path(dl_manager.manual_dir))
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        return {split: self._generate_examples(pairs) for split, pairs in rows.items()}

    def _generate_examples(self, rows: Iterable[Row]):
        for number, (source, target, references) in enumerate(rows):
            yield number, {"source": source, "target": target, "references": "\n".join(references)}

    def rows(self, manual_dir: Path) -> dict[str, list[Row]]:
        raise NotImplementedError


class Multi30k(TextPairs):
    """Descriptions of photos in English, and their translations into German and French by people.

    29,000 for training, 1,014 for validation, and the 1,000 of test_2016_flickr.
    """

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=f"{name[:2]} to {name[3:]}")
        for name in ("en_de", "de_en", "en_fr", "fr_en")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into multi30k/ put train, val and test_2016_flickr in .en.gz, .de.gz and .fr.gz from the folder "
        "data/task1/raw of https://github.com/multi30k/dataset"
    )
    homepage = "https://github.com/multi30k/dataset"
    citation = 'Elliott et al. 2016, "Multi30K: Multilingual English-German image descriptions", arXiv 1605.00459'

    def rows(self, manual_dir):
        files = {"train": "train", "validation": "val", "test_2016_flickr": "test_2016_flickr"}
        return {split: self._parallel(manual_dir / "multi30k", name) for split, name in files.items()}

    def _parallel(self, folder: Path, name: str) -> list[Row]:
        paths = [folder / f"{name}.{language}.gz" for language in self.builder_config.name.split("_")]
        sources, targets = map(_lines, paths)
        if len(sources) != len(targets):
            raise ZooError(f"{paths[0]} has {len(sources):,} lines, {paths[1]} {len(targets):,}: they must match")
        return [(source, target, [target]) for source, target in zip(sources, targets, strict=True)]


class TatoebaPairs(TextPairs):
    """Everyday sentences of tatoeba.org and their translations, as published on manythings.org/anki.

    Test has 2,000 English sentences with one translation each, validation another 2,000. Training has no pair with one
    of these sentences or of their translations: sentences have several translations in both directions.
    """

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=f"{name[:2]} to {name[3:]}")
        for name in ("fr_en", "en_fr", "de_en", "en_de")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into tatoeba/ put fra.txt and deu.txt, of fra-eng.zip and deu-eng.zip from https://www.manythings.org/anki"
    )
    homepage = "https://www.manythings.org/anki"
    citation = "tatoeba.org and manythings.org/anki, CC BY 2.0 FR"

    def rows(self, manual_dir):
        source, target = self.builder_config.name.split("_")
        path = manual_dir / "tatoeba" / {"fr": "fra.txt", "de": "deu.txt"}[source if target == "en" else target]
        pairs = []
        for number, line in enumerate(_lines(path)):
            pair = tuple(line.split("\t")[:2])  # a third field names the authors
            if line and not (len(pair) == 2 and all(pair)):
                raise ZooError(f"{path}, line {number + 1}: expected two sentences and a tab between them")
            pairs += [pair] if line else []
        splits = split_pairs(pairs, HELD_OUT)
        if target == "en":
            splits = {split: [pair[::-1] for pair in rows] for split, rows in splits.items()}
            pairs = [pair[::-1] for pair in pairs]
        right: dict[str, list[str]] = {}
        for source_text, target_text in pairs:
            right.setdefault(source_text, []).append(target_text)
        return {split: [(*pair, right[pair[0]]) for pair in rows] for split, rows in splits.items()}


def split_pairs(pairs: list[tuple[str, str]], held_out: int) -> dict[str, list[tuple[str, str]]]:
    """Pairs of a sentence and a translation, both possibly repeated -> the pairs of train, validation and test.

    The held-out sentences depend on their texts alone: both directions agree, and a longer file changes only a few.
    Each gets the first of its translations that no other held-out sentence has.
    """
    translations: dict[str, list[str]] = {}
    for sentence, translation in pairs:
        translations.setdefault(sentence, []).append(translation)
    held, taken = {}, set()
    for sentence in sorted(translations, key=_number):
        if len(held) == 2 * held_out:
            break
        translation = next((each for each in translations[sentence] if each not in taken), None)
        if translation is not None:
            held[sentence] = translation
            taken.add(translation)
    near = {translation for sentence in held for translation in translations[sentence]}
    return {
        "train": [pair for pair in pairs if pair[0] not in held and pair[1] not in near],
        "validation": list(held.items())[held_out:],
        "test": list(held.items())[:held_out],
    }


class Cmudict(TextPairs):
    """Words and their phonemes, separated by spaces, from the CMU Pronouncing Dictionary.

    39 phonemes, without stress. Divided by word into 90, 5 and 5 per cent: training has every pronunciation; validation
    and test have each word once, with all its pronunciations as references.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into cmudict/ put cmudict.dict from https://github.com/cmusphinx/cmudict, or cmudict.txt, as NLTK has it"
    )
    homepage = "https://github.com/cmusphinx/cmudict"
    citation = "Carnegie Mellon University, the CMU Pronouncing Dictionary"

    def rows(self, manual_dir):
        folder = manual_dir / "cmudict"
        path = folder / "cmudict.dict" if (folder / "cmudict.dict").is_file() else folder / "cmudict.txt"
        rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
        for word, known in pronunciations(_lines(path)).items():
            split = {0: "test", 1: "validation"}.get(_number(word) % 20, "train")
            shown = known if split == "train" else known[:1]
            rows[split] += [(word, phonemes, known) for phonemes in shown]
        return rows


def pronunciations(lines: list[str]) -> dict[str, list[str]]:
    """Lines of the dictionary in either layout -> {word: pronunciations}, without the names of signs and digits.

    >>> pronunciations(["a AH0", "a(2) EY1", "AH 1 AA1"])
    {'a': ['AH', 'EY'], 'ah': ['AA']}
    """
    words: dict[str, list[str]] = {}
    for line in lines:
        entry = re.fullmatch(r"([A-Za-z'.-]+)(?:\(\d+\))?(?: \d+)?((?: [A-Z]{1,2}\d?)+)(?: #.*)?", line)
        if entry:
            phonemes = re.sub(r"\d", "", entry[2]).strip()
            known = words.setdefault(entry[1].lower(), [])
            if phonemes not in known:
                known.append(phonemes)
    return words


def _number(text: str) -> int:
    """A uniformly distributed number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _lines(path: Path) -> list[str]:
    """The stripped lines of a file, which may be compressed."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("utf-8").split("\n")
    except FileNotFoundError:
        raise
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ZooError(f"{path} can't be read: {error}") from None
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]
