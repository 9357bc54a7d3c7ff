"""The versions below one name are exports of one model; names come from the preset's folder."""

import json

import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.exporting import edge, saved_model
from zoo.exporting.serving_files import MANIFEST
from zoo.exporting.verifying import find_version
from zoo.exporting.versions import PORTABLE_MANIFEST, check_next, write_version

FACTS = {"task": "image_classification", "model": "mlp", "labels": ["a", "b"], "precision": "float32", "name": "x"}


@pytest.mark.parametrize("file", [MANIFEST, PORTABLE_MANIFEST])
def test_a_version_is_of_the_same_model(file, tmp_path):
    check_next(tmp_path / "new", file, FACTS)
    path = tmp_path / "2" / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(FACTS))
    check_next(tmp_path, file, {**FACTS, "name": "y"})
    changes = {"task": "translation", "model": "lenet5", "labels": ["b", "a"], "precision": "int8"}
    for key, value in {**changes, "labels": None}.items():
        with pytest.raises(ZooError, match=rf"2 has the {key} .*: export it under another name \(--name\)"):
            check_next(tmp_path, file, {**FACTS, key: value})
    path.write_text('{"task": "image_classification", "labels": null}')  # of an earlier version
    check_next(tmp_path, file, FACTS)
    path.write_text("nothing of the kind")
    check_next(tmp_path, file, FACTS)


def test_verify_names_the_task_of_an_export_of_another_one(tiny_preset, tmp_path):
    """Its settings would be unknown to the preset's task."""
    (tmp_path / PORTABLE_MANIFEST).write_text(json.dumps({"task": "translation", "settings": {"beam": 3}}))
    with pytest.raises(ZooError) as caught:
        zoo.verify(tmp_path, tiny_preset)
    expected = "is an export of a model for translation, but mlp.tiny is a model for image_classification: give the"
    assert expected in str(caught.value)


@pytest.fixture
def without_model(monkeypatch):
    """Exports consist of their manifest."""

    def write(task, folder, manifest, fill):
        def files(version):
            (version / MANIFEST).parent.mkdir()
            (version / MANIFEST).write_text(json.dumps(manifest))
            (version / "saved_model.pb").touch()

        return write_version(folder, files)

    monkeypatch.setattr(saved_model, "write", write)


def test_an_export_has_the_name_of_its_folder(tiny_preset, tmp_path, without_model):
    zoo.save(str(tiny_preset), tmp_path / "run")
    status, printed, _ = run_zoo("export", tmp_path / "run", tmp_path / "out", "--json")
    assert (status, json.loads(printed)["path"]) == (0, str(tmp_path / "out" / "run" / "1"))
    manifest = json.loads((tmp_path / "out" / "run" / "1" / MANIFEST).read_text())
    assert (manifest["name"], manifest["preset"]) == ("run", "mlp.tiny")
    assert (manifest["model"], manifest["labels"]) == ("mlp", ["zero", "one", "seven"])
    zoo.save(make("mlp"), tmp_path / "other" / "run")
    status, _, err = run_zoo("export", tmp_path / "other" / "run", tmp_path / "out")
    assert status == 2
    assert "run/1 has the labels zero, one, seven, this model None: export it under another name (--name)" in err
    assert [path.name for path in (tmp_path / "out" / "run").iterdir() if path.is_dir()] == ["1"]
    assert find_version(tmp_path / "out", "run") == tmp_path / "out" / "run" / "1"
    assert find_version(tmp_path / "out", "else", "run") == tmp_path / "out" / "run" / "1"  # by an earlier name


def test_the_name_can_be_chosen(tiny_preset, tmp_path, monkeypatch):
    """And int8 has a folder of its own, because it is not a version of float32."""
    folders = []
    monkeypatch.setattr(edge, "write", lambda task, folder, *_: folders.append(folder) or folder)
    for precision in ("float32", "int8"):
        zoo.export(tiny_preset, tmp_path, "onnx", precision)
        zoo.export(tiny_preset, tmp_path, "litert", precision, name="mine")
    names = ["mlp.tiny.onnx", "mine.litert", "mlp.tiny.onnx.int8", "mine.litert.int8"]
    assert folders == [tmp_path / name for name in names]
    assert run_zoo("export", tiny_preset, tmp_path, "--format", "onnx", "--name", "own")[0] == 0
    assert folders[-1] == tmp_path / "own.onnx"
