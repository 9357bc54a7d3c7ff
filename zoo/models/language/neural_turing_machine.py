"""The neural Turing machine: Graves, Wayne & Danihelka 2014, "Neural Turing machines", arXiv 1410.5401.

The defaults are those of table 2 for copying: an LSTM of 100 units, one head that reads and one that writes, and a
memory of 128 places with 20 numbers each. Table 1 has a feed-forward controller of 100 units for copying, and one of
256 units with 4 heads for associative recall. The machine itself is `zoo.layers.turing`.

Shapes: B batch, S steps, D size of a vector of the input, U units, H heads of each kind, W numbers of a place.
"""

import keras
from keras import layers

from zoo.layers.turing import TuringMachine
from zoo.registry import register_model


@register_model(
    task="sequence_transduction",
    paper="Graves, Wayne & Danihelka 2014, Neural Turing machines, arXiv 1410.5401, the LSTM controller for copying",
    parameters=62_536,  # 67,561 in table 2, which learns the first memory, of 2,560 numbers
    tiny={"width": 3, "bits": 3, "units": 8, "places": 6, "memory_width": 4},
)
def neural_turing_machine(
    width: int = 8,
    bits: int = 8,
    controller: str = "lstm",
    units: int = 100,
    heads: int = 1,
    places: int = 128,
    memory_width: int = 20,
    shift: int = 1,
) -> keras.Model:
    """A controller that writes to a memory and reads from it.

    Args:
        width: D, the numbers of a vector of the input, without the end mark.
        bits: the bits of a vector of the answer.
        controller: "lstm", or "feed_forward" with one hidden layer.
        units: U, units of the controller.
        heads: H, the number of heads that read, and of heads that write.
        places: the number of places of the memory.
        memory_width: W, the numbers of a place.
        shift: the greatest rotation of a head's attention in one step, in places.

    Returns:
        A model from `sequence` (B, S, D + 1), the vectors of the input, an end mark and zeros, to `logits`
        (B, S, bits).

    Raises:
        ValueError: an unknown controller, or a size that is not positive.
    """
    machine = TuringMachine(units, controller, heads, places, memory_width, shift, name="memory")
    sequence = keras.Input((None, width + 1), name="sequence")
    x = layers.Dense(machine.gates, name="controller")(sequence)  # (B, S, G)
    x = machine(x)  # (B, S, U + H W)
    # The output sees what was just read, as in Collier & Beel 2018, arXiv 1807.08518; else it would be a step late.
    return keras.Model(sequence, layers.Dense(bits, name="logits")(x), name="neural_turing_machine")
