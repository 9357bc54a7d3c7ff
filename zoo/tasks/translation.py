"""Translation: a sentence in, its translation out. A word and its pronunciation are sentences of symbols."""

import functools

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.errors import ZooError
from zoo.tasks import vocabularies
from zoo.tasks.inputs.text import TextInput
from zoo.tasks.outputs.generation import Generation
from zoo.tasks.settings import TranslationSettings
from zoo.tasks.task import Measured

SENTENCES = 3  # in TensorBoard


class Translation(TextInput, Generation):
    """Sentences to sentences, by a generator with the inputs `source`, `source_length` and `target`."""

    name = "translation"
    Settings = TranslationSettings
    fields = ("source", "target", "references")
    text_key = "translation"
    explanations = {"attention": "zoo.explaining.attention"}

    @classmethod
    def adapt(cls, source, settings, assets):
        """Vocabularies from the training sentences, unless the preset that training starts from has them."""
        learned, files, arguments = super().adapt(source, settings, assets)
        chosen = cls.Settings.checked(cls.name, settings)
        if all(vocabularies.open_vocabulary(chosen.tokens, assets, side) for side in ("source", "target")):
            return learned, files, arguments
        texts = {"source": [], "target": []}
        for example in source.dataset.as_numpy_iterator():
            for side, items in texts.items():
                items.append(example[side].decode("utf-8"))
        files = {**files, **vocabularies.learn(chosen.tokens, chosen.vocabulary_size, texts)}
        sizes = {f"{side}_vocabulary": vocabularies.open_vocabulary(chosen.tokens, files, side).size for side in texts}
        return learned, files, {**arguments, **sizes}

    def check_examples(self, source):
        """Refuses unknown symbols, which the model would learn as the unknown token. Pieces are never unknown."""
        if self.settings.tokens != "spelling":
            return
        sides = {"source": self.source_vocabulary, "target": self.target_vocabulary}
        for batch in source.dataset.batch(1000):
            for side, vocabulary in sides.items():
                problems = vocabulary.problem(batch[side])
                for example, problem in zip(batch[side].numpy(), problems.numpy(), strict=True):
                    if problem:
                        raise ZooError(f"{source.name}: {side} {example.decode()!r}: {problem.decode()}")

    @staticmethod
    def length(item):
        prepared, y = item
        return prepared["source_length"] + tf.size(y)

    def measured(self, texts, examples):
        """BLEU and chrF; for spellings, error rates of phonemes and words. The picture shows the metric by length."""
        from zoo import plotting

        examples = [{field: value.decode() for field, value in example.items()} for example in examples]
        values, how = self._metrics(texts, examples)

        def draw(path):
            lengths, name = [len(self._words(example["source"])) for example in examples], next(iter(values))
            points = metrics.by_length(
                lengths, lambda group: self._metrics([texts[i] for i in group], [examples[i] for i in group])[0][name]
            )
            plotting.by_length({self.model.name: points}, name, len(examples), path)

        return Measured(values, draw, how)

    def _metrics(self, texts: list[str], examples: list[dict]) -> tuple[dict, dict]:
        if self.settings.tokens == "spelling":
            return metrics.pronunciation_figures(texts, [row["references"].split("\n") for row in examples]), {}
        return metrics.translation_figures(texts, [example["target"] for example in examples])

    def _words(self, sentence: str) -> list[str]:
        return list(sentence) if self.settings.tokens == "spelling" else sentence.split()

    def attention(self, inputs: dict, outputs: dict) -> list[dict]:
        """The attention of the best hypothesis of each item: {"source", "target", "attention"}.

        `attention` is (target words, source words), with the end as the last word of both. Attention to a word is the
        sum over its pieces; attention from a word is the mean over its pieces.
        """
        rows = []
        for item, count in enumerate(inputs["source_length"].numpy()):
            # including the end, if the answer has it
            steps = min(int(outputs["lengths"][item, 0]) + 1, outputs["attention"].shape[1])
            source = vocabularies.words(self.source_vocabulary, inputs["source"][item, :count].numpy().tolist())
            target = vocabularies.words(self.target_vocabulary, outputs["tokens"][item, 0, :steps].numpy().tolist())
            columns, lines = (np.repeat(np.arange(len(side)), [size for _, size in side]) for side in (source, target))
            weights = outputs["attention"][item, :steps, :count].numpy()
            summed = np.zeros((steps, len(source)))
            np.add.at(summed.T, columns, weights.T)
            mean = np.stack([summed[lines == line].mean(axis=0) for line in range(len(target))])
            rows.append({"source": [w for w, _ in source], "target": [w for w, _ in target], "attention": mean})
        return rows

    def pictures(self, inputs, y, outputs):
        """The attention of a few translations."""
        from zoo import plotting

        if not self.model.attends:
            return {}
        few = {name: tf.constant(inputs[name][:SENTENCES]) for name in ("source", "source_length")}
        return {"attention": functools.partial(plotting.attention, self.attention(few, self.outputs(few)))}
