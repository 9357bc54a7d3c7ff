"""Story input: lines of text and a question about them -> the numbers of their words."""

import functools

import numpy as np
import tensorflow as tf

from zoo.data.layouts import StoryLines
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks.inputs.text import TextInput, opened

INPUTS = ("story", "line_count", "question")
LISTED = 5  # unknown words in a warning
ENDS = (b"\n", b".", b"!", b"?")  # of a line
_STOP = r"([.!?])\s+"


class StoryInput(TextInput):
    """Reads `story` (B, L, J), the last line first, `line_count` (B,) and `question` (B, J).

    Settings are those of `zoo.tasks.settings.StorySettings`. A story has a sentence per line; a line also ends behind
    . ! ? and a space. Signs and unknown words are left out, and then lines without words. Only as many of the last
    lines are read as the memory of the model has. The `warning` of an item says which lines and words are left out.
    """

    raw_kinds = {"story": "text", "question": "text"}
    layout = StoryLines()
    longest_input = 1_000_000

    def __init__(self, model, settings, labels, assets):
        super(TextInput, self).__init__(model, settings, labels, assets)
        if missing := [name for name in INPUTS if name not in model.input]:
            raise ZooError(f"{model.name} is not a model for {self.name}: it has no input {missing[0]!r}")
        memory = model.get_layer("memory")
        self.memory, self.words = memory.memory, memory.vocabulary
        self.longest = max(self.memory, self.settings.longest)

    @functools.cached_property
    def source_vocabulary(self):
        """The vocabulary.

        Raises:
            ZooError: the model has no vocabulary yet, or its size is not the one that the model was built for.
        """
        return opened(self, "source", self.words)

    @classmethod
    def takes_text(cls):
        """True: answers are printed without the story in front, one line for each line of a file."""
        return True

    def check_examples(self, source):
        _ = self.source_vocabulary

    def remarks(self, source):
        """The number of stories that are longer than the memory."""
        stories = (example["story"] for example in source.dataset.as_numpy_iterator())
        long = [story for story in stories if sum(map(story.count, ENDS)) >= self.memory]  # perhaps, and few
        count = int(np.sum(self._lines(tf.constant(long, tf.string)).row_lengths() > self.memory)) if long else 0
        if not count:
            return []
        rest = f"have more than {self.memory} lines, of which the oldest are not read"
        return [f"{source.name}: {count:,} of {source.examples:,} stories {rest}"]

    def raw_batch(self, examples):
        return {name: examples[name] for name in self.raw_kinds}

    def read(self, example):
        return {name: example[name] for name in self.raw_kinds}

    def prepare(self, raw):
        """() strings -> `story` (L, J), `line_count` () and `question` (J,)."""
        inputs, _ = self._inputs({name: self._read(value[tf.newaxis]) for name, value in raw.items()})
        return {name: value[0] for name, value in inputs.items()}

    def augment_inputs(self, prepared, seed):
        """Adds up to `noise` empty lines per line at random places, so that the places of the lines vary.

        Sukhbaatar et al. 2015, section 4.1, "random noise".
        """
        story, count = prepared["story"], prepared["line_count"]
        seeds = tf.random.experimental.stateless_split(seed, 2)
        most = tf.cast(tf.math.ceil(self.settings.noise * tf.cast(count, tf.float32)), tf.int32)
        whole = count + tf.random.stateless_uniform((), seeds[0], 0, most + 1, tf.int32)
        places = tf.sort(tf.argsort(tf.random.stateless_uniform([whole], seeds[1]))[:count])
        story = tf.scatter_nd(places[:, tf.newaxis], story, [whole, tf.shape(story)[1]])[: self.memory]
        return {**prepared, "story": story, "line_count": tf.shape(story)[0]}

    def checked(self, raw):
        """(B,) strings -> the model's inputs and `warning` (B,), and error (B,)."""
        texts, error = {}, tf.zeros_like(raw["question"])
        for name, value in raw.items():
            texts[name], own = self.checked_texts(value)
            own = tf.where((own == "") & (tf.strings.strip(texts[name]) == ""), "empty text", own)
            error = tf.where((error == "") & (own != ""), tf.strings.join([f"{name}: ", own]), error)
        inputs, warning = self._inputs(texts)
        for name in self.raw_kinds:
            has_words = tf.reduce_any(tf.reshape(inputs[name], [tf.size(error), -1]) > 0, axis=1)
            error = tf.where((error == "") & ~has_words, f"{name}: none of its words is known", error)
        return {**inputs, "warning": warning}, error

    def _read(self, texts):
        return text.lower(texts)

    def _lines(self, stories):
        """(B,) strings -> ragged (B, None): their lines that are not blank, oldest first."""
        lines = tf.strings.split(tf.strings.regex_replace(stories, _STOP, "\\1\n"), "\n")
        return tf.ragged.boolean_mask(lines, tf.strings.strip(lines) != "")

    def _numbered(self, texts):
        """(N,) strings -> ragged (N, None): the numbers of their known words, and their unknown words."""
        words = self.source_vocabulary.split(texts)
        ids = self.source_vocabulary.numbers(words)
        is_known = ids != text.UNKNOWN
        return tf.ragged.boolean_mask(ids, is_known), tf.ragged.boolean_mask(words, ~is_known)

    def _inputs(self, texts):
        """(B,) strings in small letters by name -> the model's inputs, and warning (B,)."""
        lines = self._lines(texts["story"])
        ids, unknown = self._numbered(lines.flat_values)
        question, unknown_asked = self._numbered(texts["question"])
        is_read = lines.with_flat_values(ids.row_lengths() > 0)
        longest = self.settings.longest
        is_cut = tf.reduce_any(lines.with_flat_values(ids.row_lengths() > longest), axis=1)
        is_cut |= question.row_lengths() > longest
        ids = lines.with_flat_values(ids[:, :longest])  # (B, lines, words)
        ids = tf.ragged.boolean_mask(ids, is_read)
        count = ids.row_lengths()
        last = tf.ragged.range(count - 1, tf.maximum(count - self.memory, 0) - 1, -1)  # the last line first
        story = _padded(tf.gather(ids, last, batch_dims=1).to_tensor())
        inputs = {
            "story": story,
            "line_count": tf.cast(tf.minimum(count, self.memory), tf.int32),
            "question": _padded(question[:, :longest].to_tensor()),
        }
        unknown = lines.with_flat_values(unknown).merge_dims(1, 2)
        return inputs, self._warning(count, is_cut, tf.concat([unknown, unknown_asked], axis=1))

    def _warning(self, count, is_cut, unknown):
        """The number of lines of stories (B,), whether a line is cut (B,), ragged unknown words (B, None) -> (B,)."""
        rest = tf.as_string(count - self.memory)
        lines = tf.strings.join(["the story has ", tf.as_string(count), " lines; the oldest ", rest, " are not read"])
        lines = tf.where(count > self.memory, lines, "")
        cut = tf.where(is_cut, f"only the first {self.settings.longest} known words of a line or question are read", "")
        unknown = _distinct(unknown)
        quoted = unknown[:, :LISTED]
        quoted = quoted.with_flat_values(tf.strings.join(["'", quoted.flat_values, "'"]))
        words = tf.strings.reduce_join(quoted, axis=-1, separator=", ")
        more = tf.where(unknown.row_lengths() > LISTED, " and others", "")
        words = tf.where(words == "", "", tf.strings.join(["unknown words are not read: ", words, more]))
        warning = lines
        for part in (cut, words):
            between = tf.where((warning != "") & (part != ""), "; ", "")
            warning = tf.strings.join([warning, between, part])
        return warning

    def written(self, story) -> list[str]:
        """() string -> the lines that are read, as they are written, the last one first."""
        lines = self._lines(story[tf.newaxis])
        ids, _ = self._numbered(self._read(lines.flat_values))
        kept = tf.boolean_mask(lines.flat_values, ids.row_lengths() > 0).numpy()
        return [line.decode("utf-8").strip() for line in kept[::-1][: self.memory]]

    def neutral_input(self):
        word = next(
            symbol for symbol in self.source_vocabulary.symbols if text.words_of([symbol]).flat_values.shape[0] == 1
        )
        return {"story": word, "question": word}


def _distinct(words):
    """Ragged strings (B, None) -> the different ones of each row, in the order of their first occurrence."""
    rows = words.value_rowids()
    names, number = tf.unique(tf.strings.join([tf.as_string(rows), " ", words.flat_values]))
    first = tf.math.unsorted_segment_min(tf.range(tf.size(rows)), number, tf.size(names))
    chosen = tf.gather(words.flat_values, first)
    return tf.RaggedTensor.from_value_rowids(chosen, tf.gather(rows, first), words.nrows())


def _padded(ids):
    """Word numbers (B, ..., J) with at least one place for a word, and for a line."""
    return tf.pad(ids, [[0, 0], *([0, tf.cast(size == 0, tf.int32)] for size in tf.unstack(tf.shape(ids))[1:])])
