""".keras files: loaded in a process that has only imported zoo, with the same outputs, origin and answers."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.contracts import contract_of, run
from tests.helpers.models import BUILDERS, make
from tests.helpers.paths import ROOT
from tests.helpers.presets import error_of, kept
from tests.helpers.processes import run_child
from zoo import preset, serializable
from zoo.errors import ZooError
from zoo.preset.keras_files import read_origin
from zoo.tasks import task_of

LOAD = """
import json, sys
{first}
{second}
import numpy as np
from tests.helpers.contracts import run
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    data = np.load(path.replace(".keras", ".npz"))
    inputs = {{key.removeprefix("input_"): data[key] for key in data if key.startswith("input_")}}
    for name, value in run(model, inputs).items():
        np.testing.assert_allclose(value, data["output_" + name], rtol=1e-5, atol=1e-5, err_msg=path)
    origin = model.origin
    print(json.dumps([origin.model, origin.preset, model.compiled, sorted(origin.assets)]))
"""


def write(model, path, is_compiled: bool) -> list:
    """A model's .keras file, its inputs and outputs beside it, and the line that LOAD prints."""
    if is_compiled:
        task_of(model).compile(model)
    model.save(path)
    inputs = contract_of(model).inputs(model, 3)
    outputs = {f"output_{name}": value for name, value in run(model, inputs).items()}
    np.savez(path.with_suffix(".npz"), **{f"input_{name}": value for name, value in inputs.items()}, **outputs)
    return [model.origin.model, model.origin.preset, is_compiled, sorted(model.origin.assets)]


@pytest.mark.parametrize(
    ("first", "second"),
    [("import zoo", "import keras"), pytest.param("import keras", "import zoo", marks=pytest.mark.slow)],
)
def test_every_model_loads_in_a_new_process(first, second, tmp_path):
    """Half of the models are compiled; in the other order of imports, the other half."""
    paths, expected = [], []
    for number, name in enumerate(BUILDERS):
        paths.append(tmp_path / f"{name}.keras")
        expected.append(write(make(name), paths[-1], (number + (first == "import zoo")) % 2 == 0))
    lines = run_child(LOAD.format(first=first, second=second), *map(str, paths)).splitlines()
    assert [json.loads(line) for line in lines] == expected


@pytest.mark.slow
def test_every_preset_loads_in_a_new_process(tmp_path):
    names = sorted(path.name for path in preset.BUNDLED.iterdir() if path.is_dir())
    paths = [tmp_path / f"{name}.keras" for name in names]
    expected = [write(zoo.load(name), path, True) for name, path in zip(names, paths, strict=True)]
    lines = run_child(LOAD.format(first="import zoo", second="import keras"), *map(str, paths)).splitlines()
    assert [json.loads(line) for line in lines] == expected


@pytest.mark.parametrize("name", ["mlp", "attention_seq2seq"])
def test_a_whole_model_is_not_written_as_hdf5(name, tmp_path):
    for place in (str(tmp_path / "m.h5"), tmp_path / "m.hdf5"):
        with pytest.raises(ZooError, match=r"Keras can't load this model from HDF5: give a name that ends in \.keras"):
            make(name).save(place)
    assert [*tmp_path.iterdir()] == []
    make(name).save_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("name", BUILDERS)
def test_every_layer_has_a_configuration(name):
    for layer in make(name).layers:
        if not isinstance(layer, keras.Model):
            config = layer.get_config()
            assert type(layer).from_config(config).get_config() == config
            if type(layer).__module__.startswith("zoo.") and "__init__" in vars(type(layer)):
                assert "get_config" in vars(type(layer))


def test_every_serializable_object_is_registered():
    """Also names of modules that only tasks import."""
    registered = keras.saving.get_custom_objects()
    assert {"zoo>ZooModel", "zoo>BatchNormalization", "zoo>scaled_tanh", "zoo>CrossEntropy", "zoo>accuracy"} <= {
        *registered
    }
    assert {"zoo.layers.model", "zoo.models.vision.lenet5", "zoo.tasks.losses"} <= {*serializable.modules()}


@pytest.mark.slow
def test_a_half_imported_layer_is_no_problem():
    """Importing a layer imports Keras, which imports all layers and models."""
    code = "import zoo.layers.normalization, keras\nassert 'zoo>PaddedShortcut' in keras.saving.get_custom_objects()"
    run_child(code, KERAS_BACKEND="jax")  # it starts faster


def test_import_zoo_stays_cheap():
    code = "import sys, zoo; print(sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)), len(sys.modules))"
    loaded, count = run_child(code).rsplit(maxsplit=1)
    assert loaded == "[]"
    assert int(count) < 400


@pytest.fixture
def file(tiny_preset, tmp_path):
    zoo.load(tiny_preset).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_a_reloaded_model_is_the_preset(file, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PRESETS", str(tiny_preset.parent))
    model = keras.models.load_model(file)
    sample = tiny_preset / "samples" / "seven.png"
    assert zoo.pipeline(model)(sample) == zoo.pipeline(zoo.load(tiny_preset))(sample)
    assert kept(zoo.save(model, tmp_path / "again")) == kept(preset.open_preset(tiny_preset))
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert zoo.save(model, tmp_path / "other").record["provenance"]["started_from"] == "mlp.tiny"


def test_predict_on_a_keras_file(file, tiny_preset):
    sample = str(tiny_preset / "samples" / "seven.png")
    assert run_zoo("predict", str(file), sample, "--top", "2", "--json") == run_zoo(
        "predict", str(tiny_preset), sample, "--top", "2", "--json"
    )


def test_files_without_an_origin(tmp_path, file):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    assert "other.keras has no origin: only models from zoo.load" in error_of(read_origin, tmp_path / "other.keras")
    assert "there is no file" in error_of(zoo.pipeline, tmp_path / "none.keras")
    file.write_bytes(file.read_bytes()[:400])
    assert "is not a .keras file that can be read" in error_of(zoo.pipeline, file)
    status, _, err = run_zoo("predict", str(tmp_path / "other.keras"), "x.png")
    assert (status, err.count("\n")) == (2, 1)


def test_python_m_zoo():
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "list", "lenet5.mnist"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[1].startswith("lenet5.mnist")
