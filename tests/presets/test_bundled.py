"""The presets that come with the package: their files, samples, cards and figures."""

import json
from pathlib import Path

import pytest

import zoo
from zoo import preset, registry
from zoo.preset import cache, card

NAMES = sorted(path.name for path in preset.BUNDLED.iterdir() if path.is_dir())

FIGURES = [
    (name, metric) for name in NAMES for metric in preset.open_preset(name).record["metrics"] if metric.get("final")
]


def is_prepared(name: str) -> bool:
    return (Path("~/tensorflow_datasets").expanduser() / name).is_dir()


def test_there_are_some_and_each_has_a_figure():
    """Measured here, or published with the weights: then the card says so."""
    assert {"lenet5.mnist", "lenet5_modern.mnist", "mlp.mnist"} <= {name for name, _ in FIGURES}
    for name in set(NAMES) - {name for name, _ in FIGURES}:
        record = preset.open_preset(name).record
        assert card.final(record)
        assert "published, not re-measured here" in card.card(record)


@pytest.mark.parametrize("name", NAMES)
def test_files_sizes_and_terms(name):
    record = preset.open_preset(name).record
    assert record["name"] == name
    preset.open_preset(name).verify()
    assert sum(facts["size"] for facts in record["files"].values()) < 12e6
    assert set(record["terms"]) >= {"weights", "data"}
    entry = registry.entries()[record["model"]["name"]]
    if not set(record["model"]["overrides"]) - {"classes", "dropout"}:
        assert record["parameters"] == entry.parameters


def test_the_classes_of_imagenet_are_known_by_the_names_of_its_folders():
    record = preset.open_preset("efficientnet_lite0.imagenet").record["task"]
    ids = preset.open_preset("efficientnet_lite0.imagenet").assets()["wordnet_ids.txt"].decode().split()
    assert record["data_labels"] == ids
    assert len(ids) == len(record["settings"]["labels"]) == 1000


@pytest.mark.parametrize("name", NAMES)
def test_samples_get_the_answers_they_must_get(name):
    opened = preset.open_preset(name)
    assert opened.record["samples"]
    pipeline = zoo.pipeline(name)
    assert opened.record.get("op_libraries", []) == pipeline.task.op_libraries()
    for sample in opened.record["samples"]:
        expected, task = sample["answer"], pipeline.task
        answer = pipeline(task.sample(opened.file(sample["input"])))
        assert task.best(answer) == task.best(expected)
        assert_alike(task.comparable(answer, expected), task.comparable(expected, answer))


def assert_alike(value, expected):
    """Numbers differ by 1e-3 at most; everything else is equal. Keys that only `value` has do not matter."""
    if isinstance(expected, dict):
        for key in expected:
            assert_alike(value[key], expected[key])
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        for each, other in zip(value, expected, strict=True):
            assert_alike(each, other)
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, abs=1e-3)
    else:
        assert value == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_written_from_the_record(name):
    opened = preset.open_preset(name)
    assert (opened.path / "README.md").read_text(encoding="utf-8") == card.card(opened.record)


def test_the_index_holds_the_hash_of_each():
    index = json.loads(cache.INDEX.read_text())
    assert index == {name: preset.sha256(preset.BUNDLED / name / "preset.json") for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        pytest.param(
            name,
            metric,
            id=f"{name}-{metric['name']}",
            marks=pytest.mark.skipif(not is_prepared(metric["dataset"]), reason=f"{metric['dataset']} is not here"),
        )
        for name, metric in FIGURES
    ],
)
def test_the_final_figure_is_measured_again(name, metric):
    result = zoo.evaluate(name, metric["dataset"], metric["split"])
    assert result["examples"] == metric["examples"]
    # Another machine's arithmetic may turn an example that lies on the edge; of BLEU and chrF (0 to 100) a few words.
    edge = 1.5 / min(metric["examples"], 10_000) if metric["value"] <= 1 else 0.1
    assert result["metrics"][metric["name"]] == pytest.approx(metric["value"], abs=edge)
