"""The settings of tasks: names, types, ranges, defaults and one line of help each. Imports no TensorFlow.

A setting marked `flag=True` is also an option of the command line: `top` is `--top`, `n_best` is `--n-best`.
"""

import os
import types
import typing
from typing import Any, ClassVar, Literal

import annotated_types
import pydantic
from pydantic.fields import FieldInfo

from zoo.errors import ZooError, unknown
from zoo.preprocessing.front_end import FrontEndSettings, front_end_settings
from zoo.preprocessing.limits import LONGEST_SOUND

DISTORTIONS = ("rotate", "zoom", "shear", "shift", "elastic")
CROPS = ("flip", "upend", "pad", "crop", "colour")
MIXES = ("mixup", "cutmix")
SOUND_CHANGES = ("noise", "gain", "speed")
MASKS = ("frequency_masks", "frequency_width", "time_masks", "time_width", "time_fraction", "warp")
AUGMENTATIONS = DISTORTIONS + CROPS + MIXES
MASK_AUGMENTATIONS = (*DISTORTIONS, "flip", "turn", "pad", "colour")  # of a picture and its mask
BOX_AUGMENTATIONS = ("zoom", "shift", "flip", "upend", "crop", "colour")  # of a picture and its boxes


def setting(default: Any, help: str, *, flag: bool = False, **limits) -> Any:
    """A field of a settings class.

    Args:
        default: the value of the setting if it is not set.
        help: one line of help for the command line.
        flag: whether the setting is an option of the command line.
        limits: limits of the value, such as ge=1.
    """
    return pydantic.Field(default, description=help, json_schema_extra={"flag": flag}, **limits)


class TaskSettings(pydantic.BaseModel):
    """Base class of the settings of every task. Instances are validated and immutable.

    Subclasses add fields with `setting`. They may add validators that compare fields.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # earlier name, in old presets and recipes -> current name
    measured: ClassVar[tuple[str, ...]] = ()  # settings that describe trained weights; further training drops them
    of_classes: ClassVar[tuple[str, ...]] = ()  # settings that name classes or go with them; another head drops them

    @classmethod
    def today(cls, settings: dict) -> dict:
        """Settings with earlier names -> the same settings with current names."""
        return {cls.renamed.get(name, name): value for name, value in settings.items()}

    @classmethod
    def inherited(cls, settings: dict) -> dict:
        """The settings of a preset, with current names -> those of a model that is trained further, without labels."""
        return {name: value for name, value in cls.today(settings).items() if name not in {*cls.measured, "labels"}}

    @classmethod
    def checked(cls, task: str, settings: dict) -> "TaskSettings":
        """Validates the settings of a task; missing settings get their defaults.

        Raises:
            ZooError: a name is unknown, or a value has the wrong type or is out of range.
        """
        settings = cls.today(settings)
        for name in settings:
            if name not in cls.model_fields:
                raise unknown(f"setting of {task}", name, cls.model_fields)
        for name, value in settings.items():  # pydantic takes True for the choice 1
            choices = _choices(cls.model_fields[name])
            if choices and not any(type(value) is type(choice) and value == choice for choice in choices):
                raise ZooError(f"{task}: {name} must be {expected(cls.model_fields[name])}, got {value!r}")
        try:
            return cls(**settings)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:  # a validator's own message
                raise ZooError(f"{task}: {first['msg'].removeprefix('Value error, ')}") from None
            name = str(first["loc"][0])
            if first["type"] == "value_error":
                raise ZooError(f"{task}: {name}: {first['msg'].removeprefix('Value error, ')}") from None
            wanted = expected(cls.model_fields[name])
            raise ZooError(f"{task}: {name} must be {wanted}, got {settings[name]!r}") from None

    @classmethod
    def from_toml(cls, settings: dict) -> dict:
        """Settings as recipes and the command line write them -> their values.

        TOML has no null: an empty text stands for None, and "none" does in a setting that can be None. A file or folder
        of this name is ./none.
        """
        return {name: None if cls._is_none(name, value) else value for name, value in settings.items()}

    @classmethod
    def _is_none(cls, name: str, value: Any) -> bool:
        field = cls.model_fields.get(cls.renamed.get(name, name))
        can_be_none = field is not None and type(None) in _kinds(field) and "none" not in _choices(field)
        return value == "" or value == "none" and can_be_none

    @classmethod
    def flags(cls) -> dict[str, FieldInfo]:
        """The settings that are options of the command line."""
        return {name: field for name, field in cls.model_fields.items() if field.json_schema_extra["flag"]}


def expected(field: FieldInfo) -> str:
    """The values that a field accepts, in words: "an integer >= 1", "one of 'rgb', 'grey'"."""
    if choices := _choices(field):
        return "one of " + ", ".join(map(repr, choices))
    kinds = _kinds(field)
    words = {int: "an integer", float: "a finite number", str: "a string", bool: "true or false", list: "a list"}
    kinds = [typing.get_origin(kind) or kind for kind in kinds]  # dict[str, Any] -> dict
    text = next((words[kind] for kind in kinds if kind in words), "a table")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        if isinstance(limit, annotated_types.BaseMetadata)
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    return " ".join([text, " and ".join(limits)]).strip() + (" or None" if type(None) in _kinds(field) else "")


def _kinds(field: FieldInfo) -> tuple:
    """The types of a field; those of a union."""
    is_union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    return typing.get_args(field.annotation) if is_union else (field.annotation,)


def _choices(field: FieldInfo) -> list:
    """The values of a field that takes a few values only; empty for other fields."""
    kinds = _kinds(field)
    choices = [value for kind in kinds if typing.get_origin(kind) is Literal for value in typing.get_args(kind)]
    return [*choices, *([None] if choices and type(None) in kinds else [])]


class ImageSettings(TaskSettings):
    """Settings of tasks that read an image."""

    renamed = {"share": "fraction", "views": "windows"}
    augmentations: ClassVar[tuple[str, ...]] = AUGMENTATIONS  # what `augment` may have

    colour: Literal["rgb", "grey"] = setting("rgb", "Channels of the image: rgb or grey.")
    polarity: Literal["light_on_dark"] | None = setting(
        None, "light_on_dark inverts dark drawings on a light ground; none leaves images as they are."
    )
    centre: Literal["ink"] | None = setting(
        None, "ink frames the drawing itself (digits, characters); none takes the middle of the image."
    )
    fraction: float = setting(
        1.0,
        "With centre=ink, the longer side of the drawing as a fraction of the frame's shorter side; otherwise the "
        "fraction of the image's middle that is kept.",
        gt=0,
        le=1,
    )
    low: float = setting(0.0, "Value of black (of the ground, with centre=ink).")
    high: float = setting(1.0, "Value of white (of full ink, with centre=ink).")
    margin: int = setting(
        0,
        "Pixels on each side by which the image is larger than the window that the model sees: the middle one, and in "
        "training, with augment.pad, one at a random place.",
        ge=0,
    )
    windows: Literal[1, 2, 10] = setting(
        1,
        "Windows of the image that an answer averages: 1, the middle; 2, the middle and its mirror image; or 10, the "
        "corners, the middle, and their mirror images (Krizhevsky, Sutskever & Hinton 2012, section 4.1).",
    )
    augment: dict[str, Any] = setting(
        {},
        "Random changes in training: the arguments of preprocessing.augmentation.distort; flip = true mirrors about "
        "half of the images, and upend = true turns about half of them upside down; pad, greatest move in pixels, with "
        "zeros beyond the margin; crop, least area of a random window as a fraction of the image; colour, greatest "
        "change of brightness, contrast and saturation; mixup and cutmix, the alpha of each.",
    )

    @pydantic.field_validator("augment")
    @classmethod
    def _known_augmentations(cls, augment: dict) -> dict:
        for name, value in augment.items():
            if name not in cls.augmentations:
                raise ValueError(str(unknown("augmentation", name, cls.augmentations)))
            kind = {"flip": bool, "upend": bool, "turn": bool, "pad": int}.get(name, (int, float))
            is_good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) and value >= 0
            if not is_good or name == "crop" and not 0 < value <= 1:
                wanted = {bool: "true or false", int: "an integer >= 0"}.get(kind, "a number >= 0")
                wanted = "a fraction > 0 and <= 1" if name == "crop" else wanted
                raise ValueError(f"{name} must be {wanted}, got {value!r}")
        return augment

    @pydantic.model_validator(mode="after")
    def _fits_together(self):
        if self.windows == 10 and not self.margin:
            raise ValueError("windows=10 needs a margin > 0 for the windows to lie in")
        if self.centre and self.colour != "grey":
            raise ValueError("centre='ink' needs colour='grey'")
        if self.low == self.high:
            raise ValueError(f"low and high must differ, got {self.low} for both")
        return self


class SegmentationSettings(ImageSettings):
    """Settings of `segmentation`."""

    augmentations = MASK_AUGMENTATIONS
    of_classes = ("boundary", "threshold", "boundary_threshold")

    polarity: Literal[None] = setting(None, "Pictures keep their polarity.")
    centre: Literal[None] = setting(None, "Pictures are not framed.")
    fraction: Literal[1] = setting(1, "The whole picture is answered.")
    windows: Literal[1] = setting(1, "Windows of the image that an answer averages.")
    margin: int = setting(
        0, "Pixels on each side of a tile from which training, with augment, takes what it moves into the tile.", ge=0
    )
    context: int = setting(
        0,
        "Pixels on each side of a tile whose answer is left out, because the model does not see enough around them: "
        "for a model with padding, half of its field of view. A model without padding leaves them out itself.",
        ge=0,
    )
    augment: dict[str, Any] = setting(
        {},
        "Random changes of a picture and its mask in training: the arguments of preprocessing.augmentation.distort; "
        "flip = true mirrors about half of the pictures; turn = true turns them by a multiple of 90 degrees; pad, "
        "greatest move in pixels; colour, greatest change of brightness, contrast and saturation.",
    )
    orientations: Literal[1, 8] = setting(
        1, "Orientations of a tile, turned and mirrored, that an answer averages: 1 or 8.", flag=True
    )
    boundary: str | None = setting(
        None,
        "The class that lies between objects, such as a membrane. `zoo evaluate` then also measures how well objects "
        "are kept apart.",
    )
    threshold: float | None = setting(
        None,
        "With a boundary, the probability from which on a pixel is boundary in an answer; none: if no other class is "
        "likelier.",
        flag=True,
        gt=0,
        lt=1,
    )
    boundary_threshold: float = setting(
        0.5,
        "With a boundary, the threshold at which `zoo evaluate` measures how well objects are kept apart.",
        gt=0,
        lt=1,
    )

    @pydantic.model_validator(mode="after")
    def _needs_a_boundary(self):
        if self.threshold is not None and self.boundary is None:
            raise ValueError("threshold needs a boundary: the name of a class")
        return self


class VerificationSettings(ImageSettings):
    """Settings of `verification`."""

    augmentations = DISTORTIONS + CROPS
    measured = ("threshold",)

    augment: dict[str, Any] = setting(
        {},
        "Random changes in training: the arguments of preprocessing.augmentation.distort; flip = true mirrors about "
        "half of the images; pad, greatest move in pixels; crop, least area of a random window as a fraction of the "
        "image; colour, greatest change of brightness, contrast and saturation.",
    )
    threshold: float = setting(
        1.0,
        "Greatest distance of the embeddings of two pictures of the same person. Training chooses it on the validation "
        "data: the distance at which false accepts and false rejects are equally frequent.",
        flag=True,
        gt=0,
        le=2,
    )
    pictures: int = setting(
        4,
        "Pictures of a person that lie side by side in an epoch of training, so that a batch has triplets; 1: the "
        "order is random.",
        ge=1,
    )
    triplet_margin: float = setting(
        0.2,
        "By how much training moves a picture of another person farther away than one of the same person, in squared "
        "distance (Schroff et al. 2015, section 3.1).",
        gt=0,
        le=4,
    )


class TensorSettings(TaskSettings):
    """Settings of tasks that read an array. Training computes both from the data if neither is given."""

    mean: float = setting(0.0, "The model gets (x - mean) / deviation.")
    deviation: float = setting(1.0, "The model gets (x - mean) / deviation.", gt=0)


class AudioSettings(TaskSettings):
    """Settings of tasks that hear a sound."""

    front_end: dict[str, Any] = setting(
        {},
        "How features are computed from a waveform: the fields of preprocessing.front_end.FrontEndSettings, and "
        "convention: librosa, kaldi or sphinx, whose settings are then the defaults.",
    )
    raw: Literal["waveform", "features"] = setting(
        "waveform",
        "What an answer is given for: a sound, or an array (frames, features) as the front end computes it before "
        "deltas and normalisation.",
    )
    longest: float = setting(
        30.0, "Greatest length of a sound, seconds; a longer one is refused.", gt=0, le=LONGEST_SOUND
    )
    mean: list[float] = setting(
        [], "With front_end.normalize = running or fixed, the mean of each feature; training computes it from the data."
    )
    deviation: list[float] = setting([], "Like mean, the standard deviation of each feature.")
    augment: dict[str, Any] = setting(
        {},
        "Random changes in training: noise = [lowest, highest], the ratio of signal to noise in decibels; gain, the "
        "greatest change in decibels; speed, the greatest change as a fraction; and SpecAugment: frequency_masks and "
        "time_masks, their number, and the other arguments of preprocessing.audio_augmentation.mask.",
    )

    def features(self) -> FrontEndSettings:
        """The settings of the front end."""
        return front_end_settings(self.front_end, self.mean, self.deviation)

    @pydantic.field_validator("augment")
    @classmethod
    def _known_changes(cls, augment: dict) -> dict:
        for name, value in augment.items():
            if name not in SOUND_CHANGES + MASKS:
                raise ValueError(str(unknown("augmentation", name, SOUND_CHANGES + MASKS)))
            if name == "noise":
                is_good = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
                is_good, wanted = is_good and value[0] <= value[1], "two numbers, the lower one first"
            elif name == "gain":
                is_good, wanted = _is_number(value) and value >= 0, "a number >= 0"
            elif name in ("speed", "time_fraction"):
                most = {"speed": 0.9, "time_fraction": 1}[name]
                is_good, wanted = _is_number(value) and 0 <= value <= most, f"a fraction from 0 to {most}"
            else:
                is_good, wanted = type(value) is int and value >= 0, "an integer >= 0"
            if not is_good:
                raise ValueError(f"{name} must be {wanted}, got {value!r}")
        return augment

    @pydantic.model_validator(mode="after")
    def _fits_the_front_end(self):
        try:
            features = self.features()
        except ZooError as error:
            raise ValueError(f"front_end: {error}") from None
        if self.longest * features.rate >= 2**31:  # lengths are int32
            raise ValueError(
                f"longest={self.longest:g} s at {features.rate:,} samples per second must be < 2,147,483,648 samples"
            )
        if features.normalize is None and any(name in self.augment for name in MASKS):
            raise ValueError("masks need front_end.normalize: they set features to 0, the mean of normalized ones")
        return self


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class TokenSettings(TaskSettings):
    """Settings of tasks whose model reads or writes tokens."""

    tokens: Literal["pieces", "spelling"] = setting(
        "pieces",
        "pieces: one SentencePiece vocabulary for source and target; spelling: the source is a word and its tokens are "
        "letters, the tokens of the target are symbols separated by spaces.",
    )
    vocabulary_size: int = setting(8000, "Most pieces of a vocabulary that training makes.", ge=1)
    longest: int = setting(
        200, "Most tokens of a source and of an answer; training cuts longer texts, answers refuse them.", ge=2
    )
    sentence_case: bool = setting(
        False, "Read a source of several words that are all in capitals as a sentence in small letters."
    )


class ClassificationSettings(TaskSettings):
    """Settings of tasks that answer with labels."""

    top: int = setting(5, "Number of labels in an answer, best first.", flag=True, ge=1)


class GenerationSettings(TokenSettings):
    """Settings of tasks that answer with a generated text."""

    measured = ("warn_below",)

    beam: int = setting(5, "Width of the beam search; 1 is greedy search.", flag=True, ge=1, le=1000)
    n_best: int = setting(1, "Number of texts in an answer, best first.", flag=True, ge=1, le=1000)
    length_penalty: float = setting(
        1.0, "Alpha of Wu et al. 2016 (see decoding.beam_search), for a beam wider than 1.", ge=0, le=10
    )
    coverage_penalty: float = setting(
        0.0, "Beta of Wu et al. 2016, for a beam wider than 1; needs a model with attention.", ge=0, le=100
    )
    shortest: int = setting(0, "Fewest tokens of an answer.", ge=0)
    warn_below: float | None = setting(
        None,
        "An answer whose mean log probability per token is below this has a warning, as the input is probably unlike "
        "the training data; none: no warnings.",
    )

    @pydantic.model_validator(mode="after")
    def _in_range(self):
        if self.n_best > self.beam:
            raise ValueError(f"n_best={self.n_best} must be <= beam={self.beam}")
        if self.shortest > self.longest:
            raise ValueError(f"shortest={self.shortest} must be <= longest={self.longest}")
        return self


class TranscriptionSettings(TaskSettings):
    """Settings of tasks that answer with a transcript."""

    beam: int = setting(
        1, "Width of the prefix beam search; 1 takes the likeliest class of every step.", flag=True, ge=1, le=1000
    )
    decoder: Literal["beam", "lexicon"] = setting(
        "beam", "beam writes any text; lexicon writes known words only, is slower, and can't be exported."
    )
    lexicon: str | None = setting(
        None,
        "With decoder = lexicon, the path of a list of the known words, one per line; none: the words of the training "
        "transcripts, with a bigram model of them.",
    )
    lexicon_beam: int = setting(100, "With decoder = lexicon, the width of the beam.", ge=1, le=10_000)
    lexicon_weight: float = setting(
        0.5, "With decoder = lexicon, the weight of the log probability of the bigram model.", ge=0, le=100
    )
    word_bonus: float = setting(
        0.0, "With decoder = lexicon, what every word adds to the score of a transcript.", ge=-100, le=100
    )

    @pydantic.field_validator("lexicon", mode="before")
    @classmethod
    def _as_text(cls, path: Any) -> Any:
        return os.fspath(path) if isinstance(path, os.PathLike) else path

    @pydantic.model_validator(mode="after")
    def _fits_the_decoder(self):
        if self.lexicon is not None and self.decoder != "lexicon":
            raise ValueError("a lexicon needs decoder='lexicon'")
        return self


class ImageClassificationSettings(ImageSettings, ClassificationSettings):
    """Settings of `image_classification`."""


class DetectionSettings(ImageSettings):
    """Settings of `detection`."""

    augmentations = BOX_AUGMENTATIONS

    centre: Literal[None] = setting(None, "Detection sees the whole image.")
    fraction: float = setting(1.0, "Detection sees the whole image.", ge=1, le=1)
    margin: Literal[0] = setting(0, "Detection sees the whole image.")
    windows: Literal[1] = setting(1, "Detection sees the whole image.")
    threshold: float = setting(0.5, "Least probability of an object in an answer.", flag=True, gt=0, lt=1)
    overlap: float = setting(
        0.45,
        "Of two boxes of a class whose intersection over union is greater, an answer has the one of the greater "
        "probability.",
        ge=0,
        le=1,
    )
    most: int = setting(200, "Most objects in an answer.", ge=1, le=10_000)
    augment: dict[str, Any] = setting(
        {},
        "Random changes of a picture and its boxes in training: flip = true mirrors about half of the pictures, and "
        "upend = true turns about half of them upside down; crop, least area of a random window as a fraction of the "
        "picture; zoom, greatest change of scale, separate for each axis; shift, greatest move in pixels; colour, "
        "greatest change of brightness, contrast and saturation.",
    )


class TensorClassificationSettings(TensorSettings, ClassificationSettings):
    """Settings of `tensor_classification`."""


class AudioClassificationSettings(AudioSettings, ClassificationSettings):
    """Settings of `audio_classification`."""


class SequenceTransductionSettings(TaskSettings):
    """Settings of `sequence_transduction`."""

    answer_length: int | None = setting(
        None, "Vectors of an answer; none: as many as the input has, or as `repeats` says.", ge=1
    )
    repeats: bool = setting(
        False,
        "The last value of the last vector is a number of repetitions n >= 1; an answer has n times as many vectors as "
        "there are before the last one, and an end mark.",
    )
    reals: int = setting(0, "The last values of a vector that may be any number, such as a priority.", ge=0)
    item: int = setting(1, "Vectors of an item; item_accuracy is the fraction of items without a wrong bit.", ge=1)
    longest: int = setting(200, "Most vectors of an input; a longer one is refused.", ge=1)

    @pydantic.model_validator(mode="after")
    def _one_length(self):
        if self.repeats and self.answer_length is not None:
            raise ValueError("repeats sets the length of an answer: leave out answer_length")
        return self


class TextClassificationSettings(ClassificationSettings):
    """Settings of `text_classification`."""

    tokens: Literal["sentence_words"] = setting(
        "sentence_words", "The tokens are words and signs; the English endings n't and 's are words of their own."
    )
    vocabulary_size: int = setting(
        30_000, "Most words of a vocabulary that training makes, the unknown one among them.", ge=2
    )
    least_count: int = setting(1, "A vocabulary has the words that occur this often in the training texts.", ge=1)
    lower_case: bool = setting(True, "Read texts in small letters.")
    longest: int = setting(1000, "Words of a text that are read, from its start; later ones have no influence.", ge=1)
    sentence_longest: int = setting(
        50, "For a model that reads sentences, their most words; a longer one is divided.", ge=1
    )
    vectors: str | None = setting(
        None,
        "A preset with word vectors: in a new model, the words that it knows start with its vectors, the others with "
        "random ones.",
    )


class StorySettings(TaskSettings):
    """Settings of tasks that read a story and a question."""

    tokens: Literal["words"] = setting("words", "The tokens are words in small letters; signs are left out.")
    longest: int = setting(50, "Words of a line and of a question that are read, from its start.", ge=1)
    noise: float = setting(
        0.1, "Training adds empty lines at random places of a story, at most this number per line.", ge=0, le=1
    )


class QuestionAnsweringSettings(StorySettings, ClassificationSettings):
    """Settings of `question_answering`."""


class SpeechRecognitionSettings(AudioSettings, TranscriptionSettings):
    """Settings of `speech_recognition`."""


class FrameClassificationSettings(AudioSettings):
    """Settings of `frame_classification`."""

    @pydantic.field_validator("augment")
    @classmethod
    def _keeps_frames(cls, augment: dict) -> dict:
        if moved := sorted({"speed", "warp"} & {*augment}):
            raise ValueError(f"{moved[0]} moves frames, but not the labels of frames: leave it out")
        return augment


class TranslationSettings(GenerationSettings):
    """Settings of `translation`."""


class CaptioningSettings(ImageSettings, GenerationSettings):
    """Settings of `captioning`."""

    tokens: Literal["pieces", "spelling"] = setting(
        "pieces", "pieces: a SentencePiece vocabulary; spelling: the tokens are the words of the training captions."
    )
    windows: Literal[1] = setting(1, "Windows of the image that an answer averages.")
    vocabulary_size: int = setting(4000, "Most pieces of a vocabulary that training makes.", ge=1)
    longest: int = setting(40, "Most tokens of a caption.", ge=2)


class LanguageModelingSettings(TaskSettings):
    """Settings of `language_modeling`."""

    tokens: Literal["words", "characters"] = setting(
        "words", "words: the tokens are words and punctuation marks; characters: the tokens are characters."
    )
    vocabulary_size: int = setting(
        10_000, "Most tokens of a vocabulary that training makes, the unknown one among them.", ge=2
    )
    lower_case: bool = setting(
        False, "Read texts in small letters. Training sets it for a text without capitals that it learns."
    )
    span: int = setting(35, "Tokens of a window of a training text; gradients do not flow from window to window.", ge=1)
    longest: int = setting(1000, "Most tokens of a prompt.", ge=2)
    length: int = setting(40, "Number of tokens of a sampled text.", flag=True, ge=1, le=10_000)
    samples: int = setting(1, "Number of texts that are sampled for a prompt.", flag=True, ge=1, le=1000)
    temperature: float = setting(
        1.0, "Divides the logits; below 1 likely tokens become more likely.", flag=True, gt=0, le=100
    )
    top_k: int | None = setting(
        None, "Sample from this number of likeliest tokens; 1: take the likeliest; none: sample from all.", ge=1
    )
    seed: int = setting(0, "The same seed gives the same texts.", flag=True, ge=0, lt=2**31)


class WordEmbeddingSettings(TaskSettings):
    """Settings of `word_embedding`."""

    top: int = setting(10, "Number of neighbours in an answer, nearest first.", flag=True, ge=1)
    lower_case: bool = setting(True, "Read all words in small letters.")
    vocabulary_size: int = setting(30_000, "Most words of a vocabulary that training makes.", ge=2)
    least_count: int = setting(5, "Training leaves out words that occur less often in the text.", ge=1)
    sample: float = setting(
        1e-4,
        "Training leaves out an occurrence of a word of frequency f with probability 1 - sqrt(sample / f) - sample / f "
        "(Mikolov et al. 2013, section 2.3, as in their program); 0 keeps all.",
        ge=0,
        le=1,
    )
    negative_samples: float = setting(5.0, "Weight of the negatives of a pair of words: k of the paper.", gt=0)
