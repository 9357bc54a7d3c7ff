"""Arrays and .npy files as inputs: every good form and every kind of damage."""

import resource

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.tensors import BAD, GOOD, npy, small
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of
from zoo.tasks.raw import tensor


def test_every_form_of_an_item_gives_the_same_answer(tmp_path):
    pipeline = zoo.pipeline(small())
    values = np.array([[1, -2], [3, 4], [0, 5], [-6, 7]])
    np.save(tmp_path / "item.npy", values.astype("float64"))
    expected = pipeline(values.astype("float32"))
    assert expected["input"] == "<array 4 x 2>"
    assert sum(expected["scores"]) == pytest.approx(1)
    forms = [
        values,
        values.astype("float16"),
        values.astype(">f8"),
        np.asfortranarray(values),
        values.tolist(),
        tuple(map(tuple, values.tolist())),
        [list(map(np.float32, row)) for row in values],
        tf.constant(values),
        tmp_path / "item.npy",
        str(tmp_path / "item.npy"),
        npy(values),
        npy(np.asfortranarray(values), (2, 0)),
        bytearray(npy(values.astype(">i2"))),
    ]
    for form in forms:
        answer = pipeline(form)
        assert isinstance(answer, dict), form
        assert answer["labels"] == expected["labels"]
        np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-6)
    for batch in (forms, np.stack([values] * 3), [values.tolist()] * 3):
        for answer in pipeline(batch):
            np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-6)
    assert pipeline([]) == []
    assert pipeline(np.zeros((0, 4, 2))) == []
    flags = np.array([[True, False], [True, True], [False, False], [True, False]])
    np.testing.assert_allclose(pipeline(flags)["scores"], pipeline(flags.astype("float32"))["scores"], atol=1e-6)


@pytest.mark.parametrize(
    ("x", "rank", "several"),
    [
        (np.zeros(3), 1, False),
        ([1.0, 2.0], 1, False),
        ([[1.0, 2.0]], 1, True),
        (np.zeros((3, 2)), 1, True),
        ([1.0, 2.0], 2, False),  # of a wrong shape, but one item
        ([[1.0, 2.0]], 2, False),
        ([np.zeros((4, 2))], 2, True),
        ([np.zeros(4), np.zeros(4)], 2, True),
        ([[np.True_, np.False_]], 2, False),
        (["a.npy"], 2, True),
        ([b""], 2, True),
        ("a.npy", 2, False),
        (b"", 2, False),
        (1.0, 2, False),
        ([None], 2, True),
        ([], 2, True),
        (np.zeros((2, 2, 2, 1)), 4, False),
        (np.zeros((5, 2, 2, 2, 1)), 4, True),
    ],
)
def test_one_item_or_several(x, rank, several):
    assert tensor.is_batch(x, rank) is several


def test_a_list_within_itself_ends():
    circle = []
    circle.append(circle)
    assert "error" in zoo.pipeline(small())(circle, errors="return")[0]


@pytest.fixture(scope="module")
def pipeline():
    model = small()
    model.origin.settings |= {"mean": 0.5, "deviation": 0.25}
    return zoo.pipeline(model)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_item_is_named_and_harms_no_neighbour(kind, pipeline):
    item, message = BAD[kind]
    others = [GOOD, item, -GOOD]
    answers = pipeline(others, errors="return")
    assert message in answers[1]["error"]
    assert "\n" not in answers[1]["error"]
    assert set(answers[1]) == {"input", "error"}
    assert pipeline([GOOD, item], errors="return")[1] == answers[1]
    if not tensor.is_batch(item, 2):
        assert pipeline(item, errors="return") == answers[1]
        with pytest.raises(InputError) as raised:
            pipeline(item)
        assert message in str(raised.value)
    for answer, good in ((answers[0], GOOD), (answers[2], -GOOD)):
        alone = pipeline(good)
        assert answer["labels"] == alone["labels"]
        np.testing.assert_allclose(answer["scores"], alone["scores"], atol=1e-6)


def test_paths_that_are_not_files(pipeline, tmp_path):
    large = tmp_path / "large.npy"
    with open(large, "wb") as file:
        file.truncate(300 << 20)  # sparse: it takes no space
    answers = pipeline([large, tmp_path, "/dev/null"], errors="return")
    assert answers[0]["error"] == "300 MB are more than the limit of 256 MB"
    assert answers[1]["error"] == "a folder, not a .npy file"
    assert answers[2]["error"] == "not a regular file"


def test_a_header_of_a_large_array_allocates_nothing(pipeline):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape, message in (
        (b"(40000, 200000)", "expected an array of shape (4, 2), got (40000, 200000)"),
        (b"(-4, -2)", "expected an array of shape (4, 2), got (-4, -2)"),
        (b"(4, 10**9)", "its header can't be read"),
        (b"(" * 60, "its header can't be read"),
    ):
        header = b"'shape': " + shape + b", }"
        hostile = npy(GOOD).replace(b"'shape': (4, 2), }".ljust(len(header)), header)
        assert len(hostile) == len(npy(GOOD))
        assert message in pipeline(hostile, errors="return")["error"]
    held = npy(GOOD).replace(b"(4, 2), }" + b" " * 9, b"(40000, 200000), }")
    with pytest.raises(InputError, match="64 bytes of values, but 64,000,000,000 by its header"):
        tensor.tensor_of(held, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_damage_anywhere_is_an_input_error(pipeline):
    whole, random = npy(GOOD), np.random.default_rng(0)
    assert len(whole) == 192
    for end in range(len(whole)):
        with pytest.raises(InputError):
            tensor.tensor_of(whole[:end], (4, 2))
    refused = 0
    for _ in range(500):
        hurt = bytearray(whole)
        for place in random.integers(0, 128, random.integers(1, 4)):  # the header's bytes
            hurt[place] = random.integers(256)
        try:
            assert tensor.tensor_of(bytes(hurt), (4, 2)).shape == (4, 2)
        except InputError:
            refused += 1
    assert refused > 250


def test_the_signature_answers_as_the_pipeline(pipeline, tmp_path):
    folder = zoo.export(pipeline.model, tmp_path, name="served")
    served = tf.saved_model.load(str(folder)).signatures
    items = [GOOD, BAD["NaN"][0], BAD["beyond the model"][0], -GOOD, np.full((4, 2), -np.inf)]
    for some in (items, items[:1], items[1:2], items[::-1]):
        batch = np.array(some, "float32").reshape(-1, 4, 2)
        answers = {key: value.numpy() for key, value in served["serving_default"](tensor=tf.constant(batch)).items()}
        assert answers["labels"].shape == answers["scores"].shape == (len(some), 3)
        for row, expected in enumerate(pipeline(list(some), errors="return")):
            assert answers["error"][row].decode() == expected.get("error", "")
            if "error" in expected:
                assert set(answers["labels"][row]) == {b""}
                assert not answers["scores"][row].any()
            else:
                assert [label.decode() for label in answers["labels"][row]] == expected["labels"]
                np.testing.assert_allclose(answers["scores"][row], expected["scores"], atol=1e-5)
    batch = tf.constant(np.array(items, "float32"))
    kept = served["embeddings"](tensor=batch)
    np.testing.assert_array_equal(kept["error"], served["serving_default"](tensor=batch)["error"])
    assert [bool(row.any()) for row in kept["embeddings"].numpy()] == [True, False, False, True, False]
    logits = served["tensors"](tensor=batch[:1])["logits"]
    np.testing.assert_allclose(logits, pipeline.model(batch[:1]), rtol=1e-5)


def test_scaling(pipeline):
    """The model gets (x - 0.5) / 0.25."""
    model = pipeline.model
    logits = model(((GOOD - 0.5) / 0.25)[np.newaxis].astype("float32"))[0].numpy()
    odds = np.exp(logits - logits.max())
    np.testing.assert_allclose(pipeline(GOOD)["scores"], np.sort(odds / odds.sum())[::-1], rtol=1e-4)
    for settings, message in (
        ({"deviation": 0.0}, "deviation must be a finite number > 0, got 0.0"),
        ({"mean": "0"}, "mean must be a finite number, got '0'"),
        ({"top": 0}, "top must be an integer >= 1, got 0"),
    ):
        with pytest.raises(ZooError, match=message):
            task_of(model, **settings)
