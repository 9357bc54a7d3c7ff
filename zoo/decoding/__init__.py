"""From a generator's steps to its answers, in the graph: greedy, beam search and sampling.

A generator is anything with three methods:

    encode(inputs) -> memory      initial_state(memory) -> state      step(tokens, state, memory) -> logits, state

tokens are (B,) int32 and logits (B, V). state and memory are nested structures of tensors with batch first; a step
returns a state of the same structure, shapes and types. A state that is a dict may hold `attention` (B, S), the
weights over the source with which the step's logits were made (the initial ones are not read); decoding keeps it along
the chosen path. Beam search repeats memory for every beam; not so for a generator whose `shares_memory` is true: its
step takes `beams=W`, too, and tokens and state have W rows an item of memory, which stand together.

Everything runs in a `tf.while_loop` over stock operations and keeps the state from step to step, so it works eagerly,
in a `tf.function` and in a SavedModel. An item's answer doesn't depend on its neighbours in the batch.

Shapes: B batch, W beam width, N hypotheses returned, V vocabulary, S source positions, U = max_length.
"""

from zoo.decoding.beam import beam_search
from zoo.decoding.sampling import greedy, sample
from zoo.decoding.steps import LOWEST, Decoded

__all__ = ["LOWEST", "Decoded", "beam_search", "greedy", "sample"]
