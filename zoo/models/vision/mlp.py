"""The multilayer network of LeCun, Bengio & Hinton 2015, "Deep learning", Nature 521, https://doi.org/10.1038/nature14539.

Figure 1c: each unit takes the weighted sum z of the outputs of the layer below and passes it through a non-linear
function f(z); the text names the rectified linear unit max(0, z), tanh and the logistic function. Figure 1d is what
Keras's automatic differentiation does; tests compare it with the figure's equations.
"""

import math

import keras
from keras import layers

from zoo.registry import register_model


@register_model(
    task="image_classification",
    paper="LeCun, Bengio & Hinton 2015, Deep learning, Nature 521, Figure 1, doi:10.1038/nature14539",
    variants={"mlp": {}},
    # The figure draws a network of a few units and states no size; this is the count of the defaults below.
    parameters=669_706,
    settings={
        "colour": "grey",
        "polarity": "light_on_dark",
        "centre": "ink",
        "fraction": 0.714,
        "low": 0.0,
        "high": 1.0,
    },
    tiny={"hidden_units": (16, 12), "input_shape": (16, 16, 1)},
)
def mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    hidden_units: tuple[int, ...] = (512, 512),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Multilayer network: two hidden layers and an output layer, fully connected.

    Args:
        input_shape: the shape of one item, without the batch; it is flattened.
        classes: number of classes; 0 gives the last hidden layer as `embeddings`.
        hidden_units: units of each hidden layer H1, H2, ...
        activation: the function f of the hidden units: "relu", "tanh" or "sigmoid".
        dropout: fraction of hidden outputs dropped in training (not in the figure; the review's text mentions it).

    Returns:
        A model {"image": (B, *input_shape)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: an activation that the figure's text does not name.
    """
    if activation not in ("relu", "tanh", "sigmoid"):
        raise ValueError(f"activation must be one of 'relu', 'tanh', 'sigmoid', got {activation!r}")
    image = keras.Input(tuple(input_shape), name="image")  # (B, *input_shape)
    x = layers.Reshape((math.prod(input_shape),), name="flatten")(image)  # (B, D)
    # He initialisation suits the rectifier, Glorot the two squashing functions.
    initializer = "he_normal" if activation == "relu" else "glorot_uniform"
    for number, units in enumerate(hidden_units, start=1):
        x = layers.Dense(units, activation=activation, kernel_initializer=initializer, name=f"hidden{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    if classes == 0:
        return keras.Model({"image": image}, {"embeddings": x}, name="mlp")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model({"image": image}, {"logits": logits}, name="mlp")
