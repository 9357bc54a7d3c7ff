"""Transcription: a text out, by connectionist temporal classification (CTC) of the steps of an input."""

import functools

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.decoding import ctc, lexicon
from zoo.errors import ZooError
from zoo.tasks import lexicons
from zoo.tasks.losses import CTC, CharacterErrorRate, TooLong
from zoo.tasks.task import Criterion, Measured, Task

ALPHABET = "alphabet.txt"


class Alphabet:
    """The characters of transcripts: class 0 is CTC's blank, and class n is character n - 1 of the alphabet.

    Args:
        content: the characters without separators, in UTF-8.
    """

    def __init__(self, content: bytes):
        self.characters = content.decode("utf-8")
        self.size = len(self.characters) + 1
        keys, numbers = tf.constant(list(self.characters)), tf.range(1, self.size)
        self.resource = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, numbers), ctc.BLANK)

    def encode(self, text):
        """() string -> (U,) int32. Characters that are not in the alphabet are left out."""
        labels = self.resource.lookup(tf.strings.unicode_split(plain(text), "UTF-8"))
        return labels[labels != ctc.BLANK]

    def decode(self, labels):
        """(B, U) int32, filled with 0 -> (B,) strings."""
        return tf.strings.reduce_join(tf.gather(tf.constant(["", *self.characters]), labels), axis=-1)

    def is_space(self, labels):
        """Whether a label is the space between words: (B, U) -> (B, U)."""
        return labels == self.characters.find(" ") + 1 if " " in self.characters else tf.zeros_like(labels, tf.bool)

    def unknown(self, text: str) -> list[str]:
        """The characters of a transcript that are not in the alphabet, sorted."""
        return sorted(set(text) - set(self.characters))


def plain(texts):
    """Transcripts (...) with single spaces between words and none at the ends."""
    return tf.strings.strip(tf.strings.regex_replace(texts, r"\s+", " "))


def transcripts_of(source) -> list[str]:
    """The transcripts of a source. Sounds are not read, if they are files."""
    examples = source.stubs if "transcript" in source.stubs.element_spec else source.dataset
    texts = examples.map(lambda example: example["transcript"]).as_numpy_iterator()
    return [" ".join(text.decode("utf-8", "replace").split()) for text in texts]


class Transcription(Task):
    """Decodes logits (B, T, V), where class 0 is the blank; settings are those of `TranscriptionSettings`.

    After an item's end, the model has a certain blank. Its attribute `frames_per_step` is the number of the input's
    frames in a step. The input kind has `seconds(frame, outputs)`, the time at which a frame begins, at most the length
    of the item, and `frame_counts(source)`, the number of frames of each example.
    """

    criterion = Criterion("character_error_rate", "min")
    explanations = {"posteriors": "zoo.explaining.posteriors"}
    answer_layout = {
        "transcript": "transcript",
        "score": "score",
        "words": [{"word": "words", "start": "starts", "end": "ends"}, "word_count"],
    }

    @classmethod
    def adapt(cls, source, settings, assets):
        """The words of the training transcripts; and their alphabet, unless the preset to start from has one."""
        learned, files, arguments = super().adapt(source, settings, assets)
        texts = transcripts_of(source)
        files = {**files, lexicons.PAIRS: lexicons.pairs_of(texts)}
        if ALPHABET in assets:
            return learned, files, arguments
        characters = "".join(sorted({character for text in texts for character in text}))
        if not characters:
            raise ZooError(f"{source.name} has no transcripts with characters")
        return learned, {**files, ALPHABET: characters.encode("utf-8")}, {**arguments, "symbols": len(characters)}

    @functools.cached_property
    def alphabet(self) -> Alphabet:
        """The characters that the model writes.

        Raises:
            ZooError: the model has no alphabet yet, or was built for another number of characters.
        """
        if ALPHABET not in self.assets:
            raise ZooError(f"{self.model.name} has no alphabet yet: training makes it")
        with tf.init_scope():  # its table must not belong to the first graph that uses it
            alphabet = Alphabet(self.assets[ALPHABET])
        if alphabet.size != (size := self.model.output["logits"].shape[-1]):
            raise ZooError(
                f"{self.model.name} has {size - 1} symbols, but its alphabet has {alphabet.size - 1} characters"
            )
        return alphabet

    @functools.cached_property
    def words(self) -> lexicons.Words:
        """The words that decoder = lexicon writes.

        Raises:
            ZooError: the model does not have the words of its training transcripts, or the user's list is bad.
        """
        if self.settings.lexicon is not None:
            return lexicons.own(self.settings.lexicon, self.alphabet.characters)
        if lexicons.PAIRS not in self.assets:
            raise ZooError(
                f"{self.model.name} does not have the words of its training transcripts: set lexicon to the path of a "
                "list of words, one per line"
            )
        return lexicons.of_pairs(self.assets[lexicons.PAIRS], self.alphabet.characters)

    def check_complete(self):
        super().check_complete()
        _ = self.alphabet
        if self.settings.decoder == "lexicon":
            _ = self.words

    def check_exportable(self):
        super().check_exportable()
        if self.settings.decoder == "lexicon":
            raise ZooError("decoder=lexicon is not part of an export, because it is Python: set decoder=beam")

    def resources(self):
        return [*super().resources(), self.alphabet.resource]

    def check_source(self, source):
        """Refuses transcripts with characters that the model can't write, in any split."""
        super().check_source(source)
        for text in transcripts_of(source):
            if unknown := self.alphabet.unknown(text):
                listed = " ".join(map(repr, unknown))
                raise ZooError(
                    f"{source.name} {source.split}: the transcript {text!r} has characters that are not in the model's "
                    f"alphabet {self.alphabet.characters!r}: replace {listed}"
                )

    def remarks(self, source):
        """Counts the transcripts that need more steps than their sound has: nothing can be learned from them."""
        texts, step = transcripts_of(source), self.model.frames_per_step
        needed = [len(text) + sum(a == b for a, b in zip(text, text[1:], strict=False)) for text in texts]
        counts = zip(needed, self.frame_counts(source), strict=True)
        count = sum(need > frames // step for need, frames in counts)
        if not count:
            return super().remarks(source)
        return [
            *super().remarks(source),
            f"{count:,} of {len(texts):,} transcripts need more steps than their sound has, and are not learned: "
            f"a step is {step} frames",
        ]

    def targets(self, example):
        """() string -> (U,) int32 labels."""
        return self.alphabet.encode(example["transcript"])

    def loss(self, label_smoothing=0.0):
        if label_smoothing:
            raise ZooError(f"{self.name} is trained by CTC, which takes no label_smoothing: set it to 0")
        return CTC()

    def metrics(self):
        return [CharacterErrorRate(), TooLong()]

    def measure(self, source, batch_size, report):
        """Word and character error rate, with the substitutions, insertions and deletions."""
        from zoo.tasks.dataset import stream

        self.check_complete()
        batches = stream(self, source, batch_size, augment=False, shuffle=False)
        forward = tf.function(
            lambda inputs: self.answer(self.outputs(inputs))["transcript"], reduce_retracing=True, autograph=False
        )
        texts = []
        for inputs, *_ in batches.epoch(0):
            texts += [text.decode("utf-8") for text in forward(inputs).numpy()]
            if report:
                report(len(texts), batches.examples)
        return Measured(*metrics.transcription_figures(texts, transcripts_of(source)))

    def run(self, model, inputs):
        """A batch of model inputs -> `logits`, the best `labels` (B, U), `label_count` and `score` (B,).

        The score is the log probability of the labels, or of their best path without a beam; with decoder = lexicon, it
        includes the language model (see `decoding.lexicon`).
        """
        logits = model(inputs, training=False)["logits"]
        count = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
        if self.settings.decoder == "lexicon":
            kinds = tf.int32, tf.int32, tf.float32
            labels, lengths, scores = tf.numpy_function(self._of_known_words, [logits], kinds, stateful=False)
            labels, lengths = tf.ensure_shape(labels, (None, None)), tf.ensure_shape(lengths, (None,))
            scores = tf.ensure_shape(scores, (None,))
        elif self.settings.beam == 1:
            decoded = ctc.greedy(logits, count)
            labels, lengths, scores = decoded.tokens, decoded.lengths, decoded.scores
        else:
            decoded = ctc.prefix_beam_search(logits, count, self.settings.beam)
            labels, lengths, scores = decoded.tokens[:, 0], decoded.lengths[:, 0], decoded.scores[:, 0]
        return {"logits": logits, "labels": labels, "label_count": lengths, "score": scores}

    def _of_known_words(self, logits: np.ndarray):
        """(B, T, V) -> the best transcripts of known words: labels (B, U), their number (B,), and scores (B,)."""
        logits = logits.astype("float64")
        logits -= logits.max(axis=-1, keepdims=True)
        values = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        found = [self.known_words(each) for each in values]
        lengths = np.array([len(each.labels) for each in found], "int32")
        labels = np.zeros((len(found), lengths.max(initial=0)), "int32")
        for row, each in enumerate(found):
            labels[row, : len(each.labels)] = each.labels
        return labels, lengths, np.array([each.score for each in found], "float32")

    def known_words(self, log_probabilities: np.ndarray, **changed) -> lexicon.Hypothesis:
        """The best transcript of known words of one item, (T, V), by the settings.

        Args:
            log_probabilities: (T, V), natural logarithms.
            changed: arguments of `decoding.lexicon.beam_search` other than those of the settings.
        """
        chosen = self.settings
        options = {"width": chosen.lexicon_beam, "weight": chosen.lexicon_weight, "bonus": chosen.word_bonus}
        words, following = self.words
        return lexicon.beam_search(log_probabilities, words, following=following, **{**options, **changed})

    def answer(self, outputs):
        """`transcript` and `score` (B,); its `words` (B, W), their `starts` and `ends`, and `word_count` (B,).

        Times are seconds from the start of the sound, of the likeliest path of the transcript.
        """
        logits, labels, lengths = outputs["logits"], outputs["labels"], outputs["label_count"]
        transcript = plain(self.alphabet.decode(labels))
        words = tf.strings.split(transcript, " ")
        words = tf.ragged.boolean_mask(words, words != "")  # of an empty transcript
        count = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
        alignment = ctc.align(logits, count, labels, lengths)
        starts, ends = self._of_words(alignment, labels, outputs)
        word_count = tf.cast(words.row_lengths(), tf.int32)
        longest = tf.reduce_max(tf.concat([word_count, [0]], axis=0))
        return {
            "transcript": transcript,
            "score": outputs["score"],
            "words": words.to_tensor(""),
            "starts": starts[:, :longest],
            "ends": ends[:, :longest],
            "word_count": word_count,
        }

    def _of_words(self, alignment, labels, outputs):
        """The places of labels (B, U) -> start and end of each word in seconds, (B, U), 0 after an item's words."""
        in_word = (labels != ctc.BLANK) & ~self.alphabet.is_space(labels)
        is_first = in_word & ~tf.pad(in_word, ((0, 0), (1, 0)))[:, :-1]
        batch, size = tf.unstack(tf.shape(labels))
        number = tf.cumsum(tf.cast(is_first, tf.int32), axis=1) - 1
        place = tf.where(in_word, tf.range(batch)[:, tf.newaxis] * size + number, -1)  # negative ones are left out
        first = tf.math.unsorted_segment_min(alignment.starts, place, batch * size)
        last = tf.math.unsorted_segment_max(alignment.ends, place, batch * size)
        step = self.model.frames_per_step
        is_word = tf.reshape(tf.math.unsorted_segment_max(tf.ones_like(place), place, batch * size) > 0, [batch, size])
        frames = [tf.cast(tf.reshape(steps * step, [batch, size]), tf.float32) for steps in (first, last)]
        return [tf.where(is_word, self.seconds(each, outputs), 0.0) for each in frames]

    def portable_manifest(self):
        """What a runner needs to decode the probabilities that `portable` gives."""
        return {
            **super().portable_manifest(),
            "alphabet": self.alphabet.characters,
            "frames_per_step": self.model.frames_per_step,
        }

    def comparable(self, answer, other):
        """Without the score, a sum over all steps, and the times, which may be those of the next step."""
        return {"transcript": answer["transcript"]}

    def csv_columns(self):
        return ("answer", "score")

    def csv_values(self, row):
        return (row["transcript"], f"{row['score']:.6f}")

    def summary(self, row):
        return row["transcript"]

    def best(self, answer):
        return answer["transcript"]
