"""Word embedding: a word or arithmetic of words in, the words with the nearest vectors out."""

import collections
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.data.texts import TextFile
from zoo.errors import ZooError
from zoo.preprocessing import expressions, text
from zoo.tasks import negative_sampling, word_vectors
from zoo.tasks.settings import WordEmbeddingSettings
from zoo.tasks.task import Measured, Task

WORDS = "words.tsv"  # the asset: a word, a tab and its count in the training text, most frequent first
CHUNK = 8192  # words of an example of training
LONGEST_INPUT = 10_000  # bytes
POWER = 0.75  # of the counts, in the distribution of negatives
QUESTIONS = 256  # analogies that are answered together
PAIRS = ("men", "ws353", "simlex")


class WordEmbedding(Task):
    """Expressions such as "king - man + woman" to words, by the vectors of a layer `embedding` (V, D).

    The score of a word is the cosine of its vector and the sum of the unit vectors of the expression. The words of the
    expression are left out. In training, an example is a chunk of text, of which the stream makes segments.
    """

    name = "word_embedding"
    Settings = WordEmbeddingSettings
    raw_kinds = {"expression": "text"}
    fields = ("text", "questions", "score")
    # All of a user's file is for training: no part of running text is a test of word vectors.
    layout = TextFile({"train": (0.0, 1.0), "all": (0.0, 1.0)}, {"questions": "", "score": 0.0})
    keep_bytes = 1 << 26  # 16 million words; memory does not grow with the text, which is read again instead
    explanations = {"map": "zoo.explaining.map"}
    formats = word_vectors.FORMATS
    answer_layout = {"neighbours": [{"word": "words", "score": "scores"}]}

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if missing := sorted({"words", "negatives"} - set(model.input)):
            raise ZooError(f"{model.name} is not a model for {self.name}: it has no input {missing[0]!r}")
        length, self.negatives = model.input["words"].shape[1], model.input["negatives"].shape[1]
        self.segment = model.output["logits"].shape[1]
        self.window = (length - self.segment) // 2

    # The vocabulary.

    @classmethod
    def adapt(cls, source, settings, assets):
        """A vocabulary from the training text, unless the preset that training starts from has one."""
        if WORDS in assets:
            return {}, {}, {}
        chosen = cls.Settings.checked(cls.name, settings)
        counts = collections.Counter()

        @tf.autograph.experimental.do_not_convert
        def plain(example):
            return tf.where(example["questions"] == "", expressions.plain(example["text"], chosen.lower_case), "")

        for words in source.dataset.map(plain).as_numpy_iterator():
            counts.update(words.split())
        common = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: chosen.vocabulary_size]
        common = [(word, count) for word, count in common if count >= chosen.least_count]
        if len(common) < 2:
            raise ZooError(
                f"{source.name} has {len(common)} words that occur at least {chosen.least_count} times "
                "(task.least_count): word vectors need more text"
            )
        content = b"".join(b"%s\t%d\n" % pair for pair in common)
        return {}, {WORDS: content}, {"vocabulary": len(common)}

    @functools.cached_property
    def vocabulary(self) -> tuple[list[bytes], np.ndarray]:
        """The words, and their counts (V,).

        Raises:
            ZooError: the model has no vocabulary yet, or its size is not the one that the model was built for.
        """
        if WORDS not in self.assets:
            raise ZooError(f"{self.model.name} has no vocabulary: load a preset, or make one with zoo train")
        words, counts = zip(*(line.split(b"\t") for line in self.assets[WORDS].splitlines()), strict=True)
        size = self.model.get_layer("embedding").input_dim
        if len(words) != size:
            raise ZooError(f"{self.model.name} was built for {size} words, but its vocabulary has {len(words)}")
        return list(words), np.array(counts, "float64")

    @functools.cached_property
    def table(self):
        """The lookup table word -> number, -1 for unknown words."""
        with tf.init_scope():  # it must not belong to the first graph that uses it
            words = tf.constant(self.vocabulary[0])
            numbers = tf.range(len(self.vocabulary[0]), dtype=tf.int64)
            return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, numbers), -1)

    def resources(self):
        return [self.table]

    def check_complete(self):
        _ = self.table

    def vectors(self) -> np.ndarray:
        """The vectors of the words (V, D), as they are."""
        return np.array(self.model.get_layer("embedding").embeddings)

    # Training.

    def check_examples(self, source):
        _ = self.vocabulary

    def examples(self, source, batch_size):
        """Chunks of CHUNK known words of the running text; texts are joined, and only the last chunk is shorter."""
        table, lower = self.table, self.settings.lower_case

        @tf.autograph.experimental.do_not_convert
        def numbers(example):
            running = tf.where(example["questions"] == "", example["text"], "")
            found = tf.cast(table.lookup(tf.strings.split(expressions.plain(running, lower))), tf.int32)
            return tf.boolean_mask(found, found >= 0)

        @tf.autograph.experimental.do_not_convert
        def padded(ids):
            return {"ids": tf.ensure_shape(tf.pad(ids, [[0, CHUNK - tf.size(ids)]], constant_values=-1), (CHUNK,))}

        chunks = source.dataset.map(numbers).rebatch(CHUNK)
        words, kept = 0, []
        for ids in chunks.as_numpy_iterator():
            words += len(ids)
            if 4 * words <= self.keep_bytes:
                kept.append(ids)
        if not words:
            raise ZooError(f"{source.name} has no known words in running text in {source.split}")
        if 4 * words <= self.keep_bytes:  # numbers are four bytes; the first epoch does not read the text again
            lengths = [len(ids) for ids in kept]
            chunks = tf.data.Dataset.from_tensor_slices(tf.RaggedTensor.from_row_lengths(np.concatenate(kept), lengths))
        chunks = chunks.map(padded)
        return dataclasses.replace(source, examples=int(-(-words // CHUNK)), stubs=chunks, load=dict)

    def read(self, example):
        return {"ids": example["ids"], "seed": tf.zeros((2,), tf.int32)}

    def targets(self, example):
        """Nothing: `batch` makes the targets with the segments."""
        return tf.zeros(())

    @functools.cached_property
    def _kept(self) -> np.ndarray:
        """The probability that training keeps an occurrence of a word (V,)."""
        counts = self.vocabulary[1]
        if not self.settings.sample or not counts.sum():
            return np.ones(len(counts), "float32")
        ratio = self.settings.sample * counts.sum() / np.maximum(counts, 1)
        return np.minimum(np.sqrt(ratio) + ratio, 1.0).astype("float32")

    @functools.cached_property
    def _table_of_negatives(self) -> tuple[np.ndarray, np.ndarray]:
        powers = np.maximum(self.vocabulary[1], 1) ** POWER
        return negative_sampling.alias_table(powers / powers.sum())

    def augment(self, prepared, y, seed):
        """Leaves out frequent words at random, and keeps the seed for the negatives."""
        seeds = tf.random.experimental.stateless_split(tf.cast(seed, tf.int32), 2)
        ids = prepared["ids"]
        kept = tf.random.stateless_uniform(ids.shape, seeds[0]) < tf.gather(self._kept, tf.maximum(ids, 0))
        return {"ids": tf.where(kept, ids, -1), "seed": seeds[1]}, y

    def batch(self, prepared, y):
        """Chunks (B, CHUNK) -> segments: `words` (N, L) and `negatives` (N, K), and is_word (N, L) as targets."""
        words, is_word = negative_sampling.segments(prepared["ids"], self.segment, self.window)
        drawn = negative_sampling.draw(
            prepared["seed"][0], self._table_of_negatives, tf.shape(words)[0], self.negatives
        )
        return {"words": words, "negatives": drawn}, is_word

    def loss(self, label_smoothing=0.0):
        return negative_sampling.NegativeSampling(self.window, self.settings.negative_samples)

    def metrics(self):
        return []

    def update(self, model, inputs, y, rate):
        return negative_sampling.update(model, inputs, y, rate, self.window, self.settings.negative_samples)

    # Answers.

    def checked(self, raw):
        """(B,) strings -> ids (B, T), 0 for none, signs (B, T), 0 for none, and error (B,)."""
        texts = raw["expression"]
        plain = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        size = tf.strings.length(texts)
        too_long = tf.strings.join([tf.as_string(size), f" bytes: the limit is {LONGEST_INPUT}"])
        error = tf.where(size > LONGEST_INPUT, too_long, tf.where(plain != texts, "not UTF-8", ""))
        texts = expressions.with_plain_signs(tf.where(error == "", texts, ""))
        tokens = tf.strings.split(text.lower(texts) if self.settings.lower_case else texts)
        error = tf.where((error == "") & (tokens.row_lengths() == 0), "empty text", error)
        ids, signs, wrong, unknown = expressions.parse(tokens, self.table)
        error = tf.where(error == "", wrong, error)
        unknown = tf.where(error == "", unknown, "")
        error = tf.where(unknown == "", error, expressions.offer(unknown, tf.constant(self.vocabulary[0])))
        error = tf.reshape(error, [-1])  # the shapes of joined strings are unknown
        is_good = (error == "")[:, tf.newaxis]
        ids, signs = tf.where(is_good, ids, 0), tf.where(is_good, signs, 0.0)
        return {"ids": tf.maximum(ids, 0), "signs": signs}, error

    def run(self, model, inputs):
        """ids, signs (B, T) -> query (B, D), its norm (B,), and scores (B, V), -2 for the words of the expression."""
        table = tf.cast(tf.convert_to_tensor(model.get_layer("embedding").embeddings), tf.float32)
        units = tf.math.l2_normalize(table, axis=1)  # (V, D)
        query = tf.reduce_sum(tf.gather(units, inputs["ids"]) * inputs["signs"][..., tf.newaxis], axis=1)
        scores = tf.matmul(tf.math.l2_normalize(query, axis=1), units, transpose_b=True)
        rows = tf.broadcast_to(tf.range(tf.shape(inputs["ids"])[0])[:, tf.newaxis], tf.shape(inputs["ids"]))
        places = tf.stack([rows, inputs["ids"]], axis=-1)  # (B, T, 2)
        limits = tf.where(inputs["signs"] != 0.0, -2.0, 2.0)
        scores = tf.tensor_scatter_nd_min(scores, places, limits)
        return {"norm": tf.norm(query, axis=1), "scores": scores}

    def checked_outputs(self, inputs, outputs, error):
        others = tf.reduce_sum(tf.cast(outputs["scores"] > -2.0, tf.int32), axis=1)
        is_zero = (error == "") & (outputs["norm"] < 1e-6)
        error = tf.where(is_zero, "the words of the expression cancel each other", error)
        is_long = (error == "") & (others < self._top)
        return tf.where(is_long, "the expression has almost all words of the vocabulary", error)

    @property
    def _top(self) -> int:
        """The number of neighbours of an answer."""
        return min(self.settings.top, max(len(self.vocabulary[0]) - 5, 1))

    def answer(self, outputs):
        scores, ids = tf.math.top_k(outputs["scores"], self._top)
        return {"words": tf.gather(tf.constant(self.vocabulary[0]), ids), "scores": scores}

    def neutral_input(self):
        return self.vocabulary[0][0]

    def best(self, answer):
        return answer["neighbours"][0]["word"]

    def comparable(self, answer, other):
        return {row["word"]: row["score"] for row in answer["neighbours"]}

    def summary(self, row):
        return ", ".join(f"{pair['word']} {pair['score']:.3f}" for pair in row["neighbours"])

    def csv_columns(self):
        return ("neighbours",)

    def csv_values(self, row):
        return (" ".join(pair["word"] for pair in row["neighbours"]),)

    # Evaluation.

    def measure(self, source, batch_size, report):
        """analogy_accuracy (the nearest word to b - a + c is d), and Spearman's correlation for sets of word pairs.

        Questions with unknown words are left out; the notes say how many were answered.
        """
        numbers = {word.decode("utf-8"): number for number, word in enumerate(self.vocabulary[0])}
        asked, known = collections.Counter(), collections.defaultdict(list)
        for row in source.dataset.as_numpy_iterator():
            kind, words = row["questions"].decode(), row["text"].decode("utf-8")
            if kind:
                asked[kind] += 1
                ids = [numbers.get(word) for word in (words.lower() if self.settings.lower_case else words).split()]
                if None not in ids:
                    known[kind].append((*ids, float(row["score"])))
        if not asked:
            raise ZooError(f"{source.name} has no questions about words in {source.split}: evaluate on word_similarity")
        vectors = self.vectors()
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        values = {}
        if known["analogy"]:
            questions = np.array(known["analogy"])[:, :4].astype(int)
            values["analogy_accuracy"] = self._analogies(units, questions, sum(asked.values()), report)
        for kind in PAIRS:
            if len(known[kind]) > 1:
                first, second, scores = np.array(known[kind]).T
                cosines = np.sum(units[first.astype(int)] * units[second.astype(int)], axis=1)
                values[kind] = metrics.spearman(cosines, scores)
        if report:
            report(sum(asked.values()), sum(asked.values()))
        names = {"analogy": "analogy_accuracy"}
        how = {
            names.get(kind, kind): f"{len(known[kind]):,} of {count:,} have known words"
            for kind, count in asked.items()
            if known[kind]
        }
        return Measured(values, None, {name: note for name, note in how.items() if name in values})

    def _analogies(self, units, questions, total, report) -> float:
        """The fraction of analogies (N, 4) a b c d whose nearest word to b - a + c, without a, b and c, is d."""
        correct = 0
        for begin in range(0, len(questions), QUESTIONS):
            a, b, c, d = questions[begin : begin + QUESTIONS].T
            scores = (units[b] - units[a] + units[c]) @ units.T
            for word in (a, b, c):
                scores[np.arange(len(word)), word] = -np.inf
            correct += int(np.sum(scores.argmax(axis=1) == d))
            if report:
                report(min(begin + QUESTIONS, len(questions)), total)
        return correct / len(questions)
