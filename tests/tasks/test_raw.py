"""Raw inputs: each kind, items of several inputs, and their errors. Images and arrays have tests of their own."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tensors import npy
from zoo.errors import InputError
from zoo.tasks import raw
from zoo.tasks.raw import RawInput

TEXT, NUMBER = RawInput("text", "text"), RawInput("loudness", "number")
TENSOR, IMAGE = RawInput("signal", "tensor", (2,)), RawInput("image_bytes", "image")
BOTH = (TEXT, NUMBER)


def test_the_types_of_arguments():
    assert [each.dtype for each in (TEXT, NUMBER, TENSOR, IMAGE)] == ["string", "float32", "float32", "string"]
    assert RawInput("story", "story").dtype == "float32"


@pytest.mark.parametrize(
    ("item", "encoded"),
    [("käse", "käse".encode()), (b"\xff", b"\xff"), (bytearray(b"a"), b"a"), (memoryview(b"ab"), b"ab"), ("", b"")],
)
def test_a_text_becomes_bytes(item, encoded):
    assert raw.encode((TEXT,), item) == {"text": encoded}


def test_bytes_of_a_file_name_survive():
    assert raw.encode((TEXT,), "a\udcff") == {"text": b"a\xff"}


@pytest.mark.parametrize(("item", "message"), [(3, "an item of type int is not a text"), ("\ud800", "not UTF-8")])
def test_a_text_that_is_not_one(item, message):
    with pytest.raises(InputError, match=message):
        raw.encode((TEXT,), item)


@pytest.mark.parametrize("item", [0.5, 1, "0.5", "1e-3", b"2", np.float64(3), np.int8(-4), np.array(0.25)])
def test_a_number_becomes_float32(item):
    value = raw.encode((NUMBER,), item)["loudness"]
    assert value.dtype == np.float32
    assert value.shape == ()
    assert value == np.float32(float(item))


@pytest.mark.parametrize("item", ["loud", "", None, True, False, "nan", float("inf"), "-inf", [1, 2], {}, 10**400])
def test_a_number_that_is_not_one(item):
    with pytest.raises(InputError) as raised:
        raw.encode((NUMBER,), item)
    assert str(raised.value) == f"expected a finite number, got {item!r}"


def test_a_tensor_has_the_shape_of_its_input():
    np.testing.assert_array_equal(raw.encode((TENSOR,), [1, 2])["signal"], np.array([1, 2], "float32"))
    np.testing.assert_array_equal(raw.encode((TENSOR,), npy(np.array([3, 4])))["signal"], np.array([3, 4], "float32"))
    with pytest.raises(InputError, match=r"expected an array of shape \(2,\), got \(3,\)"):
        raw.encode((TENSOR,), [1, 2, 3])


def test_an_image_becomes_the_bytes_of_a_file(tmp_path):
    picture = Image.new("RGB", (3, 2), (255, 0, 0))
    picture.save(tmp_path / "red.png")
    content = (tmp_path / "red.png").read_bytes()
    for item in (tmp_path / "red.png", str(tmp_path / "red.png"), content):
        assert raw.encode((IMAGE,), item) == {"image_bytes": content}
    for item in (picture, np.asarray(picture)):
        encoded = raw.encode((IMAGE,), item)["image_bytes"]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), np.asarray(picture))


def test_a_kind_of_another_package_takes_values_as_they_are():
    story = {"sentences": ["a", "b"]}
    assert raw.encode((RawInput("story", "story"),), story) == {"story": story}


@pytest.mark.parametrize("order", [("text", "loudness"), ("loudness", "text")])
def test_several_inputs_come_as_a_dict_or_as_json(order):
    values = {"text": "stop", "loudness": 70}
    item = {name: values[name] for name in order}
    for form in (item, json.dumps(item), json.dumps(item).encode(), json.dumps(item, indent=2)):
        encoded = raw.encode(BOTH, form)
        assert encoded == {"text": b"stop", "loudness": np.float32(70)}
        assert [*encoded] == ["text", "loudness"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("no json", "expected a JSON object with text, loudness: Expecting value"),
        ('{"text": "a", "loudness": 1', "expected a JSON object with text, loudness: Expecting ',' delimiter"),
        (b"\xff\xfe\xff", "expected a JSON object with text, loudness: "),
        ("", "expected a JSON object with text, loudness: Expecting value"),
        ("[1, 2]", "expected a dict of text, loudness, got list"),
        ("3", "expected a dict of text, loudness, got int"),
        (None, "expected a dict of text, loudness, got NoneType"),
        (("a", 1), "expected a dict of text, loudness, got tuple"),
        ({}, "expected the inputs text, loudness, got none"),
        ({"text": "a"}, "expected the inputs text, loudness, got text"),
        ({"text": "a", "loudness": 1, "pitch": 2}, "expected the inputs text, loudness, got text, loudness, pitch"),
        ({"text": "a", 5: 1}, "expected the inputs text, loudness, got text, 5"),
        ({"text": 3, "loudness": 1}, "text: an item of type int is not a text: give a string, or its bytes in UTF-8"),
        ({"text": "a", "loudness": "x"}, "loudness: expected a finite number, got 'x'"),
        ('{"text": "a", "loudness": null}', "loudness: expected a finite number, got None"),
        ('{"text": "a", "loudness": NaN}', "loudness: expected a finite number, got nan"),
    ],
)
def test_an_item_of_several_inputs_names_its_error(item, message):
    with pytest.raises(InputError) as raised:
        raw.encode(BOTH, item)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_batch_has_one_array_per_input():
    inputs = (TEXT, NUMBER, TENSOR)
    items = [{"text": "a", "loudness": 1, "signal": [1, 2]}, {"text": "bcd", "loudness": 2, "signal": [3, 4]}]
    batch = raw.batch(inputs, [raw.encode(inputs, item) for item in items])
    assert [*batch] == ["text", "loudness", "signal"]
    assert batch["text"].tolist() == [b"a", b"bcd"]
    assert batch["loudness"].dtype == batch["signal"].dtype == np.float32
    np.testing.assert_array_equal(batch["loudness"], [1, 2])
    np.testing.assert_array_equal(batch["signal"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("inputs", "x", "several"),
    [
        ((TEXT,), "a", False),
        ((TEXT,), ["a"], True),
        ((TEXT,), ("a", "b"), True),
        ((TEXT,), [], True),
        (BOTH, {"text": "a", "loudness": 1}, False),
        (BOTH, [{"text": "a", "loudness": 1}], True),
        (BOTH, '{"text": "a"}', False),
        ((IMAGE,), np.zeros((8, 8, 3)), False),
        ((IMAGE,), np.zeros((2, 8, 8, 3)), True),
        ((IMAGE,), Path("a.png"), False),
        ((TENSOR,), [1.0, 2.0], False),
        ((TENSOR,), [[1.0, 2.0]], True),
        ((TENSOR,), np.zeros((5, 2)), True),
        ((TEXT, TENSOR), [{"text": "a", "signal": [1, 2]}], True),
    ],
)
def test_one_item_or_several(inputs, x, several):
    assert raw.is_batch(inputs, x) is several


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("a.png", "a.png"),
        (Path("b/c.png"), "b/c.png"),
        ("bad\udcff", "bad\ufffd"),
        (b"abc", "<3 bytes>"),
        (np.zeros((2, 3)), "<array 2 x 3>"),
        (0.5, "0.5"),
        (None, "<NoneType>"),
        ([1, 2], "<list>"),
        ({"text": "ä", "loudness": 3}, '{"text": "ä", "loudness": "3"}'),
    ],
)
def test_the_name_of_an_item(item, name):
    assert raw.shown(item) == name
