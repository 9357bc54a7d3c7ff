"""Recurrent networks that transcribe speech: Graves, Mohamed & Hinton 2013, "Speech recognition with deep recurrent
neural networks", arXiv 1303.5778, section 3.1.

A deep bidirectional LSTM reads frames of features; at each step it gives the logits of the symbols and of a blank, for
connectionist temporal classification (CTC; Graves et al. 2006). The defaults are CTC-3L-250H of table 1, and those of
the streaming form CTC-3L-421H-UNI, which has one direction and as many parameters.

Differences from the paper: 41 filters in the place of 40 and an energy, without deltas, which need later frames, in the
streaming form; the LSTM has no peephole connections; training uses dropout between layers in the place of
weight noise; and `stack` can put several frames into one step (Sak et al. 2015, arXiv 1507.06947, section 4), which
makes a network as many times faster.

Shapes: B batch, N frames, D features, K frames per step, T steps, V symbols with the blank.
"""

import keras
from keras import layers, ops

from zoo.layers.model import GeneratorModel
from zoo.layers.recurrent import LengthMask, Recurrent
from zoo.registry import register_model

# The logits of a step after an item's end. The blank's probability is then 1 in every type of numbers.
CERTAIN_BLANK, NO_SYMBOL = 0.0, -1e4


@keras.saving.register_keras_serializable("zoo")
class StackedFrames(layers.Layer):
    """Puts each K frames into one step: (B, N, D) and lengths (B,) -> (B, T, K D) and (B,), the number of full steps.

    Frames after an item's end become 0.
    """

    def __init__(self, size: int, **options):
        super().__init__(**options)
        self.size = size

    def call(self, frames, frame_count):
        frame_count = ops.cast(frame_count, "int32")
        count, width = ops.shape(frames)[1], frames.shape[-1]
        is_valid = ops.arange(count)[None] < frame_count[:, None]
        frames = ops.where(is_valid[..., None], frames, ops.zeros((), frames.dtype))
        steps = (count + self.size - 1) // self.size
        frames = ops.pad(frames, ((0, 0), (0, self.size - 1), (0, 0)))[:, : steps * self.size]
        return ops.reshape(frames, (-1, steps, self.size * width)), frame_count // self.size

    def compute_output_spec(self, frames, frame_count):
        batch, count, width = frames.shape
        steps = None if count is None else (count + self.size - 1) // self.size
        stacked = keras.KerasTensor((batch, steps, self.size * width), dtype=self.compute_dtype)
        return stacked, keras.KerasTensor((batch,), dtype="int32")

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("zoo")
class BlankAfterEnd(layers.Layer):
    """Gives the blank the probability 1 where a step is not valid: logits (B, T, V) and a mask (B, T) -> (B, T, V).

    Losses and decoders of CTC then need no lengths, because a certain blank adds nothing.
    """

    def call(self, logits, mask):
        blank = ops.where(ops.arange(logits.shape[-1]) == 0, CERTAIN_BLANK, NO_SYMBOL)
        return ops.where(mask[..., None], logits, ops.cast(blank, logits.dtype))

    def compute_output_spec(self, logits, mask):
        return keras.KerasTensor(logits.shape, dtype=logits.dtype)


@keras.saving.register_keras_serializable("zoo")
class BlstmCtcModel(GeneratorModel):
    """The model of `blstm_ctc`, with the same arguments.

    Inputs: `frames` (B, N, D), and `frame_count` (B,), the length of each item. Output: `logits` (B, T, V), where V - 1
    are symbols and class 0 is the blank. T is N / K, rounded up, but K frames that are not full have no step: after an
    item's last step the blank is certain.

    Attributes:
        frames_per_step: K.
    """

    directions = ("forward", "backward")

    def __init__(self, name="blstm_ctc", **arguments):
        self.arguments = arguments
        units, depth = arguments["units"], arguments["depth"]
        self.frames_per_step = arguments["stack"]
        self.stacked = StackedFrames(self.frames_per_step, name="stacked")
        self.mask = LengthMask(name="mask")
        self.recurrent = [
            [
                Recurrent(units, "lstm", reverse=side == "backward", compile_long=True, name=f"{side}{number}")
                for side in self.directions
            ]
            for number in range(1, depth + 1)
        ]
        has_two = len(self.directions) > 1
        self.joins = [layers.Concatenate(name=f"joined{number}") if has_two else None for number in range(1, depth + 1)]
        self.drops = [layers.Dropout(arguments["dropout"], name=f"dropout{number}") for number in range(1, depth + 1)]
        self.head = layers.Dense(arguments["symbols"] + 1, dtype="float32", name="head")
        self.ends = BlankAfterEnd(dtype="float32", name="logits")
        frames = keras.Input((None, arguments["features"]), name="frames")
        frame_count = keras.Input((), dtype="int32", name="frame_count")
        logits, _ = self._logits(*self.stacked(frames, frame_count))
        super().__init__({"frames": frames, "frame_count": frame_count}, {"logits": logits}, name=name)

    def _logits(self, value, steps, states=None):
        """Stacked frames (B, T, K D) and the number of steps (B,) -> logits, and the last states of every layer.

        Args:
            states: the states before the first step, of each layer in each direction; None: zeros.
        """
        mask, after = self.mask(value, steps), []
        states = states or [[None] * len(self.directions)] * len(self.recurrent)
        for own, before, join, drop in zip(self.recurrent, states, self.joins, self.drops, strict=True):
            pairs = [layer(value, mask, state) for layer, state in zip(own, before, strict=True)]
            outputs = [output for output, _ in pairs]
            value = drop(join(outputs) if join else outputs[0])
            after.append([state for _, state in pairs])
        return self.ends(self.head(value), mask), after


@keras.saving.register_keras_serializable("zoo")
class BlstmCtcStreamingModel(BlstmCtcModel):
    """The model of `blstm_ctc_streaming`, with the same arguments, inputs and outputs as BlstmCtcModel."""

    directions = ("forward",)

    def __init__(self, name="blstm_ctc_streaming", **arguments):
        super().__init__(name=name, **arguments)

    def stream_state(self, batch: int) -> dict:
        """The state of `stream_step` before the first frame."""
        zeros = [[layer.cell.first(batch) for layer in own] for own in self.recurrent]
        kept = ops.zeros((batch, self.frames_per_step - 1, self.arguments["features"]))
        return {"recurrent": zeros, "frames": kept, "frame_count": ops.zeros((batch,), "int32")}

    def stream_step(self, frames, frame_count, state: dict):
        """The logits of the steps that are full now: those of all chunks together are those of the whole.

        Args:
            frames: (B, N, D), the frames that follow the last chunk. B stays the same.
            frame_count: (B,), the number of frames of each item.
            state: as the call for the last chunk returned it, or `stream_state`.

        Returns:
            logits (B, T, V), where the blank is certain after an item's last step; the number of steps (B,); the state.
        """
        size, kept, frame_count = self.frames_per_step, state["frame_count"], ops.cast(frame_count, "int32")
        total = kept + frame_count
        # The frames that were kept, then the new ones, without a gap.
        both = ops.concatenate([state["frames"], frames], axis=1)
        place = ops.arange(ops.shape(both)[1])
        gap = ops.where(place < kept[:, None], 0, size - 1 - kept[:, None])
        source = ops.minimum(place + gap, ops.shape(both)[1] - 1)
        joined = ops.take_along_axis(both, source[..., None], axis=1)
        stacked, steps = self.stacked(joined, total)
        logits, recurrent = self._logits(stacked, steps, state["recurrent"])
        source = steps[:, None] * size + ops.arange(size - 1)
        source = ops.minimum(source, ops.shape(both)[1] - 1)  # what is kept from there on is not valid
        frames = ops.take_along_axis(joined, source[..., None], axis=1)
        return logits, steps, {"recurrent": recurrent, "frames": frames, "frame_count": total - steps * size}


@register_model(
    task="speech_recognition",
    paper="Graves, Mohamed & Hinton 2013, Speech recognition with deep recurrent neural networks, arXiv 1303.5778",
    parameters=3_783_062,  # 3.8 million in table 1
    settings={"front_end": {"filters": 41, "deltas": 2, "normalize": "utterance"}},
    tiny={"features": 20, "symbols": 5, "units": 6, "depth": 2, "stack": 2},
)
def blstm_ctc(
    features: int = 123,
    symbols: int = 61,
    units: int = 250,
    depth: int = 3,
    stack: int = 1,
    dropout: float = 0.0,
) -> keras.Model:
    """A deep bidirectional LSTM from frames of features to the logits of symbols and of a blank.

    Args:
        features: the number of features per frame.
        symbols: the number of symbols, without the blank.
        units: units of every layer in each direction.
        depth: the number of layers.
        stack: frames per step; 1 is the paper's.
        dropout: dropout rate of the outputs of every layer.
    """
    return BlstmCtcModel(features=features, symbols=symbols, units=units, depth=depth, stack=stack, dropout=dropout)


@register_model(
    task="speech_recognition",
    paper="Graves, Mohamed & Hinton 2013, Speech recognition with deep recurrent neural networks, arXiv 1303.5778, the "
    "unidirectional network",
    parameters=3_645_080,  # 3.8 million in table 1, with deltas
    settings={"front_end": {"filters": 41, "normalize": "running"}},
    tiny={"features": 20, "symbols": 5, "units": 6, "depth": 2, "stack": 2},
)
def blstm_ctc_streaming(
    features: int = 41,
    symbols: int = 61,
    units: int = 421,
    depth: int = 3,
    stack: int = 1,
    dropout: float = 0.0,
) -> keras.Model:
    """The form of `blstm_ctc` with one direction, which transcribes sound while it arrives.

    Args:
        features: the number of features per frame.
        symbols: the number of symbols, without the blank.
        units: units of every layer.
        depth: the number of layers.
        stack: frames per step; 1 is the paper's.
        dropout: dropout rate of the outputs of every layer.
    """
    return BlstmCtcStreamingModel(
        features=features, symbols=symbols, units=units, depth=depth, stack=stack, dropout=dropout
    )
