"""Classification: labels and their probabilities out."""

import functools

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.errors import ZooError
from zoo.layers.model import foreign_names
from zoo.tasks.losses import CrossEntropy, FunctionLoss, accuracy, top_5_accuracy
from zoo.tasks.task import Criterion, Measured, Task


class Classification(Task):
    """Reads the output `logits` (B, classes); settings are those of `zoo.tasks.settings.ClassificationSettings`."""

    criterion = Criterion("accuracy", "max")
    answer_layout = {"labels": "labels", "scores": "scores"}
    label_field = "label"  # of an example

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        outputs = model.output
        self.classes = outputs["logits"].shape[-1] if "logits" in outputs else None
        if self.classes and labels is not None and len(labels) != self.classes:
            raise ZooError(f"{model.name} has {self.classes} classes, got {len(labels)} labels")

    @classmethod
    def adapt(cls, source, settings, assets):
        """Sets the model's number of classes to the number of labels of the data set."""
        learned, files, arguments = super().adapt(source, settings, assets)
        return learned, files, {**arguments, **({"classes": len(source.labels)} if source.labels else {})}

    def check_source(self, source):
        labels = source.labels
        is_part = labels and any({*labels} <= {*known} for known in self._known())  # some of the model's classes
        if self.classes and labels and len(labels) != self.classes and not is_part:
            raise ZooError(
                f"{source.name} has {len(labels)} classes, the model {self.classes}: "
                f"load or create it with classes={len(labels)}"
            )
        self._numbers(source)

    def aligned(self, source):
        """Gives examples the model's class numbers if the data set has the same classes in another order."""
        if (numbers := self._numbers(source)) is None:
            return lambda example: example
        numbers = tf.constant(numbers, tf.int64)
        field = self.label_field
        return lambda example: {**example, field: tf.gather(numbers, example[field])}

    def _numbers(self, source) -> list[int] | None:
        """The model's number of each class of a data set, by name; None if the model or the data set has no names.

        The names are the model's labels, or those of its training data if the labels were renamed. A model that was
        not trained yet takes any names, and its classes are numbered like those of the data set.
        """
        labels, learned = source.labels, self.model.origin.data_labels
        if not labels or not self.labels:
            return None
        for known in self._known():
            if set(labels) <= set(known):
                return [known.index(label) for label in labels]
        others = sorted(set(labels) - set(self.labels))
        if learned or len(others) < len(labels):
            raise ZooError(
                f"{source.name} has classes that the model does not know, such as {others[0]!r}; it knows "
                f"{', '.join(sorted(self.labels)[:10])}: to train it on these, load it with labels=[...] of their names"
            )
        return None

    def _known(self) -> list[list[str]]:
        """Lists of names of the classes: the labels, and those of the training data if the labels were renamed."""
        return [names for names in (self.labels, self.model.origin.data_labels) if names]

    def targets(self, example):
        return example[self.label_field]

    def loss(self, label_smoothing=0.0):
        entry = registry.entries().get(self.model.origin.model)
        if entry is None or entry.loss is None or self.classes is None:
            return CrossEntropy(label_smoothing)
        if isinstance(entry.loss, dict):
            more = {output: FunctionLoss(function) for output, function in entry.loss_function().items()}
            return {"logits": CrossEntropy(label_smoothing), **more}
        if label_smoothing:
            raise ZooError(f"{self.model.origin.model} has its own loss, which does not take label_smoothing")
        return FunctionLoss(entry.loss_function())

    def metrics(self):
        """The metrics of the logits; a dict by output if a further output has a loss, as Keras then wants it."""
        metrics = self._metrics()
        return {"logits": metrics} if isinstance(self.loss(), dict) else metrics

    def _metrics(self) -> list:
        metrics = [keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")]
        if self.classes > 20:
            metrics.append(keras.metrics.MeanMetricWrapper(top_5_accuracy, name="top_5_accuracy"))
        return metrics

    def measure(self, source, batch_size, report):
        """Every metric, and the confusion matrix."""
        from zoo import plotting
        from zoo.tasks.dataset import stream

        batches = stream(self, source, batch_size, augment=False, shuffle=False, finish=self.windows)
        metrics, counts = self._metrics(), np.zeros((self.classes, self.classes), int)
        classes, answers = [], []
        forward = tf.function(lambda inputs: self.outputs(inputs)["logits"], reduce_retracing=True, autograph=False)
        done = 0
        for inputs, y in batches.epoch(0):
            logits = forward(inputs)
            for metric in metrics:
                metric.update_state(y, logits)
            classes.append(y.numpy())
            answers.append(np.argmax(logits, axis=-1))
            np.add.at(counts, (classes[-1], answers[-1]), 1)
            done += len(y)
            if report:
                report(done, batches.examples)
        values = {metric.name: float(metric.result()) for metric in metrics}
        values |= self.figures(source, np.concatenate(classes), np.concatenate(answers))
        return Measured(values, functools.partial(plotting.confusion, counts, self.names()))

    def figures(self, source, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Metrics beside those of `metrics`, from the classes (N,) of the examples and those of their answers."""
        return {}

    def names(self) -> list[str]:
        """The labels, or the numbers of the classes if they have no labels."""
        return self.labels or [str(number) for number in range(self.classes)]

    def answer(self, outputs):
        """logits (B, classes) -> labels (B, k) strings and scores (B, k), their probabilities, best first."""
        probabilities = self.probabilities(outputs)
        scores, places = tf.math.top_k(probabilities, min(self.settings.top, self.classes))
        return {"labels": tf.gather(tf.constant(self.names()), places), "scores": scores}

    def probabilities(self, outputs):
        """logits (B, classes) -> their softmax (B, classes)."""
        return tf.nn.softmax(tf.cast(outputs["logits"], tf.float32))

    def heads(self):
        body = self.body()
        return {} if body is None else {"embeddings": (body, lambda outputs: outputs)}

    def portable_manifest(self):
        """The labels, in the order of the scores that `portable` gives."""
        return {"labels": self.names()}

    def body(self) -> keras.Model | None:
        """The model up to its head, with the output `embeddings` (B, D); None if the head's input is not flat."""
        heads = [layer for layer in self.model.layers if registry.is_head(layer.name)]
        if not heads or not hasattr(heads[0], "input") or len(heads[0].input.shape) != 2:
            return None
        with foreign_names():
            return keras.Model(self.model.input, {"embeddings": heads[0].input})

    def check_complete(self):
        super().check_complete()
        if self.classes is None:
            raise ZooError(f"{self.model.name} has no head (classes=0): it gives embeddings, not labels")

    def pictures(self, inputs, y, outputs):
        from zoo import plotting  # matplotlib is not needed to answer

        counts = np.zeros((self.classes, self.classes), int)
        np.add.at(counts, (np.array(y), np.argmax(outputs["logits"], axis=-1)), 1)
        return {"confusion": functools.partial(plotting.confusion, counts, self.names())}

    def lines(self, row):
        pairs = zip(row["labels"], row["scores"], strict=True)
        return [f"{row['input']}: {', '.join(f'{label} {score:.1%}' for label, score in pairs)}"]

    def csv_columns(self):
        """One pair of columns, or as many as the user or the preset states with `top`."""
        count = self.settings.top if "top" in self.settings.model_fields_set else 1
        others = (f"{column}_{number}" for number in range(2, count + 1) for column in ("answer", "score"))
        return ("answer", "score", *others)

    def csv_values(self, row):
        pairs = [(label, f"{score:.6f}") for label, score in zip(row["labels"], row["scores"], strict=True)]
        columns = len(self.csv_columns())
        values = [value for pair in pairs for value in pair][:columns]
        return (*values, *[""] * (columns - len(values)))  # a model may have fewer classes than `top`

    def summary(self, row):
        return f"{row['labels'][0]} ({row['scores'][0]:.1%})"

    def best(self, answer):
        return answer["labels"][0]

    def comparable(self, answer, other):
        """{label: score}. Labels of about equal scores may change places, so the last labels of two answers may differ.

        A label that only the other answer has gets this answer's lowest score, the greatest that it can have here.
        """
        if "labels" not in answer or "labels" not in other:
            return answer
        lowest = min(answer["scores"])
        scores = dict(zip(answer["labels"], answer["scores"], strict=True))
        return {label: scores.get(label, lowest) for label in sorted({*answer["labels"], *other["labels"]})}
