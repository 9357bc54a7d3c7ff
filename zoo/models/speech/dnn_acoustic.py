"""Deep neural network acoustic model: Mohamed, Dahl & Hinton 2012, "Acoustic modeling using deep belief networks".

IEEE Transactions on Audio, Speech, and Language Processing 20(1), https://doi.org/10.1109/TASL.2011.2109382. The
network sees a window of frames and gives the classes of the frame in its middle. The paper first trains its hidden
layers one by one as restricted Boltzmann machines, without labels (`zoo.training.pretraining`), then the network by
backpropagation.

The defaults are one of the networks that the paper compares: 11 frames of 39 features (12 cepstra and an energy, and
their first and second differences), five layers of 2,048 sigmoid units, and three states for each of 61 phones.

Deviation: `activation` may be "relu", which later work uses without pretraining (Zeiler et al. 2013, "On rectified
linear units for speech processing", doi:10.1109/ICASSP.2013.6638312).
"""

import keras
from keras import layers

from zoo.layers.frames import ContextFrames
from zoo.registry import register_model


@register_model(
    task="frame_classification",
    paper="Mohamed, Dahl & Hinton 2012, Acoustic modeling using deep belief networks, IEEE TASLP 20(1), "
    "doi:10.1109/TASL.2011.2109382",
    parameters=18_041_015,
    settings={"front_end": {"cepstra": 13, "deltas": 2, "normalize": "utterance"}},
    tiny={"features": 20, "context": 2, "classes": 4, "units": 10, "depth": 2},
)
def dnn_acoustic(
    features: int = 39,
    context: int = 5,
    classes: int = 183,
    units: int = 2048,
    depth: int = 5,
    activation: str = "sigmoid",
    dropout: float = 0.0,
) -> keras.Model:
    """From frames of features to the classes of each frame.

    Args:
        features: D, features of a frame.
        context: frames on each side of the one that is classified; beyond the ends, the first or last frame repeats.
        classes: number of classes.
        units: units of every hidden layer.
        depth: number of hidden layers.
        activation: "sigmoid" or "relu".
        dropout: fraction of the units of every hidden layer dropped in training.

    Returns:
        A model {"frames": (B, N, D), "frame_count": (B,)} -> {"logits": (B, N, classes)}.

    Raises:
        ValueError: depth < 1, classes < 1, or another activation.
    """
    if activation not in ("sigmoid", "relu"):
        raise ValueError(f"activation must be sigmoid or relu, got {activation!r}")
    if depth < 1 or classes < 1:
        raise ValueError(f"depth and classes must be integers >= 1, got {depth} and {classes}")
    frames = keras.Input((None, features), name="frames")
    frame_count = keras.Input((), dtype="int32", name="frame_count")
    x = ContextFrames(context, name="context")(frames, frame_count)  # (B, N, (2 context + 1) D)
    initial = "he_normal" if activation == "relu" else "glorot_uniform"
    for number in range(1, depth + 1):
        x = layers.Dense(units, activation=activation, kernel_initializer=initial, name=f"hidden{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, N, classes)
    return keras.Model({"frames": frames, "frame_count": frame_count}, {"logits": logits}, name="dnn_acoustic")
