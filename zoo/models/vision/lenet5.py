"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".

Proceedings of the IEEE 86(11), section II.B, Figure 2, Table I; http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf.
Layers have the paper's names: C1, S2, C3, S4, C5, F6 and the output of radial basis functions.
"""

import keras
import numpy as np
from keras import layers, ops

from zoo.registry import register_model

# Table I: the feature maps of S2 that each of C3's sixteen maps reads.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Figure 3: the code of each class is a stylised image of its character, 7 wide and 12 high, +1 for ink and -1 for
# paper. The article does not print the pixels as numbers, so these ten are drawn here in its manner.
DIGITS = """
..###.. ...#... ..###.. ..###.. ....##. ####### ..####. ####### ..###.. ..###..
.#...#. ..##... .#...#. .#...#. ...#.#. #...... .#....# ......# .#...#. .#...#.
#.....# .#.#... #.....# #.....# ...#.#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# .....#. ..#..#. #.###.. #...... ....#.. .#...#. #.....#
#.....# ...#... .....#. ..###.. .#...#. ##...#. #.###.. ....#.. ..###.. .#...##
#.....# ...#... ....#.. .....#. .#...#. ......# ##...#. ...#... .#...#. ..###.#
#.....# ...#... ...#... ......# #....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# ####### ......# #.....# ..#.... #.....# ......#
#.....# ...#... .#..... #.....# .....#. #.....# #.....# ..#.... #.....# #.....#
.#...#. ...#... #...... .#...#. .....#. .#...#. .#...#. .#..... .#...#. .#...#.
..###.. .#####. ####### ..###.. .....#. ..###.. ..###.. .#..... ..###.. ..###..
"""


def codes(classes: int) -> np.ndarray:
    """The targets of F6: (classes, 84), one row of values -1 or +1 per class.

    The ten digits are drawn. Further classes get random codes, each with its own number as seed, so that code i does
    not depend on the number of classes.
    """
    rows = [line.split() for line in DIGITS.split("\n") if line]
    drawn = [[1.0 if dot == "#" else -1.0 for row in rows for dot in row[digit]] for digit in range(10)]
    more = [np.random.default_rng(number).choice([-1.0, 1.0], size=84) for number in range(10, classes)]
    return np.array((drawn + more)[:classes], "float32").reshape(classes, 84)


@keras.saving.register_keras_serializable("zoo")
def scaled_tanh(x):
    """f(a) = 1.7159 tanh(2/3 a), the paper's equation 6 and appendix A; f(1) = 1 and f(-1) = -1."""
    return 1.7159 * ops.tanh(2.0 / 3.0 * x)


@keras.saving.register_keras_serializable("zoo")
def maximum_a_posteriori(y_true, y_pred):
    """Equation 9: y_D + log(exp(-j) + sum_i exp(-y_i)), with y the distances, for each item.

    The term exp(-j), j = 0.1, stands for a class of rubbish: it keeps penalties that are already large from growing
    further.

    Args:
        y_true: (B,) class numbers.
        y_pred: (B, classes) negative distances.

    Returns:
        (B,) losses.
    """
    y_true = ops.cast(ops.reshape(y_true, (-1,)), "int32")  # Keras passes (B, 1)
    target = ops.sum(y_pred * ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype), axis=-1)  # (B,)
    rubbish = ops.full_like(y_pred[:, :1], -0.1)  # (B, 1)
    return ops.logsumexp(ops.concatenate([rubbish, y_pred], axis=-1), axis=-1) - target


@keras.saving.register_keras_serializable("zoo")
class FanInUniform(keras.initializers.RandomUniform):
    """Uniform in +-2.4 / F, where F is the number of inputs of a unit (appendix A)."""

    def __init__(self, fan_in: int, seed: int | None = None):
        super().__init__(-2.4 / fan_in, 2.4 / fan_in, seed)
        self.fan_in = fan_in

    def get_config(self):
        return {"fan_in": self.fan_in, "seed": self._init_seed}


@keras.saving.register_keras_serializable("zoo")
class Subsampling(layers.Layer):
    """The sum of 2x2 neighbours times a trainable coefficient, plus a trainable bias, per map (section II.B, S2).

    (B, H, W, C) -> (B, H // 2, W // 2, C); 2 C parameters. The squashing function is the next layer.
    """

    def build(self, input_shape):
        maps = input_shape[-1]
        self.coefficient = self.add_weight(shape=(maps,), initializer=FanInUniform(4), name="coefficient")
        self.bias = self.add_weight(shape=(maps,), initializer="zeros", name="bias")

    def call(self, x):
        return 4.0 * ops.average_pool(x, 2, 2) * self.coefficient + self.bias

    def compute_output_shape(self, input_shape):
        batch, height, width, maps = input_shape
        return (batch, height // 2, width // 2, maps)


@keras.saving.register_keras_serializable("zoo")
class TableConvolution(layers.Layer):
    """A 5x5 convolution in which each map reads a subset of the input maps (section II.B, C3, Table I).

    (B, H, W, C) -> (B, H - 4, W - 4, len(table)). Only existing connections have weights: with C3's table,
    60 kernels and 16 biases, 1,516 parameters.

    Args:
        table: for each map, the numbers of the maps that it reads.
    """

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.table = tuple(tuple(row) for row in table)

    def build(self, input_shape):
        maps = input_shape[-1]
        if any(not 0 <= number < maps for row in self.table for number in row):
            raise ValueError(f"table must have numbers below {maps}, the number of input maps, got {self.table}")
        connections = [(number, target) for target, row in enumerate(self.table) for number in row]
        # The initial weights of each unit are bounded by its own fan-in.
        starts = [FanInUniform(25 * len(self.table[target]))((5, 5, 1)) for _, target in connections]
        self.kernels = self.add_weight(shape=(5, 5, len(connections)), initializer="zeros", name="kernels")
        self.kernels.assign(ops.concatenate(starts, axis=-1))
        self.bias = self.add_weight(shape=(len(self.table),), initializer="zeros", name="bias")
        placement = np.zeros((len(connections), maps, len(self.table)), "float32")
        for row, (number, target) in enumerate(connections):
            placement[row, number, target] = 1.0
        self.placement = placement.reshape(len(connections), -1)  # (connections, C * len(table)), 0 and 1
        self.maps = maps

    def call(self, x):
        placement = ops.cast(self.placement, self.compute_dtype)
        kernel = ops.reshape(ops.matmul(self.kernels, placement), (5, 5, self.maps, len(self.table)))
        return ops.conv(x, kernel, padding="valid") + self.bias

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height - 4, width - 4, len(self.table))

    def get_config(self):
        return {**super().get_config(), "table": self.table}


@keras.saving.register_keras_serializable("zoo")
class RadialBasis(layers.Layer):
    """Euclidean radial basis functions, equation 7: y_i = sum_j (x_j - w_ij)^2, negated so that the greatest is best.

    (B, 84) -> (B, classes). The centres w are the fixed codes, which are stored with the weights and never trained.
    """

    def __init__(self, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape):
        self.codes = self.add_weight(
            shape=(self.classes, input_shape[-1]), initializer="zeros", trainable=False, name="codes"
        )
        self.codes.assign(codes(self.classes))

    def call(self, x):
        squares = ops.sum(ops.square(x), axis=-1, keepdims=True) + ops.sum(ops.square(self.codes), axis=-1)
        return 2.0 * ops.matmul(x, ops.transpose(self.codes)) - squares

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@register_model(
    task="image_classification",
    paper="LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition, "
    "Proc. IEEE 86(11), Figure 2, doi:10.1109/5.726791",
    variants={"lenet5": {}},
    parameters=60_000,
    # Section III.B: 28x28 digits, centred by their mass in 32x32; white is -0.1 and black 1.175.
    settings={
        "colour": "grey",
        "polarity": "light_on_dark",
        "centre": "ink",
        "fraction": 0.625,
        "low": -0.1,
        "high": 1.175,
    },
    tiny={},  # sixty thousand parameters are tiny
    loss="maximum_a_posteriori",
)
def lenet5(input_shape: tuple[int, ...] = (32, 32, 1), classes: int = 10) -> keras.Model:
    """LeNet-5 of 1998: convolutions, trainable subsampling, radial basis functions.

    Args:
        input_shape: (H, W, C), H and W at least 32.
        classes: number of classes; 0 gives C5's output as `embeddings`.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}, the negative squared distances to the codes.

    Raises:
        ValueError: an image smaller than 32x32.
    """
    image, x = _input(input_shape)
    fan_in = 25 * input_shape[-1]
    x = layers.Conv2D(6, 5, activation=scaled_tanh, kernel_initializer=FanInUniform(fan_in), name="c1")(x)
    x = layers.Activation(scaled_tanh, name="s2_squash")(Subsampling(name="s2")(x))  # (B, 14, 14, 6)
    x = layers.Activation(scaled_tanh, name="c3_squash")(TableConvolution(C3_TABLE, name="c3")(x))  # (B, 10, 10, 16)
    x = layers.Activation(scaled_tanh, name="s4_squash")(Subsampling(name="s4")(x))  # (B, 5, 5, 16)
    x = layers.Conv2D(120, 5, activation=scaled_tanh, kernel_initializer=FanInUniform(400), name="c5")(x)
    x = layers.Flatten(name="flatten")(x)  # (B, 120)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="lenet5")
    start = FanInUniform(x.shape[-1])
    x = layers.Dense(84, activation=scaled_tanh, kernel_initializer=start, dtype="float32", name="head_f6")(x)
    logits = RadialBasis(classes, dtype="float32", name="head_codes")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="lenet5")


@register_model(
    task="image_classification",
    paper="After LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition, "
    "Proc. IEEE 86(11), doi:10.1109/5.726791",
    variants={"lenet5_modern": {}},
    parameters=61_706,  # ours: the paper's plan with C3 connected in full, pooling without weights, ten outputs
    settings={
        "colour": "grey",
        "polarity": "light_on_dark",
        "centre": "ink",
        "fraction": 0.625,
        "low": -0.1,
        "high": 1.175,
    },
    tiny={},
)
def lenet5_modern(input_shape: tuple[int, ...] = (32, 32, 1), classes: int = 10, dropout: float = 0.0) -> keras.Model:
    """LeNet-5's plan with max pooling, rectified linear units and a softmax layer.

    Args:
        input_shape: (H, W, C), H and W at least 32.
        classes: number of classes; 0 gives F6's output as `embeddings`.
        dropout: fraction of C5's and F6's outputs dropped in training.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: an image smaller than 32x32.
    """
    image, x = _input(input_shape)
    x = layers.Conv2D(6, 5, activation="relu", kernel_initializer="he_normal", name="c1")(x)
    x = layers.MaxPooling2D(2, name="s2")(x)  # (B, 14, 14, 6)
    x = layers.Conv2D(16, 5, activation="relu", kernel_initializer="he_normal", name="c3")(x)
    x = layers.MaxPooling2D(2, name="s4")(x)  # (B, 5, 5, 16)
    x = layers.Conv2D(120, 5, activation="relu", kernel_initializer="he_normal", name="c5")(x)
    x = layers.Flatten(name="flatten")(x)  # (B, 120)
    x = layers.Dropout(dropout, name="c5_dropout")(x)
    x = layers.Dense(84, activation="relu", kernel_initializer="he_normal", name="f6")(x)
    x = layers.Dropout(dropout, name="f6_dropout")(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="lenet5_modern")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="lenet5_modern")


def _input(input_shape):
    if min(input_shape[:2]) < 32:
        raise ValueError(f"LeNet-5 needs images of 32x32 or more, got input_shape {tuple(input_shape)}")
    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    return image, image
