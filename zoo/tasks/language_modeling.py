"""Language modeling: a prompt in, sampled text out, and the probability of the prompt."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from zoo import decoding
from zoo.data.texts import TextFile
from zoo.data.windows import windows
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks import vocabularies
from zoo.tasks.inputs.text import TextInput
from zoo.tasks.losses import BitsPerToken, Perplexity
from zoo.tasks.outputs.generation import Generation
from zoo.tasks.settings import LanguageModelingSettings
from zoo.tasks.task import Criterion, Measured, Task

ROWS = 16  # parts of a text that are measured side by side; each starts without the words before it
TEXTS = 16  # pieces of a text that are read at once


class LanguageModeling(TextInput, Generation):
    """Texts to their continuations, by a generator over one sequence (`zoo.layers.continuing`).

    A training text is one sequence of tokens, with the start token where a text begins. Row r of a batch continues row
    r of the batch before, and the state is carried from batch to batch.
    """

    name = "language_modeling"
    Settings = LanguageModelingSettings
    raw_kinds = {"prompt": "text"}
    fields = ("text", "begins")
    layout = TextFile()
    text_key = "text"
    criterion = Criterion("loss", "min")
    carried = {"next_state": "state"}
    resets = "starts"
    explanations = {"surprise": "zoo.explaining.surprise", "reach": "zoo.explaining.reach"}
    answer_layout = {
        "text": "text",
        "score": "score",
        "alternatives": [{"text": "alternatives", "score": "alternative_scores"}],
        "log_probability": "log_probability",
        "perplexity": "perplexity",
    }

    def __init__(self, model, settings, labels, assets):
        Task.__init__(self, model, settings, labels, assets)  # its model has one sequence, not a source and a target
        if not {"target", "state"} <= set(model.input) or not hasattr(model, "step"):
            raise ZooError(f"{model.name} is not a model for {self.name}: it does not continue a text")
        self.longest = self.settings.longest

    @property
    def source_vocabulary(self):
        return self.target_vocabulary

    # Training data.

    @classmethod
    def adapt(cls, source, settings, assets):
        """The most frequent tokens of the training text, unless the preset that training starts from has them."""
        chosen = cls.Settings.checked(cls.name, settings)
        if vocabularies.open_vocabulary(chosen.tokens, assets, "target"):
            return {}, {}, {}
        has_capitals = False

        def texts():
            nonlocal has_capitals
            for batch in source.dataset.batch(TEXTS):
                small = text.lower(batch["text"])
                has_capitals |= bool(tf.reduce_any(small != batch["text"]))
                yield small if chosen.lower_case else batch["text"]

        files = vocabularies.learn_frequent(chosen.tokens, chosen.vocabulary_size, texts())
        if not files:
            raise ZooError(f"{source.name} has no {chosen.tokens} in {source.split}")
        size = vocabularies.open_vocabulary(chosen.tokens, files, "target").size
        return {"lower_case": chosen.lower_case or not has_capitals}, files, {"vocabulary": size}

    def token_arrays(self, source):
        """The tokens of a source, (N,) int32 arrays, with the start token where a text begins."""
        for batch in source.dataset.batch(TEXTS).prefetch(1):
            ids = self.target_vocabulary.encode(self._read(batch["text"]))
            for tokens, begins in zip(ids, batch["begins"].numpy(), strict=True):
                if begins:
                    yield np.array([text.START], np.int32)
                yield tokens.numpy()

    def examples(self, source, batch_size):
        """The windows of a text, `batch_size` rows side by side."""
        stubs, count, tokens = windows(self.token_arrays(source), batch_size, self.settings.span)
        if tokens <= batch_size:
            kind = self.settings.tokens
            raise ZooError(
                f"{source.name} has {tokens} {kind} in {source.split}; {batch_size} rows need at least {batch_size + 1}"
            )
        return dataclasses.replace(source, stubs=stubs, load=dict, examples=count)

    def read(self, example):
        return {"tokens": example["tokens"]}

    def prepare(self, raw):
        """`tokens` (span + 1,) -> `target` (span,), and whether a text starts with them."""
        return {"target": raw["tokens"][:-1], "starts": raw["tokens"][0] == text.START}

    def targets(self, example):
        """The token after each token of `target`."""
        return example["tokens"][1:]

    def join(self, inputs, y):
        """Adds weights, which are 0 where a text begins and beyond the last text."""
        return inputs, y, tf.cast((y != text.PADDING) & (y != text.START), tf.float32)

    # Metrics.

    def metrics(self):
        return [BitsPerToken("bits_per_character") if self.settings.tokens == "characters" else Perplexity()]

    def measure(self, source, batch_size, report):
        """The metrics of a whole text, read in ROWS parts; batch_size has no influence."""
        from zoo.tasks.dataset import stream

        batches = stream(self, source, ROWS, augment=False, shuffle=False)
        [metric] = self.metrics()
        state, counts, done = self._first_state(ROWS), np.zeros(2), 0

        @tf.function(reduce_retracing=True)
        def update(inputs, y, weights, state):
            starts = tf.reshape(inputs["starts"], [-1] + [1] * (len(state.shape) - 1))
            state = tf.where(starts, tf.zeros_like(state), state)
            outputs = self.model({"target": inputs["target"], "state": state}, training=False)
            metric.update_state(y, outputs["logits"], weights)
            unknown = tf.reduce_sum(weights * tf.cast(y == text.UNKNOWN, tf.float32))
            return outputs["next_state"], tf.stack([tf.reduce_sum(weights), unknown])

        for inputs, y, weights in batches.epoch(0):
            state, more = update(inputs, y, weights, state)
            counts += more.numpy()
            done += ROWS
            if report:
                report(done, batches.examples)
        note = f"{int(counts[0]):,} {self.settings.tokens}, {counts[1] / counts[0]:.1%} of them unknown"
        return Measured({metric.name: float(metric.result())}, None, {metric.name: note})

    def _first_state(self, rows):
        spec = self.model.input["state"]
        return tf.zeros([rows, *spec.shape[1:]], spec.dtype)

    # Answers.

    def _read(self, texts):
        """(B,) strings as the vocabulary reads them."""
        return text.lower(texts) if self.settings.lower_case else texts

    def checked(self, raw):
        """(B,) strings -> `prompt` (B, P), the token before prompts and prompts, `prompt_length` (B,), error (B,)."""
        ids, error = self.checked_ids(raw["prompt"])
        ids = tf.concat([tf.fill([ids.nrows(), 1], self._before), ids], axis=1)
        return {"prompt": ids.to_tensor(), "prompt_length": tf.cast(ids.row_lengths(), tf.int32)}, error

    @property
    def _before(self) -> int:
        """The token before a prompt: an unknown word, or a space among characters.

        A prompt can be from anywhere in a text, and the start token is rare: 90 novels have it 90 times.
        """
        symbols = self.target_vocabulary.symbols
        is_spaced = self.settings.tokens == "characters" and " " in symbols
        return text.UNKNOWN + 1 + symbols.index(" ") if is_spaced else text.UNKNOWN

    def written(self, prompt) -> list[str]:
        """() string -> its tokens as the vocabulary reads them, unknown ones as they are written."""
        tokens = self.target_vocabulary.split(self._read(prompt[tf.newaxis]))[0].numpy().tolist()
        return [token.decode("utf-8") for token in tokens]

    def run(self, model, inputs):
        """Prompts -> tokens (B, N, U) and scores (B, N) of the samples, and log_probability and count (B,) of prompts.

        An item has the same samples in every batch.
        """
        settings = self.settings
        state, log_probability = self._prompted(model, inputs)
        last = tf.gather(inputs["prompt"], inputs["prompt_length"] - 1, batch_dims=1)  # (B,)
        count, items = settings.samples, tf.shape(last)[0]
        seeds = tf.tile(tf.constant([[settings.seed, number] for number in range(count)]), [items, 1])  # (B N, 2)
        tokens, _, scores, _ = decoding.sample(
            _WithoutUnknown(model),
            {"state": tf.repeat(state, count, axis=0)},
            start=tf.repeat(last, count),
            end=None,
            max_length=settings.length,
            temperature=settings.temperature,
            top_k=settings.top_k,
            seed=seeds,
        )
        return {
            "tokens": tf.reshape(tokens, [items, count, settings.length]),
            "scores": tf.reshape(scores, [items, count]),
            "log_probability": log_probability,
            "count": tf.cast(inputs["prompt_length"] - 1, tf.float32),
        }

    def _prompted(self, model, inputs):
        """The state before the last token of each prompt, and the log probability (B,) of the prompt."""
        prompt, length = inputs["prompt"], inputs["prompt_length"]
        state = self._first_state(tf.shape(prompt)[0])

        def body(place, state, total):
            logits, after = model.step(prompt[:, place], {"state": state}, {"state": state})
            is_inside = place + 1 < length
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(prompt[:, place + 1], tf.cast(logits, tf.float32))
            keeps = tf.reshape(is_inside, [-1] + [1] * (len(state.shape) - 1))
            after = tf.ensure_shape(tf.where(keeps, after["state"], state), state.shape)
            return place + 1, after, total - tf.where(is_inside, each, 0.0)

        start = tf.constant(0), state, tf.zeros_like(length, tf.float32)
        end = tf.shape(prompt)[1] - 1
        _, state, total = tf.while_loop(lambda place, *_: place < end, body, start)
        return state, total

    def answer(self, outputs):
        """-> `text` and `score` (B,) of the first sample, those of the others, and the probability of the prompt.

        A score is the log probability of a sample among all texts of its length without unknown tokens; temperature
        and `top_k` have no influence. `perplexity` is per token of the prompt.
        """
        tokens = outputs["tokens"]
        rows = tf.RaggedTensor.from_tensor(tf.reshape(tokens, [-1, self.settings.length]))
        texts = tf.reshape(self.target_vocabulary.decode(rows), tf.shape(tokens)[:2])
        return {
            "text": texts[:, 0],
            "score": outputs["scores"][:, 0],
            "alternatives": texts[:, 1:],
            "alternative_scores": outputs["scores"][:, 1:],
            "log_probability": outputs["log_probability"],
            "perplexity": tf.exp(-outputs["log_probability"] / tf.maximum(outputs["count"], 1.0)),
        }

    def _joined(self, row: dict, sampled: str) -> str:
        """A prompt and the text after it, in one line."""
        between = "" if self.settings.tokens == "characters" else " "
        return " ".join(f"{row['input']}{between}{sampled}".splitlines())

    def lines(self, row):
        first, *others = (self._joined(row, each["text"]) for each in [row, *row["alternatives"]])
        return [first, *(f"    {other}" for other in others)]

    def csv_columns(self):
        if self.settings.samples > 1:
            raise ZooError("--csv prints one answer per input: leave out --samples, or use --json")
        return ("answer", "score", "log_probability", "perplexity")

    def csv_values(self, row):
        return (row["text"], *(f"{row[name]:.6f}" for name in ("score", "log_probability", "perplexity")))


class _WithoutUnknown:
    """A generator that never writes the tokens that stand for no text: padding, start, end and unknown."""

    def __init__(self, model: keras.Model):
        self.encode, self.initial_state, self._step = model.encode, model.initial_state, model.step

    def step(self, tokens, state, memory):
        logits, state = self._step(tokens, state, memory)
        is_text = tf.range(tf.shape(logits)[-1]) > text.UNKNOWN
        return tf.where(is_text, tf.cast(logits, tf.float32), decoding.LOWEST), state
