"""Tensors to labels: both networks learn, every form of an item gives one answer, bad ones are named."""

import io
import json
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import zoo
from zoo import demo
from zoo.cli import main
from zoo.data.sources import Source, open_source
from zoo.data.stream import named_errors
from zoo.errors import InputError, ZooError
from zoo.tasks import task_of, tensor_inputs
from zoo.tasks.dataset import stream


def chirp(rising: bool, random) -> np.ndarray:
    """(128, 1): a tone that rises or falls in pitch, with noise, far from 0; its spectrum does not tell which."""
    time = np.arange(128) / 128
    begin, end = (6, 24) if rising else (24, 6)
    phase = 2 * np.pi * (begin * time + (end - begin) * time**2 / 2) + random.uniform(0, 2 * np.pi)
    return (100 + 20 * (np.sin(phase) + random.normal(0, 0.3, 128)))[:, np.newaxis]


def blob(down: bool, random) -> np.ndarray:
    """(6, 12, 12, 1): a spot that moves down or up over six frames, with noise; no single frame tells which."""
    rows, columns = np.mgrid[:12, :12]
    start, column = random.uniform(1, 4), random.uniform(3, 9)
    frames = []
    for frame in range(6):
        row = start + 1.2 * frame
        row = row if down else 11 - row
        frames.append(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2))
    return (np.stack(frames) + random.normal(0, 0.1, (6, 12, 12)))[..., np.newaxis]


CASES = {
    "conv1d_classifier": (chirp, {"input_shape": [128, 1], "filters": [16, 32]}),
    "conv3d_classifier": (blob, {"input_shape": [6, 12, 12, 1], "filters": [8, 16]}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """(model's name, folder of data, folder of the preset that zoo.train made of it)."""
    draw, overrides = CASES[request.param]
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "run"
    random = np.random.default_rng(0)
    for number, label in enumerate(("first", "second")):
        (data / label).mkdir()
        for item in range(100):
            np.save(data / label / f"{item}.npy", draw(bool(number), random).astype("float32"))
    settings = {"epochs": 12, "batch_size": 16, "optimizer": {"learning_rate": 1e-2}}
    zoo.train(request.param, out, data={"folder": str(data)}, model_overrides=overrides, training=settings)
    return request.param, data, out


def small(name: str = "conv1d_classifier", **overrides) -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = {"conv1d_classifier": (4, 2), "conv3d_classifier": (2, 2, 2, 1)}[name]
    return zoo.create_model(name, **{"classes": 3, "input_shape": shape, "filters": (4,), "pool_size": 2, **overrides})


def npy(array, version=None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version=version)
    return buffer.getvalue()


def command(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


# The networks


def test_they_learn_what_is_held_out(case):
    name, data, out = case
    result = zoo.evaluate(out)
    assert (result["dataset"], result["split"], result["examples"]) == (str(data), "test", 40)
    assert result["metrics"]["accuracy"] >= 0.9  # chance is a half
    assert zoo.load(out).origin.model == name


def test_training_learns_mean_and_deviation(case):
    _, data, out = case
    files = [example["file"].numpy().decode() for example in open_source(data, "train", ("tensor",)).dataset]
    values = np.stack([np.load(file) for file in files]).astype("float64")
    settings = zoo.load(out).origin.settings
    assert len(files) == 140
    assert settings["mean"] == pytest.approx(values.mean(), rel=1e-4)
    assert settings["deviation"] == pytest.approx(values.std(), rel=1e-4)


def test_settings_that_are_given_are_kept(case, tmp_path):
    name, data, out = case
    short = {"epochs": 1, "batch_size": 64}
    zoo.train(name, tmp_path / "own", data={"folder": str(data)}, model_overrides=CASES[name][1], training=short,
              task={"mean": 1.5})  # fmt: skip
    assert zoo.load(tmp_path / "own").origin.settings == {"mean": 1.5}
    recipe = tmp_path / "more.toml"
    recipe.write_text(f'start_from = "{out}"\n[data]\nfolder = "{data}"\n')
    zoo.train(recipe, tmp_path / "more", training=short)
    assert zoo.load(tmp_path / "more").origin.settings == zoo.load(out).origin.settings


def test_fit_learns_too(case):
    name, data, _ = case
    keras.utils.set_random_seed(0)
    model = zoo.create_model(name, classes=2, **CASES[name][1])
    model.origin.settings |= {"mean": 100.0, "deviation": 17.0} if name == "conv1d_classifier" else {}
    model.compile(keras.optimizers.Adam(1e-2), task_of(model).loss(), metrics=["accuracy"])
    model.fit(zoo.dataset(str(data), model=model, batch_size=16), epochs=10, verbose=0)
    figures = model.evaluate(zoo.dataset(str(data), "test", model=model), verbose=0, return_dict=True)
    assert figures["accuracy"] >= 0.9
    assert model.origin.labels == ["first", "second"]


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(sizes..., C) with zeros around -> (sizes..., maps): the sum over the kernel's places, then the rectifier."""
    sizes, kernels = x.shape[:-1], kernel.shape[:-2]
    padded = np.pad(x, [((k - 1) // 2, k // 2) for k in kernels] + [(0, 0)])
    total = np.zeros((*sizes, kernel.shape[-1])) + bias
    for place in np.ndindex(*kernels):
        window = tuple(slice(p, p + size) for p, size in zip(place, sizes, strict=True))
        total += padded[window] @ kernel[place]
    return np.maximum(total, 0)


def pooled(x: np.ndarray, size: int) -> np.ndarray:
    for axis in range(x.ndim - 1):
        count = x.shape[axis] // size
        x = np.take(x, np.arange(count * size), axis)
        x = x.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]).max(axis + 1)
    return x


@pytest.mark.parametrize(
    ("name", "shape", "kernel_size", "pool_size"),
    [("conv1d_classifier", (19, 2), 5, 3), ("conv3d_classifier", (4, 5, 7, 2), 3, 2)],
)
def test_the_network_equals_its_equations(name, shape, kernel_size, pool_size):
    model = zoo.create_model(name, 4, input_shape=shape, filters=(3, 5), kernel_size=kernel_size, pool_size=pool_size)
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape) for weight in model.weights]
    model.set_weights(weights)
    x = random.normal(size=shape)
    first, first_bias, second, second_bias, head, head_bias = weights
    y = pooled(convolved(x, first, first_bias), pool_size)
    y = pooled(convolved(y, second, second_bias), pool_size)
    want = y.mean(tuple(range(y.ndim - 1))) @ head + head_bias
    got = model({"tensor": x[np.newaxis].astype("float32")})["logits"][0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert np.abs(want).max() > 0.1


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("conv1d_classifier", {"input_shape": (64, 64, 3)}, r"is no shape of whole numbers, such as \(1024, 1\)"),
        ("conv1d_classifier", {"input_shape": (None, 1)}, "is no shape of whole numbers"),
        ("conv3d_classifier", {"input_shape": (64, 64, 3)}, "is no shape of whole numbers"),
        ("conv1d_classifier", {"input_shape": (63, 1)}, "too small for 3 stages: 64 or more"),
        ("conv3d_classifier", {"input_shape": (16, 7, 16, 1)}, "too small for 3 stages: 8 or more"),
        ("conv1d_classifier", {"filters": ()}, "must be above 0"),
        ("conv3d_classifier", {"filters": (8, 0)}, "must be above 0"),
        ("conv3d_classifier", {"pool_size": 0}, "must be above 0"),
        ("conv1d_classifier", {"dropout": 1.5}, "conv1d_classifier: "),
    ],
)
def test_impossible_networks_are_refused(name, overrides, message):
    with pytest.raises(ZooError, match=message):
        zoo.create_model(name, **overrides)


@pytest.mark.parametrize("name", CASES)
def test_without_classes_it_gives_embeddings(name):
    model, whole = small(name), small(name, classes=0)
    whole.set_weights(model.get_weights()[:-2])
    x = np.random.default_rng(0).normal(size=(3, *model.input["tensor"].shape[1:])).astype("float32")
    embeddings = task_of(model).signatures()["embeddings"][0](tf.constant(x))
    np.testing.assert_allclose(embeddings["embeddings"], whole({"tensor": x})["embeddings"], rtol=1e-5)
    assert embeddings["embeddings"].shape == (3, 4)
    with pytest.raises(ZooError, match=r"has no head \(classes=0\)"):
        zoo.pipeline(whole)


def test_dropout_acts_in_training_alone():
    model = small(dropout=0.5)
    x = {"tensor": np.ones((64, 4, 2), "float32")}
    np.testing.assert_array_equal(model(x)["logits"], np.repeat(model(x)["logits"][:1], 64, 0))
    assert np.ptp(model(x, training=True)["logits"], axis=0).max() > 1e-3


# Items


def test_every_form_of_an_item_gives_the_same_answer(tmp_path):
    pipeline = zoo.pipeline(small())
    values = np.array([[1, -2], [3, 4], [0, 5], [-6, 7]])
    np.save(tmp_path / "item.npy", values.astype("float64"))
    want = pipeline(values.astype("float32"))
    assert want["input"] == "<array 4 x 2>"
    assert sum(want["scores"]) == pytest.approx(1)
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
        told = pipeline(form)
        assert isinstance(told, dict), form
        assert told["labels"] == want["labels"]
        np.testing.assert_allclose(told["scores"], want["scores"], atol=1e-6)
    for batch in (forms, np.stack([values] * 3), [values.tolist()] * 3):
        for told in pipeline(batch):
            np.testing.assert_allclose(told["scores"], want["scores"], atol=1e-6)
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
    assert tensor_inputs.is_batch(x, rank) is several


def test_a_list_within_itself_ends():
    circle = []
    circle.append(circle)
    assert "error" in zoo.pipeline(small())(circle, errors="return")[0]


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros((4, 2)))
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}, None], object), allow_pickle=True)
    return buffer.getvalue()


GOOD = np.arange(8.0).reshape(4, 2)
BAD = {
    "empty": (b"", "empty"),
    "text": (b"no array at all", "no .npy file, which numpy.save would write"),
    "archive": (archive(), "an archive such as .npz: give one array"),
    "pickled": (pickled(), "pickled ones are not opened: give numbers"),
    "magic only": (npy(GOOD)[:6], "damaged or truncated .npy file: its header can't be read"),
    "half a header": (npy(GOOD)[:40], "damaged or truncated .npy file: its header can't be read"),
    "other version": (npy(GOOD, (3, 0)), "damaged or truncated .npy file: its header can't be read"),
    "truncated": (npy(GOOD)[:-3], "damaged or truncated .npy file: 61 bytes of values, 64 by its header"),
    "too long": (npy(GOOD) + b"\0", "65 bytes of values, 64 by its header"),
    "shape of a file": (npy(np.zeros((3, 2))), "an array of shape (3, 2): the model takes (4, 2)"),
    "text in a file": (npy(np.full((4, 2), "a")), "values of type <U1 are no tensor"),
    "shape": (np.zeros((4, 3)), "an array of shape (4, 3): the model takes (4, 2)"),
    "fewer axes": (np.zeros(8), "an array of shape (8,): the model takes (4, 2)"),
    "no axis": (np.float32(1), "an array of shape (): the model takes (4, 2)"),
    "complex": (np.zeros((4, 2), complex), "values of type complex128 are no tensor"),
    "dates": (np.zeros((4, 2), "datetime64[s]"), "are no tensor: give floats, integers or booleans"),
    "objects": (np.full((4, 2), None), "Python objects are no tensor"),
    "unequal": ([[1.0, 2.0], [3.0]], "lists of unequal lengths"),
    "words": ([["1", "2"]] * 4, "values of type <U1 are no tensor"),
    "a number": (1.0, "an item of type float is no tensor: give an array of shape (4, 2)"),
    "nothing": (None, "an item of type NoneType is no tensor"),
    "missing": ("missing.npy", "missing.npy does not exist"),
    "no path": ("a\0b", "can't be read"),
    "NaN": (np.where(GOOD == 3, np.nan, GOOD), "1 of 8 values are NaN or infinite as float32"),
    "infinite": (npy(np.where(GOOD > 5, np.inf, GOOD)), "2 of 8 values are NaN or infinite as float32"),
    "beyond float32": (np.where(GOOD == 3, 1e300, GOOD), "1 of 8 values are NaN or infinite as float32"),
    "beyond the model": (np.full((4, 2), 3e38), "values too large for the model: they overflow"),
}


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
    if not tensor_inputs.is_batch(item, 2):
        assert pipeline(item, errors="return") == answers[1]
        with pytest.raises(InputError) as raised:
            pipeline(item)
        assert message in str(raised.value)
    for told, good in ((answers[0], GOOD), (answers[2], -GOOD)):
        alone = pipeline(good)
        assert told["labels"] == alone["labels"]
        np.testing.assert_allclose(told["scores"], alone["scores"], atol=1e-6)


def test_places_that_are_no_files(pipeline, tmp_path):
    large = tmp_path / "large.npy"
    with open(large, "wb") as file:
        file.truncate(300 << 20)  # of holes: it takes no room
    told = pipeline([large, tmp_path, "/dev/null"], errors="return")
    assert told[0]["error"] == f"{large} has 300 MB, more than the limit of 256 MB"
    assert told[1]["error"] == f"{tmp_path} is a folder, not a .npy file"
    assert told[2]["error"] == "/dev/null is no regular file"


def test_a_header_that_promises_much_costs_nothing(pipeline):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape, message in (
        (b"(40000, 200000)", "an array of shape (40000, 200000): the model takes (4, 2)"),
        (b"(-4, -2)", "an array of shape (-4, -2): the model takes (4, 2)"),
        (b"(4, 10**9)", "its header can't be read"),
        (b"(" * 60, "its header can't be read"),
    ):
        header = b"'shape': " + shape + b", }"
        hostile = npy(GOOD).replace(b"'shape': (4, 2), }".ljust(len(header)), header)
        assert len(hostile) == len(npy(GOOD))
        assert message in pipeline(hostile, errors="return")["error"]
    held = npy(GOOD).replace(b"(4, 2), }" + b" " * 9, b"(40000, 200000), }")
    with pytest.raises(InputError, match="64 bytes of values, 64,000,000,000 by its header"):
        tensor_inputs.tensor_of(held, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_damage_anywhere_is_an_input_error(pipeline):
    whole, random = npy(GOOD), np.random.default_rng(0)
    assert len(whole) == 192
    for end in range(len(whole)):
        with pytest.raises(InputError):
            tensor_inputs.tensor_of(whole[:end], (4, 2))
    refused = 0
    for _ in range(500):
        hurt = bytearray(whole)
        for place in random.integers(0, 128, random.integers(1, 4)):  # the header's bytes
            hurt[place] = random.integers(256)
        try:
            assert tensor_inputs.tensor_of(bytes(hurt), (4, 2)).shape == (4, 2)
        except InputError:
            refused += 1
    assert refused > 250


# Serving


def test_the_signature_answers_as_the_pipeline(pipeline, tmp_path):
    folder = zoo.export(pipeline.model, tmp_path, name="served")
    served = tf.saved_model.load(str(folder)).signatures
    items = [GOOD, BAD["NaN"][0], BAD["beyond the model"][0], -GOOD, np.full((4, 2), -np.inf)]
    for some in (items, items[:1], items[1:2], items[::-1]):
        batch = np.array(some, "float32").reshape(-1, 4, 2)
        answers = {key: value.numpy() for key, value in served["serving_default"](tensor=tf.constant(batch)).items()}
        assert answers["labels"].shape == answers["scores"].shape == (len(some), 3)
        for row, told in enumerate(pipeline(list(some), errors="return")):
            assert answers["error"][row].decode() == told.get("error", "")
            if "error" in told:
                assert set(answers["labels"][row]) == {b""}
                assert not answers["scores"][row].any()
            else:
                assert [label.decode() for label in answers["labels"][row]] == told["labels"]
                np.testing.assert_allclose(answers["scores"][row], told["scores"], atol=1e-5)
    batch = tf.constant(np.array(items, "float32"))
    kept = served["embeddings"](tensor=batch)
    np.testing.assert_array_equal(kept["error"], served["serving_default"](tensor=batch)["error"])
    assert [bool(row.any()) for row in kept["embeddings"].numpy()] == [True, False, False, True, False]
    logits = served["tensors"](tensor=batch[:1])["logits"]
    np.testing.assert_allclose(logits, pipeline.model({"tensor": batch[:1]})["logits"], rtol=1e-5)


def test_scaling(pipeline):
    """The model gets (x - 0.5) / 0.25."""
    model = pipeline.model
    logits = model({"tensor": ((GOOD - 0.5) / 0.25)[np.newaxis].astype("float32")})["logits"][0].numpy()
    shares = np.exp(logits - logits.max())
    np.testing.assert_allclose(pipeline(GOOD)["scores"], np.sort(shares / shares.sum())[::-1], rtol=1e-4)
    for settings, message in (
        ({"deviation": 0.0}, "is not above 0"),
        ({"mean": "0"}, "is no number"),
        ({"top": 0}, "top=0"),
    ):
        with pytest.raises(ZooError, match=message):
            task_of(model, **settings)


# Data


def folder_of(path, shape=(4, 2), items: int = 6):
    random = np.random.default_rng(0)
    for label in "abc":
        (path / label).mkdir(parents=True)
        for item in range(items):
            np.save(path / label / f"{item}.npy", random.normal(5, 3, shape))
    return path


def test_the_field_decides_which_files_count(tmp_path, digits_folder):
    data = folder_of(tmp_path / "data")
    (data / "a" / "notes.txt").write_text("not one of them")
    source = open_source(data, "train", ("tensor", "label"))
    assert (source.examples, source.labels) == (13, ["a", "b", "c"])
    with pytest.raises(ZooError, match=r"needs one subfolder of \.npy files a class; it has 3 with 0 \.npy files"):
        open_source(digits_folder, "train", ("tensor", "label"))
    with pytest.raises(ZooError, match="needs one subfolder of images a class; it has 3 with 0 images"):
        open_source(data, "train", ("image", "label"))


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "pickled", "shape of a file", "infinite"])
def test_a_bad_file_ends_training_and_is_named(kind, tmp_path):
    data = folder_of(tmp_path / "data")
    content, message = BAD[kind]
    bad = [example["file"].numpy().decode() for example in open_source(data, "train", ("tensor",)).dataset][5]
    with open(bad, "wb") as file:
        file.write(content)
    with pytest.raises(ZooError) as raised:
        zoo.train("conv1d_classifier", tmp_path / "run", data={"folder": str(data)}, training={"epochs": 1},
                  model_overrides={"input_shape": (4, 2), "filters": (4,)})  # fmt: skip
    assert str(raised.value).startswith(f"{bad}: ")
    assert message in str(raised.value)
    assert str(raised.value).endswith("; repair or remove it")
    assert not (tmp_path / "run" / "preset.json").exists()


def test_arrays_of_a_data_set_need_no_file():
    values = np.arange(48, dtype="int16").reshape(6, 4, 2)
    dataset = tf.data.Dataset.from_tensor_slices({"tensor": values, "label": np.arange(6) % 3})
    source = Source("numbers", "", "train", 6, ["a", "b", "c"], dataset, dict, "none")
    model = small()
    task = task_of(model)
    settings, _, _ = task.adapt(source, {}, {})
    assert settings["mean"] == pytest.approx(23.5)
    assert settings["deviation"] == pytest.approx(values.std(), rel=1e-5)
    ((inputs, y),) = stream(task, source, 6, augment=False, shuffle=False).epoch(0)
    np.testing.assert_array_equal(inputs["tensor"], values.astype("float32"))
    assert y.numpy().tolist() == [0, 1, 2, 0, 1, 2]
    with (
        pytest.raises(ZooError, match=r"an example: an array of shape \(4, 2\): the model takes \(6, 2\)"),
        named_errors(),
    ):
        list(stream(task_of(small(input_shape=(6, 2))), source, 6, augment=False, shuffle=False).epoch(0))


def test_values_that_are_all_the_same_are_only_moved():
    dataset = tf.data.Dataset.from_tensor_slices({"tensor": np.full((6, 4, 2), 7.0), "label": np.zeros(6, int)})
    source = Source("sevens", "", "train", 6, ["a", "b"], dataset, dict, "none")
    assert task_of(small()).adapt(source, {}, {})[0] == {"mean": 7.0, "deviation": 1.0}


# The verbs and the command


def test_save_and_load_round_trip(case, tmp_path):
    _, data, out = case
    sample = sorted((data / "second").iterdir())[0]
    zoo.save(str(out), tmp_path / "kept", storage="float16", samples=[sample])
    told, again = zoo.pipeline(out)(sample), zoo.pipeline(tmp_path / "kept")(sample)
    assert told["labels"] == again["labels"] == ["second", "first"]
    np.testing.assert_allclose(told["scores"], again["scores"], atol=0.02)
    record = json.loads((tmp_path / "kept" / "preset.json").read_text())
    assert record["samples"][0]["answer"]["labels"] == again["labels"]
    assert record["task"]["name"] == "tensor_classification"
    times = zoo.benchmark(tmp_path / "kept", seconds=0.05)
    assert times["latency_1_ms"] > 0
    assert times["latency_32_ms"] > 0
    (shown,) = demo.demo([tmp_path / "kept"])
    values = np.load(sample)
    assert (
        shown["shown"] == f"{' x '.join(map(str, values.shape))} values from {values.min():.4g} to {values.max():.4g}"
    )
    assert shown["answer"].startswith("second (")


def test_the_command_answers_files_and_folders(case, tmp_path):
    name, data, out = case
    files = sorted((data / "first").iterdir())[:3]
    bad = tmp_path / "bad.npy"
    bad.write_bytes(files[0].read_bytes()[:-9])
    status, printed, err = command("predict", out, *files, bad, "--json", "--top", 1)
    rows = json.loads(printed)
    assert status == 1
    assert [row["labels"] for row in rows[:3]] == [["first"]] * 3
    assert "damaged or truncated .npy file" in rows[3]["error"]
    status, printed, err = command("predict", out, data / "second")
    assert (status, err) == (0, "")
    assert sum(line.split(": ")[1].startswith("second") for line in printed.splitlines()) >= 90
    status, printed, _ = command("evaluate", out, "--json")
    assert status == 0
    assert json.loads(printed)["metrics"]["accuracy"] >= 0.9
    status, printed, _ = command("export", out, tmp_path / "exports", "--json")
    assert status == 0
    served = tf.saved_model.load(json.loads(printed)["path"]).signatures["serving_default"]
    answers = served(tensor=tf.constant(np.stack([np.load(file) for file in files])))
    assert [row[0].decode() for row in answers["labels"].numpy()] == ["first"] * 3
    assert name in command("list", "--task", "tensor_classification")[1]
