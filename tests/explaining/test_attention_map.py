"""Attention maps of captioners, as numbers and as pictures."""

import numpy as np
import pytest

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from tests.helpers.short_graphs import short_reader
from zoo.errors import InputError, ZooError
from zoo.preprocessing import text
from zoo.tasks import task_of


@short_reader()
def test_the_attention_of_each_word_covers_the_grid(tmp_path):
    model = make("show_attend_tell")
    good, bad, other = CONTRACTS["captioning"].files(model, tmp_path)
    rows = zoo.explain(model, [good, bad, other], tmp_path / "maps.png", errors="return")
    assert ["error" in row for row in rows] == [False, True, False]
    answers = zoo.pipeline(model)([good, other])
    for row, answer in zip((rows[0], rows[2]), answers, strict=True):
        assert (row["input"], row["caption"]) == (answer["input"], answer["caption"])
        assert row["score"] == pytest.approx(answer["score"], abs=1e-5)
        ended = [text.STOP] if len(answer["caption"].split()) < 8 else []
        assert row["words"] == answer["caption"].split() + ended
        assert row["attention"].shape == (len(row["words"]), 5, 5)
        np.testing.assert_allclose(row["attention"].sum(axis=(1, 2)), 1.0, atol=1e-5)
    assert (tmp_path / "maps.png").stat().st_size > 5000
    with pytest.raises(InputError, match="bad.png"):
        zoo.explain(model, bad, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_the_weights_are_those_of_the_steps():
    """The attention along the greedy caption, computed again step by step."""
    model = make("show_attend_tell")
    image = {"image": CONTRACTS["captioning"].inputs(model, 1)["image"]}
    task = task_of(model, beam=1)
    row = task.attention(image, task.outputs(image))[0]
    memory = model.encode(image)
    state, tokens = model.initial_state(memory), np.array([text.START])
    for weights in row["attention"]:
        logits, state = model.step(tokens, state, memory)
        np.testing.assert_allclose(np.array(state["attention"]).reshape(5, 5), weights, atol=1e-6)
        tokens = np.array(logits).argmax(axis=-1)


def test_tensorboard_shows_captions(tmp_path):
    for name, key in (("show_attend_tell", "attention"), ("show_and_tell", "captions")):
        model = make(name)
        inputs = CONTRACTS["captioning"].inputs(model, 4)
        drawn = task_of(model).pictures(inputs, None, None)
        drawn[key](tmp_path / f"{key}.png")
        assert (tmp_path / f"{key}.png").stat().st_size > 5000
        assert task_of(model).pictures({"frozen": 0}, None, None) == {}


def test_a_captioner_without_attention(tmp_path):
    model = make("show_and_tell")
    with pytest.raises(ZooError, match="show_and_tell has no attention to show"):
        zoo.explain(model, CONTRACTS["captioning"].files(model, tmp_path)[0], tmp_path / "x.png")
