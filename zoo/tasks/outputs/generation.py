"""Generation: a text out, token by token."""

import functools
from collections.abc import Callable
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from zoo import decoding
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks.inputs.text import opened, tables, with_end
from zoo.tasks.losses import CrossEntropy
from zoo.tasks.task import Criterion, Measured, Task

DOUBTFUL = (
    "doubtful answer: its log probability per token is below {}, so the input is probably unlike the training data"
)


class Generation(Task):
    """Decodes a generator (see `zoo.decoding`); settings are those of `zoo.tasks.settings.GenerationSettings`.

    The model has the input `target` (B, T), which holds the token before each token to predict; the output `logits`
    (B, T, V); and the attribute `attends`, whether its state holds attention.
    """

    writes = "texts"
    text_key: ClassVar[str]  # the key of the text in an answer
    criterion = Criterion("token_accuracy", "max")
    rewards: ClassVar[tuple[str, ...]] = ()  # the metrics that may reward sampled answers in training

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if "target" not in model.input or not hasattr(model, "step"):
            raise ZooError(f"{model.name} is not a model for {self.name}: it does not generate tokens")
        if self.settings.coverage_penalty and not model.attends:
            raise ZooError(f"{self.name}: coverage_penalty needs attention, which {model.name} does not have")
        self.longest = self.settings.longest

    @property
    def answer_layout(self):
        return {
            self.text_key: self.text_key,
            "score": "score",
            "alternatives": [{self.text_key: "alternatives", "score": "alternative_scores"}],
            **({} if self.settings.warn_below is None else {"warning": "warning"}),
        }

    @functools.cached_property
    def target_vocabulary(self):
        """The vocabulary of the answers.

        Raises:
            ZooError: the model has no vocabulary yet, or was built for a vocabulary of another size.
        """
        return opened(self, "target", self.model.output["logits"].shape[-1])

    def targets(self, example):
        """() string -> (T,) int32 tokens with the end token; a text that is cut at `longest` has no end token."""
        return self.encoded(example["target"][tf.newaxis])[0]

    def encoded(self, texts):
        """(N,) texts -> (N, T) int32 tokens with the end token, padded; T is at most `longest`."""
        return with_end(self.target_vocabulary.encode(texts)).to_tensor()[:, : self.longest]

    def with_references(self):
        """A copy of the task for training by a reward: its examples keep all references, y (references, T)."""
        raise NotImplementedError

    def reward(self, name: str, source) -> Callable[[list[str], list[bool], list[list[str]]], list[float]]:
        """A function of texts, whether each has an end, and its references -> the reward of each text.

        Args:
            name: one of `rewards`.
            source: the training split.
        """
        raise NotImplementedError

    def join(self, inputs, y):
        """Adds `target`, the token before each token of y (B, T), and weights, which are 0 on padding."""
        before = tf.concat([tf.fill([tf.shape(y)[0], 1], text.START), y[:, :-1]], axis=1)
        return {**inputs, "target": before}, y, tf.cast(y != text.PADDING, tf.float32)

    def loss(self, label_smoothing=0.0):
        return CrossEntropy(label_smoothing)

    def metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy("token_accuracy")]

    def measure(self, source, batch_size, report):
        """Answers raw inputs with the served signature; `measured` compares the texts with the examples."""
        serve, specs = self.signatures()["serving_default"]
        serve = tf.function(serve, input_signature=list(specs.values()), autograph=False)
        texts, examples, refused = [], [], 0
        for batch in source.dataset.batch(batch_size).as_numpy_iterator():
            answers = serve(**{name: tf.constant(value) for name, value in self.raw_batch(batch).items()})
            texts += [answer.decode("utf-8", "replace") for answer in answers[self.text_key].numpy()]
            refused += int(np.sum(answers["error"].numpy() != b""))
            columns = [batch[field] for field in self.fields]
            examples += [dict(zip(self.fields, row, strict=True)) for row in zip(*columns, strict=True)]
            if report:
                report(len(texts), source.examples)
        measured = self.measured(texts, examples)
        if refused:  # such as sentences longer than `longest`
            note = f"{refused:,} were refused and count as empty"
            for name in measured.metrics:
                measured.how[name] = f"{measured.how.get(name, '')} {note}".strip()
        return measured

    def measured(self, texts: list[str], examples: list[dict]) -> Measured:
        """Texts of the answers, and their examples {field: bytes} -> metrics."""
        raise NotImplementedError

    def run(self, model, inputs):
        """A batch of model inputs without `target` -> the fields of `decoding.Decoded`, N hypotheses per item."""
        settings = self.settings
        limits = {
            "start": text.START,
            "end": text.END,
            "max_length": settings.longest,
            "min_length": settings.shortest,
        }
        if settings.beam == 1:
            tokens, lengths, scores, attention = decoding.greedy(model, inputs, **limits)
            decoded = tokens[:, tf.newaxis], lengths[:, tf.newaxis], scores[:, tf.newaxis], attention
            return decoding.Decoded(*decoded)._asdict()
        return decoding.beam_search(
            model,
            inputs,
            **limits,
            width=settings.beam,
            **self._penalties(),
            n_best=settings.n_best,
            stops_when_full=True,
        )._asdict()

    def _penalties(self) -> dict[str, float]:
        """The penalties of the search; greedy search has none."""
        names = ("length_penalty", "coverage_penalty") if self.settings.beam > 1 else ()
        return {name: getattr(self.settings, name) for name in names}

    def mean_log_probability(self, outputs):
        """The result of `run` -> log probability per token of each best answer (B,), without the search's penalties."""
        return decoding.mean_log_probability(decoding.Decoded(**outputs), self.settings.longest, **self._penalties())

    def answer(self, outputs):
        """tokens (B, N, U), lengths and scores (B, N) -> text and `score` (B,), and `alternatives` (B, N - 1).

        With the setting `warn_below` also `warning` (B,), "" for an answer that is not doubtful.
        """
        tokens, lengths = outputs["tokens"], outputs["lengths"]
        rows = tf.reshape(tokens, [-1, tokens.shape[-1]])
        ids = tf.RaggedTensor.from_tensor(rows, tf.reshape(lengths, [-1]))
        texts = tf.reshape(self.target_vocabulary.decode(ids), tf.shape(lengths))
        return {
            self.text_key: texts[:, 0],
            "score": outputs["scores"][:, 0],
            "alternatives": texts[:, 1:],
            "alternative_scores": outputs["scores"][:, 1:],
            **({} if self.settings.warn_below is None else {"warning": self._warning(outputs)}),
        }

    def _warning(self, outputs):
        """(B,) strings, without numbers of the answer, so that answers that differ by rounding have equal warnings."""
        is_doubtful = self.mean_log_probability(outputs) < self.settings.warn_below
        return tf.where(is_doubtful, DOUBTFUL.format(self.settings.warn_below), "")

    def check_complete(self):
        super().check_complete()
        _ = self.target_vocabulary

    def resources(self):
        return [*super().resources(), *tables(self.target_vocabulary)]

    def op_libraries(self):
        return ["_sentencepiece_tokenizer.so"] if self.settings.tokens == "pieces" else []

    def lines(self, row):
        """The text, after the name of the input unless inputs are texts; with alternatives, all have their scores."""
        answers = [row, *row["alternatives"]]
        best, *others = (" ".join(each[self.text_key].splitlines()) for each in answers)
        first = best if self.takes_text() else f"{row['input']}: {best}"
        if not others:
            return [first]
        lines = [first, *(f"    {other}" for other in others)]
        return [f"{line}  ({each['score']:.3f})" for line, each in zip(lines, answers, strict=True)]

    def csv_columns(self):
        """A pair of columns for each of the `n_best` texts."""
        numbers = range(2, self.settings.n_best + 1)
        others = (f"{column}_{number}" for number in numbers for column in ("answer", "score"))
        return ("answer", "score", *others)

    def csv_values(self, row):
        answers = [row, *row["alternatives"]]
        return tuple(value for each in answers for value in (each[self.text_key], f"{each['score']:.6f}"))

    def summary(self, row):
        return row[self.text_key]
