"""Captioning: an image in, a sentence that describes it out."""

import copy
import functools

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.data.layouts import FolderTable
from zoo.tasks import vocabularies
from zoo.tasks.inputs.image import SUFFIXES, ImageInput
from zoo.tasks.outputs.generation import Generation
from zoo.tasks.settings import CaptioningSettings
from zoo.tasks.task import Measured

PICTURES = 3  # in TensorBoard
# Captions are learned, and compared, in lower case and without these characters.
PUNCTUATION = r"""[.,;:!?"()\[\]]"""


def plain(captions):
    """Texts (...) -> in lower case, without punctuation, with single spaces."""
    texts = tf.strings.regex_replace(tf.strings.lower(captions, "utf-8"), PUNCTUATION, " ")
    return tf.strings.strip(tf.strings.regex_replace(texts, r"\s+", " "))


def captions_of(source) -> list[list[str]]:
    """The captions of each image of a source, as they are learned. Images are not read."""
    stubs = source.stubs.map(lambda stub: plain(tf.strings.split(stub["captions"], "\n")))
    return [[text.decode("utf-8") for text in own] for own in stubs.as_numpy_iterator()]


class Captioning(ImageInput, Generation):
    """Images to sentences, by a generator with the inputs `image` and `target`.

    An example of a data set is an image with all its captions, one per line. Training draws one of them in each epoch,
    also without augmentation; validation takes the first caption.
    """

    name = "captioning"
    Settings = CaptioningSettings
    fields = ("image", "captions")
    layout = FolderTable("captions.tsv", "image", "captions", "images", SUFFIXES, PUNCTUATION)
    text_key = "caption"
    explanations = {"attention": "zoo.explaining.attention_map"}
    rewards = ("cider",)
    keeps_references = False

    def remarks(self, source):
        texts = [text for own in captions_of(source) for text in own]
        sizes = [size for some in range(0, len(texts), 1000) for size in self._sizes(texts[some : some + 1000])]
        if not (count := sum(size > self.longest for size in sizes)):
            return []
        return [
            f"{count:,} of {len(texts):,} captions are longer than {self.longest} tokens, with their end, and are cut; "
            "set task.longest"
        ]

    def _sizes(self, texts: list[str]) -> list[int]:
        """The number of tokens of each text, with its end."""
        return (self.target_vocabulary.encode(tf.constant(texts)).row_lengths() + 1).numpy().tolist()

    @classmethod
    def adapt(cls, source, settings, assets):
        """A vocabulary from the training captions, unless the preset that training starts from has one."""
        learned, files, arguments = super().adapt(source, settings, assets)
        chosen = cls.Settings.checked(cls.name, settings)
        if vocabularies.open_vocabulary(chosen.tokens, assets, "target"):
            return learned, files, arguments
        texts = [text for own in captions_of(source) for text in own]
        files = {**files, **vocabularies.learn(chosen.tokens, chosen.vocabulary_size, {"target": texts})}
        size = vocabularies.open_vocabulary(chosen.tokens, files, "target").size
        return learned, files, {**arguments, "target_vocabulary": size}

    def targets(self, example):
        """() string, one caption per line -> (captions, T) int32 tokens with the end token, padded."""
        captions = tf.strings.split(example["captions"], "\n")
        return self.encoded(plain(captions))

    def draw_targets(self, y, seed):
        """Draws one caption: (captions, T) -> (T,)."""
        if self.keeps_references:
            return y
        chosen = tf.random.stateless_uniform((), seed, 0, tf.shape(y)[0], tf.int32)
        return self._trimmed(y[chosen])

    @staticmethod
    def _trimmed(tokens):
        """(T,) tokens without their padding."""
        return tokens[: tf.math.count_nonzero(tokens, dtype=tf.int32)]

    def with_references(self):
        other = copy.copy(self)
        other.keeps_references = True
        return other

    def reward(self, name, source):
        """CIDEr-D, weighted by the training captions. The end counts as a word, or captions would end in "with a"."""

        def words(text: str, is_complete: bool = True) -> list[str]:
            return metrics.caption_words(text) + ([""] if is_complete else [])

        scorer = metrics.CiderD([[words(text) for text in own] for own in captions_of(source)])

        def scores(texts, are_complete, references):
            captions = [words(*pair) for pair in zip(texts, are_complete, strict=True)]
            return scorer.scores(captions, [[words(text) for text in own] for own in references])

        return scores

    def join(self, inputs, y):
        if self.keeps_references:
            return inputs, y
        return super().join(inputs, y[:, 0] if len(y.shape) == 3 else y)

    @staticmethod
    def length(item):
        return tf.shape(item[1])[-1]

    def measured(self, texts, examples):
        """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D."""
        references = [example["captions"].decode().split("\n") for example in examples]
        return Measured(*metrics.caption_figures(texts, references))

    def attention(self, inputs: dict, outputs: dict) -> list[dict]:
        """The attention of the best caption of each item: {"words", "attention"}.

        `attention` is (words, rows, columns) over the grid of the encoder, with the end as the last word. The attention
        of a word is the mean over its tokens.
        """
        rows, columns = self.model.encoder.output["grid"].shape[1:3]
        found = []
        for item in range(len(outputs["lengths"])):
            steps = min(int(outputs["lengths"][item, 0]) + 1, outputs["attention"].shape[1])
            words = vocabularies.words(self.target_vocabulary, outputs["tokens"][item, 0, :steps].numpy().tolist())
            lines = np.repeat(np.arange(len(words)), [size for _, size in words])
            weights = outputs["attention"][item, :steps].numpy()
            mean = np.stack([weights[lines == line].mean(axis=0) for line in range(len(words))])
            found.append({"words": [w for w, _ in words], "attention": mean.reshape(-1, rows, columns)})
        return found

    def pictures(self, inputs, y, outputs):
        """A few images with their captions, and the attention over them."""
        if "image" not in inputs:  # frozen outputs replace it
            return {}
        from zoo import plotting

        few = {"image": tf.constant(inputs["image"][:PICTURES])}
        answered = self.outputs(few)
        texts = [text.decode() for text in self.answer(answered)[self.text_key].numpy()]
        pictures = self.displayed(few["image"])
        if not self.model.attends:
            pairs = [(text, text) for text in texts]
            return {"captions": functools.partial(plotting.examples, pictures, pairs)}
        rows = [
            {"input": text, "_picture": picture, **row}
            for text, picture, row in zip(texts, pictures, self.attention(few, answered), strict=True)
        ]
        return {"attention": functools.partial(plotting.attention_maps, rows)}
