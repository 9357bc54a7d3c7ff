"""What every classification has in common: labels and their scores out, whatever goes in."""

import functools

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.errors import ZooError
from zoo.tasks.task import CrossEntropy, FunctionLoss, Measured, Task, is_shared


@keras.saving.register_keras_serializable("zoo")
def accuracy(y_true, y_pred):
    """(B,), 1 where the greatest logit is that of the class, or of the class with the greatest share."""
    if is_shared(y_true, y_pred):
        y_true = tf.argmax(y_true, axis=-1)
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)


class Classification(Task):
    """A task whose model gives logits (B, classes); subclasses bring the way in.

    Settings:
        top: how many labels an answer gives, best first.
    """

    def __init__(self, model, settings, labels, assets):
        super().__init__(model, settings, labels, assets)
        if not isinstance(self.settings["top"], int) or self.settings["top"] < 1:
            raise ZooError(f"{self.name}: top={self.settings['top']!r} is no number of labels; give 1 or more")
        outputs = model.output
        self.classes = outputs["logits"].shape[-1] if "logits" in outputs else None
        if self.classes and labels is not None and len(labels) != self.classes:
            raise ZooError(f"{model.name} has {self.classes} classes, {len(labels)} labels are given")

    def targets(self, example):
        return example["label"]

    def loss(self, label_smoothing=0.0):
        entry = registry.entries().get(self.model.origin.model)
        if entry is None or entry.loss is None:
            return CrossEntropy(label_smoothing)
        if label_smoothing:
            raise ZooError(f"{self.model.origin.model} has a loss of its own, which knows no label_smoothing")
        return FunctionLoss(entry.loss_function())

    def metrics(self):
        metrics = [keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")]
        if self.classes > 20:
            metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_accuracy"))
        return metrics

    def measure(self, source, batch_size, report):
        """Every metric, and the confusion matrix."""
        from zoo import plotting
        from zoo.tasks.dataset import stream

        batches = stream(self, source, batch_size, augment=False, shuffle=False, finish=self.views)
        metrics, confusion = self.metrics(), np.zeros((self.classes, self.classes), int)
        forward = tf.function(lambda inputs: self.outputs(inputs)["logits"], reduce_retracing=True)
        done = 0
        for inputs, y in batches.epoch(0):
            logits = forward(inputs)
            for metric in metrics:
                metric.update_state(y, logits)
            np.add.at(confusion, (y.numpy(), np.argmax(logits, axis=-1)), 1)
            done += len(y)
            if report:
                report(done, batches.examples)
        figures = {metric.name: float(metric.result()) for metric in metrics}
        return Measured(figures, functools.partial(plotting.confusion, confusion, self.names()))

    def names(self) -> list[str]:
        """The labels, or the classes' numbers where there are none."""
        return self.labels or [str(number) for number in range(self.classes)]

    def answer(self, outputs):
        """logits (B, classes) -> labels (B, k) strings and scores (B, k), best first; a score is a softmax share."""
        scores, places = tf.math.top_k(self.shares(outputs)["scores"], min(self.settings["top"], self.classes))
        return {"labels": tf.gather(tf.constant(self.names()), places), "scores": scores}

    def shares(self, outputs):
        """logits (B, classes) -> scores (B, classes), their softmax."""
        return {"scores": tf.nn.softmax(tf.cast(outputs["logits"], tf.float32))}

    def served(self, outputs, error):
        """A batch's outputs and `error` (B,) -> what a server sees: neutral answers in the place of bad items."""
        answers, good = self.answer(outputs), (error == "")[:, tf.newaxis]
        labels = tf.where(good, answers["labels"], "")
        return {"labels": labels, "scores": tf.where(good, answers["scores"], 0.0), "error": error}

    def pictures(self, inputs, y, outputs):
        from zoo import plotting  # matplotlib is of no use to a pipeline

        counts = np.zeros((self.classes, self.classes), int)
        np.add.at(counts, (np.array(y), np.argmax(outputs["logits"], axis=-1)), 1)
        return {"confusion": functools.partial(plotting.confusion, counts, self.names())}

    def check_head(self) -> None:
        """Raises ZooError where the model has no head, and so no answers."""
        if self.classes is None:
            raise ZooError(f"{self.model.name} has no head (classes=0): it gives embeddings, and no labels")

    def body(self) -> keras.Model | None:
        """The model up to its head, giving embeddings (B, D); None where the head has no flat input."""
        heads = [layer for layer in self.model.layers if registry.is_head(layer.name)]
        if not heads or not hasattr(heads[0], "input") or len(heads[0].input.shape) != 2:
            return None
        return keras.Model(self.model.input, heads[0].input)

    def told(self, answers):
        labels = [label.decode() for label in answers["labels"]]
        return {"labels": labels, "scores": [float(score) for score in answers["scores"]]}
