"""The log probability per token of an answer, from a score with the search's penalties."""

import numpy as np
import pytest
from keras import ops

from tests.helpers.toy_generator import ToyGenerator, example
from zoo import decoding

END, LONGEST = 1, 7


@pytest.mark.parametrize(
    "penalties", [{}, {"length_penalty": 1.5}, {"length_penalty": 0.7, "coverage_penalty": 0.3}], ids=str
)
def test_it_is_that_of_teacher_forcing(penalties):
    """For answers with an end and for answers that were cut off."""
    model, inputs = ToyGenerator(seed=3), {key: value for key, value in example().items() if key != "target"}
    search = {"start": 2, "end": END, "max_length": LONGEST}
    decoded = decoding.beam_search(model, inputs, **search, width=3, n_best=2, **penalties)
    found = decoding.mean_log_probability(decoded, LONGEST, **penalties).numpy()
    tokens, lengths = decoded.tokens[:, 0].numpy(), decoded.lengths[:, 0].numpy()
    assert len(set(lengths)) > 1
    before = np.concatenate([np.full((len(tokens), 1), 2), tokens[:, :-1]], axis=1)
    each = np.take_along_axis(
        ops.convert_to_numpy(ops.log_softmax(model({**inputs, "target": before}))), tokens[..., None], axis=-1
    )[..., 0]
    for value, row, length in zip(found, each, lengths, strict=True):
        assert value == pytest.approx(row[: length + 1].mean(), rel=1e-4)
