"""Text input: a sentence, or a word to be spelled -> token ids."""

import functools

import tensorflow as tf

from zoo.data.layouts import Pairs
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks import vocabularies
from zoo.tasks.task import Task


def with_end(ids):
    """Ragged token ids (B, None), each followed by the end."""
    return tf.concat([ids, tf.fill([ids.nrows(), 1], text.END)], axis=1)


class TextInput(Task):
    """Reads `source` (B, S) and `source_length` (B,); settings are those of `zoo.tasks.settings.TokenSettings`.

    Lengths are inputs of the model, so that padding has no effect.
    """

    raw_kinds = {"sentence": "text"}
    layout = Pairs()
    longest_input = 100_000  # bytes; a longer text is refused before it is split into tokens

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if missing := sorted({"source", "source_length"} - set(model.input)):
            raise ZooError(f"{model.name} is not a model for {self.name}: it has no input {missing[0]!r}")
        self.longest = self.settings.longest

    @functools.cached_property
    def source_vocabulary(self):
        """The vocabulary of the source.

        Raises:
            ZooError: the model has no vocabulary yet, or its size is not the one that the model was built for.
        """
        return opened(self, "source", self.model.source_embedding.input_dim)

    def raw_batch(self, examples):
        return {"sentence": examples["source"]}

    def read(self, example):
        return {"sentence": example["source"]}

    def prepare(self, raw):
        """() string -> `source` (S,) int32 with its end, and `source_length` ()."""
        ids = self.source_vocabulary.encode(self._read(raw["sentence"][tf.newaxis]))
        ids = with_end(ids[:, : self.longest - 1])[0]
        return {"source": ids, "source_length": tf.size(ids)}

    def checked(self, raw):
        """(B,) strings -> `source`, `source_length` and error (B,); a bad sentence becomes the end alone."""
        ids, error = self.checked_ids(raw["sentence"])
        ids = with_end(ids)
        source = ids.to_tensor()
        source = tf.pad(source, [[0, 0], [0, tf.cast(tf.shape(source)[1] == 0, tf.int32)]])  # for a batch of no items
        return {"source": source, "source_length": tf.cast(ids.row_lengths(), tf.int32)}, error

    def checked_ids(self, sentences):
        """(B,) strings -> ragged token ids (B, None), none of a bad sentence, and error (B,)."""
        sentences, error = self.checked_texts(sentences)
        error = tf.where(error == "", self.source_vocabulary.problem(sentences), error)
        ids = self.source_vocabulary.encode(sentences)
        count = tf.cast(ids.row_lengths(), tf.int32)
        limit = self.longest - 1  # without the end
        error = tf.where((error == "") & (count == 0), "empty text", error)
        too_long = tf.strings.join([tf.as_string(count), f" tokens: the limit is {limit}; split the text"])
        error = tf.where((error == "") & (count > limit), too_long, error)
        is_good = error == ""
        return tf.ragged.boolean_mask(ids, ids.with_values(tf.gather(is_good, ids.value_rowids()))), error

    def checked_texts(self, texts):
        """(B,) strings -> (B,) as the vocabulary reads them, "" for a bad one, and error (B,)."""
        plain = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        size = tf.strings.length(texts)
        too_long = tf.strings.join([tf.as_string(size), f" bytes: the limit is {self.longest_input}"])
        error = tf.where(size > self.longest_input, too_long, tf.where(plain != texts, "not UTF-8", ""))
        return self._read(tf.where(error == "", texts, "")), error

    def _read(self, sentences):
        """(B,) strings as the vocabulary reads them."""
        return text.sentence_case(sentences) if self.settings.sentence_case else sentences

    def check_complete(self):
        super().check_complete()
        _ = self.source_vocabulary

    def resources(self):
        return [*super().resources(), *tables(self.source_vocabulary)]

    def op_libraries(self):
        return ["_sentencepiece_tokenizer.so"] if self.settings.tokens == "pieces" else []

    def neutral_input(self):
        if self.settings.tokens == "pieces":
            return b"a"
        return next(symbol for symbol in self.source_vocabulary.symbols if symbol.strip()).encode()


def opened(task: Task, side: str, size: int):
    """The vocabulary of "source" or "target" of a task, checked against the size that the model was built for."""
    with tf.init_scope():  # tables and tokenizers must not belong to the first graph that uses them
        vocabulary = vocabularies.open_vocabulary(task.settings.tokens, task.assets, side)
    name = task.model.name
    if vocabulary is None:
        raise ZooError(f"{name} has no vocabulary: load a preset, or make one with zoo train")
    if vocabulary.size != size:
        raise ZooError(f"{name} was built for {size} tokens of the {side}, but its vocabulary has {vocabulary.size}")
    return vocabulary


def tables(vocabulary) -> list:
    """The lookup tables of a vocabulary, which a SavedModel must track."""
    return [] if vocabulary.resource is None else [vocabulary.resource]
