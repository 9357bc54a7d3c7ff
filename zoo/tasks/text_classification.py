"""Text classification: a text in, labels and their probabilities out."""

import functools
import math

import numpy as np
import tensorflow as tf

from zoo import preset as presets
from zoo.data.layouts import TextTable
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks import task_of, vocabularies
from zoo.tasks.inputs.text import TextInput, opened
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.settings import TextClassificationSettings

TEXTS = 256  # texts whose words are counted at once
STOPS = (".", "!", "?")


class TextClassification(TextInput, Classification):
    """Classes of texts, such as the topic of a question or the opinion of a review.

    The model reads words, `tokens` (B, T) and `token_count` (B,); or sentences, `tokens` (B, S, W) and `word_counts`
    (B, S), which are 0 after the last sentence. A sentence ends behind the signs . ! ? and after `sentence_longest`
    words. Only the first `longest` words of a text are read. The vectors of words are a layer `embedding`.
    """

    name = "text_classification"
    Settings = TextClassificationSettings
    raw_kinds = {"text": "text"}
    fields = ("text", "label")
    layout = TextTable()
    longest_input = 1_000_000
    explanations = {"words": "zoo.explaining.words"}

    def __init__(self, model, settings, labels, assets):
        Classification.__init__(self, model, settings, labels, assets)
        self.reads_sentences = "word_counts" in model.input
        lengths = "word_counts" if self.reads_sentences else "token_count"
        if missing := sorted({"tokens", lengths} - set(model.input)):
            raise ZooError(f"{model.name} is not a model for {self.name}: it has no input {missing[0]!r}")
        # The greatest size of an axis of the tokens. Sentences have two axes: their product is the size of the longest
        # padded text.
        self.longest = self.settings.longest
        if self.reads_sentences:
            self.longest = math.isqrt(self.longest * self.settings.sentence_longest)

    @functools.cached_property
    def source_vocabulary(self):
        """The vocabulary.

        Raises:
            ZooError: the model has no vocabulary yet, or its size is not the one that the model was built for.
        """
        return opened(self, "source", self.model.get_layer("embedding").input_dim)

    # Training data.

    @classmethod
    def adapt(cls, source, settings, assets):
        """The classes, and the words of the training texts, unless the preset that training starts from has them."""
        learned, files, arguments = super().adapt(source, settings, assets)
        chosen = cls.Settings.checked(cls.name, settings)
        if vocabularies.open_vocabulary(chosen.tokens, assets, "source"):
            return learned, files, arguments
        batches = (batch["text"] for batch in source.dataset.batch(TEXTS))
        texts = (text.lower(batch) if chosen.lower_case else batch for batch in batches)
        words = vocabularies.learn_frequent(chosen.tokens, chosen.vocabulary_size, texts, chosen.least_count)
        if not words:
            raise ZooError(
                f"{source.name} has no words that occur {chosen.least_count} times or more (task.least_count) in "
                f"{source.split}"
            )
        arguments = {**arguments, "vocabulary": vocabularies.open_vocabulary(chosen.tokens, words, "source").size}
        if chosen.vectors is not None:
            arguments["embedding"] = _vectors(chosen.vectors)[1].shape[1]
        return learned, {**files, **words}, arguments

    def start(self):
        """With the setting `vectors`, words get its vectors. The others stay random, with the same variance."""
        name = self.settings.vectors
        if name is None:
            return
        known, vectors = _vectors(name)
        words = [word.decode("utf-8") for word in known]
        rows = dict(zip(words, vectors, strict=True))
        is_lower = not any(word != word.lower() for word in words)
        for layer in (each for each in self.model.layers if each.name.endswith("embedding")):
            [table] = layer.get_weights()
            if table.shape[1] != vectors.shape[1]:
                raise ZooError(
                    f"task.vectors: {name} has vectors of {vectors.shape[1]} numbers, and {self.model.name} was built "
                    f"for {table.shape[1]}: leave out model_overrides.embedding"
                )
            table *= vectors.std() / max(table.std(), 1e-12)
            for number, word in enumerate(self.source_vocabulary.symbols, start=text.UNKNOWN + 1):
                vector = rows.get(word.lower() if is_lower else word)
                if vector is not None:
                    table[number] = vector
            layer.set_weights([table])

    def check_examples(self, source):
        _ = self.source_vocabulary

    @staticmethod
    def length(item):
        """The words of a text, or its places for words if it is divided into sentences."""
        return tf.size(item[0]["tokens"])

    # From a text to tokens.

    def raw_batch(self, examples):
        return {"text": examples["text"]}

    def read(self, example):
        return {"text": example["text"]}

    def prepare(self, raw):
        """() string -> the model's inputs for it; a text without words is an unknown word."""
        inputs = self._inputs(self._words(self._read(raw["text"][tf.newaxis])))
        return {name: value[0] for name, value in inputs.items()}

    def checked(self, raw):
        """(B,) strings -> the model's inputs and error (B,); a bad text is an unknown word."""
        texts, error = self.checked_texts(raw["text"])
        words = self._words(texts)
        error = tf.where((error == "") & (tf.strings.strip(texts) == ""), "empty text", error)
        return self._inputs(words), error

    def _read(self, texts):
        """(B,) strings as the vocabulary reads them."""
        return text.lower(texts) if self.settings.lower_case else texts

    def _words(self, texts):
        """(B,) strings -> ragged (B, None): the words that are read, "" for a text without words."""
        words = self.source_vocabulary.split(texts)[:, : self.settings.longest]
        is_empty = words.row_lengths() == 0
        fill = tf.fill([tf.reduce_sum(tf.cast(is_empty, tf.int32))], "")
        return tf.concat([words, tf.RaggedTensor.from_row_lengths(fill, tf.cast(is_empty, tf.int64))], axis=1)

    def _inputs(self, words):
        """Ragged words (B, None) -> the model's inputs."""
        if self.reads_sentences:
            words = self._sentences(words)
        ids = self.source_vocabulary.numbers(words)
        lengths = ids.values.row_lengths() if self.reads_sentences else ids.row_lengths()
        if not self.reads_sentences:
            return {"tokens": ids.to_tensor(), "token_count": tf.cast(lengths, tf.int32)}
        return {"tokens": ids.to_tensor(), "word_counts": tf.cast(ids.with_values(lengths).to_tensor(), tf.int32)}

    def _sentences(self, words):
        """Ragged words (B, None) -> ragged words of sentences (B, None, None)."""
        flat, texts = words.flat_values, words.value_rowids()
        is_stop = tf.reduce_any(flat[:, tf.newaxis] == tf.constant(STOPS), axis=1)
        is_last = tf.not_equal(texts, tf.concat([texts[1:], [-1]], axis=0))  # of its text
        ends = is_last | (is_stop & ~tf.concat([is_stop[1:], [False]], axis=0))  # several stops, as in ..., end once
        sentences = tf.RaggedTensor.from_value_rowids(flat, tf.cumsum(tf.cast(ends, tf.int64), exclusive=True))
        places = tf.ragged.range(sentences.row_lengths()).flat_values  # of a word in its sentence, from 0
        ends |= (places + 1) % self.settings.sentence_longest == 0
        sentences = tf.RaggedTensor.from_value_rowids(flat, tf.cumsum(tf.cast(ends, tf.int64), exclusive=True))
        return tf.RaggedTensor.from_value_rowids(sentences, tf.boolean_mask(texts, ends), words.nrows())

    def written(self, item) -> list[list[str]]:
        """() string -> the words of its sentences as they are read; a single list if the model reads words."""
        words = self._words(self._read(item[tf.newaxis]))
        rows = self._sentences(words)[0].to_list() if self.reads_sentences else [words[0].numpy().tolist()]
        return [[word.decode("utf-8") for word in row] for row in rows]

    # Answers.

    def lines(self, row):
        pairs = zip(row["labels"], row["scores"], strict=True)
        return [", ".join(f"{label} {score:.1%}" for label, score in pairs)]


def _vectors(name: str) -> tuple[list[bytes], np.ndarray]:
    """The words of a preset with word vectors, and their vectors (V, D)."""
    task = task_of(presets.load_model(presets.open_preset(name)))
    if not hasattr(task, "vectors"):
        raise ZooError(f"task.vectors: {name} has no word vectors: its task is {task.name}")
    return task.vocabulary[0], task.vectors()
