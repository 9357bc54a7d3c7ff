"""Question answering: a story and a question in, answers and their probabilities out."""

import numpy as np
import tensorflow as tf

from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks import vocabularies
from zoo.tasks.inputs.story import StoryInput
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.settings import QuestionAnsweringSettings


class QuestionAnswering(StoryInput, Classification):
    """Answers to questions about stories. The classes are the answers, a word or a list of words each.

    The first words of the vocabulary are the answers, in the order of the classes, as a memory network expects them. An
    example may have a `task`, a number; `zoo evaluate` then also measures the accuracy of each task.
    """

    name = "question_answering"
    Settings = QuestionAnsweringSettings
    fields = ("story", "question", "answer", ("task", "answer"))
    label_field = "answer"
    explanations = {"hops": "zoo.explaining.hops"}

    @classmethod
    def adapt(cls, source, settings, assets):
        """The classes, and the words of the training texts, unless the preset that training starts from has them."""
        learned, files, arguments = super().adapt(source, settings, assets)
        if vocabularies.open_vocabulary("words", assets, "source"):
            return learned, files, arguments
        answers = [" ".join(label.lower().split()) for label in source.labels]
        if twice := sorted({answer for answer in answers if answers.count(answer) > 1}):
            raise ZooError(
                f"{source.name} has several answers that are {twice[0]!r} in small letters: keep one of them"
            )
        texts: set[bytes] = set()  # lines, most of which occur in many stories
        for example in source.dataset.as_numpy_iterator():
            texts.update(example["story"].split(b"\n"), [example["question"]])
        found = text.words_of(text.lower(tf.constant(sorted(texts)))).flat_values
        words = {word.decode("utf-8") for word in found.numpy()}
        words = {word for word in words if any(letter.isalnum() for letter in word)}  # without signs
        symbols = [*answers, *sorted(words - {*answers})]
        files = {**files, vocabularies.FREQUENT["words"]: "\n".join(symbols).encode("utf-8")}
        return learned, files, {**arguments, "vocabulary": text.UNKNOWN + 1 + len(symbols)}

    def run(self, model, inputs):
        """Adds the warnings of the input, which `checked` gives, to the outputs."""
        outputs = model({name: inputs[name] for name in model.input}, training=False)
        return {**outputs, "warning": inputs["warning"]} if "warning" in inputs else outputs

    @property
    def answer_layout(self):
        return {**Classification.answer_layout, "warning": "warning"}

    def answer(self, outputs):
        return {**super().answer(outputs), "warning": outputs["warning"]}

    def figures(self, source, y, predicted):
        """The accuracy of each task, if the examples have one."""
        tasks = np.array([example["task"] for example in source.dataset.as_numpy_iterator() if "task" in example])
        return {f"accuracy_task_{task}": float(np.mean((y == predicted)[tasks == task])) for task in np.unique(tasks)}

    def lines(self, row):
        pairs = zip(row["labels"], row["scores"], strict=True)
        return [", ".join(f"{label} {score:.1%}" for label, score in pairs)]
