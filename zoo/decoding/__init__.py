"""Decoding a generator's answers step by step, in the graph: greedy, beam search and sampling.

`zoo.decoding.ctc` decodes the outputs of models with one class per frame, and is described there.

A generator is anything with three methods:

    encode(inputs) -> memory      initial_state(memory) -> state      step(tokens, state, memory) -> logits, state

tokens are (B,) int32 and logits (B, V). state and memory are nested structures of tensors with the batch axis first; a
step returns a state of the same structure, shapes and types. A state that is a dict may have the key `attention`
(B, S): the weights over the source from which the step computed its logits. Decoding keeps these along the chosen path;
the initial ones are not read. Beam search repeats memory for every beam, unless the generator's `shares_memory` is
true: then its step also takes `beams=W`, and tokens and state have W consecutive rows per item of memory.

Everything runs in a `tf.while_loop` over standard operations and keeps the state from step to step, so it works
eagerly, in a `tf.function` and in a SavedModel. An item's answer does not depend on the other items of the batch.

Shapes: B batch, W beam width, N hypotheses returned, V vocabulary, S source positions, U = max_length.
"""

from zoo.decoding.beam import beam_search, mean_log_probability
from zoo.decoding.sampling import greedy, sample
from zoo.decoding.steps import LOWEST, Decoded

__all__ = ["LOWEST", "Decoded", "beam_search", "greedy", "mean_log_probability", "sample"]
