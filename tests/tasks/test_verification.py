"""Verification: embeddings of faces, pairs of them, the threshold, and folders of people."""

import numpy as np
import pytest

import zoo
from tests.helpers.models import make
from tests.helpers.portraits import draw_people, draw_portrait
from tests.helpers.short_graphs import short_reader, short_runs
from zoo import pairs, preset
from zoo.errors import InputError, ZooError
from zoo.registry import entries
from zoo.tasks import task_of

TINY = entries()["face_embedding"].tiny
TRAINING = {"epochs": 2, "batch_size": 24}


@pytest.fixture(scope="module", autouse=True)
def reader():
    with short_reader():
        yield


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("faces") / "people", 10, 4)


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    """A short run on a folder of people."""
    out = tmp_path_factory.mktemp("runs") / "faces"
    with short_runs():
        return zoo.train(
            "face_embedding", out, data={"folder": str(people)}, model_overrides=TINY, training=TRAINING, task={}
        )


def test_an_answer_is_a_point_on_the_unit_sphere():
    model = make("face_embedding")
    face = np.asarray(draw_portrait(1, 0))
    answer = zoo.pipeline(model)(face)
    inputs = zoo.preprocess(model, face)
    np.testing.assert_allclose(answer["embedding"], model(inputs)[0], atol=1e-6)
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1.0, abs=1e-6)


def test_two_windows_are_the_face_and_its_mirror_image():
    model = make("face_embedding")
    face = np.asarray(draw_portrait(1, 0, (12, 16)))
    both = zoo.pipeline(model, windows=2)
    np.testing.assert_allclose(both(face)["embedding"], both(face[:, ::-1])["embedding"], atol=1e-6)
    one = [np.array(zoo.pipeline(model)(each)["embedding"]) for each in (face, face[:, ::-1])]
    assert np.abs(one[0] - one[1]).max() > 1e-3
    mean = (one[0] + one[1]) / np.linalg.norm(one[0] + one[1])
    np.testing.assert_allclose(both(face)["embedding"], mean, atol=1e-6)


def test_pairs_are_compared_by_their_distance():
    model = make("face_embedding")
    faces = [np.asarray(draw_portrait(person, 0)) for person in range(3)]
    pipeline = zoo.pipeline(model)
    points = [np.array(row["embedding"]) for row in pipeline(faces)]
    rows = pipeline.compare(faces)
    expected = [np.linalg.norm(points[a] - points[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert [row["distance"] for row in rows] == pytest.approx(expected, abs=1e-6)
    for threshold, same in ((expected[0] + 1e-5, True), (expected[0] - 1e-5, False)):
        [row] = zoo.pipeline(model, threshold=threshold).compare(faces[:2])
        assert row["same"] is same


def test_bad_inputs_of_a_comparison():
    pipeline = zoo.pipeline(make("face_embedding"))
    faces = [np.asarray(draw_portrait(person, 0)) for person in range(2)]
    rows = pipeline.compare([faces[0], b"no", faces[1]], errors="return")
    assert ["error" in row for row in rows] == [True, False]
    with pytest.raises(InputError, match="not an image"):
        pipeline.compare([faces[0], b"no"])
    with pytest.raises(ZooError, match="two or more inputs are needed to compare them, got 1"):
        pipeline.compare(faces[:1])
    with pytest.raises(ZooError, match="answers of image_classification can't be compared"):
        zoo.pipeline(make("lenet5_modern")).compare([np.zeros((9, 9, 3), np.uint8)] * 2)


def test_a_run_chooses_the_threshold_on_its_validation_people(run, people):
    record = preset.open_preset(run.path).record
    task = task_of(preset.load_model(run))
    source = task.layout.open(people, "validation")
    _, expected = pairs.equal_error_rate(*task.pair_distances(source, 8))
    assert record["task"]["settings"]["threshold"] == round(expected, 4)
    assert record["task"]["settings"].get("labels") is None  # no names of people
    assert [metric["name"] for metric in record["metrics"]] == ["equal_error_rate", "loss"]


def test_evaluation_compares_all_pairs_of_other_people(run, people):
    result = zoo.evaluate(run.path, batch_size=3)
    task = task_of(preset.load_model(run))
    source = task.layout.open(people, "test")
    faces, numbers = [], []
    for stub in source.stubs.as_numpy_iterator():
        faces.append(stub["file"].decode())
        numbers.append(stub["person"])
    points = np.array([row["embedding"] for row in zoo.pipeline(run.path)(faces)])
    same, different = pairs.distances(points, np.array(numbers))
    assert (len(same), len(different)) == (12, 16)
    rate, _ = pairs.equal_error_rate(same, different)
    assert result["metrics"]["equal_error_rate"] == pytest.approx(rate)
    accepted, rejected = pairs.error_rates(same, different, task.settings.threshold)
    assert result["metrics"]["accuracy"] == pytest.approx(1 - (accepted + rejected) / 2)
    assert result["metrics"]["area_under_curve"] == pytest.approx(pairs.area_under_curve(same, different))
    assert result["metrics"]["true_accept_rate"] == pytest.approx(pairs.accept_rate(same, different, 0.01))
    assert "12 pairs of the same person, 16 of different people" in result["notes"]["equal_error_rate"]


def test_the_picture_of_an_evaluation_and_embeddings(run, people, tmp_path):
    zoo.evaluate(run.path, picture=tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").stat().st_size > 1000
    faces = sorted(people.rglob("*.png"))[:3]
    rows = list(zoo.inference.embed(run.path, faces))
    for row, answer in zip(rows, zoo.pipeline(run.path)(faces), strict=True):
        np.testing.assert_allclose(row["embeddings"], answer["embedding"], atol=1e-6)
        assert row["embeddings"].dtype == np.float32


def test_keras_fit_on_a_folder_of_people(run, people, tmp_path):
    model = zoo.load(run.path)
    train = zoo.dataset(people, "train", model=model, batch_size=24, augment={"flip": True, "shift": 1.0})
    validation = zoo.dataset(people, "validation", model=model)
    history = model.fit(train, validation_data=validation, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert 0.0 <= history["val_equal_error_rate"][-1] <= 1.0
    saved = zoo.save(model, tmp_path / "tuned")
    assert "threshold" not in saved.record["task"]["settings"]  # it belongs to the weights before


def test_a_recipe_fine_tunes_on_a_folder_of_people(run, people, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'start_from = "{run.path}"\n[data]\nfolder = "{people}"\n[training]\nepochs = 1\n')
    with short_runs():
        tuned = zoo.train(str(recipe), tmp_path / "tuned")
    weights = [preset.load_model(each).get_weights() for each in (run, tuned)]
    assert max(np.abs(own - other).max() for own, other in zip(*weights, strict=True)) > 1e-4
    assert tuned.record["provenance"]["started_from"] == str(run.path)
    task = task_of(preset.load_model(tuned))
    _, expected = pairs.equal_error_rate(*task.pair_distances(task.layout.open(people, "validation"), 8))
    assert task.settings.threshold == round(expected, 4)  # that of the new weights


def test_settings_that_do_not_fit():
    with pytest.raises(ZooError, match="unknown augmentation 'mixup'"):
        task_of(make("face_embedding"), augment={"mixup": 0.2})
    with pytest.raises(ZooError, match="threshold must be a finite number > 0 and <= 2, got 3.0"):
        task_of(make("face_embedding"), threshold=3.0)
    with pytest.raises(ZooError, match="has no classes for label_smoothing"):
        task_of(make("face_embedding")).loss(0.1)
    with pytest.raises(ZooError, match="face_embedding has no classes: leave out classes"):
        zoo.create_model("face_embedding", classes=3)
    with pytest.raises(ZooError, match="encoder has no layer 'conv9' with feature maps; it has c1, s2, c3, s4"):
        make("face_embedding", feature_layer="conv9")


def test_a_picture_of_one_pixel_has_an_answer():
    answer = zoo.pipeline(make("face_embedding"))(np.full((1, 1, 3), 90, np.uint8))
    assert np.isfinite(answer["embedding"]).all()
