"""Self-critical sequence training: a model learns from the rewards of answers that it samples.

Rennie et al. 2017, Self-critical sequence training for image captioning, arXiv 1612.00563. The baseline of a sample is
not the reward of the greedy answer, as there, but the mean reward of the other samples of the same input (Luo 2020, A
better variant of self-critical sequence training, arXiv 2003.09971), which needs no other decoding.
"""

import numpy as np
import tensorflow as tf

from zoo import decoding
from zoo.errors import ZooError
from zoo.preprocessing import text
from zoo.tasks.losses import PolicyGradient
from zoo.training.objective import Objective


def check(task, reward: str, replicas: int) -> None:
    """Raises ZooError if the task does not have the reward, or several devices train: their samples would differ."""
    known = getattr(task, "rewards", ())
    if not known:
        raise ZooError(f"{task.name} has no rewards: leave out training.self_critical")
    if reward not in known:
        raise ZooError(f"training.self_critical must be {' or '.join(known)} for {task.name}, got {reward!r}")
    if replicas > 1:
        raise ZooError(f"training.self_critical needs one device, not {replicas}: samples depend on the batch")


class SelfCritical:
    """Replaces the targets of a batch by sampled answers, whose rewards decide how the model changes.

    Args:
        task: a task with rewards.
        model: the generator that samples; the trained model shares its weights.
        source: the training split.
        reward: one of the task's `rewards`.
        samples: number of samples per example.
        seed: the recipe's.
    """

    def __init__(self, task, model, source, reward: str, samples: int, seed: int):
        self.task, self.samples, self.seed = task, samples, seed
        self.generator = _Repeated(model, samples)
        self.rewards = task.reward(reward, source)
        self.objective = Objective(PolicyGradient())

    def batch(self, x: dict, references, step):
        """Inputs (B, ...), references (B, R, T) padded with zeros, () number of the step -> inputs, y and weights.

        The rows of the result are those of the samples, `samples` per input in a row.
        """
        seed = tf.random.experimental.stateless_fold_in([self.seed, 0], tf.cast(step, tf.int32))
        longest = self.task.longest
        decoded = decoding.sample(self.generator, x, text.START, text.END, longest, seed=seed)
        lengths = decoded.lengths
        tokens = decoded.tokens[:, : tf.minimum(tf.reduce_max(lengths) + 1, longest)]
        is_token = tf.range(tf.shape(tokens)[1]) <= lengths[:, tf.newaxis]  # the end is the last one
        texts = self._texts(tokens, lengths)
        reward = tf.numpy_function(self._scores, [texts, lengths < longest, self._references(references)], tf.float32)
        reward = tf.reshape(reward, (-1, self.samples))
        # the reward less the mean of the others
        advantage = (reward - tf.reduce_mean(reward, axis=1, keepdims=True)) * self.samples / (self.samples - 1)
        repeated = {name: tf.repeat(value, self.samples, axis=0) for name, value in x.items()}
        inputs, y, weights = self.task.join(repeated, tf.where(is_token, tokens, text.PADDING))
        values = [tf.reshape(value, (-1, 1)) * tf.ones_like(weights) for value in (advantage, reward)]
        return inputs, tf.stack([tf.cast(y, tf.float32), *values], axis=-1), weights

    def _texts(self, tokens, lengths):
        return self.task.target_vocabulary.decode(tf.RaggedTensor.from_tensor(tokens, lengths))

    def _references(self, references):
        """(B, R, T) tokens -> (B, R) texts, "" for padding."""
        shape = tf.shape(references)
        rows = tf.reshape(references, (-1, shape[2]))
        is_token = (rows != text.PADDING) & (rows != text.END)
        return tf.reshape(self._texts(rows, tf.math.count_nonzero(is_token, axis=1)), shape[:2])

    def _scores(self, texts, are_complete, references) -> np.ndarray:
        known = [[each.decode("utf-8") for each in own if each] for own in references]
        known = [own for own in known for _ in range(self.samples)]
        texts = [each.decode("utf-8", "replace") for each in texts]
        return np.array(self.rewards(texts, are_complete.tolist(), known), "float32")


class _Repeated:
    """A generator that decodes each input `samples` times, with one memory for all of them."""

    def __init__(self, model, samples: int):
        self.model, self.samples = model, samples

    def encode(self, inputs):
        return self.model.encode(inputs)

    def initial_state(self, memory):
        state = self.model.initial_state(memory)
        return tf.nest.map_structure(lambda value: tf.repeat(value, self.samples, axis=0), state)

    def step(self, tokens, state, memory):
        return self.model.step(tokens, state, memory, beams=self.samples)
