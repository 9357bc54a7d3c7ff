"""What the base class of tasks does for all of them."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.tasks.signatures import masked
from zoo.tasks.task import Criterion


def test_answers_of_bad_items_are_empty():
    error = tf.constant(["", "damaged", ""])
    answers = {
        "label": tf.constant(["a", "b", "c"]),
        "labels": tf.constant([["a", "b"], ["c", "d"], ["e", "f"]]),
        "score": tf.constant([0.5, np.nan, -0.25]),
        "grid": tf.ones((3, 2, 2)),
        "count": tf.constant([1, 2, 3], tf.int64),
        "is_known": tf.constant([True, True, False]),
    }
    result = {name: value.numpy().tolist() for name, value in masked(answers, error).items()}
    assert result == {
        "label": [b"a", b"", b"c"],
        "labels": [[b"a", b"b"], [b"", b""], [b"e", b"f"]],
        "score": [0.5, 0.0, -0.25],
        "grid": [[[1.0, 1.0]] * 2, [[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2],
        "count": [1, 0, 3],
        "is_known": [True, False, False],
    }
    for name, value in masked(answers, error).items():
        assert value.dtype == answers[name].dtype


@pytest.mark.parametrize(
    ("criterion", "better", "worse"),
    [
        (("accuracy", "max"), {"val_accuracy": 0.9, "loss": 2.0}, {"val_accuracy": 0.8, "loss": 1.0}),
        (("perplexity", "min"), {"val_perplexity": 3.0, "loss": 2.0}, {"val_perplexity": 4.0, "loss": 1.0}),
        (("accuracy", "max"), {"val_accuracy": 0.9, "val_loss": 1.0}, {"val_accuracy": 0.9, "val_loss": 1.5}),
        (("accuracy", "max"), {"val_accuracy": 0.9, "val_loss": 1, "loss": 3}, {"val_accuracy": 0.9, "val_loss": 2}),
        (("accuracy", "max"), {"loss": 1.0}, {"loss": 1.5}),
        (("perplexity", "min"), {"loss": 1.0}, {"loss": 1.5}),
    ],
)  # fmt: skip
def test_a_criterion_chooses_the_better_row(criterion, better, worse):
    better, worse = {"loss": 0.0, **better}, {"loss": 0.0, **worse}
    assert Criterion(*criterion).score(better) > Criterion(*criterion).score(worse)
