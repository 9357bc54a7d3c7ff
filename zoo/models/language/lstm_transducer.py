"""An LSTM from sequence to sequence, beside the neural Turing machine: Graves, Wayne & Danihelka 2014, arXiv 1410.5401.

The defaults are those of table 3 for copying and associative recall, three layers of 256 units. Every layer also reads
the input, and the output all layers (Graves 2013, arXiv 1308.0850, section 2), which the paper does not state.

Shapes: B batch, S steps, D size of a vector of the input, U units.
"""

import keras
from keras import layers

from zoo.layers.recurrent import Recurrent
from zoo.registry import register_model


@register_model(
    task="sequence_transduction",
    paper="Graves, Wayne & Danihelka 2014, Neural Turing machines, arXiv 1410.5401, the LSTM baseline",
    parameters=1_347_592,  # 1,352,969 in table 3
    tiny={"width": 3, "bits": 3, "units": 6, "depth": 2},
)
def lstm_transducer(width: int = 8, bits: int = 8, units: int = 256, depth: int = 3) -> keras.Model:
    """Layers of long short-term memory, without another memory.

    Args:
        width: D, the numbers of a vector of the input, without the end mark.
        bits: the bits of a vector of the answer.
        units: U, units of every layer.
        depth: the number of layers.

    Returns:
        A model from `sequence` (B, S, D + 1), the vectors of the input, an end mark and zeros, to `logits`
        (B, S, bits).
    """
    sequence = keras.Input((None, width + 1), name="sequence")
    outputs = []
    for number in range(1, depth + 1):
        x = layers.Concatenate(name=f"inputs{number}")([sequence, outputs[-1]]) if outputs else sequence
        outputs.append(Recurrent(units, "lstm", name=f"lstm{number}")(x)[0])  # (B, S, U)
    x = layers.Concatenate(name="states")(outputs) if depth > 1 else outputs[0]
    return keras.Model(sequence, layers.Dense(bits, name="logits")(x), name="lstm_transducer")
