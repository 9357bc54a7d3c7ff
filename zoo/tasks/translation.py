"""Translation: a sentence in, its translation out. A word and its pronunciation are a sentence of symbols each."""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo import decoding, metrics
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks.raw_files import encoded_sentence
from zoo.tasks.task import CrossEntropy, Measured, Task

PIECES, SOURCE, TARGET = "sentencepiece.model", "source_symbols.txt", "target_symbols.txt"
CROWDED = 4  # tokens a word, on the average; with more of them it is no language of words and spaces
SHOWN = 3  # sentences, in TensorBoard
WIDEST = 1000  # beam
_LONGEST_INPUT = 100_000  # bytes; more is refused before it is cut into tokens


class Translation(Task):
    """Sentences by a generator (see `zoo.decoding`) whose inputs are `source`, `source_length` and `target`.

    Beside a generator's methods the model has `attends`, whether its state holds attention.

    Settings:
        tokens: "pieces", one SentencePiece vocabulary for both sides; or "spelling", where the source is one word, its
            tokens are letters, and those of the target are symbols with spaces between.
        vocabulary_size: pieces at most, when a recipe makes the vocabulary.
        longest: tokens of a source, and of an answer with its end, at most; a longer source is refused, in training
            cut off.
        beam: width of the search; 1 is greedy.
        n_best: how many translations an answer has, the others as `alternatives`.
        length_penalty, coverage_penalty: of a search wider than 1, alpha and beta of Wu et al. 2016 (see
            `decoding.beam_search`); the second needs a model with attention.
        shortest: tokens of an answer at least.
    """

    name = "translation"
    fields = ("source", "target", "references")
    defaults = {
        "tokens": "pieces",
        "vocabulary_size": 8000,
        "longest": 200,
        "beam": 5,
        "n_best": 1,
        "length_penalty": 1.0,
        "coverage_penalty": 0.0,
        "shortest": 0,
    }

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        for key, least in {"vocabulary_size": 1, "longest": 2, "beam": 1, "n_best": 1, "shortest": 0}.items():
            if not isinstance(self.settings[key], int) or self.settings[key] < least:
                raise ZooError(f"translation: {key}={self.settings[key]!r} is no whole number from {least} on")
        if self.settings["beam"] > WIDEST:
            raise ZooError(f"translation: beam={self.settings['beam']} is more than {WIDEST}")
        if self.settings["n_best"] > self.settings["beam"]:
            raise ZooError(f"translation: n_best={self.settings['n_best']} is more than beam={self.settings['beam']}")
        if self.settings["shortest"] > self.settings["longest"]:
            raise ZooError(f"translation: shortest={self.settings['shortest']} is more than longest")
        for key in ("length_penalty", "coverage_penalty"):
            if self.settings[key] < 0:
                raise ZooError(f"translation: {key}={self.settings[key]} is less than 0")
        missing = {"source", "source_length", "target"} - set(model.input)
        if missing or not hasattr(model, "step"):
            raise ZooError(f"{model.name} is no model for translation")
        if self.settings["coverage_penalty"] and not model.attends:
            raise ZooError(f"translation: coverage_penalty needs attention, and {model.name} has none")
        self.longest = self.settings["longest"]

    @functools.cached_property
    def vocabularies(self) -> tuple:
        """Those of source and target.

        Raises:
            ZooError: the model has none as yet, or others than it was made for.
        """
        with tf.init_scope():  # whatever graph asks first: tables and tokenizers belong to none
            found = _vocabularies(self.settings["tokens"], self.assets)
        if found is None:
            raise ZooError(f"{self.model.name} has no vocabulary: load a preset, or make one with zoo train")
        wanted = self.model.source_embedding.input_dim, self.model.output["logits"].shape[-1]
        sizes = tuple(one.size for one in found)
        if sizes != wanted:
            raise ZooError(f"{self.model.name} is made for {wanted} tokens of source and target, and not for {sizes}")
        return found

    @classmethod
    def adapt(cls, source, settings, assets):
        """Vocabularies from the training sentences, where there are none yet."""
        settings = {**cls.defaults, **settings}
        if _vocabularies(settings["tokens"], assets) is not None:
            return {}, {}, {}
        sides = {"source": [], "target": []}
        for example in source.dataset.as_numpy_iterator():
            for side, texts in sides.items():
                texts.append(example[side].decode("utf-8"))
        if settings["tokens"] == "pieces":
            assets = {PIECES: text.train_pieces([*sides["source"], *sides["target"]], settings["vocabulary_size"])}
        else:
            assets = {SOURCE: text.symbols_of(sides["source"], True), TARGET: text.symbols_of(sides["target"], False)}
        found = _vocabularies(settings["tokens"], assets)
        return {}, assets, {"source_vocabulary": found[0].size, "target_vocabulary": found[1].size}

    def check(self, source):
        """Symbols that the vocabularies do not know would be learned as an unknown one; pieces are never unknown."""
        if self.settings["tokens"] != "spelling":
            return
        for batch in source.dataset.batch(1000):
            for side, vocabulary in zip(("source", "target"), self.vocabularies, strict=True):
                problems = vocabulary.problem(batch[side])
                for example, problem in zip(batch[side].numpy(), problems.numpy(), strict=True):
                    if problem:
                        raise ZooError(f"{source.name}: {side} {example.decode()!r}: {problem.decode()}")

    def read(self, example):
        return {"sentence": example["source"]}

    def prepare(self, raw):
        """() string -> `source` (S,) int32 with its end, and `source_length` ()."""
        ids = self.vocabularies[0].encode(raw["sentence"][tf.newaxis])
        ids = self._with_end(ids[:, : self.longest - 1])[0]
        return {"source": ids, "source_length": tf.size(ids)}

    def targets(self, example):
        """() string -> (T,) int32 with its end; what is cut off at `longest` has none."""
        return self._with_end(self.vocabularies[1].encode(example["target"][tf.newaxis]))[0][: self.longest]

    @staticmethod
    def length(item):
        prepared, y = item
        return prepared["source_length"] + tf.size(y)

    def batch(self, prepared, y):
        """y (B, T) -> the tokens before them as `target`, and weights: 0 on padding."""
        before = tf.concat([tf.fill([tf.shape(y)[0], 1], text.START), y[:, :-1]], axis=1)
        return {**prepared, "target": before}, y, tf.cast(y != text.PADDING, tf.float32)

    def loss(self, label_smoothing=0.0):
        return CrossEntropy(label_smoothing)

    def metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy("token_accuracy")]

    def measure(self, source, batch_size, report):
        """BLEU and chrF; of spellings the error rates of phonemes and words. The picture: the figure by length."""
        from zoo import plotting

        serve, spec = self.signatures()["serving_default"]
        serve = tf.function(serve, input_signature=list(spec.values()), autograph=False)
        told, rows, refused = [], [], 0
        for batch in source.dataset.batch(batch_size).as_numpy_iterator():
            answers = serve(tf.constant(batch["source"]))
            told += [answer.decode("utf-8", "replace") for answer in answers["translation"].numpy()]
            refused += int(np.sum(answers["error"].numpy() != b""))
            columns = [[one.decode() for one in batch[field]] for field in self.fields]
            rows += zip(*columns, strict=True)
            if report:
                report(len(told), source.examples)
        figures, how = self._figures(told, rows)
        if refused:  # such as sentences longer than `longest`
            how = {name: f"{how.get(name, '')} {refused:,} were refused and count as empty".strip() for name in figures}

        def draw(path):
            lengths, name = [len(self._words(row[0])) for row in rows], next(iter(figures))
            points = metrics.by_length(
                lengths, lambda group: self._figures([told[i] for i in group], [rows[i] for i in group])[0][name]
            )
            plotting.by_length({self.model.name: points}, name, len(rows), path)

        return Measured(figures, draw, how)

    def _figures(self, told: list[str], rows: list[tuple[str, str, str]]) -> tuple[dict, dict]:
        if self.settings["tokens"] == "spelling":
            return metrics.pronunciation_figures(told, [row[2].split("\n") for row in rows]), {}
        return metrics.translation_figures(told, [row[1] for row in rows])

    def _words(self, sentence: str) -> list[str]:
        return list(sentence) if self.settings["tokens"] == "spelling" else sentence.split()

    @staticmethod
    def _with_end(ids):
        return tf.concat([ids, tf.fill([ids.nrows(), 1], text.END)], axis=1)

    def checked(self, sentences):
        """(B,) strings -> the model's inputs and `error` (B,); nothing but an end stands for a bad one."""
        plain = tf.strings.unicode_transcode(sentences, "UTF-8", "UTF-8", errors="replace")
        size = tf.strings.length(sentences)
        told = tf.strings.join([tf.as_string(size), f" bytes: at most {_LONGEST_INPUT} are taken"])
        error = tf.where(size > _LONGEST_INPUT, told, tf.where(plain != sentences, "no UTF-8", ""))
        sentences = tf.where(error == "", sentences, "")
        vocabulary = self.vocabularies[0]
        error = tf.where(error == "", vocabulary.problem(sentences), error)
        ids = vocabulary.encode(sentences)
        count = tf.cast(ids.row_lengths(), tf.int32)
        most = self.longest - 1  # and the end
        error = tf.where((error == "") & (count == 0), "empty: there is nothing to translate", error)
        told = tf.strings.join([tf.as_string(count), f" tokens: at most {most} are taken; give it in parts"])
        error = tf.where((error == "") & (count > most), told, error)
        good = error == ""
        ids = tf.ragged.boolean_mask(ids, tf.ones_like(ids, tf.bool) & good[:, tf.newaxis])
        ids = self._with_end(ids)
        source = ids.to_tensor()
        source = tf.pad(source, [[0, 0], [0, tf.cast(tf.shape(source)[1] == 0, tf.int32)]])  # of no items at all
        return {"source": source, "source_length": tf.cast(ids.row_lengths(), tf.int32)}, error

    def words(self, side: int, ids: list[int]) -> list[tuple[str, int]]:
        """Token ids of the source (side 0) or the target (1) -> its words, and of how many tokens each is.

        Where hardly any spaces are written, the tokens themselves.
        """
        found: list[list] = []
        for name in self.vocabularies[side].names(ids):
            if name.startswith(text.WORD) or not found or self.settings["tokens"] == "spelling" or name == text.STOP:
                found.append([name.removeprefix(text.WORD), 1])
            else:
                found[-1] = [found[-1][0] + name, found[-1][1] + 1]
        if len(ids) > CROWDED * len(found):
            return [(name.removeprefix(text.WORD), 1) for name in self.vocabularies[side].names(ids)]
        return [tuple(word) for word in found]

    def attended(self, inputs: dict, decoded: decoding.Decoded) -> list[dict]:
        """What the best hypotheses looked at: {"source", "target"} words with their ends, and "attention" (T, S).

        Of a word's pieces the weights are added up on the source's side; on the target's their mean is taken.
        """
        rows = []
        for item, count in enumerate(inputs["source_length"].numpy()):
            told = min(int(decoded.lengths[item, 0]) + 1, decoded.attention.shape[1])  # with the end, if there is one
            sides = [inputs["source"][item, :count], decoded.tokens[item, 0, :told]]
            sides = [self.words(side, ids.numpy().tolist()) for side, ids in enumerate(sides)]
            columns, lines = (np.repeat(np.arange(len(side)), [count for _, count in side]) for side in sides)
            weights = decoded.attention[item, :told, :count].numpy()
            summed = np.zeros((told, len(sides[0])))
            np.add.at(summed.T, columns, weights.T)
            mean = np.stack([summed[lines == line].mean(axis=0) for line in range(len(sides[1]))])
            source, target = ([word for word, _ in side] for side in sides)
            rows.append({"source": source, "target": target, "attention": mean})
        return rows

    def pictures(self, inputs, y, outputs):
        """What the translations of a few sentences look at."""
        from zoo import plotting

        if not self.model.attends:
            return {}
        few = {key: tf.constant(inputs[key][:SHOWN]) for key in ("source", "source_length")}
        decoded = self.decode(few)
        return {"attention": functools.partial(plotting.attention, self.attended(few, decoded))}

    def decode(self, inputs: dict) -> decoding.Decoded:
        """The model's inputs -> what the search finds, N hypotheses an item."""
        chosen = self.settings
        ends = {"start": text.START, "end": text.END, "max_length": chosen["longest"], "min_length": chosen["shortest"]}
        if chosen["beam"] == 1:
            tokens, lengths, scores, attention = decoding.greedy(self.model, inputs, **ends)
            return decoding.Decoded(tokens[:, tf.newaxis], lengths[:, tf.newaxis], scores[:, tf.newaxis], attention)
        return decoding.beam_search(
            self.model,
            inputs,
            **ends,
            width=chosen["beam"],
            length_penalty=chosen["length_penalty"],
            coverage_penalty=chosen["coverage_penalty"],
            n_best=chosen["n_best"],
            stops_when_full=True,
        )

    def answer(self, outputs):
        """tokens (B, N, U), lengths and scores (B, N) -> `translation` and `score` (B,), the others (B, N - 1)."""
        tokens, lengths = outputs["tokens"], outputs["lengths"]
        rows = tf.reshape(tokens, [-1, tokens.shape[-1]])
        ids = tf.RaggedTensor.from_tensor(rows, tf.reshape(lengths, [-1]))
        texts = tf.reshape(self.vocabularies[1].decode(ids), tf.shape(lengths))
        return {
            "translation": texts[:, 0],
            "score": outputs["scores"][:, 0],
            "alternatives": texts[:, 1:],
            "alternative_scores": outputs["scores"][:, 1:],
        }

    def signatures(self):
        _ = self.vocabularies
        sentences = {"sentence": tf.TensorSpec((None,), tf.string, name="sentence")}
        spec = {
            "source": tf.TensorSpec((None, None), tf.int32, name="source"),
            "source_length": tf.TensorSpec((None,), tf.int32, name="source_length"),
            "target": tf.TensorSpec((None, None), tf.int32, name="target"),
        }

        def serving_default(sentence):
            inputs, error = self.checked(sentence)
            good = error == ""
            answers = self.answer(self.decode(inputs)._asdict())
            for key, value in answers.items():
                fitting = tf.reshape(good, [-1] + [1] * (value.shape.rank - 1))
                answers[key] = tf.where(fitting, value, "" if value.dtype == tf.string else 0.0)
            return {**answers, "error": error}

        def tensors(source, source_length, target):
            return self.model({"source": source, "source_length": source_length, "target": target}, training=False)

        return {"serving_default": (serving_default, sentences), "tensors": (tensors, spec)}

    def resources(self):
        return [one.resource for one in self.vocabularies if one.resource is not None]

    def op_libraries(self):
        return ["_sentencepiece_tokenizer.so"] if self.settings["tokens"] == "pieces" else []

    def one(self):
        serve, spec = self.signatures()["serving_default"]
        traced = tf.function(serve, input_signature=list(spec.values()), autograph=False)

        def answer(encoded):
            return {key: value[0].numpy() for key, value in traced(tf.constant([encoded])).items()}

        return answer

    def blank(self):
        if self.settings["tokens"] == "pieces":
            return b"a"
        return next(symbol for symbol in self.vocabularies[0].symbols if symbol.strip()).encode()

    def sample(self, path):
        return path.read_text("utf-8").strip()

    def encode(self, item: Any):
        return encoded_sentence(item)

    def collate(self, encoded):
        return {"sentence": tf.constant(encoded)}

    def told(self, answers):
        others = zip(answers["alternatives"], answers["alternative_scores"], strict=True)
        return {
            "translation": answers["translation"].decode("utf-8", "replace"),
            "score": float(answers["score"]),
            "alternatives": [
                {"translation": other.decode("utf-8", "replace"), "score": float(score)} for other, score in others
            ],
        }


def _vocabularies(tokens: str, assets: dict[str, bytes]) -> tuple | None:
    """Of source and target, or None where they are not there."""
    if tokens == "pieces":
        if PIECES not in assets:
            return None
        pieces = text.Pieces(assets[PIECES])
        return pieces, pieces
    if tokens != "spelling":
        raise ZooError(f"translation: tokens={tokens!r} is none of pieces, spelling")
    if not {SOURCE, TARGET} <= set(assets):
        return None
    return text.Symbols(assets[SOURCE], are_letters=True), text.Symbols(assets[TARGET], are_letters=False)
