"""Tasks are found by their files and by entry points; a bad entry is named when it is used."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from tests.helpers.registering import distribution
from zoo.errors import ZooError
from zoo.tasks import names, settings_class, task_class, task_of
from zoo.tasks.task import Task

TASK = """
from zoo.tasks.settings import TaskSettings, setting
from zoo.tasks.task import Task


class ToySettings(TaskSettings):
    level: int = setting(1, "A level.", ge=0)


class Toy(Task):
    name = "{name}"
    Settings = ToySettings
"""

WRONG_CLASS = "task toy: toy_bad:Toy must be a subclass of Task with name = 'toy'"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution with a module and entry points of the group zoo.tasks."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(source: str, points: dict, module: str):
        distribution(tmp_path, f"dist-{module.replace('_', '-')}", {f"{module}.py": source}, points, "zoo.tasks")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, module, raising=False)

    return add


def test_the_tasks_of_this_package():
    assert names(own=True) == [
        "audio_classification", "captioning", "detection", "frame_classification", "image_classification",
        "language_modeling", "question_answering", "segmentation", "sequence_transduction", "speech_recognition",
        "tensor_classification", "text_classification", "translation", "verification", "word_embedding",
    ]  # fmt: skip
    for name in names(own=True):
        task = task_class(name)
        assert issubclass(task, Task)
        assert task.name == name
        assert task.Settings is settings_class(name)


def test_a_task_of_another_distribution(install):
    install(TASK.format(name="toy"), {"toy": "toy_good:Toy"}, "toy_good")
    assert names() == sorted([*names(own=True), "toy"])
    assert task_class("toy").name == "toy"
    assert settings_class("toy").checked("toy", {"level": 3}).level == 3
    with pytest.raises(ZooError, match="^toy: level must be an integer >= 0, got -1$"):
        settings_class("toy").checked("toy", {"level": -1})


@pytest.mark.parametrize(
    ("source", "point", "message"),
    [
        (TASK.format(name="other"), "toy_bad:Toy", WRONG_CLASS),
        ("class Toy:\n    name = 'toy'\n", "toy_bad:Toy", WRONG_CLASS),
        ("Toy = 3\n", "toy_bad:Toy", WRONG_CLASS),
        ("Toy = 3\n", "toy_bad:Missing", "task toy: toy_bad:Missing can't be imported: module 'toy_bad' has no"),
        ("import not_there_at_all\n", "toy_bad:Toy", "task toy: toy_bad:Toy can't be imported: No module named"),
    ],
)
def test_a_bad_entry_is_named(install, source, point, message):
    install(source, {"toy": point}, "toy_bad")
    assert "toy" in names()
    assert task_class("translation").name == "translation"  # the others go on working
    for find in (task_class, settings_class):
        with pytest.raises(ZooError) as raised:
            find("toy")
        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)


def test_a_name_of_this_package_can_not_be_taken(install):
    install(TASK.format(name="translation"), {"translation": "toy_taken:Toy"}, "toy_taken")
    assert names() == names(own=True)
    assert task_class("translation").__module__ == "zoo.tasks.translation"
    assert settings_class("translation").__module__ == "zoo.tasks.settings"


def test_an_unknown_task():
    with pytest.raises(ZooError, match="unknown task 'translate'; did you mean translation"):
        task_class("translate")


def test_objects_that_have_no_task():
    with pytest.raises(ZooError, match="'lenet5.mnist' is not a Keras model: give one from zoo.load"):
        task_of("lenet5.mnist")
    model = zoo.create_model("mlp", hidden_units=(2,))
    del model.origin
    with pytest.raises(ZooError, match="the model mlp has no origin"):
        task_of(model)


@pytest.mark.parametrize(
    ("variable", "config", "message"),
    [
        ("jax", "", "KERAS_BACKEND says jax: tasks, training and export need tensorflow"),
        ("", '{"backend": "torch"}', "keras.json says torch: tasks, training and export need tensorflow"),
        ("", '{"image_data_format": "channels_first"}', "keras.json says image_data_format channels_first"),
    ],
)
def test_another_backend_is_refused_in_one_line(variable, config, message, tmp_path):
    if config:
        (tmp_path / "keras.json").write_text(config)
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": variable}
    code = "import zoo.errors\ntry:\n    import zoo.tasks\nexcept zoo.errors.ZooError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                          cwd=Path(zoo.__file__).parents[1])  # fmt: skip
    assert message in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
