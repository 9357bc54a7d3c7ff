"""Phones of American English: pronunciations of words, transcripts with one letter per phone, and phones per frame.

HH AH L OW             ARPABET, as in the CMU Pronouncing Dictionary, without stress
hAlo                   the same in the one-letter form of ARPABET
SIL 12 HH 7 AH 5 ...   an alignment: each phone with its number of frames
"""

import re
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError

# The 39 phones, and their letters (Shoup 1980, Phonological aspects of speech recognition, in Lea, Trends in speech
# recognition).
LETTERS = {
    "AA": "a", "AE": "@", "AH": "A", "AO": "c", "AW": "W", "AY": "Y", "B": "b", "CH": "C", "D": "d", "DH": "D",
    "EH": "E", "ER": "R", "EY": "e", "F": "f", "G": "g", "HH": "h", "IH": "I", "IY": "i", "JH": "J", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "G", "OW": "o", "OY": "O", "P": "p", "R": "r", "S": "s", "SH": "S",
    "T": "t", "TH": "T", "UH": "U", "UW": "u", "V": "v", "W": "w", "Y": "y", "Z": "z", "ZH": "Z",
}  # fmt: skip
SILENCE = "SIL"
NAMES = [*LETTERS, SILENCE]  # of the classes of frames


def read_dictionary(path: Path) -> dict[str, str]:
    """Lines such as "ZERO(2)  Z IY R OW" -> {word: letters}; of several pronunciations of a word, the last one.

    In AN4 the last one is the usual one: A, which spells names, is EY, and ONE is W AH N.
    """
    words = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        word, *phones = line.split()
        if unknown := [phone for phone in phones if phone not in LETTERS]:
            raise ZooError(f"{path}, line {number}: unknown phone {unknown[0]!r}; known: {' '.join(LETTERS)}")
        if not phones:
            raise ZooError(f"{path}, line {number}: expected a word and its phones")
        words[re.sub(r"\(\d+\)$", "", word)] = "".join(LETTERS[phone] for phone in phones)
    return words


def spoken(text: str, dictionary: dict[str, str]) -> str:
    """The words of a text in phones.

    >>> spoken("GO GO", {"GO": "go"})
    'go go'
    """
    try:
        return " ".join(dictionary[word] for word in text.split())
    except KeyError as error:
        raise ZooError(f"the dictionary has no word {error.args[0]!r}, which {text!r} has") from None


def write_alignments(path: Path, alignments: Iterable[tuple[str, list[tuple[str, int]]]]) -> None:
    """Writes a line per utterance: its name, a tab, and its phones with their numbers of frames."""
    lines = (
        f"{name}\t{' '.join(f'{phone} {frames}' for phone, frames in runs)}\n" for name, runs in sorted(alignments)
    )
    path.write_text("".join(lines), "utf-8")


def read_alignments(path: Path) -> dict[str, list[str]]:
    """A file of `write_alignments` -> the phone of each frame, by the name of the utterance."""
    alignments = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        name, _, text = line.partition("\t")
        phones, counts = text.split()[::2], text.split()[1::2]
        are_good = len(phones) == len(counts) and {*phones} <= {*NAMES} and all(map(str.isdecimal, counts))
        if not are_good or not phones:
            raise ZooError(f"{path}, line {number}: expected a name, a tab, and phones with their numbers of frames")
        alignments[name] = [phone for phone, count in zip(phones, counts, strict=True) for _ in range(int(count))]
    return alignments
