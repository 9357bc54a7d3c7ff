"""Convolutional acoustic model: Abdel-Hamid et al. 2014; Sainath & Parada 2015.

O. Abdel-Hamid, A. Mohamed, H. Jiang, L. Deng, G. Penn & D. Yu, "Convolutional neural networks for speech recognition",
IEEE/ACM Transactions on Audio, Speech, and Language Processing 22, https://doi.org/10.1109/TASLP.2014.2339736: pooling
along the frequency axis makes a recogniser robust to the differences of speakers, who shift formants.

T. N. Sainath & C. Parada, "Convolutional neural networks for small-footprint keyword spotting", Interspeech 2015,
https://doi.org/10.21437/Interspeech.2015-352: the defaults are its table 1, cnn-trad-fpool3.

Deviations: the paper's input is a window of 32 frames. Here a word has any length, so convolutions have padding, the
linear and the fully connected layer see one frame each, and the mean over an item's frames goes to the softmax layer.
"""

import keras
from keras import layers

from zoo.layers.frames import FrameAverage, FrameMask
from zoo.registry import register_model


@register_model(
    task="audio_classification",
    paper="Sainath & Parada 2015, Convolutional neural networks for small-footprint keyword spotting, Interspeech, "
    "doi:10.21437/Interspeech.2015-352; Abdel-Hamid et al. 2014, doi:10.1109/TASLP.2014.2339736",
    parameters=206_378,
    settings={"front_end": {"filters": 40, "normalize": "fixed"}},
    tiny={"filters": (16, 16), "kernel_sizes": ((3, 5), (3, 3)), "pool_sizes": ((2, 3), (1, 2)), "units": 32},
)
def conv_acoustic(
    bands: int = 40,
    maps: int = 1,
    classes: int = 10,
    filters: tuple[int, ...] = (64, 64),
    kernel_sizes: tuple[tuple[int, int], ...] = ((20, 8), (10, 4)),
    pool_sizes: tuple[tuple[int, int], ...] = ((1, 3), (1, 1)),
    linear: int = 32,
    units: int = 128,
    dropout: float = 0.0,
) -> keras.Model:
    """Convolutional network for isolated words and other short sounds.

    Args:
        bands: F, features of a frame that are neighbours in frequency: the filters of the front end.
        maps: C, kinds of them: 3 with first and second differences.
        classes: number of classes; 0 gives the mean over the frames as `embeddings`.
        filters: maps of each convolution.
        kernel_sizes: frames and bands of each convolution.
        pool_sizes: frames and bands of the max pooling after each convolution.
        linear: size of the linear layer; 0 leaves it out.
        units: size of the fully connected layer.
        dropout: fraction of the units' means dropped in training.

    Returns:
        A model {"frames": (B, N, C F), "frame_count": (B,)} -> {"logits": (B, classes)}.

    Raises:
        ValueError: lists of unequal lengths, or more pooling than there are bands.
    """
    if not len(filters) == len(kernel_sizes) == len(pool_sizes) >= 1:
        raise ValueError(
            f"filters, kernel_sizes and pool_sizes must have the same length, got {len(filters)}, "
            f"{len(kernel_sizes)} and {len(pool_sizes)}"
        )
    frames = keras.Input((None, bands * maps), name="frames")
    frame_count = keras.Input((), dtype="int32", name="frame_count")
    x = layers.Reshape((-1, maps, bands), name="maps")(frames)  # (B, N, C, F)
    x = layers.Permute((1, 3, 2), name="bands")(x)  # (B, N, F, C)
    stride = 1  # frames of the input per frame of x
    for stage, (size, kernel, pool) in enumerate(zip(filters, kernel_sizes, pool_sizes, strict=True), start=1):
        if x.shape[2] < pool[1]:
            raise ValueError(f"stage {stage} pools {pool[1]} bands, but only {x.shape[2]} are left")
        x = FrameMask(stride, name=f"mask{stage}")(x, frame_count)
        x = layers.Conv2D(
            size,
            tuple(kernel),
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{stage}",
        )(x)  # (B, N, F, size)
        stride *= pool[0]
        if pool[0] > 1:
            # The last window of an item may be part empty; "same" padding would depend on the length of the batch.
            x = FrameMask(stride // pool[0], name=f"end{stage}")(x, frame_count)
            x = layers.ZeroPadding2D(((0, pool[0] - 1), (0, 0)), name=f"pad{stage}")(x)
        if tuple(pool) != (1, 1):
            x = layers.MaxPooling2D(tuple(pool), name=f"pool{stage}")(x)  # (B, ceil(N / pool[0]), F // pool[1], size)
    x = layers.Reshape((-1, x.shape[2] * x.shape[3]), name="flat")(x)  # (B, N, F size)
    if linear:
        x = layers.Dense(linear, name="linear")(x)  # (B, N, linear)
    x = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name="hidden")(x)  # (B, N, units)
    x = FrameAverage(stride, name="average")(x, frame_count)  # (B, units)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    inputs = {"frames": frames, "frame_count": frame_count}
    if classes == 0:
        return keras.Model(inputs, {"embeddings": x}, name="conv_acoustic")
    logits = layers.Dense(classes, dtype="float32", name="head")(x)  # (B, classes)
    return keras.Model(inputs, {"logits": logits}, name="conv_acoustic")
