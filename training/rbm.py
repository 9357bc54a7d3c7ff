"""Restricted Boltzmann machines: Smolensky 1986; Hinton 2002, "Training products of experts by minimizing contrastive
divergence", Neural Computation 14(8); Hinton 2010, "A practical guide to training restricted Boltzmann machines".

Hidden units are binary. Visible units are binary, with the energy

    E(v, h) = -b v - c h - v W h,

or Gaussian with the variance 1, with the energy

    E(v, h) = |v - b|^2 / 2 - c h - v W h.

Shapes: B batch, V visible units, H hidden units.
"""

from typing import NamedTuple

import tensorflow as tf


class Gradient(NamedTuple):
    """The direction in which the log likelihood rises, and the mean squared error of the first reconstruction."""

    kernel: tf.Tensor  # (V, H)
    visible_bias: tf.Tensor  # (V,)
    hidden_bias: tf.Tensor  # (H,)
    error: tf.Tensor  # ()


class RBM:
    """A restricted Boltzmann machine.

    Args:
        kernel: (V, H), W.
        visible_bias: (V,), b.
        hidden_bias: (H,), c.
        is_gaussian: whether visible units are Gaussian; they are binary otherwise.
    """

    def __init__(self, kernel, visible_bias, hidden_bias, is_gaussian: bool):
        values = (kernel, visible_bias, hidden_bias)
        self.kernel, self.visible_bias, self.hidden_bias = (
            tf.Variable(tf.cast(value, tf.float32), trainable=False) for value in values
        )
        self.is_gaussian = is_gaussian
        self.speeds = [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in self.weights]

    @property
    def weights(self) -> list[tf.Variable]:
        return [self.kernel, self.visible_bias, self.hidden_bias]

    def hidden(self, visible):
        """p(h = 1 | v): (B, V) -> (B, H)."""
        return tf.sigmoid(visible @ self.kernel + self.hidden_bias)

    def visible(self, hidden):
        """The mean of v given h: (B, H) -> (B, V)."""
        mean = tf.matmul(hidden, self.kernel, transpose_b=True) + self.visible_bias
        return mean if self.is_gaussian else tf.sigmoid(mean)

    def free_energy(self, visible):
        """F(v) = -log sum_h exp(-E(v, h)): (B, V) -> (B,)."""
        own = visible @ self.visible_bias[:, tf.newaxis]
        own = tf.reduce_sum((visible - self.visible_bias) ** 2, axis=1) / 2 if self.is_gaussian else -own[:, 0]
        return own - tf.reduce_sum(tf.nn.softplus(visible @ self.kernel + self.hidden_bias), axis=1)

    def contrastive_divergence(self, visible, seed, steps: int = 1, sample_visible: bool = False) -> Gradient:
        """CD-k: the gradient of the log likelihood, where `steps` of Gibbs sampling from the data replace the model's
        distribution.

        Args:
            visible: (B, V).
            seed: (2,) integers.
            steps: k.
            sample_visible: whether reconstructions are sampled; otherwise they are means, which has less noise (Hinton
                2010, section 3.2).
        """
        seeds = tf.random.experimental.stateless_split(seed, 2 * steps)
        first = probabilities = self.hidden(visible)
        sample, error = visible, tf.zeros(())
        for step in range(steps):
            draws = tf.random.stateless_uniform(tf.shape(probabilities), seeds[2 * step])
            mean = self.visible(tf.cast(draws < probabilities, tf.float32))
            sample = self._sampled(mean, seeds[2 * step + 1]) if sample_visible else mean
            probabilities = self.hidden(sample)
            if step == 0:
                error = tf.reduce_mean((visible - mean) ** 2)
        rows = tf.cast(tf.shape(visible)[0], tf.float32)
        kernel = tf.matmul(visible, first, transpose_a=True) - tf.matmul(sample, probabilities, transpose_a=True)
        return Gradient(
            kernel / rows,
            tf.reduce_mean(visible - sample, axis=0),
            tf.reduce_mean(first - probabilities, axis=0),
            error,
        )

    def _sampled(self, mean, seed):
        if self.is_gaussian:
            return mean + tf.random.stateless_normal(tf.shape(mean), seed)
        return tf.cast(tf.random.stateless_uniform(tf.shape(mean), seed) < mean, tf.float32)

    def update(self, gradient: Gradient, learning_rate, momentum, weight_decay) -> None:
        """A step of momentum; weight decay pulls the kernel to 0, and not the biases."""
        decays = (weight_decay, 0.0, 0.0)
        for weight, speed, own, decay in zip(self.weights, self.speeds, gradient[:3], decays, strict=True):
            speed.assign(momentum * speed + learning_rate * (own - decay * weight))
            weight.assign_add(speed)
