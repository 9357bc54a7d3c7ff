"""Settings: each field refuses wrong values in one line, and earlier names still work."""

import math
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

import zoo
from tests.helpers.drawings import draw_digit
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.tasks import names, settings_class, task_of
from zoo.tasks.settings import TaskSettings, expected, setting

CASES = [(task, name) for task in names(own=True) for name in settings_class(task).model_fields]
LIMITS = {"ge": -1, "gt": -1, "le": 1, "lt": 1}  # kind -> the direction out of it


OTHER_TYPES = {
    int: ["3", 1.5, True, None, [1], b"x"],
    float: ["3", True, None, [1], math.nan, math.inf, -math.inf],
    bool: ["x", 3, 1, 0.0, None, [1]],
    str: [3, 1.5, True, None, [1], {}],
    dict: ["x", 3, True, None, [1]],
    list: ["x", 3, True, None, {}],
    Literal: ["other", "", 7, 1.5, True, 1.0, [1], {}],
}


def kind_of(field) -> Any:
    """int, float, bool, str, dict, list or Literal."""
    kinds = [get_origin(part) or part for part in (field.annotation, *get_args(field.annotation))]
    return next(kind for kind in kinds if kind in OTHER_TYPES)


def limits_of(field) -> list[tuple[str, float]]:
    return [(kind, getattr(limit, kind)) for limit in field.metadata for kind in LIMITS if hasattr(limit, kind)]


def values_beyond(field) -> list:
    """For each limit the nearest value that it excludes."""
    is_integer = kind_of(field) is int
    values = []
    for kind, limit in limits_of(field):
        step = LIMITS[kind]
        beyond = limit + step if is_integer else np.nextafter(float(limit), step * math.inf).item()
        values.append(limit if kind in ("gt", "lt") else beyond)
    return values


def error_of(task: str, **settings) -> str:
    with pytest.raises(ZooError) as raised:
        settings_class(task).checked(task, settings)
    return str(raised.value)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_value_of_another_type_is_refused(task, name):
    field = settings_class(task).model_fields[name]
    for value in OTHER_TYPES[kind_of(field)]:
        if value is None and type(None) in get_args(field.annotation):
            continue
        assert error_of(task, **{name: value}) == f"{task}: {name} must be {expected(field)}, got {value!r}"


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, name in CASES if limits_of(settings_class(task).model_fields[name])]
)
def test_a_value_beyond_a_limit_is_refused_and_the_limit_itself_is_not(task, name):
    field = settings_class(task).model_fields[name]
    for value in values_beyond(field):
        assert error_of(task, **{name: value}) == f"{task}: {name} must be {expected(field)}, got {value!r}"
    for kind, limit in limits_of(field):
        if kind in ("ge", "le"):
            others = {"n_best": {"beam": 1000}, "shortest": {"longest": 200}}.get(name, {})
            others = {"n_best": 1} if name == "beam" else {"shortest": 0} if name == "longest" else others
            others = {key: value for key, value in others.items() if key in settings_class(task).model_fields}
            assert getattr(settings_class(task).checked(task, {**others, name: limit}), name) == limit


@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_field_has_a_line_of_help_and_a_default_that_it_takes(task, name):
    field = settings_class(task).model_fields[name]
    assert field.description
    assert "\n" not in field.description
    settings = settings_class(task).checked(task, {name: field.default})
    assert getattr(settings, name) == field.default
    assert settings == settings_class(task).checked(task, {})


@pytest.mark.parametrize(
    ("annotation", "limits", "words"),
    [
        (int, {"ge": 1}, "an integer >= 1"),
        (int, {"ge": 1, "le": 1000}, "an integer >= 1 and <= 1000"),
        (float, {}, "a finite number"),
        (float, {"gt": 0, "lt": 1}, "a finite number > 0 and < 1"),
        (float | None, {"ge": 0}, "a finite number >= 0 or None"),
        (str, {}, "a string"),
        (bool, {}, "true or false"),
        (dict[str, Any], {}, "a table"),
        (Literal["rgb", "grey"], {}, "one of 'rgb', 'grey'"),
        (Literal[1, 2, 10], {}, "one of 1, 2, 10"),
        (Literal["ink"] | None, {}, "one of 'ink', None"),
    ],
)
def test_expected_values_in_words(annotation, limits, words):
    class Settings(TaskSettings):
        field: annotation = setting(None, "A field.", **limits)

    assert expected(Settings.model_fields["field"]) == words


def test_an_unknown_name_is_refused():
    assert error_of("translation", beams=3) == "unknown setting of translation 'beams'; did you mean beam or n_best?"
    assert error_of("image_classification", beam=3).startswith("unknown setting of image_classification 'beam'; ")


def test_flags_are_the_settings_for_users():
    flags = {task: sorted(settings_class(task).flags()) for task in names(own=True)}
    assert flags == {
        "audio_classification": ["top"],
        "captioning": ["beam", "n_best"],
        "detection": ["threshold"],
        "frame_classification": [],
        "image_classification": ["top"],
        "language_modeling": ["length", "samples", "seed", "temperature"],
        "question_answering": ["top"],
        "sequence_transduction": [],
        "speech_recognition": ["beam"],
        "tensor_classification": ["top"],
        "segmentation": ["orientations", "threshold"],
        "text_classification": ["top"],
        "translation": ["beam", "n_best"],
        "verification": ["threshold"],
        "word_embedding": ["top"],
    }


def test_settings_can_not_be_changed():
    settings = settings_class("translation").checked("translation", {"beam": 2})
    with pytest.raises(ValueError, match="frozen"):
        settings.beam = 3


def test_earlier_names_become_todays():
    today = settings_class("image_classification").today
    assert today({"share": 0.5, "views": 10, "low": -1.0}) == {"fraction": 0.5, "windows": 10, "low": -1.0}
    assert settings_class("translation").today({"beam": 3}) == {"beam": 3}


def answers(settings: dict, **overrides) -> dict:
    zoo_model = zoo.create_model("cifar_convnet", classes=3, **entries()["cifar_convnet"].tiny)
    for number, weight in enumerate(zoo_model.weights):
        weight.assign(np.random.default_rng(number).normal(0, 0.1, weight.shape))
    zoo_model.origin.settings |= settings
    picture = draw_digit("7", 40).convert("RGB")
    return zoo.pipeline(zoo_model, **overrides)(picture)


def test_a_preset_with_earlier_names_answers_equally():
    today = answers({"fraction": 0.6, "windows": 1})
    assert answers({"share": 0.6, "views": 1}) == today
    assert answers({}, share=0.6, views=1) == today
    assert answers({"share": 0.9, "views": 10}, fraction=0.6, windows=1) == today  # the user's setting wins
    assert answers({"fraction": 1.0, "windows": 10}) != today


def test_a_preset_with_earlier_names_trains_equally(digits_folder, tmp_path):
    model = zoo.create_model("mlp", classes=3, **entries()["mlp"].tiny)
    batches = {}
    for name in ("share", "fraction"):
        model.origin.settings |= {"centre": None, "polarity": None}
        model.origin.settings.pop("fraction", None)
        model.origin.settings[name] = 0.5
        batches[name] = next(iter(zoo.dataset(digits_folder, "test", model=model)))[0].numpy()
        assert task_of(model).settings.fraction == 0.5
        del model.origin.settings[name]
    np.testing.assert_array_equal(batches["share"], batches["fraction"])
