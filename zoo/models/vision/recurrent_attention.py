"""Recurrent attention: Mnih, Heess, Graves & Kavukcuoglu 2014, "Recurrent models of visual attention".

arXiv 1406.6247, sections 3 and 4 and Figure 1. The model sees an image in a few glimpses and decides itself where to
look next. The class follows from the last state of the core network. Layers have the paper's names: glimpse sensor,
glimpse network, core network, location network, baseline.

Locations are (y, x), fractions of half the image from its centre: (-1, -1) is the upper left corner.
"""

import math

import keras
from keras import layers, ops

from zoo.registry import register_model

# The columns of the output `policy`.
COLUMNS = ("y", "x", "log_probability", "baseline", "answer")


@keras.saving.register_keras_serializable("zoo")
def reinforce(y_true, y_pred):
    """REINFORCE with a learned baseline (section 3.2), and the baseline's squared error, for each item.

    The reward R is 1 if the answer is right, else 0, after the last glimpse. The gradient is that of
    sum_t -(R - b_t) log p(l_t) + (R - b_t)^2, where (R - b_t) of the first term is a constant. The value is that of the
    second term, because the first has no meaning as a number. The first location is not chosen and has no loss.

    The terms need no weights: the location network is trained by the first alone, the baseline by the second, and all
    other layers by the cross-entropy of the class.

    Args:
        y_true: (B,) class numbers.
        y_pred: (B, glimpses, 5) with the columns COLUMNS.

    Returns:
        (B,) losses.
    """
    _, _, log_probability, baseline, answer = ops.unstack(y_pred[:, 1:], axis=-1)  # (B, glimpses - 1) each
    is_right = ops.equal(answer, ops.cast(ops.reshape(y_true, (-1, 1)), answer.dtype))  # Keras passes (B, 1)
    error = ops.cast(is_right, baseline.dtype) - baseline
    policy = ops.stop_gradient(error) * (ops.stop_gradient(log_probability) - log_probability)  # 0
    return ops.sum(policy + ops.square(error), axis=-1)


@keras.saving.register_keras_serializable("zoo")
class Zeros(layers.Layer):
    """(B, ...) -> (B, size), zeros: the state before the first glimpse, and the centre of an image."""

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x):
        return ops.zeros((ops.shape(x)[0], self.size), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("zoo")
class GlimpseSensor(layers.Layer):
    """The retina of Figure 1 A: square patches of one size around a location, each twice as wide as the one before.

    Image (B, H, W, C) and location (B, 2) -> (B, scales * patch * patch * C). A patch of scale s covers
    (patch * 2^s)^2 pixels of the image. Each of its values is the mean over the 2^s x 2^s pixels below it, where pixels
    count by the fraction that lies below it; at scale 0 this is bilinear interpolation. Outside the image is zero.

    The means are two products with matrices of these fractions, which need no gathering and run on every backend.

    Args:
        patch: height and width of a patch.
        scales: number of patches.
    """

    def __init__(self, patch: int, scales: int, **kwargs):
        super().__init__(**kwargs)
        self.patch, self.scales = patch, scales

    def call(self, image, location):
        image = ops.transpose(image, (0, 3, 1, 2))  # (B, C, H, W)
        height, width = image.shape[2:]
        patches = []
        for scale in range(self.scales):
            rows = self._fractions(location[:, :1], height, 2**scale)  # (B, patch, H)
            columns = self._fractions(location[:, 1:], width, 2**scale)  # (B, patch, W)
            columns = ops.transpose(columns, (0, 2, 1))  # (B, W, patch)
            patches.append(ops.matmul(ops.matmul(rows[:, None], image), columns[:, None]))  # (B, C, patch, patch)
        glimpse = ops.stack(patches, axis=1)  # (B, scales, C, patch, patch)
        return ops.reshape(glimpse, (-1, math.prod(glimpse.shape[1:])))

    def _fractions(self, place, size: int, width: int):
        """For an axis, (B, 1) -> (B, patch, size): the fraction of each cell of a patch that each pixel covers."""
        first = (place + 1.0) * (size / 2.0) - self.patch * width / 2.0  # (B, 1), where the patch begins, in pixels
        starts = first + ops.arange(self.patch, dtype=place.dtype) * width  # (B, patch)
        pixels = ops.arange(size, dtype=place.dtype)  # (size,)
        begin = ops.maximum(starts[..., None], pixels)
        end = ops.minimum(starts[..., None] + width, pixels + 1.0)
        return ops.relu(end - begin) / width

    def compute_output_shape(self, image_shape, location_shape):
        return (image_shape[0], self.scales * image_shape[3] * self.patch**2)

    def get_config(self):
        return {**super().get_config(), "patch": self.patch, "scales": self.scales}


@keras.saving.register_keras_serializable("zoo")
class GaussianLocation(layers.Layer):
    """The location of the next glimpse, section 4: in training drawn from a Gaussian, at inference its mean.

    Mean (B, 2) -> location (B, 2), and the log of its probability density (B, 1). No gradient flows through the
    location: the mean is trained through the log probability alone.

    Args:
        noise: standard deviation of each coordinate, in units of the location.
        seed: None draws new noise for each item and call; an integer makes the noise of all items and calls the same.
    """

    def __init__(self, noise: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.noise, self.seed = noise, seed
        self.seed_generator = keras.random.SeedGenerator() if seed is None else None

    def call(self, mean, training=False):
        location = mean
        if training:
            shape, seed = (ops.shape(mean), self.seed_generator) if self.seed is None else ((1, 2), self.seed)
            location = mean + keras.random.normal(shape, stddev=self.noise, dtype=self.compute_dtype, seed=seed)
        location = ops.stop_gradient(location)
        distance = ops.sum(ops.square((location - mean) / self.noise), axis=-1, keepdims=True)  # (B, 1)
        return location, -0.5 * distance - math.log(2.0 * math.pi * self.noise**2)

    def compute_output_shape(self, mean_shape):
        return mean_shape, (mean_shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "noise": self.noise, "seed": self.seed}


@keras.saving.register_keras_serializable("zoo")
class Detached(layers.Layer):
    """The same tensor, through which no gradient flows."""

    def call(self, x):
        return ops.stop_gradient(x)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class Policy(layers.Layer):
    """What REINFORCE needs of all glimpses, with the columns COLUMNS.

    Logits (B, classes), locations [(B, 2)], log probabilities [(B, 1)] and baselines [(B, 1)], lists with an entry per
    glimpse -> (B, glimpses, 5). No gradient flows to the logits.
    """

    def call(self, logits, locations, log_probabilities, baselines):
        answer = ops.cast(ops.argmax(logits, axis=-1), self.compute_dtype)[:, None]  # (B, 1)
        rows = [
            ops.concatenate([*row, answer], axis=-1)
            for row in zip(locations, log_probabilities, baselines, strict=True)
        ]
        return ops.stack(rows, axis=1)

    def compute_output_shape(self, logits_shape, locations_shape, log_probabilities_shape, baselines_shape):
        return (logits_shape[0], len(locations_shape), len(COLUMNS))


@register_model(
    task="image_classification",
    paper="Mnih, Heess, Graves & Kavukcuoglu 2014, Recurrent models of visual attention, arXiv 1406.6247",
    variants={"recurrent_attention": {}},
    parameters=209_165,
    # The ground is 0, as the sensor sees zeros outside the image.
    settings={"colour": "grey", "polarity": "light_on_dark"},
    tiny={
        "input_shape": (16, 16, 1),
        "glimpses": 3,
        "patch": 5,
        "scales": 2,
        "sensor_units": 48,
        "units": 64,
        "noise": 0.3,
        "seed": 1,
    },
    loss={"policy": "reinforce"},
    explanations={"glimpses": "zoo.explaining.glimpses"},
)
def recurrent_attention(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    glimpses: int = 6,
    patch: int = 8,
    scales: int = 1,
    sensor_units: int = 128,
    units: int = 256,
    noise: float = 0.15,
    seed: int | None = None,
) -> keras.Model:
    """A network that looks at parts of an image one after the other, and decides itself where.

    Args:
        input_shape: (H, W, C).
        classes: number of classes; 0 gives the core's last state as `embeddings`.
        glimpses: number of glimpses; the paper has up to 7 for MNIST.
        patch: height and width of a patch of the glimpse sensor: 8 for MNIST, 12 for translated digits.
        scales: number of patches of a glimpse, each twice as wide as the one before: 1 for MNIST, 3 for translated
            digits.
        sensor_units: size of the two hidden layers of the glimpse network.
        units: size of a glimpse's features and of the core's state.
        noise: standard deviation of locations in training, as a fraction of half the image.
        seed: of the noise; None draws new noise for each image and step. With an integer the noise of all images and
            steps is the same, so that steps of training can be compared.

    Returns:
        A model {"image": (B, H, W, C)} -> {"logits": (B, classes), "policy": (B, glimpses, 5)}. `policy` has the
        location (y, x) of each glimpse, the log of its probability density, the expected reward, and the answer.

    Raises:
        ValueError: glimpses, patch or scales below 1, or noise that is not above 0.
    """
    for name, value in {"glimpses": glimpses, "patch": patch, "scales": scales, "sensor_units": sensor_units}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
    if not 0.0 < noise < math.inf:
        raise ValueError(f"noise must be above 0, got {noise}")
    sensor = GlimpseSensor(patch, scales, dtype="float32", name="glimpse_sensor")
    what = layers.Dense(sensor_units, activation="relu", name="glimpse_what")
    where = layers.Dense(sensor_units, activation="relu", name="glimpse_where")
    # A dense layer of two joined inputs is the paper's sum of two linear layers.
    join_glimpse, glimpse_network = layers.Concatenate(name="glimpse_join"), _rectified(units, "glimpse_network")
    join_core, core = layers.Concatenate(name="core_join"), _rectified(units, "core")
    detached = Detached(dtype="float32", name="detached")
    location_network = layers.Dense(2, activation="tanh", dtype="float32", name="location_network")
    draw = GaussianLocation(noise, seed, dtype="float32", name="location")
    # At first it expects no reward, whatever the state.
    expected_reward = layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="baseline")

    image = keras.Input(tuple(input_shape), name="image")  # (B, H, W, C)
    state = Zeros(units, name="first_state")(image)  # (B, units)
    # The first glimpse is at the centre, in training near it: an image has no better place before it was seen. Other
    # implementations draw the first location anywhere, which costs a glimpse.
    mean = centre = Zeros(2, dtype="float32", name="centre")(image)  # (B, 2)
    baseline = layers.Identity(dtype="float32", name="no_baseline")(centre[:, :1])  # (B, 1)
    locations, log_probabilities, baselines = [], [], []
    for number in range(glimpses):
        if number:
            # The paper trains the location network by REINFORCE alone. Its gradient ends at the state, and so does
            # that of the baseline, so that the core serves the classification.
            fixed = detached(state)
            mean, baseline = location_network(fixed), expected_reward(fixed)  # (B, 2), (B, 1)
        location, log_probability = draw(mean)  # (B, 2), (B, 1)
        locations.append(location)
        log_probabilities.append(log_probability)
        baselines.append(baseline)
        features = join_glimpse([what(sensor(image, location)), where(location)])  # (B, 2 * sensor_units)
        state = core(join_core([state, glimpse_network(features)]))  # (B, units)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": state}, name="recurrent_attention")
    logits = layers.Dense(classes, dtype="float32", name="head")(state)  # (B, classes)
    policy = Policy(dtype="float32", name="policy")(logits, locations, log_probabilities, baselines)
    return keras.Model({"image": image}, {"logits": logits, "policy": policy}, name="recurrent_attention")


def _rectified(units: int, name: str) -> layers.Dense:
    return layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=name)
