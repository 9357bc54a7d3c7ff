"""A small network and batches of tokens whose weights differ."""

import keras
import numpy as np
import tensorflow as tf

from zoo.data.stream import Stream


def tokens(model_units=4):
    """A toy of unequal lengths: the loss counts each token once, whatever its row; 5 rows, the last batch has 1."""
    random = np.random.default_rng(0)
    x = random.random((5, 6, 3), "float32")
    y = random.integers(0, model_units, (5, 6))
    weight = (np.arange(6) < random.integers(1, 7, (5, 1))).astype("float32")
    return x, y, weight


def toy() -> keras.Model:
    """Two dense layers over (6, 3) tokens, compiled with a loss that means over tokens."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 3), name="x")
    model = keras.Model({"x": image}, {"logits": keras.layers.Dense(4, dtype="float32")(keras.layers.Dense(8)(image))})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.SGD(0.5), loss, auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    return model


def stream(batch_size: int = 2) -> Stream:
    """The tokens in batches."""
    data = tf.data.Dataset.from_tensor_slices(tokens())
    return Stream(data, lambda *item: item, None, lambda x, y, w: ({"x": x}, y, w), 5, batch_size, shuffle=False)
